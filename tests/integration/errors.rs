// SPDX-License-Identifier: MIT
//! What the user sees of each cause for which there is no session.

use std::{
    env,
    io::{Read as _, Write as _},
    net::TcpListener,
    path::Path,
    process::Command,
    thread,
};

use gst::{
    glib::{self, error::ErrorDomain},
    prelude::*,
};

use crate::common::{
    Answer, Authority, Peer, Relay, Running, init,
    media::{live_opus, moqsink},
    pipeline::{DEADLINE, describe, wait_message_that},
};

/// The token of every element here, which no message may show.
const TOKEN: &str = "guess-what";
const NO_VERIFY: &str = "tls-disable-verify=true";
/// Says the second half of a test where certificates are.
const CERTIFICATES: &str = "MOQ_TEST_CERTIFICATES";

/// A cause, and what reports it.
struct Case<E> {
    url: String,
    properties: &'static str,
    /// The word for it in `moq-disconnected`.
    cause: &'static str,
    /// The error once `reconnect-timeout` is over.
    code: E,
    hint: &'static str,
}

fn pipeline(element: &str, url: &str, properties: &str) -> Running {
    Running::play(&format!(
        "fakesrc num-buffers=0 ! fakesink async=false \
         {element} name=moq url={url} broadcast=x token={TOKEN} {properties}"
    ))
}

fn wait_error(pipeline: &Running) -> (glib::Error, String) {
    let error = [gst::MessageType::Error];
    let timeout = gst::ClockTime::try_from(DEADLINE).expect("a short time");
    let message = pipeline.bus().timed_pop_filtered(timeout, &error);
    let message = message.expect("an error is posted");
    let gst::MessageView::Error(error) = message.view() else {
        unreachable!("only errors were asked for")
    };
    let text = describe(&message);
    assert!(!text.contains(TOKEN), "{text}");
    (error.error(), text)
}

impl<E: ErrorDomain + Copy> Case<E> {
    /// Each attempt is reported with its reason, and the last one is an error.
    fn check(&self) {
        let (url, properties) = (&self.url, self.properties);
        let retrying = pipeline("moqsink", url, properties);
        let told = wait_message_that(&retrying.bus(), DEADLINE, |message| {
            let structure = message.structure();
            structure.is_some_and(|s| s.name() == "moq-disconnected")
        });
        let told = told.unwrap_or_else(|| panic!("{url}: the attempt is reported"));
        let told = told.structure().expect("an element message");
        assert_eq!(
            told.get::<String>("cause").as_deref(),
            Ok(self.cause),
            "{told}"
        );
        let reason: String = told.get("reason").expect("a reason");
        assert!(reason.contains(self.hint), "{reason}");
        assert!(!reason.contains(TOKEN), "{reason}");
        assert!(told.get::<u64>("retry-in-ms").is_ok(), "{told}");
        let failing = pipeline("moqsrc", url, &format!("{properties} reconnect-timeout=1"));
        let (error, text) = wait_error(&failing);
        assert!(error.matches(self.code), "{url}: {text}");
        assert!(text.contains(self.hint), "{text}");
        assert!(text.contains("reconnect-timeout"), "{text}");
    }
}

#[test]
fn a_relay_that_cannot_be_reached_says_why() {
    init();
    let port = Relay::free_port().expect("a port");
    let open = gst::ResourceError::OpenRead;
    for (url, cause, code, hint) in [
        (
            "https://relay.invalid/".to_owned(),
            "dns",
            gst::ResourceError::NotFound,
            "DNS",
        ),
        (
            "http://relay.invalid/".to_owned(),
            "dns",
            gst::ResourceError::NotFound,
            "DNS",
        ),
        (
            "ws://relay.invalid/".to_owned(),
            "dns",
            gst::ResourceError::NotFound,
            "DNS",
        ),
        (
            format!("ws://127.0.0.1:{port}/"),
            "refused",
            open,
            "Nobody listens",
        ),
        (
            format!("http://127.0.0.1:{port}/"),
            "refused",
            open,
            "Nobody listens",
        ),
        (
            format!("https://127.0.0.1:{port}/"),
            "timeout",
            open,
            "does not answer",
        ),
    ] {
        // Of a token in the clear there is another error.
        let properties = "allow-insecure-token=true";
        Case {
            url,
            properties,
            cause,
            code,
            hint,
        }
        .check();
    }
}

