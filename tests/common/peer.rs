// SPDX-License-Identifier: MIT
//! A relay that cannot be used: wrong certificates, other versions, broken rules.

use std::{fs, net::SocketAddr, path::Path, sync::mpsc, time::Duration};

use base64::{Engine, prelude::BASE64_STANDARD};
use gst::glib;
use moq_net::goaway::Goaway;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use tokio::runtime::Runtime;

/// How long it may take to come up.
const BOUND: Duration = Duration::from_secs(10);

/// What the peer does to a client whose handshake came through.
#[derive(Clone)]
pub(crate) enum Answer {
    Accept,
    /// Asks the first session to go to this URL, and no other one.
    Redirect(String),
    /// Ends the session because a rule was broken.
    Violation,
}

/// A peer that serves nothing, ended when it is dropped.
pub(crate) struct Peer {
    addr: SocketAddr,
    _runtime: Runtime,
}

impl Peer {
    /// Starts a peer whose certificate is self-signed, after `configure` has had its way.
    pub(crate) fn start(
        answer: Answer,
        configure: impl FnOnce(&mut moq_tokio::listen::Config),
    ) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("the peer's runtime starts");
        let mut config = moq_tokio::listen::Config::default();
        config.bind = Some("127.0.0.1:0".parse().expect("an address"));
        config.tls.generate = vec!["localhost".into()];
        configure(&mut config);
        let guard = runtime.enter();
        let server = config
            .init(moq_tokio::quic::Config::default())
            .expect("the peer's socket is bound");
        drop(guard);
        let (ready, readiness) = mpsc::channel();
        runtime.spawn(async move {
            let mut listener = server.listen().await.expect("the peer listens");
            // Nobody waits any more once the bound has passed.
            let _ = ready.send(listener.local_addr().expect("an address"));
            let mut answer = answer;
            while let Some(request) = listener.accept().await {
                let next = match &answer {
                    Answer::Redirect(_) => Answer::Accept,
                    other => other.clone(),
                };
                tokio::spawn(serve(request, std::mem::replace(&mut answer, next)));
            }
        });
        let addr = readiness.recv_timeout(BOUND).expect("the peer comes up");
        Self {
            addr,
            _runtime: runtime,
        }
    }

    /// The URL for `moqsink` and `moqsrc`.
    pub(crate) fn url(&self) -> String {
        format!("https://{}/", self.addr)
    }
}

/// An error here is that of a client that has gone.
async fn serve(request: moq_tokio::server::Request, answer: Answer) {
    match answer {
        Answer::Accept => {
            if let Ok(session) = request.ok().await {
                session.closed().await;
            }
        }
        Answer::Redirect(url) => {
            if let Ok(session) = request.ok().await {
                // Refused only when the session has ended meanwhile.
                let _ = session.drain().send(Goaway::redirect(url));
                session.closed().await;
            }
        }
        Answer::Violation => {
            if let Ok(session) = request.ok().await {
                session.abort(moq_net::Error::ProtocolViolation);
                session.closed().await;
            }
        }
    }
}

/// An authority, and certificates that it has signed: `ca.pem` and, with their keys, `NAME.pem` and
/// `NAME.key` in one directory.
pub(crate) struct Authority<'a> {
    directory: &'a Path,
    issuer: Issuer<'static, KeyPair>,
}

impl<'a> Authority<'a> {
    pub(crate) fn new(directory: &'a Path) -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        // Another name than that of certificates that sign themselves.
        params
            .distinguished_name
            .push(DnType::CommonName, "an authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).expect("a certificate");
        write(directory, "ca.pem", "CERTIFICATE", certificate.der());
        Self {
            directory,
            issuer: Issuer::new(params, key),
        }
    }

    /// A certificate for `host` that is valid until the end of `year`; returns its fingerprint.
    pub(crate) fn sign(&self, name: &str, host: &str, year: i32) -> String {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new([host.to_owned()]).expect("a host name");
        params.not_after = date_time_ymd(year, 12, 31);
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        let file = format!("{name}.pem");
        write(self.directory, &file, "CERTIFICATE", certificate.der());
        let file = format!("{name}.key");
        write(self.directory, &file, "PRIVATE KEY", key.serialized_der());
        let digest =
            glib::compute_checksum_for_data(glib::ChecksumType::Sha256, certificate.der().as_ref());
        digest.expect("a digest").into()
    }
}

/// Writes `der` as PEM (RFC 7468).
fn write(directory: &Path, file: &str, label: &str, der: &[u8]) {
    let text = BASE64_STANDARD.encode(der);
    let lines: Vec<_> = text
        .as_bytes()
        .chunks(64)
        .map(String::from_utf8_lossy)
        .collect();
    let text = format!(
        "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
        lines.join("\n")
    );
    fs::write(directory.join(file), text).expect("the file is written");
}
