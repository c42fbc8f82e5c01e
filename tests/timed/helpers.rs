// SPDX-License-Identifier: MIT
//! The relay and the network of the other tests do what those tests rely on.

use std::{
    net::UdpSocket,
    time::{Duration, Instant},
};

use crate::common::{Path, Proxy, Relay, watchdog};

const BOUND: Duration = Duration::from_secs(30);

#[test]
fn a_relay_comes_up_on_a_known_port_and_goes_down() {
    watchdog("a relay comes and goes twice", BOUND, || {
        let port = Relay::free_port().expect("a port is free");
        for _ in 0..2 {
            let relay = Relay::start_at(port).expect("the relay starts");
            assert_eq!(relay.url(), Relay::url_at(port));
            relay.stop();
        }
    });
}

#[test]
fn a_relay_with_a_token_admits_nobody_else() {
    watchdog("three sessions are decided", BOUND, || {
        let relay = Relay::start_with_token("secret").expect("the relay starts");
        assert!(connects(&format!("{}?jwt=secret", relay.url())));
        assert!(!connects(&format!("{}?jwt=guess", relay.url())));
        assert!(!connects(&relay.url()));
    });
}

#[test]
fn a_session_reaches_the_relay_through_the_proxy() {
    watchdog("a session is made", BOUND, || {
        let relay = Relay::start().expect("the relay starts");
        let proxy = Proxy::start(relay.addr(), Path::default()).expect("the proxy starts");
        assert!(connects(&proxy.url()));
        let (up, down) = proxy.delivered();
        assert!(up > 0 && down > 0, "{up} bytes up, {down} bytes down");
    });
}

#[test]
fn the_proxy_delays_both_ways() {
    let path = Path {
        delay: Duration::from_millis(50),
        ..Path::default()
    };
    let (echoed, time) = echo(path, 1, 100);
    assert_eq!(echoed, 1);
    assert!(time >= Duration::from_millis(100), "took {time:?}");
}

#[test]
fn the_proxy_has_a_bandwidth() {
    // 20 packets of 1000 bytes are 160 ms of 1 Mbit/s.
    let path = Path {
        bandwidth: Some(1_000_000),
        ..Path::default()
    };
    let (echoed, time) = echo(path, 20, 1000);
    assert_eq!(echoed, 20);
    assert!(time >= Duration::from_millis(160), "took {time:?}");
}

#[test]
fn the_proxy_loses_what_its_queue_has_no_room_for() {
    let path = Path {
        bandwidth: Some(1_000_000),
        queue: 5_000,
        ..Path::default()
    };
    let (echoed, _) = echo(path, 50, 1000);
    assert!((5..15).contains(&echoed), "{echoed} of 50 came back");
}

#[test]
fn the_proxy_loses_packets_by_chance() {
    let path = Path {
        loss: 0.3,
        ..Path::default()
    };
    let (echoed, _) = echo(path, 100, 100);
    assert!((30..70).contains(&echoed), "{echoed} of 100 came back");
}

/// How long a refusal may take to arrive.
const REFUSAL: Duration = Duration::from_secs(1);

/// Whether a session is made and not ended by a refusal.
fn connects(url: &str) -> bool {
    let runtime = tokio::runtime::Runtime::new().expect("the runtime starts");
    runtime.block_on(async {
        let mut config = moq_tokio::connect::Config::default();
        config.once = Some(true);
        config.tls.insecure = Some(true);
        config.websocket.enabled = Some(false);
        let client = config
            .init(moq_tokio::quic::Config::default())
            .expect("the client starts");
        let url: url::Url = url.parse().expect("the URL is valid");
        let connection = client
            .with_subscriber(moq_tokio::origin::spawn())
            .connect(url);
        let connecting = tokio::time::timeout(BOUND / 3, connection.established());
        let Ok(Ok(connection)) = connecting.await else {
            return false;
        };
        // The transport is up before the relay has decided.
        let refused = tokio::time::timeout(REFUSAL, connection.closed());
        refused.await.is_err()
    })
}

/// Sends packets through a path to an echo and says how many came back and how long that took.
fn echo(path: Path, count: usize, size: usize) -> (usize, Duration) {
    const QUIET: Duration = Duration::from_millis(500);

    let far = UdpSocket::bind("127.0.0.1:0").expect("a socket for the echo");
    let proxy = Proxy::start(far.local_addr().expect("its address"), path).expect("a proxy");
    let near = UdpSocket::bind("127.0.0.1:0").expect("a socket for the client");
    near.set_read_timeout(Some(QUIET)).expect("a timeout");
    far.set_read_timeout(Some(QUIET)).expect("a timeout");
    let start = Instant::now();
    let echo = std::thread::spawn(move || {
        let mut buffer = [0; 2048];
        while let Ok((length, from)) = far.recv_from(&mut buffer) {
            far.send_to(&buffer[..length], from)
                .expect("the echo answers");
        }
    });
    for _ in 0..count {
        near.send_to(&vec![7; size], proxy.addr())
            .expect("a packet goes out");
    }
    let mut buffer = [0; 2048];
    let (mut echoed, mut last) = (0, start);
    while echoed < count && near.recv_from(&mut buffer).is_ok() {
        echoed += 1;
        last = Instant::now();
    }
    echo.join().expect("the echo ends");
    (echoed, last - start)
}
