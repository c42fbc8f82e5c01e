// SPDX-License-Identifier: MIT
//! Whom the elements trust, as whom they come, and where a token goes.

use std::{
    io::{self, Read as _, Write as _},
    net::{Shutdown, TcpListener},
    path::Path,
    sync::{Arc, mpsc},
    thread,
};

use gst::prelude::*;
use moq_tokio::{
    rustls::{
        RootCertStore, ServerConfig, ServerConnection,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
        server::WebPkiClientVerifier,
    },
    tls::Peers,
};

use crate::common::{
    Answer, Authority, Packets, Peer, Relay, Running, init,
    media::{live_opus, publish_live},
    pipeline::{DEADLINE, describe, wait_message, wait_told, wait_until},
    unique_broadcast,
};

const ELEMENTS: [&str; 2] = ["moqsink", "moqsrc"];

/// A pipeline with one of the elements, named `moq`.
fn alone(element: &str, url: &str, properties: &str) -> String {
    format!(
        "fakesrc num-buffers=0 ! fakesink async=false \
         {element} name=moq url={url} broadcast=x {properties}"
    )
}

/// Media get from one element to the other.
fn plays(url: &str, properties: &str) {
    let broadcast = unique_broadcast("trust");
    let common = format!("name=moq url={url} broadcast={broadcast} {properties}");
    let _publisher = Running::play(&format!("{} ! moq.sink_0 moqsink {common}", live_opus()));
    let subscriber = Running::launch(&format!("moqsrc {common} moq.audio_0 ! fakesink name=sink"));
    let packets = Packets::into_sink(&subscriber.element("sink"));
    subscriber.start();
    packets.wait_count(5, DEADLINE);
}

/// No element gets a session, and each says what to set.
fn is_refused(url: &str, properties: &str, hints: &[&str]) {
    for element in ELEMENTS {
        let pipeline = Running::play(&alone(element, url, properties));
        let told = wait_told(&pipeline.bus(), "moq-disconnected", |_| true);
        assert_eq!(told.get("cause"), Ok("certificate"), "{url}: {told}");
        let reason: &str = told.get("reason").expect("a reason");
        for hint in hints {
            assert!(reason.contains(hint), "{url} {properties}: {reason}");
        }
        assert!(!pipeline.element("moq").property::<bool>("connected"));
        assert_eq!(pipeline.element("moq").num_src_pads(), 0);
    }
}

/// The element does not start; returns why.
fn is_wrong(element: &str, url: &str, properties: &str) -> String {
    let pipeline = Running::launch(&alone(element, url, properties));
    assert!(pipeline.set_state(gst::State::Ready).is_ok());
    assert!(
        pipeline.set_state(gst::State::Paused).is_err(),
        "{url} {properties}"
    );
    let error = wait_message(&pipeline.bus(), &[gst::MessageType::Error], DEADLINE);
    let gst::MessageView::Error(view) = error.view() else {
        unreachable!("only errors were asked for")
    };
    let text = describe(&error);
    assert!(view.error().matches(gst::ResourceError::Settings), "{text}");
    text
}

/// The URLs of a relay, by the ways in which its certificate is checked.
fn urls(relay: &Relay) -> [String; 3] {
    ["https", "moqt", "wss"].map(|scheme| format!("{scheme}://{}/", relay.addr()))
}

/// `tls-ca-file` of the authority in `directory`.
fn ca(directory: &Path) -> String {
    format!("tls-ca-file={}", directory.join("ca.pem").display())
}

/// The certificate of this name, and its key.
fn identity(directory: &Path, name: &str) -> String {
    let directory = directory.display();
    format!("tls-certificate={directory}/{name}.pem tls-private-key={directory}/{name}.key")
}

fn with_colons(fingerprint: &str) -> String {
    let upper = fingerprint.to_ascii_uppercase();
    let pairs: Vec<_> = upper
        .as_bytes()
        .chunks(2)
        .map(String::from_utf8_lossy)
        .collect();
    pairs.join(":")
}

