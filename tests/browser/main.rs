// SPDX-License-Identifier: MIT
//! The pages of `examples/web` in a real browser.

#[path = "../common/mod.rs"]
mod common;

mod browser;

use std::{
    env,
    net::{Ipv4Addr, SocketAddr, TcpStream},
    path::Path,
    time::Duration,
};

use browser::{Browser, Pages};
use common::{
    Packets, Relay, Running, init,
    media::{Video, live_aac, moqsink, moqsrc},
    pipeline::wait_until,
};

/// A browser encodes and decodes without a GPU here.
const DEADLINE: Duration = Duration::from_secs(60);

/// How many video frames and audio buffers of the browser must be decoded.
const ENOUGH: usize = 20;

const VIDEO: Video = Video {
    width: 640,
    height: 360,
    fps: 30,
    gop: 60,
    b_frames: 0,
    bitrate: 1000,
};

/// Publishes what the page is to show.
fn publish(sink: &str) -> Running {
    let (video, audio) = (VIDEO.live(), live_aac());
    Running::play(&format!("{video} ! moq.sink_0 {audio} ! moq.sink_1 {sink}"))
}

/// Claims that the page at `origin`, or of the folder, shows moving video and plays audio.
fn watch(origin: &str, query: &str, screenshot: Option<&Path>) {
    let shown = Browser::watch(origin, query, screenshot).wait_report(DEADLINE);
    assert_eq!(shown["width"], VIDEO.width);
    assert_eq!(shown["height"], VIDEO.height);
    let status = shown["status"].as_str().expect("the page has a status");
    assert!(status.contains("live (WebTransport"), "{status}");
}

/// Claims that `source` takes what the browser sends, and that it can be decoded.
fn receive(source: &str, publish: impl FnOnce() -> Browser) {
    let player = Running::launch(&format!(
        "{source} decodebin3 name=dec moq.video_0 ! dec. moq.audio_0 ! dec.sink_1 \
         dec.video_0 ! fakesink name=video dec.audio_0 ! fakesink name=audio"
    ));
    let decoded = ["video", "audio"].map(|sink| Packets::into_sink(&player.element(sink)));
    player.start();
    let browser = publish();
    browser.wait_report(DEADLINE);
    let [video, audio] = decoded.map(|packets| {
        packets.wait_count(ENOUGH, DEADLINE);
        packets
    });
    video.wait_caps("video/x-raw", DEADLINE);
    audio.wait_caps("audio/x-raw", DEADLINE);
}

/// A relay on whose port number the page finds everything.
fn relay() -> Relay {
    let port = Relay::free_port().expect("a port");
    Relay::start_at(port).expect("the relay starts")
}

fn http(addr: SocketAddr) -> String {
    format!("http://{addr}")
}

/// Where an element will listen.
fn free_addr() -> SocketAddr {
    let port = Relay::free_port().expect("a port");
    (Ipv4Addr::LOCALHOST, port).into()
}

fn wait_listening(addr: SocketAddr) {
    let listens = || TcpStream::connect(addr).is_ok();
    wait_until("the element listens", DEADLINE, listens);
}

/// `SCREENSHOT=docs/watch.png` keeps what the page looks like.
#[test]
fn the_page_shows_what_moqsink_publishes_through_a_relay() {
    init();
    let pages = Pages::build();
    let relay = relay();
    let _publisher = publish(&moqsink(&relay.url(), "clip.hang"));
    let query = format!("url={}", http(relay.addr()));
    let screenshot = env::var_os("SCREENSHOT");
    watch(&pages.folder(), &query, screenshot.as_ref().map(Path::new));
}

#[test]
fn the_page_shows_what_moqsink_serves_by_itself() {
    init();
    let pages = Pages::build();
    let addr = free_addr();
    let _publisher = publish(&format!(
        "moqsink name=moq mode=listen bind={addr} web-root=\"{}\" broadcast=clip.hang",
        pages.folder()
    ));
    wait_listening(addr);
    watch(&http(addr), "", None);
}

#[test]
fn moqsrc_receives_what_the_page_publishes_through_a_relay() {
    init();
    let pages = Pages::build();
    let relay = relay();
    let query = format!("url={}", http(relay.addr()));
    receive(&moqsrc(&relay.url(), "cam.hang"), || {
        Browser::publish(&pages.folder(), &query)
    });
}

#[test]
fn moqsrc_receives_what_the_page_publishes_to_it() {
    init();
    let pages = Pages::build();
    let addr = free_addr();
    let source = format!(
        "moqsrc name=moq mode=listen bind={addr} web-root=\"{}\" broadcast=cam.hang",
        pages.folder()
    );
    receive(&source, || {
        wait_listening(addr);
        Browser::publish(&http(addr), "")
    });
}
