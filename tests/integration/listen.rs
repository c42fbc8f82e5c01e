// SPDX-License-Identifier: MIT
//! Elements that listen: who comes plays or publishes without a relay, and who does not belong is refused.

use std::{
    fs,
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    time::Duration,
};

use gst::prelude::*;

use crate::common::{
    Authority, Packet, Packets, Running, init,
    media::{Video, clip, live_aac, live_opus},
    pipeline::{DEADLINE, describe, wait_message_that, wait_pad, wait_property, wait_told},
    same, unique_broadcast,
};

const TOKEN: &str = "guess-what";

/// An element that listens at a free port of loopback.
pub(super) struct Host {
    pub(super) running: Running,
    pub(super) broadcast: String,
    port: u16,
}

impl Host {
    /// `moqsink` with live audio, and these properties.
    fn sink(properties: &str) -> Self {
        Self::sink_of(&format!("{} ! moq.sink_0", live_opus()), properties)
    }

    pub(super) fn sink_of(media: &str, properties: &str) -> Self {
        let broadcast = unique_broadcast("host");
        let sink = format!("moqsink name=moq broadcast={broadcast} {properties}");
        Self::launch(&format!("{media} {sink}"), broadcast)
    }

    /// `moqsrc` with these properties and the rest of the line.
    pub(super) fn source(properties: &str, line: &str) -> Self {
        let broadcast = unique_broadcast("guest");
        let source = format!("moqsrc name=moq broadcast={broadcast} {properties}");
        Self::launch(&format!("{source} {line}"), broadcast)
    }

    fn launch(line: &str, broadcast: String) -> Self {
        init();
        let running = Running::launch(line);
        let element = running.element("moq");
        element.set_property_from_str("mode", "listen");
        element.set_property("bind", "127.0.0.1:0");
        running.start();
        let told = wait_told(&running.bus(), "moq-listening", |_| true);
        let port: u32 = told.get("port").expect("a port");
        Self {
            running,
            broadcast,
            port: port.try_into().expect("a port"),
        }
    }

    pub(super) fn element(&self) -> gst::Element {
        self.running.element("moq")
    }

    pub(super) fn url(&self, scheme: &str) -> String {
        format!("{scheme}://127.0.0.1:{}/", self.port)
    }

    /// A `moqsrc` of its broadcast.
    pub(super) fn viewer(&self, scheme: &str, properties: &str) -> Running {
        Running::play(&format!(
            "moqsrc name=moq url={} broadcast={} {properties} ! fakesink sync=false async=false",
            self.url(scheme),
            self.broadcast
        ))
    }

    fn wait_sessions(&self, count: u32) {
        wait_property(&self.element(), "sessions", DEADLINE, |now: &u32| {
            *now == count
        });
    }
}

/// The code and the text of the error that a pipeline posts.
fn wait_error(running: &Running) -> (gst::glib::Error, String) {
    let message = wait_message_that(&running.bus(), DEADLINE, |message| {
        message.type_() == gst::MessageType::Error
    });
    let message = message.expect("an error is posted");
    let text = describe(&message);
    let gst::MessageView::Error(error) = message.view() else {
        unreachable!("only errors were asked for")
    };
    (error.error(), text)
}

/// Waits until a pipeline tells that it is not let in, whether it tries again or not.
fn wait_failure(running: &Running) {
    let failed = wait_message_that(&running.bus(), DEADLINE, |message| {
        let structure = message.structure();
        message.type_() == gst::MessageType::Error
            || structure.is_some_and(|structure| structure.name() == "moq-disconnected")
    });
    failed.expect("it is refused");
}

/// What a server answers to these bytes.
fn http(port: u16, request: &str) -> String {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("it listens");
    stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut answer = Vec::new();
    stream
        .read_to_end(&mut answer)
        .expect("it answers and closes");
    String::from_utf8_lossy(&answer).into_owned()
}

fn get(port: u16, path: &str) -> String {
    http(
        port,
        &format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"),
    )
}