#[test]
fn a_relay_is_trusted_by_its_authority_or_its_fingerprint() {
    init();
    let [here, elsewhere] = [(); 2].map(|()| tempfile::tempdir().expect("a directory"));
    let fingerprint = Authority::new(here.path()).sign("relay", "127.0.0.1", 4000);
    Authority::new(elsewhere.path());
    let relay = Relay::start_with_certificate(here.path(), "relay").expect("the relay starts");
    let other = "ab".repeat(32);
    for url in urls(&relay) {
        let hints = ["tls-ca-file", "tls-fingerprint"];
        is_refused(&url, "", &hints);
        is_refused(&url, &ca(elsewhere.path()), &hints);
        is_refused(&url, &format!("tls-fingerprint={other}"), &hints[1..]);
        plays(&url, &ca(here.path()));
        plays(&url, &format!("tls-fingerprint={fingerprint}"));
        let fingerprint = with_colons(&fingerprint);
        plays(&url, &format!("tls-fingerprint=\"{other}, {fingerprint}\""));
    }
}

#[test]
fn an_expired_certificate_is_refused_unless_its_fingerprint_is_known() {
    init();
    let directory = tempfile::tempdir().expect("a directory");
    let fingerprint = Authority::new(directory.path()).sign("relay", "127.0.0.1", 2020);
    let relay = Relay::start_with_certificate(directory.path(), "relay").expect("the relay starts");
    for url in urls(&relay) {
        is_refused(&url, &ca(directory.path()), &["out of date"]);
        plays(&url, &format!("tls-fingerprint={fingerprint}"));
    }
}

#[test]
fn a_relay_of_another_name_is_trusted_by_that_name() {
    init();
    let directory = tempfile::tempdir().expect("a directory");
    Authority::new(directory.path()).sign("relay", "relay.example", 4000);
    let relay = Relay::start_with_certificate(directory.path(), "relay").expect("the relay starts");
    let ca = ca(directory.path());
    for url in urls(&relay) {
        is_refused(&url, &ca, &["tls-server-name"]);
        is_refused(
            &url,
            &format!("{ca} tls-server-name=b.example"),
            &["tls-server-name"],
        );
        plays(&url, &format!("{ca} tls-server-name=relay.example"));
    }
}

#[test]
fn a_relay_knows_its_clients_by_their_certificates() {
    init();
    let directory = tempfile::tempdir().expect("a directory");
    let authority = Authority::new(directory.path());
    authority.sign("relay", "127.0.0.1", 4000);
    authority.sign("client", "client.example", 4000);
    let relay = Relay::start_for_certificates(directory.path(), "relay").expect("the relay starts");
    let ca = ca(directory.path());
    for url in urls(&relay) {
        for element in ELEMENTS {
            let pipeline = Running::play(&alone(element, &url, &ca));
            let error = wait_message(&pipeline.bus(), &[gst::MessageType::Error], DEADLINE);
            let gst::MessageView::Error(view) = error.view() else {
                unreachable!("only errors were asked for")
            };
            let text = describe(&error);
            assert!(
                view.error().matches(gst::ResourceError::NotAuthorized),
                "{text}"
            );
            assert!(text.contains("tls-certificate"), "{text}");
        }
        plays(
            &url,
            &format!("{ca} {}", identity(directory.path(), "client")),
        );
    }
}

#[test]
fn a_relay_that_lets_in_certain_certificates_alone_says_so() {
    init();
    let directory = tempfile::tempdir().expect("a directory");
    let authority = Authority::new(directory.path());
    let server = authority.sign("relay", "127.0.0.1", 4000);
    let known = authority.sign("known", "client.example", 4000);
    authority.sign("unknown", "client.example", 4000);
    let peers = Peers::new();
    peers.insert(&known).expect("a fingerprint");
    let relay = Peer::start(Answer::Accept, |config| {
        config.tls.generate.clear();
        config.tls.cert = vec![directory.path().join("relay.pem")];
        config.tls.key = vec![directory.path().join("relay.key")];
        config.tls.peers = Some(peers);
    });
    let trust = format!("tls-fingerprint={server}");
    for url in [relay.url(), relay.url().replace("https:", "moqt:")] {
        is_refused(&url, &trust, &["tls-certificate"]);
        let unknown = identity(directory.path(), "unknown");
        is_refused(&url, &format!("{trust} {unknown}"), &["tls-certificate"]);
        let known = identity(directory.path(), "known");
        for element in ELEMENTS {
            let pipeline = Running::play(&alone(element, &url, &format!("{trust} {known}")));
            wait_told(&pipeline.bus(), "moq-connected", |_| true);
        }
    }
}

