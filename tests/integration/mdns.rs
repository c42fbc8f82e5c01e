// SPDX-License-Identifier: MIT
//! Senders on the local network: advertised, listed as devices, played. Each test has a network of its own, where
//! nobody else speaks multicast DNS.

use std::{
    collections::BTreeSet,
    env, fs,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use gst::prelude::*;
use mdns_sd::{ServiceDaemon, ServiceEvent, ServiceInfo};

use super::launch::Installed;
use crate::common::{
    Packets, Running, init,
    media::live_opus,
    pipeline::{
        DEADLINE, clock_time, describe, wait_message_that, wait_pad, wait_property, wait_told,
        wait_until,
    },
    unique_broadcast, watchdog,
};

/// Set where a test is in its own network.
const INSIDE: &str = "GSTMOQ_OWN_NETWORK";
/// How long a test may take there.
const BOUND: Duration = Duration::from_secs(120);
/// The address of this host in that network.
const ADDRESS: &str = "10.9.0.1";
/// Where senders are advertised, and relays that look for each other.
const SENDERS: &str = "_gstreamer._sub._moq._udp.local.";
const RELAYS: &str = "_default._sub._moq._udp.local.";

/// A network with one host, and one without any.
const NETWORK: &str = "ip link set lo up && ip link add moq0 type veth peer name moq1 && \
     ip addr add 10.9.0.1/24 dev moq0 && ip link set moq0 up && ip link set moq1 up";
const NO_NETWORK: &str = "true";

/// Does `work` in a process of its own, that has this network alone.
fn in_network(setup: &str, test: &str, work: impl FnOnce()) {
    if env::var_os(INSIDE).is_some() {
        return watchdog(test, BOUND, work);
    }
    let script = format!("{setup} && exec \"$0\" \"$@\"");
    let mut child = Command::new("unshare")
        .args(["--user", "--map-root-user", "--net", "sh", "-c", &script])
        .arg(env::current_exe().expect("the test is a file"))
        .args(["--exact", &format!("mdns::{test}"), "--nocapture"])
        .env(INSIDE, "1")
        .stdin(Stdio::null())
        .spawn()
        .expect("unshare is installed");
    let end = Instant::now() + BOUND + DEADLINE;
    let status = loop {
        if let Some(status) = child.try_wait().expect("the process is ours") {
            break status;
        }
        if Instant::now() > end {
            // What follows fails the test.
            let _ = child.kill();
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    assert!(status.success(), "in a network of its own: {status}");
}

/// A listening sink with live audio, which is advertised.
struct Sender {
    running: Running,
    port: u32,
}

impl Sender {
    fn start(broadcast: &str, properties: &str) -> Self {
        init();
        let running = Running::launch(&format!(
            "{} ! moqsink name=moq mode=listen advertise=true bind=0.0.0.0:0 {properties}",
            live_opus()
        ));
        running.element("moq").set_property("broadcast", broadcast);
        running.start();
        let told = wait_told(&running.bus(), "moq-listening", |_| true);
        let port = told.get("port").expect("a port");
        Self { running, port }
    }

    fn element(&self) -> gst::Element {
        self.running.element("moq")
    }

    fn fingerprint(&self) -> String {
        self.element().property("certificate-fingerprint")
    }
}

/// A monitor of all devices of the network.
struct Monitor(gst::DeviceMonitor);

impl Monitor {
    fn start() -> Self {
        init();
        let monitor = gst::DeviceMonitor::new();
        let filter = monitor.add_filter(Some("Source/Network"), None);
        filter.expect("there is a provider of such devices");
        monitor.start().expect("the monitor starts");
        Self(monitor)
    }

    fn broadcasts(&self) -> BTreeSet<String> {
        let devices = self.0.devices();
        devices
            .iter()
            .map(|device| field(device, "broadcast"))
            .collect()
    }

    /// Waits for the device of `broadcast`, with this fingerprint.
    fn wait(&self, broadcast: &str, fingerprint: &str) -> gst::Device {
        let mut found = None;
        wait_until("the sender is listed", DEADLINE, || {
            let devices = self.0.devices();
            found = devices.into_iter().find(|device| {
                field(device, "broadcast") == broadcast
                    && field(device, "fingerprint") == fingerprint
            });
            found.is_some()
        });
        found.expect("it was found")
    }

    fn wait_gone(&self, broadcast: &str) {
        wait_until("the sender is gone", DEADLINE, || {
            !self.broadcasts().contains(broadcast)
        });
    }

    fn wait_message(&self, kind: gst::MessageType) {
        let message = self
            .0
            .bus()
            .timed_pop_filtered(clock_time(DEADLINE), &[kind]);
        message.unwrap_or_else(|| panic!("a message {kind:?}"));
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        self.0.stop();
    }
}

fn field(device: &gst::Device, name: &str) -> String {
    let properties = device.properties().expect("properties");
    properties.get(name).expect(name)
}

/// The names of this process's threads that have to do with it.
fn threads() -> Vec<String> {
    let tasks = fs::read_dir("/proc/self/task").expect("this process");
    let names = tasks
        .flatten()
        .flat_map(|task| fs::read_to_string(task.path().join("comm")));
    let names = names.map(|name| name.trim().to_owned());
    names
        .filter(|name| ["mDNS_daemon", "moqdevices"].contains(&name.as_str()))
        .collect()
}

#[test]
fn a_sender_that_is_advertised_is_a_device_that_plays() {
    in_network(
        NETWORK,
        "a_sender_that_is_advertised_is_a_device_that_plays",
        || {
            init();
            assert_eq!(threads(), [""; 0], "the plugin starts none");
            // Longer than a label and a string of DNS, with what URIs and TXT records escape.
            let broadcast = format!("room/a=b #1 \u{e9}{}.hang", "x".repeat(300));
            let monitor = Monitor::start();
            assert_eq!(monitor.broadcasts(), BTreeSet::new());
            let sender = Sender::start(&broadcast, "");
            let device = monitor.wait(&broadcast, &sender.fingerprint());
            monitor.wait_message(gst::MessageType::DeviceAdded);
            assert_eq!(
                field(&device, "url"),
                format!("https://{ADDRESS}:{}/", sender.port)
            );
            assert!(!field(&device, "hostname").is_empty());
            assert!(device.has_classes("Source/Network"));
            let source = device.create_element(Some("moq")).expect("an element");
            let uri = source
                .dynamic_cast_ref::<gst::URIHandler>()
                .and_then(|source| source.uri());
            let uri = uri.expect("a URI");
            assert!(
                uri.starts_with(&format!("moq+https://{ADDRESS}:{}/#room/a", sender.port)),
                "{uri}"
            );
            let pipeline = gst::Pipeline::new();
            pipeline.add(&source).expect("a new element");
            let viewer = Running::new(pipeline);
            viewer.start();
            let pad = wait_pad(&source, "audio_0", DEADLINE);
            let packets = Packets::of(&pad);
            let sink = gst::ElementFactory::make("fakesink").property("async", false);
            let sink = sink.property("sync", false).build().expect("a sink");
            viewer.add(&sink).expect("a new element");
            sink.sync_state_with_parent().expect("it plays");
            pad.link(&sink.static_pad("sink").expect("a pad"))
                .expect("they link");
            packets.wait_count(20, DEADLINE);
            assert_eq!(
                source.property::<Option<String>>("active-broadcast"),
                Some(broadcast.clone())
            );
            drop(viewer);
            drop(sender);
            monitor.wait_gone(&broadcast);
            monitor.wait_message(gst::MessageType::DeviceRemoved);
            drop(monitor);
            wait_until("its threads end with their use", DEADLINE, || {
                threads().is_empty()
            });
        },
    );
}

#[test]
fn a_probe_lists_what_is_there() {
    in_network(NETWORK, "a_probe_lists_what_is_there", || {
        let names = [(); 3].map(|()| unique_broadcast("probe"));
        let senders = names.each_ref().map(|name| Sender::start(name, ""));
        let provider = gst::DeviceProviderFactory::by_name("moqdeviceprovider");
        let provider = provider.expect("the plugin has one");
        // Those that have just begun are still making sure that their names are theirs.
        wait_until("all are there", DEADLINE, || provider.devices().len() == 3);
        // A start lists them before it returns.
        let monitor = Monitor::start();
        assert_eq!(monitor.broadcasts(), BTreeSet::from(names));
        drop(senders);
    });
}

#[test]
fn gst_device_monitor_lists_the_senders() {
    in_network(NETWORK, "gst_device_monitor_lists_the_senders", || {
        let broadcast = unique_broadcast("tool");
        let sender = Sender::start(&broadcast, "");
        let monitor = Monitor::start();
        monitor.wait(&broadcast, &sender.fingerprint());
        let installed = Installed::new();
        let tool = installed.start("gst-device-monitor-1.0", "Source/Network", &[]);
        let (success, text) = tool.finish();
        println!("{text}");
        assert!(success, "{text}");
        for expected in [
            "Device found:",
            &format!("name  : {broadcast} ("),
            "class : Source/Network",
            &format!("url = https://{ADDRESS}:{}/", sender.port),
            &sender.fingerprint(),
            "gst-launch-1.0 moqsrc",
        ] {
            assert!(text.contains(expected), "{expected}: {text}");
        }
    });
}

#[test]
fn another_certificate_is_advertised() {
    in_network(NETWORK, "another_certificate_is_advertised", || {
        let folder = tempfile::tempdir().expect("a folder");
        let file = |name: &str| folder.path().join(name);
        let make = |at: &Path| {
            let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]);
            let made = made.expect("a certificate");
            fs::write(at.join("k.pem"), made.signing_key.serialize_pem()).expect("written");
            fs::write(at.join("c.pem"), made.cert.pem()).expect("written");
        };
        make(folder.path());
        let broadcast = unique_broadcast("rotated");
        let sender = Sender::start(
            &broadcast,
            &format!(
                "tls-certificate=\"{}\" tls-private-key=\"{}\"",
                file("c.pem").display(),
                file("k.pem").display()
            ),
        );
        let monitor = Monitor::start();
        let first = sender.fingerprint();
        monitor.wait(&broadcast, &first);
        make(folder.path());
        let element = sender.element();
        let name = "certificate-fingerprint";
        let second = wait_property(&element, name, DEADLINE, |now: &String| *now != first);
        monitor.wait(&broadcast, &second);
        assert_eq!(monitor.0.devices().len(), 1, "the one before is gone");
    });
}

#[test]
fn what_cannot_be_used_is_not_listed_and_relays_are_not_disturbed() {
    let name = "what_cannot_be_used_is_not_listed_and_relays_are_not_disturbed";
    in_network(NETWORK, name, || {
        let relay = ServiceDaemon::new().expect("a daemon");
        // Begun before, as the library's answers to such a question are none.
        let relays = relay.browse(RELAYS).expect("a search");
        let others = ServiceDaemon::new().expect("a daemon");
        let fingerprint = "ab".repeat(32);
        let advertise = |kind: &str, instance: &str, txt: &[(&str, &str)]| {
            let host = format!("{instance}.local.");
            let service = ServiceInfo::new(kind, instance, &host, ADDRESS, 4443, txt);
            others
                .register(service.expect("a record"))
                .expect("registered");
        };
        let fine = ("fp", fingerprint.as_str());
        advertise(SENDERS, "empty", &[]);
        advertise(SENDERS, "short", &[("fp", "abc"), ("broadcast", "short")]);
        advertise(SENDERS, "nameless", &[fine]);
        advertise(SENDERS, "control", &[fine, ("broadcast", "a\r\nb")]);
        advertise(
            SENDERS,
            "scheme",
            &[fine, ("broadcast", "scheme"), ("scheme", "file")],
        );
        advertise(
            SENDERS,
            "path",
            &[fine, ("broadcast", "path"), ("path", "/?jwt=x")],
        );
        advertise(RELAYS, "relay", &[fine, ("n", "1")]);
        advertise(SENDERS, "good", &[fine, ("broadcast", "good")]);
        let sender = Sender::start("own", "");
        let monitor = Monitor::start();
        monitor.wait("own", &sender.fingerprint());
        monitor.wait("good", &fingerprint);
        assert_eq!(
            monitor.broadcasts(),
            BTreeSet::from(["good".into(), "own".into()])
        );
        // What is advertised for relays is found by them, and nothing else.
        let mut found = BTreeSet::new();
        let mut take = |event| {
            if let ServiceEvent::ServiceResolved(service) = event {
                found.insert(service.fullname);
            }
            !found.is_empty()
        };
        let mut events = std::iter::from_fn(|| relays.recv_timeout(DEADLINE).ok());
        assert!(events.any(&mut take), "relays find something");
        for event in relays.try_iter() {
            take(event);
        }
        assert_eq!(found, BTreeSet::from(["relay._moq._udp.local.".to_owned()]));
        // One that ends is listed no more.
        let end = others
            .unregister("good._moq._udp.local.")
            .expect("a command");
        end.recv_timeout(DEADLINE).expect("a goodbye");
        monitor.wait_gone("good");
    });
}

#[test]
fn a_record_holds_no_token() {
    in_network(NETWORK, "a_record_holds_no_token", || {
        let _sender = Sender::start("own", "listen-token=very-secret");
        let looker = ServiceDaemon::new().expect("a daemon");
        let events = looker.browse("_moq._udp.local.").expect("a search");
        let own = std::iter::from_fn(|| events.recv_timeout(DEADLINE).ok()).find_map(|event| {
            let ServiceEvent::ServiceResolved(service) = event else {
                return None;
            };
            (service.get_property_val_str("broadcast") == Some("own")).then_some(service)
        });
        let own = format!("{:?}", own.expect("it is found"));
        assert!(own.contains("own") && !own.contains("very-secret"), "{own}");
    });
}

#[test]
fn more_senders_than_are_listed_harm_nothing() {
    in_network(NETWORK, "more_senders_than_are_listed_harm_nothing", || {
        let others = ServiceDaemon::new().expect("a daemon");
        let monitor = Monitor::start();
        for number in 0..400 {
            let instance = format!("many-{number}");
            let txt = [("fp", "cd".repeat(32)), ("broadcast", instance.clone())];
            let host = "many.local.";
            let service = ServiceInfo::new(SENDERS, &instance, host, ADDRESS, 4443, &txt[..]);
            let mut service = service.expect("a record");
            service.set_requires_probe(false);
            while others.register(service.clone()).is_err() {
                // The queue of the daemon is full.
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        // Who looks for them without a bound finds all of them.
        let looker = ServiceDaemon::new().expect("a daemon");
        let events = looker.browse("_moq._udp.local.").expect("it looks");
        let mut found = BTreeSet::new();
        wait_until("all are found", DEADLINE, || {
            found.extend(events.try_iter().filter_map(|event| match event {
                ServiceEvent::ServiceResolved(service) => Some(service.fullname.clone()),
                _ => None,
            }));
            found.len() == 400
        });
        wait_until("many are listed", DEADLINE, || {
            monitor.0.devices().len() >= 256
        });
        assert_eq!(monitor.0.devices().len(), 256);
    });
}

#[test]
fn without_a_network_a_warning_says_so_and_the_stop_is_prompt() {
    let name = "without_a_network_a_warning_says_so_and_the_stop_is_prompt";
    in_network(NO_NETWORK, name, || {
        let sender = Sender::start("lonely", "");
        let warned = wait_message_that(&sender.running.bus(), DEADLINE, |message| {
            message.type_() == gst::MessageType::Warning
        });
        let text = describe(&warned.expect("a warning"));
        assert!(text.contains("not advertised"), "{text}");
        let begun = Instant::now();
        sender
            .running
            .set_state(gst::State::Null)
            .expect("it stops");
        assert!(
            begun.elapsed() < Duration::from_secs(3),
            "{:?}",
            begun.elapsed()
        );
        wait_until("its thread ends", DEADLINE, || threads().is_empty());
    });
}