#[test]
fn a_source_plays_what_a_listening_sink_publishes() {
    for scheme in ["http", "ws"] {
        let host = Host::sink("");
        let viewer = host.viewer(scheme, "");
        let pad = wait_pad(&viewer.element("moq"), "audio_0", DEADLINE);
        Packets::of(&pad).wait_count(150, DEADLINE);
        let added = wait_told(&host.running.bus(), "moq-session-added", |_| true);
        let transport = ["quic", "websocket"][usize::from(scheme == "ws")];
        assert_eq!(added.get::<&str>("transport"), Ok(transport));
        host.wait_sessions(1);
        let stats: gst::Structure = host.element().property("stats");
        let sessions: gst::Array = stats.get("sessions").expect("a list");
        let session: gst::Structure = sessions[0].get().expect("a structure");
        assert_eq!(session.get::<u64>("session"), added.get("session"));
        assert!(
            session
                .get::<&str>("address")
                .expect("an address")
                .starts_with("127.0.0.1:")
        );
        assert!(
            session.get::<u64>("frames").is_ok_and(|frames| frames > 0),
            "{session}"
        );
        assert!(
            session
                .get::<u64>("bytes")
                .is_ok_and(|bytes| bytes > 15_000),
            "{session}"
        );
        // Who asks first gets no older figures than others; of TCP they are not known.
        let sent: Option<u64> = session.get_optional("bytes-sent").expect("a number");
        assert!(sent.is_none_or(|bytes| bytes > 15_000), "{session}");
        assert_eq!(sent.is_some(), transport == "quic", "{session}");
        drop(viewer);
        let removed = wait_told(&host.running.bus(), "moq-session-removed", |_| true);
        assert_eq!(removed.get::<u64>("session"), added.get("session"));
        host.wait_sessions(0);
    }
}

#[test]
fn every_frame_of_a_finite_broadcast_arrives_and_ends() {
    let video = format!("{} ! moq.sink_0", Video::default().finite(60));
    let host = Host::sink_of(&video, "");
    let sent = Packets::of_pad(&host.element(), "sink_0");
    let viewer = host.viewer("http", "latency=4000");
    let got = Packets::of_pad(&viewer.element("moq"), "video_0");
    host.running.wait_eos();
    viewer.wait_eos();
    let (sent, got) = (sent.so_far(), got.so_far());
    // It has begun before the viewer came.
    let begin = sent.len() - got.len();
    same("video", &sent[begin..], &got);
}

#[test]
fn nobody_is_waited_for_at_the_end() {
    let audio = "audiotestsrc num-buffers=20 ! opusenc ! moq.sink_0";
    let host = Host::sink_of(audio, "drain-timeout=600000");
    host.running.wait_eos();
}

#[test]
fn a_listening_source_plays_what_is_pushed_to_it() {
    let host = Host::source("", "! fakesink sync=false async=false");
    let publish = |broadcast: &str| {
        Running::play(&format!(
            "{} ! moq.sink_0 moqsink name=moq url={} broadcast={broadcast}",
            live_aac(),
            host.url("http"),
        ))
    };
    let _other = publish("other.hang");
    let publisher = publish(&host.broadcast);
    let pad = wait_pad(&host.element(), "audio_0", DEADLINE);
    let got = Packets::of(&pad);
    got.wait_count(50, DEADLINE);
    host.wait_sessions(2);
    // Another one takes over on the same pad.
    drop(publisher);
    host.wait_sessions(1);
    let before = got.count();
    let _publisher = publish(&host.broadcast);
    got.wait_count(before + 50, DEADLINE);
    assert_eq!(host.element().num_src_pads(), 1);
}

#[test]
fn who_does_not_bring_the_token_is_refused() {
    let host = Host::sink(&format!("listen-token={TOKEN}"));
    for scheme in ["http", "ws"] {
        for brought in ["", "token=wrong"] {
            let refused = host.viewer(scheme, brought);
            let (error, text) = wait_error(&refused);
            assert!(
                error.matches(gst::ResourceError::NotAuthorized),
                "{scheme}: {text}"
            );
            assert_eq!(refused.element("moq").num_src_pads(), 0);
        }
        let admitted = host.viewer(scheme, &format!("token={TOKEN}"));
        let pad = wait_pad(&admitted.element("moq"), "audio_0", DEADLINE);
        Packets::of(&pad).wait_count(10, DEADLINE);
    }
    let stats: gst::Structure = host.element().property("stats");
    assert_eq!(stats.get::<u64>("sessions-started"), Ok(2), "{stats}");
}