#[test]
fn a_sink_that_gives_up_could_not_open_for_writing() {
    init();
    let port = Relay::free_port().expect("a port");
    let url = format!("ws://127.0.0.1:{port}/");
    let (error, text) = wait_error(&pipeline("moqsink", &url, "reconnect-timeout=500"));
    assert!(error.matches(gst::ResourceError::OpenWrite), "{text}");
    assert!(text.contains("within 500ms"), "{text}");
}

#[test]
fn a_relay_of_other_versions_or_rules_says_so() {
    init();
    let other = Peer::start(Answer::Accept, |config| {
        config.version = vec!["moq-lite-06".parse().expect("a version")];
    });
    Case {
        url: other.url(),
        properties: "tls-disable-verify=true moq-versions=moq-transport-17",
        cause: "version",
        code: gst::StreamError::WrongType,
        hint: "moq-versions",
    }
    .check();
    let strict = Peer::start(Answer::Violation, |_| ());
    Case {
        url: strict.url(),
        properties: NO_VERIFY,
        cause: "protocol",
        code: gst::StreamError::Failed,
        hint: "a broken rule",
    }
    .check();
}

#[test]
fn an_unknown_version_is_a_wrong_setting() {
    init();
    for element in ["moqsink", "moqsrc"] {
        let pipeline = Running::launch(&format!(
            "fakesrc num-buffers=0 ! fakesink async=false \
             {element} url=https://relay.example broadcast=x moq-versions=moq-lite-06,draft-99"
        ));
        assert!(pipeline.set_state(gst::State::Playing).is_err());
        let (error, text) = wait_error(&pipeline);
        assert!(error.matches(gst::ResourceError::Settings), "{text}");
        assert!(
            text.contains("draft-99") && text.contains("moq-transport-17"),
            "{text}"
        );
    }
}

/// A web server that answers everything with `status`.
fn web(status: &'static str) -> u16 {
    web_with(status, String::new())
}

/// A web server that answers everything with `status` and `body`.
fn web_with(status: &'static str, body: String) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            // The client that went away again is not waited for.
            let _ = stream.read(&mut [0; 4096]);
            let length = body.len();
            let head = format!("HTTP/1.1 {status}\r\ncontent-length: {length}");
            let _ = write!(stream, "{head}\r\nconnection: close\r\n\r\n{body}");
        }
    });
    port
}

#[test]
fn an_http_status_that_a_retry_cannot_change_is_an_error_at_once() {
    init();
    for (status, code) in [
        ("401 Unauthorized", gst::ResourceError::NotAuthorized),
        ("403 Forbidden", gst::ResourceError::NotAuthorized),
        ("404 Not Found", gst::ResourceError::NotFound),
        ("410 Gone", gst::ResourceError::OpenRead),
        ("501 Not Implemented", gst::ResourceError::OpenRead),
        (
            "505 HTTP Version Not Supported",
            gst::ResourceError::OpenRead,
        ),
    ] {
        let port = web(status);
        let (error, text) = wait_error(&pipeline("moqsrc", &format!("ws://127.0.0.1:{port}/"), ""));
        assert!(error.matches(code), "{status}: {text}");
    }
    let (error, text) = wait_error(&pipeline(
        "moqsrc",
        &format!("http://127.0.0.1:{}/", web("404 Not Found")),
        "",
    ));
    assert!(error.matches(gst::ResourceError::NotFound), "{text}");
}

#[test]
fn an_http_status_that_tells_of_trouble_over_there_is_tried_again() {
    init();
    for (status, cause, hint) in [
        ("500 Internal Server Error", "other", "500"),
        ("503 Service Unavailable", "busy", "503"),
        ("521 Web Server Is Down", "other", "521"),
    ] {
        Case {
            url: format!("ws://127.0.0.1:{}/", web(status)),
            properties: "",
            cause,
            code: gst::ResourceError::OpenRead,
            hint,
        }
        .check();
    }
}