/// A TLS server over TCP that ends every handshake without a certificate of the authority in `directory`.
fn strict_tls(directory: &Path) -> u16 {
    let file = |name: &str| directory.join(name);
    let mut roots = RootCertStore::empty();
    let ca = CertificateDer::from_pem_file(file("ca.pem")).expect("a certificate");
    roots.add(ca).expect("an authority");
    let chain = CertificateDer::from_pem_file(file("relay.pem")).expect("a certificate");
    let key = PrivateKeyDer::from_pem_file(file("relay.key")).expect("a key");
    let provider = moq_tokio::crypto::provider();
    let clients = WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_client_cert_verifier(clients.build().expect("a verifier"))
        .with_single_cert(vec![chain], key);
    let config = Arc::new(config.expect("a server"));
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut server = ServerConnection::new(config.clone()).expect("a connection");
            // The client that is refused hears it by an alert.
            let _ = server.complete_io(&mut stream);
            // Unread data would have the alert lost.
            let _ = stream.shutdown(Shutdown::Write);
            let _ = io::copy(&mut stream, &mut io::sink());
        }
    });
    port
}

#[test]
fn a_web_socket_that_wants_a_certificate_says_so() {
    init();
    let [here, elsewhere] = [(); 2].map(|()| tempfile::tempdir().expect("a directory"));
    let server = Authority::new(here.path()).sign("relay", "127.0.0.1", 4000);
    Authority::new(elsewhere.path()).sign("unknown", "client.example", 4000);
    let url = format!("wss://127.0.0.1:{}/", strict_tls(here.path()));
    let trust = format!("tls-fingerprint={server}");
    is_refused(&url, &trust, &["tls-certificate"]);
    let unknown = identity(elsewhere.path(), "unknown");
    is_refused(&url, &format!("{trust} {unknown}"), &["tls-certificate"]);
}

/// The scheme, properties that are wrong with it, and what the error names; `DIR` stands for a directory and
/// `PIN` for a fingerprint.
const WRONG: [(&str, &str, &str); 17] = [
    ("https", "tls-ca-file=DIR/none.pem", "tls-ca-file"),
    ("https", "tls-ca-file=DIR/a.key", "tls-ca-file"),
    ("https", "tls-ca-file=DIR", "tls-ca-file"),
    ("https", "tls-fingerprint=PIN0", "tls-fingerprint"),
    ("https", "tls-fingerprint=PIN,", "tls-fingerprint"),
    ("https", "tls-fingerprint=z", "tls-fingerprint"),
    ("https", "tls-server-name=\"a b\"", "tls-server-name"),
    ("https", "tls-certificate=DIR/a.pem", "tls-private-key"),
    ("https", "tls-private-key=DIR/a.key", "tls-certificate"),
    (
        "https",
        "tls-certificate=DIR/a.pem tls-private-key=DIR/b.key",
        "tls-private-key",
    ),
    (
        "https",
        "tls-certificate=DIR/a.pem tls-private-key=DIR/a.pem",
        "tls-private-key",
    ),
    (
        "https",
        "tls-certificate=DIR/a.key tls-private-key=DIR/a.key",
        "tls-certificate",
    ),
    (
        "https",
        "tls-disable-verify=true tls-ca-file=DIR/ca.pem",
        "tls-disable-verify",
    ),
    (
        "https",
        "tls-disable-verify=true tls-fingerprint=PIN",
        "tls-disable-verify",
    ),
    (
        "https",
        "tls-ca-file=DIR/ca.pem tls-fingerprint=PIN",
        "tls-fingerprint",
    ),
    ("http", "tls-ca-file=DIR/ca.pem", "https:"),
    ("ws", "tls-fingerprint=PIN", "wss:"),
];