#[test]
fn who_does_not_show_a_certificate_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let authority = Authority::new(folder.path());
    let file = |name: &str| folder.path().join(name).display().to_string();
    let known = authority.sign("known", "camera.example", 4096);
    authority.sign("other", "camera.example", 4096);
    let own = rcgen::generate_simple_self_signed(["host".to_owned()]).expect("a certificate");
    fs::write(file("host.pem"), own.cert.pem()).expect("written");
    fs::write(file("host.key"), own.signing_key.serialize_pem()).expect("written");
    let show = |name: &str| {
        format!(
            "tls-certificate=\"{}\" tls-private-key=\"{}\"",
            file(&format!("{name}.pem")),
            file(&format!("{name}.key"))
        )
    };
    let ca = format!("tls-client-ca=\"{}\"", file("ca.pem"));
    let pin = format!("tls-client-fingerprint={known}");
    for (asked, lets_in, refuses) in [
        (ca.clone(), "other", "host"),
        (pin.clone(), "known", "other"),
        (format!("{ca} {pin}"), "known", "other"),
    ] {
        // With a certificate of its own WebSocket has TLS, too.
        let host = Host::sink(&format!("{asked} {}", show("host")));
        for scheme in ["https", "wss"] {
            for shown in [String::new(), show(refuses)] {
                let refused = host.viewer(scheme, &format!("tls-disable-verify=true {shown}"));
                wait_failure(&refused);
                assert_eq!(refused.element("moq").num_src_pads(), 0);
            }
            let shown = show(lets_in);
            let admitted = host.viewer(scheme, &format!("tls-disable-verify=true {shown}"));
            wait_pad(&admitted.element("moq"), "audio_0", DEADLINE);
            let added = wait_told(&host.running.bus(), "moq-session-added", |_| true);
            assert_eq!(
                added.get::<&str>("subject"),
                Ok("camera.example"),
                "{scheme}"
            );
            assert!(lets_in != "known" || added.get::<&str>("fingerprint") == Ok(&known));
        }
        let stats: gst::Structure = host.element().property("stats");
        assert_eq!(
            stats.get::<u64>("sessions-started"),
            Ok(2),
            "{asked}: {stats}"
        );
    }
}

#[test]
fn a_source_knows_the_host_by_its_fingerprint() {
    let host = Host::sink("");
    let fingerprint: String = host.element().property("certificate-fingerprint");
    let viewer = host.viewer("https", &format!("tls-fingerprint={fingerprint}"));
    wait_pad(&viewer.element("moq"), "audio_0", DEADLINE);
    let wrong = host.viewer("https", &format!("tls-fingerprint={}", "ab".repeat(32)));
    let told = wait_told(&wrong.bus(), "moq-disconnected", |_| true);
    assert_eq!(told.get::<&str>("cause"), Ok("certificate"), "{told}");
}

#[test]
fn the_application_decides_who_is_let_in() {
    let host = Host::sink("");
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = asked.clone();
    host.element()
        .connect("session-request", false, move |values| {
            let request: gst::Structure = values[1].get().expect("a structure");
            counter.fetch_add(1, Ordering::SeqCst);
            Some((request.get::<&str>("token") == Ok(TOKEN)).to_value())
        });
    for scheme in ["http", "ws"] {
        let (error, text) = wait_error(&host.viewer(scheme, "token=wrong"));
        assert!(
            error.matches(gst::ResourceError::NotAuthorized),
            "{scheme}: {text}"
        );
        let admitted = host.viewer(scheme, &format!("token={TOKEN}"));
        wait_pad(&admitted.element("moq"), "audio_0", DEADLINE);
    }
    assert!(asked.load(Ordering::SeqCst) >= 4);
    assert!(!format!("{:?}", host.element().property::<gst::Structure>("stats")).contains(TOKEN));
}

#[test]
fn a_handler_that_does_not_answer_refuses_for_now() {
    let host = Host::sink("");
    let (release, released) = mpsc::channel::<()>();
    let released = Mutex::new(Some(released));
    host.element().connect("session-request", false, move |_| {
        // The first one alone is not answered in time.
        let blocked = released.lock().expect("no panic").take();
        if let Some(blocked) = blocked {
            // The test lets it go.
            let _ = blocked.recv();
        }
        Some(true.to_value())
    });
    let viewer = host.viewer("ws", "");
    let told = wait_told(&viewer.bus(), "moq-disconnected", |_| true);
    assert_ne!(told.get::<&str>("cause"), Ok("not-authorized"), "{told}");
    drop(release);
    wait_pad(&viewer.element("moq"), "audio_0", DEADLINE);
}