#[test]
fn a_certificate_of_another_fingerprint_says_so() {
    init();
    // The fingerprint comes over TCP, the session over UDP of the same port.
    let port = web_with("200 OK", "ab".repeat(32));
    let _peer = Peer::start(Answer::Accept, |config| {
        config.bind = Some(format!("127.0.0.1:{port}").parse().expect("an address"));
    });
    Case {
        url: format!("http://127.0.0.1:{port}/"),
        properties: "",
        cause: "certificate",
        code: gst::ResourceError::OpenRead,
        hint: "fingerprint",
    }
    .check();
}

#[test]
fn a_certificate_says_what_is_wrong_with_it() {
    init();
    let Some(directory) = env::var_os(CERTIFICATES) else {
        let directory = tempfile::tempdir().expect("a directory");
        let authority = Authority::new(directory.path());
        authority.sign("expired", "127.0.0.1", 2020);
        authority.sign("elsewhere", "other.example", 4000);
        authority.sign("good", "127.0.0.1", 4000);
        // What a process trusts is decided at its start.
        let again = Command::new(env::current_exe().expect("this program"))
            .args([
                "--exact",
                "errors::a_certificate_says_what_is_wrong_with_it",
                "--nocapture",
            ])
            .env(CERTIFICATES, directory.path())
            .env("SSL_CERT_FILE", directory.path().join("ca.pem"))
            .output()
            .expect("this program starts");
        let output = String::from_utf8_lossy(&again.stderr);
        assert!(again.status.success(), "{output}");
        return;
    };
    let directory = Path::new(&directory);
    let serve = |name: &str| {
        Peer::start(Answer::Accept, |config| {
            config.tls.generate.clear();
            config.tls.cert = vec![directory.join(format!("{name}.pem"))];
            config.tls.key = vec![directory.join(format!("{name}.key"))];
        })
    };
    let strange = Peer::start(Answer::Accept, |_| ());
    for (peer, hint) in [
        (strange, "authority"),
        (serve("expired"), "out of date"),
        (serve("elsewhere"), "another host"),
    ] {
        Case {
            url: peer.url(),
            properties: "",
            cause: "certificate",
            code: gst::ResourceError::OpenRead,
            hint,
        }
        .check();
    }
    let good = serve("good");
    let connected = pipeline("moqsrc", &good.url(), "");
    let told = wait_message_that(&connected.bus(), DEADLINE, |message| {
        message
            .structure()
            .is_some_and(|s| s.name() == "moq-connected")
    });
    assert!(told.is_some(), "the same authority is trusted otherwise");
}

#[test]
fn the_first_try_alone_is_progress() {
    init();
    let port = Relay::free_port().expect("a port");
    for element in ["moqsink", "moqsrc"] {
        let pipeline = pipeline(element, &format!("ws://127.0.0.1:{port}/"), "");
        let (mut progress, mut retries) = (Vec::new(), 0);
        while retries < 3 {
            let message = pipeline.bus().timed_pop(gst::ClockTime::from_seconds(30));
            let message = message.expect("the next attempt is reported");
            match message.view() {
                gst::MessageView::Progress(message) => progress.push(message.get().0),
                gst::MessageView::Element(_) => retries += 1,
                gst::MessageView::Error(_) => panic!("{}", describe(&message)),
                _ => {}
            }
        }
        assert_eq!(
            progress,
            [gst::ProgressType::Start, gst::ProgressType::Error]
        );
    }
}

#[test]
fn a_token_that_does_not_allow_the_broadcast_is_not_authorized() {
    init();
    let relay = Relay::start_for_viewers("secret").expect("the relay starts");
    let publisher = Running::play(&format!(
        "{} ! moq.sink_0 {} token=secret",
        live_opus(),
        moqsink(&relay.url(), "x")
    ));
    let (error, text) = wait_error(&publisher);
    assert!(error.matches(gst::ResourceError::NotAuthorized), "{text}");
    assert!(text.contains("broadcast"), "{text}");
}