#[test]
fn a_wrong_setting_of_trust_is_an_error_at_once() {
    init();
    let directory = tempfile::tempdir().expect("a directory");
    let authority = Authority::new(directory.path());
    for name in ["a", "b"] {
        authority.sign(name, "client.example", 4000);
    }
    let path = directory.path().display().to_string();
    for (scheme, properties, hint) in WRONG {
        let properties = properties.replace("DIR", &path);
        let properties = properties.replace("PIN", &"ab".repeat(32));
        for element in ELEMENTS {
            let text = is_wrong(element, &format!("{scheme}://relay.invalid/"), &properties);
            assert!(text.contains(hint), "{properties}: {text}");
        }
    }
}

#[test]
fn a_token_does_not_go_where_others_can_read_it() {
    init();
    let one = "ab".repeat(32);
    for url in ["http://relay.invalid/", "ws://relay.invalid/"] {
        for element in ELEMENTS {
            let text = is_wrong(element, url, "token=guess-what");
            for hint in ["allow-insecure-token", "https:"] {
                assert!(text.contains(hint), "{text}");
            }
            let told = |properties: &str| {
                let pipeline = Running::play(&alone(element, url, properties));
                wait_told(&pipeline.bus(), "moq-disconnected", |_| true)
            };
            told("token=guess-what allow-insecure-token=true");
        }
    }
    for element in ELEMENTS {
        let pipeline = Running::play(&alone(element, "ws://relay.invalid/", ""));
        pipeline.element("moq").set_property("token", "guess-what");
        let error = wait_message(&pipeline.bus(), &[gst::MessageType::Error], DEADLINE);
        let text = describe(&error);
        assert!(text.contains("allow-insecure-token"), "{text}");
        assert!(!text.contains("guess-what"), "{text}");
    }
    let text = is_wrong("moqsrc", "http://relay.invalid/?jwt=guess-what", "");
    assert!(text.contains("tls-fingerprint"), "{text}");
    assert!(!text.contains("guess-what"), "{text}");
    let pinned = format!("token=guess-what tls-fingerprint={one}");
    let pipeline = Running::play(&alone("moqsrc", "http://relay.invalid/", &pinned));
    wait_told(&pipeline.bus(), "moq-disconnected", |_| true);
}

/// A web server that gives this fingerprint, and what each request to it says.
fn web(fingerprint: String) -> (u16, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let (heard, requests) = mpsc::channel();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut request = [0; 4096];
            let len = stream.read(&mut request).unwrap_or_default();
            let request = String::from_utf8_lossy(&request[..len]).into_owned();
            if heard.send(request).is_err() {
                return;
            }
            let len = fingerprint.len();
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {len}\r\nconnection: close");
            // The client that went away again is not waited for.
            let _ = write!(stream, "{head}\r\n\r\n{fingerprint}");
        }
    });
    (port, requests)
}

#[test]
fn no_token_is_in_the_request_for_a_fingerprint_and_there_is_none_for_a_known_one() {
    init();
    let directory = tempfile::tempdir().expect("a directory");
    let fingerprint = Authority::new(directory.path()).sign("relay", "127.0.0.1", 4000);
    let (port, requests) = web(fingerprint.clone());
    // The fingerprint comes over TCP, the session over UDP of the same port.
    let _peer = Peer::start(Answer::Accept, |config| {
        config.bind = Some(format!("127.0.0.1:{port}").parse().expect("an address"));
        config.tls.generate.clear();
        config.tls.cert = vec![directory.path().join("relay.pem")];
        config.tls.key = vec![directory.path().join("relay.key")];
    });
    let connect = |properties: &str| {
        let url = format!("http://127.0.0.1:{port}/path");
        let properties = format!("token=guess-what {properties}");
        let pipeline = Running::play(&alone("moqsrc", &url, &properties));
        wait_told(&pipeline.bus(), "moq-connected", |_| true);
    };
    connect("");
    let request = requests.recv_timeout(DEADLINE).expect("a request");
    assert!(request.starts_with("GET /certificate.sha256 "), "{request}");
    assert!(!request.contains("guess-what"), "{request}");
    connect(&format!("tls-fingerprint={fingerprint}"));
    assert!(requests.try_recv().is_err());
}