#[test]
fn a_host_that_begins_anew_after_the_end_is_watched_on() {
    let clip = clip();
    let media = format!(
        "filesrc location=\"{}\" ! qtdemux ! h264parse ! moq.sink_0",
        clip.display()
    );
    let host = Host::sink_of(&media, "");
    for _ in 0..2 {
        host.running.wait_eos();
        let begin = gst::ClockTime::ZERO;
        host.running
            .seek_simple(gst::SeekFlags::FLUSH, begin)
            .expect("it goes back to the begin");
        let viewer = host.viewer("http", "");
        let got = Packets::of(&wait_pad(&viewer.element("moq"), "video_0", DEADLINE));
        got.wait_count(30, DEADLINE);
    }
}

#[test]
fn no_more_sessions_than_allowed_are_let_in() {
    let host = Host::sink("max-sessions=1");
    let first = host.viewer("http", "");
    wait_pad(&first.element("moq"), "audio_0", DEADLINE);
    for scheme in ["http", "ws"] {
        let second = host.viewer(scheme, "");
        let told = wait_told(&second.bus(), "moq-disconnected", |_| true);
        assert_eq!(told.get::<&str>("cause"), Ok("busy"), "{told}");
        assert_eq!(second.element("moq").num_src_pads(), 0);
    }
    drop(first);
    let third = host.viewer("http", "");
    wait_pad(&third.element("moq"), "audio_0", DEADLINE);
}

#[test]
fn a_port_that_is_taken_fails_the_state_change() {
    init();
    let address = (Ipv4Addr::LOCALHOST, 0);
    let tcp = TcpListener::bind(address).expect("a port");
    let udp = UdpSocket::bind(address).expect("a port");
    let taken = [tcp.local_addr(), udp.local_addr()];
    for port in taken.map(|address| address.expect("it is bound").port()) {
        let moq = format!("mode=listen bind=127.0.0.1:{port} broadcast=x");
        for line in [
            format!("fakesrc ! moqsink {moq}"),
            format!("moqsrc {moq} ! fakesink"),
        ] {
            let running = Running::launch(&line);
            assert!(running.set_state(gst::State::Playing).is_err(), "{line}");
            let (error, text) = wait_error(&running);
            assert!(error.matches(gst::ResourceError::Busy), "{text}");
            assert!(text.contains(&port.to_string()), "{text}");
        }
    }
}

#[test]
fn the_port_is_free_again_after_a_stop() {
    let host = Host::sink("");
    let bind = format!("127.0.0.1:{}", host.port);
    let viewer = host.viewer("http", "");
    wait_pad(&viewer.element("moq"), "audio_0", DEADLINE);
    let element = host.element();
    for _ in 0..3 {
        host.running.set_state(gst::State::Null).expect("it stops");
        element.set_property("bind", &bind);
        host.running.start();
        host.wait_sessions(1);
    }
}

#[test]
fn wrong_settings_are_told_at_the_state_change() {
    init();
    for (properties, hint) in [
        ("url=https://relay.example/", "\"url\""),
        ("token=x", "\"listen-token\""),
        ("tls-disable-verify=true", "\"tls-disable-verify\""),
        ("bind=nonsense", "\"bind\""),
        ("bind=192.0.2.1:4443", "\"bind\""),
        ("web-root=/no/such/folder", "\"web-root\""),
        (
            "tls-certificate=/no/such.pem tls-private-key=/no/such.pem",
            "\"tls-certificate\"",
        ),
        ("tls-client-ca=/no/such.pem", "\"tls-client-ca\""),
        ("tls-client-fingerprint=12", "\"tls-client-fingerprint\""),
    ] {
        let running = Running::launch(&format!(
            "fakesrc ! moqsink mode=listen broadcast=x bind=127.0.0.1:0 {properties}"
        ));
        assert!(
            running.set_state(gst::State::Playing).is_err(),
            "{properties}"
        );
        let (error, text) = wait_error(&running);
        assert!(error.matches(gst::ResourceError::Settings), "{text}");
        assert!(text.contains(hint), "{properties}: {text}");
    }
}

#[test]
fn the_fingerprint_is_served() {
    let host = Host::sink("");
    let fingerprint: String = host.element().property("certificate-fingerprint");
    let answer = get(host.port, "/certificate.sha256");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.ends_with(&fingerprint), "{answer}");
    let nothing = get(host.port, "/index.html");
    assert!(nothing.starts_with("HTTP/1.1 404"), "{nothing}");
}

