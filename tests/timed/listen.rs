// SPDX-License-Identifier: MIT
//! What one session of many costs the others.

use std::{
    collections::{HashMap, hash_map::DefaultHasher},
    fs,
    hash::{Hash, Hasher},
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use gst::prelude::*;

use crate::common::{
    Packets, Path, Proxy, Running, init,
    pipeline::{DEADLINE, wait_pad, wait_property, wait_told},
    resources::status,
    unique_broadcast,
};

const MIB: u64 = 1 << 20;
/// 4 Mbit/s, whatever the encoder is asked to make of it.
const VIDEO: &str = "videotestsrc is-live=true pattern=snow ! \
    video/x-raw,format=I420,width=320,height=240,framerate=30/1 ! \
    x264enc speed-preset=ultrafast tune=zerolatency bitrate=4000 key-int-max=30 ! h264parse";
/// How many frames each part of the scene lasts.
const FRAMES: usize = 240;

/// Starts a listening `moqsink` at a free port of loopback.
fn host() -> (Running, String, u16) {
    init();
    let broadcast = unique_broadcast("host");
    let host = Running::launch(&format!(
        "{VIDEO} ! moq.sink_0 moqsink name=moq mode=listen bind=127.0.0.1:0 broadcast={broadcast}"
    ));
    host.start();
    let told = wait_told(&host.bus(), "moq-listening", |_| true);
    let port: u32 = told.get("port").expect("a port");
    (host, broadcast, port.try_into().expect("a port"))
}

fn viewer(url: &str, broadcast: &str) -> Running {
    Running::play(&format!(
        "moqsrc name=moq url={url} broadcast={broadcast} tls-disable-verify=true ! \
         fakesink sync=false async=false"
    ))
}

/// When frames pass a pad, by what is in them.
#[derive(Clone, Default)]
struct Passes(Arc<Mutex<HashMap<u64, Instant>>>);

impl Passes {
    fn of(pad: &gst::Pad) -> Self {
        let passes = Self::default();
        let noted = passes.clone();
        pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
            if let Some(map) = info.buffer().and_then(|buffer| buffer.map_readable().ok()) {
                let mut hasher = DefaultHasher::new();
                map.as_slice().hash(&mut hasher);
                noted
                    .lock()
                    .entry(hasher.finish())
                    .or_insert_with(Instant::now);
            }
            gst::PadProbeReturn::Ok
        });
        passes
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<u64, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The times (ms) that frames took from here to there, of those that came `since` then, sorted.
    fn delays(&self, to: &Self, since: Instant) -> Vec<f64> {
        let arrivals = to.lock();
        let sent = self.lock();
        let delay = |(frame, arrival): (&u64, &Instant)| {
            let sent = *sent.get(frame)?;
            (sent > since).then(|| (*arrival - sent).as_secs_f64() * 1e3)
        };
        let mut delays: Vec<f64> = arrivals.iter().filter_map(delay).collect();
        delays.sort_by(f64::total_cmp);
        delays
    }
}

#[test]
fn a_slow_session_costs_the_others_nothing() {
    let (host, broadcast, port) = host();
    let url = format!("https://127.0.0.1:{port}/");
    let element = host.element("moq");
    let sent = Passes::of(&wait_pad(&element, "sink_0", DEADLINE));
    let free = [(); 2].map(|()| viewer(&url, &broadcast));
    let pads = free
        .each_ref()
        .map(|viewer| wait_pad(&viewer.element("moq"), "video_0", DEADLINE));
    let arrived = pads.each_ref().map(Passes::of);
    let packets = pads.each_ref().map(Packets::of);
    // The first second catches up.
    let phase = |name: &str| {
        for track in &packets {
            track.wait_count(track.count() + 30, DEADLINE);
        }
        let since = Instant::now();
        for track in &packets {
            track.wait_count(track.count() + FRAMES, DEADLINE);
        }
        for arrived in &arrived {
            let delays = sent.delays(arrived, since);
            println!(
                "{name}: {} frames, p50 {:.2} ms, p99 {:.2} ms, memory {} MiB",
                delays.len(),
                delays[delays.len() / 2],
                delays[delays.len() * 99 / 100],
                status("VmRSS") / MIB
            );
        }
    };
    phase("without a slow session");
    let alone = status("VmRSS");
    let path = Path {
        bandwidth: Some(500_000),
        ..Path::default()
    };
    let proxy = Proxy::start(SocketAddr::from((Ipv4Addr::LOCALHOST, port)), path);
    let proxy = proxy.expect("a proxy");
    let slow = viewer(&format!("https://{}/", proxy.addr()), &broadcast);
    wait_property(&element, "sessions", DEADLINE, |count: &u32| *count == 3);
    fs::write("/proc/self/clear_refs", "5").expect("one's own peak can be reset");
    phase("beside one at 0.5 Mbit/s");
    let cache: u64 = element.property("cache-size");
    let more = status("VmHWM").saturating_sub(alone);
    println!("memory: {} MiB more", more / MIB);
    assert!(more <= cache + 40 * MIB, "{} MiB more", more / MIB);
    for track in &packets {
        let got = track.so_far();
        let times = got.windows(2).map(|pair| pair[1].pts.zip(pair[0].pts));
        let gaps = times
            .flatten()
            .filter(|(next, frame)| next.saturating_sub(*frame) > 50 * gst::ClockTime::MSECOND);
        assert_eq!(gaps.count(), 0, "no frame is lost at a free session");
    }
    let stats: gst::Structure = element.property("stats");
    let sessions: gst::Array = stats.get("sessions").expect("a list");
    for session in sessions.iter() {
        println!("{}", session.get::<gst::Structure>().expect("a structure"));
    }
    drop(slow);
}