#[test]
fn only_the_right_token_lets_media_through() {
    init();
    let relay = Relay::start_with_token("right-token").expect("the relay starts");
    let trust = "tls-disable-verify=true";
    for properties in [trust.to_owned(), format!("{trust} token=wrong-token")] {
        for element in ELEMENTS {
            let pipeline = Running::play(&alone(element, &relay.url(), &properties));
            let error = wait_message(&pipeline.bus(), &[gst::MessageType::Error], DEADLINE);
            let text = describe(&error);
            assert!(text.contains("\"token\""), "{text}");
            assert!(!text.contains("wrong-token"), "{text}");
        }
    }
    plays(&relay.url(), &format!("{trust} token=right-token"));
    assert_eq!(relay.admitted(), ["right-token"; 2]);
}

/// The longest time between two frames in presentation.
fn longest_step(packets: &Packets) -> gst::ClockTime {
    let packets = packets.so_far();
    let times: Vec<_> = packets.iter().filter_map(|packet| packet.pts).collect();
    let steps = times.windows(2).map(|pair| pair[1].saturating_sub(pair[0]));
    steps.max().unwrap_or_default()
}

#[test]
fn a_new_token_opens_a_new_session_without_a_gap() {
    init();
    let tokens = ["first-token", "second-token", "third-token"];
    let relay = Relay::start_with_tokens(&tokens).expect("the relay starts");
    let broadcast = unique_broadcast("renewal");
    let publisher = Running::play(&format!(
        "{} token=first-token",
        publish_live(&relay.url(), &broadcast)
    ));
    let subscriber = Running::launch(&format!(
        "moqsrc name=moq url={} broadcast={broadcast} tls-disable-verify=true token=first-token \
         moq.video_0 ! fakesink name=video sync=false \
         moq.audio_0 ! fakesink name=audio sync=false",
        relay.url()
    ));
    let packets = ["video", "audio"].map(|name| Packets::into_sink(&subscriber.element(name)));
    subscriber.start();
    let wait_more = |count: usize| {
        for packets in &packets {
            packets.wait_count(packets.count() + count, DEADLINE);
        }
    };
    wait_more(60);
    let ends = [&publisher, &subscriber];
    let ended = |pipeline: &Running| {
        let stats: gst::Structure = pipeline.element("moq").property("stats");
        stats.get::<u64>("sessions-ended").expect("a count")
    };
    for (round, token) in tokens.iter().enumerate().skip(1) {
        for pipeline in ends {
            wait_told(&pipeline.bus(), "moq-connected", |_| true);
            let element = pipeline.element("moq");
            element.set_property("token", token);
            wait_until("the next session follows", DEADLINE, || {
                ended(pipeline) == round as u64
            });
            assert!(element.property::<bool>("connected"));
            wait_more(45);
        }
    }
    for packets in &packets {
        let longest = longest_step(packets);
        assert!(longest < gst::ClockTime::from_mseconds(100), "{longest}");
        let mut packets = packets.so_far().into_iter().skip(1);
        assert!(!packets.any(|packet| packet.flags.contains(gst::BufferFlags::DISCONT)));
    }
    assert_eq!(relay.admitted(), tokens.map(|token| [token; 2]).concat());
}

#[test]
fn a_new_token_that_is_refused_ends_no_session_that_serves() {
    init();
    let relay =
        Relay::start_with_tokens(&["right-token", "later-token"]).expect("the relay starts");
    let properties = "tls-disable-verify=true token=right-token";
    for element in ELEMENTS {
        let pipeline = Running::play(&alone(element, &relay.url(), properties));
        wait_told(&pipeline.bus(), "moq-connected", |_| true);
        let moq = pipeline.element("moq");
        moq.set_property("token", "wrong-token");
        let told = wait_told(&pipeline.bus(), "moq-disconnected", |_| true);
        assert_eq!(told.get("serving"), Ok(true), "{told}");
        assert_eq!(told.get("cause"), Ok("not-authorized"), "{told}");
        let reason: &str = told.get("reason").expect("a reason");
        assert!(reason.contains("\"token\""), "{reason}");
        assert!(moq.property::<bool>("connected"));
        moq.set_property("token", "later-token");
        wait_told(&pipeline.bus(), "moq-connected", |_| true);
    }
    assert_eq!(
        relay
            .admitted()
            .iter()
            .filter(|token| *token == "right-token")
            .count(),
        ELEMENTS.len()
    );
}