#[test]
fn a_folder_is_served_and_nothing_beside_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path().join("web");
    fs::create_dir_all(root.join("empty")).expect("a folder");
    fs::write(folder.path().join("secret.txt"), "secret").expect("a file");
    fs::write(root.join("index.html"), "<p>page</p>").expect("a file");
    fs::write(root.join(".env"), "secret").expect("a file");
    fs::write(root.join("app.js"), "run()").expect("a file");
    fs::write(root.join("module.wasm"), "wasm").expect("a file");
    let host = Host::sink(&format!("web-root=\"{}\"", root.display()));
    for (path, type_) in [
        ("/", "text/html"),
        ("/index.html?x=1", "text/html"),
        ("/app.js", "text/javascript"),
        ("/module.wasm", "application/wasm"),
    ] {
        let answer = get(host.port, path).to_lowercase();
        assert!(answer.starts_with("http/1.1 200"), "{path}: {answer}");
        assert!(
            answer.contains(&format!("content-type: {type_}")),
            "{path}: {answer}"
        );
    }
    for path in [
        "/../secret.txt",
        "/%2e%2e/secret.txt",
        "/..%2fsecret.txt",
        "//secret.txt",
        "/empty/",
        "/.env",
        "/%2eenv",
        "/no",
    ] {
        let answer = get(host.port, path);
        assert!(answer.starts_with("HTTP/1.1 404"), "{path}: {answer}");
    }
    let posted = http(
        host.port,
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    );
    assert!(posted.starts_with("HTTP/1.1 405"), "{posted}");
}

#[test]
fn a_new_certificate_is_served_and_no_session_ends() {
    let folder = tempfile::tempdir().expect("a folder");
    let (certificate, key) = (folder.path().join("c.pem"), folder.path().join("k.pem"));
    let make = || {
        let made =
            rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        fs::write(&certificate, made.cert.pem()).expect("written");
        fs::write(&key, made.signing_key.serialize_pem()).expect("written");
    };
    make();
    let host = Host::sink(&format!(
        "tls-certificate=\"{}\" tls-private-key=\"{}\"",
        certificate.display(),
        key.display()
    ));
    let first: String = host.element().property("certificate-fingerprint");
    let viewer = host.viewer("https", "tls-disable-verify=true");
    let got = Packets::of(&wait_pad(&viewer.element("moq"), "audio_0", DEADLINE));
    got.wait_count(10, DEADLINE);
    make();
    wait_property(
        &host.element(),
        "certificate-fingerprint",
        DEADLINE,
        |now: &String| *now != first,
    );
    got.wait_count(got.count() + 20, DEADLINE);
    let stats: gst::Structure = host.element().property("stats");
    assert_eq!(stats.get::<u64>("sessions-ended"), Ok(0), "{stats}");
    // Who comes by WebSocket speaks TLS, too.
    let other = host.viewer("wss", "tls-disable-verify=true");
    wait_pad(&other.element("moq"), "audio_0", DEADLINE);
}

#[test]
fn connections_that_say_nothing_harm_nobody() {
    let host = Host::sink("");
    let viewer = host.viewer("http", "");
    let sent = Packets::of_pad(&host.element(), "sink_0");
    let got = Packets::of(&wait_pad(&viewer.element("moq"), "audio_0", DEADLINE));
    got.wait_count(10, DEADLINE);
    let files = || fs::read_dir("/proc/self/fd").expect("this process").count();
    let before = files();
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, host.port));
    let silent: Vec<_> = (0..1000)
        .filter_map(|number| {
            let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1)).ok()?;
            // Half of them begin and never end a head.
            if number % 2 == 0 {
                stream.write_all(b"GET / HTTP/1.1\r\nHost: ").ok()?;
            }
            Some(stream)
        })
        .collect();
    let begun = got.count();
    got.wait_count(begun + 100, DEADLINE);
    // Ours are among them: each connection has two ends in this process.
    let accepted = files() - before - silent.len();
    assert!(
        accepted <= 300,
        "{accepted} connections of {} are held",
        silent.len()
    );
    drop(silent);
    let (sent, got) = (sent.so_far(), got.so_far());
    // Either probe may have been there first.
    let at = |packets: &[Packet], packet: &Packet| {
        let mut bytes = packets.iter().map(|packet| &packet.bytes);
        bytes.position(|bytes| *bytes == packet.bytes)
    };
    let from = at(&sent, &got[0]).unwrap_or_default();
    let begun = at(&got, &sent[from]).expect("what is sent arrives");
    let got = &got[begun..];
    same("audio", &sent[from..from + got.len()], got);
}
