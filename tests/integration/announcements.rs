// SPDX-License-Identifier: MIT
//! A relay with many broadcasts: a subscriber hears of those alone that it reads.

use serde_json::json;

use crate::common::{
    Packets, Path, Proxy, Publisher, Relay, Running, init,
    media::moqsrc,
    pipeline::{DEADLINE, wait_until},
    publisher::{wait_announced, write},
    scene::{SILENCE, catalog, opus},
    unique_broadcast,
};

#[test]
fn a_storm_of_other_broadcasts_does_not_reach_a_subscriber() {
    const OTHERS: usize = 10_000;
    init();
    let relay = Relay::start().expect("the relay starts");
    let proxy = Proxy::start(relay.addr(), Path::default()).expect("the proxy starts");
    let name = unique_broadcast("storm");
    let listed = catalog(json!({}), json!({"good": opus()}), json!({}), json!({}));
    let publisher = Publisher::start(&relay.url(), &name, &listed.to_string());
    let track = publisher.track("good");
    let subscriber = Running::play(&format!(
        "{} moq.audio_0 ! fakesink sync=false async=false",
        moqsrc(&proxy.url(), &name)
    ));
    let packets = Packets::of_pad(&subscriber.element("moq"), "audio_0");
    let mut micros = 0;
    let mut goes_on = |more: usize| {
        let before = packets.count();
        wait_until("packets", DEADLINE, || {
            write(&track, micros, &SILENCE);
            micros += 2_000;
            packets.count() > before + more
        });
    };
    goes_on(1);
    let (_, before) = proxy.delivered();
    let others = (0..OTHERS).map(|number| publisher.announce_other(&format!("{name}-{number}")));
    let _others: Vec<_> = others.collect();
    // Announced after them, and waited for: they have reached the relay.
    let last = unique_broadcast("last");
    let _last = publisher.announce_other(&last);
    wait_announced(&relay.url(), &last);
    goes_on(100);
    let (_, after) = proxy.delivered();
    let each = (after - before) / OTHERS as u64;
    assert!(each < name.len() as u64, "{each} bytes for each of them");
}
