// SPDX-License-Identifier: MIT
//! The web server on the TCP port of the same number: the certificate's fingerprint, MoQ over WebSocket
//! for who has no QUIC, and the files of a page.

use std::{
    convert::Infallible, future::Future, io, net::SocketAddr, path::Path, sync::Arc, time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper::{
    HeaderMap, Method, Request, Response, StatusCode, Version,
    body::Incoming,
    header::{self, HeaderValue},
    service::service_fn,
    upgrade::OnUpgrade,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use moq_net::Versions;
use moq_tokio::tls::{Certificates, PeerIdentity, ReloadingServerConfig};
use percent_encoding::percent_decode_str;
use qmux::ws::{
    KeepAlive, Upgraded,
    tokio_tungstenite::WebSocketStream,
    tungstenite::{handshake::derive_accept_key, protocol::Role},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{Semaphore, mpsc},
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;
use tower_http::services::ServeDir;
use tower_service::Service;

use super::admission::{Admission, Admitted, Refusal, SessionRequest};

/// Connections that have not become sessions; more wait in the kernel.
const MAX_CONNECTIONS: usize = 256;
/// How long a peer may take for TLS, and for the head of each request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a connection may last that serves files: a page is small.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(120);
/// What fails to be accepted, as for want of file descriptors, is not tried again at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Bytes of a request's head.
const MAX_HEAD: usize = 16 << 10;

/// The framings of MoQ over WebSocket, as they are named before the version of MoQ
/// (draft-lcurley-qmux, "WebSocket").
const FRAMINGS: [qmux::Version; 2] = [qmux::Version::QMux01, qmux::Version::QMux00];
/// These versions of MoQ exist in the first framing alone.
const FIRST_FRAMING_ONLY: [&str; 5] = ["moqt-18", "moqt-19", "moqt-20", "moqt-21", "moqt-22"];

/// RFC 6455 section 4.1.
const WEBSOCKET_VERSION: &str = "13";
const CERTIFICATE_PATH: &str = "/certificate.sha256";

type Body = UnsyncBoxBody<Bytes, io::Error>;

/// A WebSocket that was let in, and becomes a session.
pub(super) struct WebSession {
    request: SessionRequest,
    admitted: Admitted,
    upgrade: OnUpgrade,
    protocol: Option<String>,
    keep_alive: KeepAlive,
}

impl WebSession {
    /// Who it is, that it may come in, and its transport, once the peer has got our answer.
    pub(super) fn into_parts(
        self,
    ) -> (
        SessionRequest,
        Admitted,
        impl Future<Output = hyper::Result<qmux::Session>>,
    ) {
        let transport = async move {
            let io = TokioIo::new(self.upgrade.await?);
            let socket = WebSocketStream::from_raw_socket(io, Role::Server, None).await;
            // A host that has vanished ends its session by that alone.
            let upgraded = Upgraded::new(socket).with_keep_alive(self.keep_alive);
            Ok(match self.protocol {
                Some(protocol) => upgraded.with_alpn(&protocol),
                None => upgraded,
            }
            .accept())
        };
        (self.request, self.admitted, transport)
    }
}

/// What a web server serves, and to whom.
pub(super) struct Site<'a> {
    pub(super) admission: Arc<Admission>,
    pub(super) certificates: Certificates,
    /// The folder of its files.
    pub(super) root: Option<&'a Path>,
    pub(super) versions: &'a Versions,
    /// Of its WebSockets.
    pub(super) keep_alive: KeepAlive,
}

/// What all connections share.
struct Shared {
    admission: Arc<Admission>,
    certificates: Certificates,
    /// Cloned for each request.
    files: Option<ServeDir>,
    protocols: Vec<String>,
    keep_alive: KeepAlive,
    sessions: mpsc::Sender<WebSession>,
}

/// The web server of a listener.
pub(super) struct Web {
    listener: TcpListener,
    tls: Option<ReloadingServerConfig>,
    shared: Arc<Shared>,
}

impl Web {
    /// Serves on `listener`, by HTTPS if there is `tls`; who is let in comes out of `sessions`.
    pub(super) fn new(
        listener: TcpListener,
        tls: Option<ReloadingServerConfig>,
        site: Site<'_>,
        sessions: mpsc::Sender<WebSession>,
    ) -> Self {
        Self {
            listener,
            tls,
            shared: Arc::new(Shared {
                admission: site.admission,
                certificates: site.certificates,
                files: site.root.map(ServeDir::new),
                protocols: protocols(site.versions),
                keep_alive: site.keep_alive,
                sessions,
            }),
        }
    }

    /// Accepts connections for ever.
    pub(super) async fn run(self) -> Infallible {
        let tls = self.tls.as_ref().map(|tls| TlsAcceptor::from(tls.config()));
        let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let mut connections = JoinSet::new();
        loop {
            while connections.try_join_next().is_some() {}
            let Ok(place) = places.clone().acquire_owned().await else {
                // It is never closed.
                continue;
            };
            let Ok((stream, address)) = self.listener.accept().await else {
                sleep(ACCEPT_PAUSE).await;
                continue;
            };
            let (shared, tls) = (self.shared.clone(), tls.clone());
            connections.spawn(async move {
                let _place = place;
                // What goes wrong with one connection is its peer's to see.
                let _ = timeout(CONNECTION_TIMEOUT, serve(stream, address, tls, shared)).await;
            });
        }
    }
}

async fn serve(
    stream: TcpStream,
    address: SocketAddr,
    tls: Option<TlsAcceptor>,
    shared: Arc<Shared>,
) -> Option<()> {
    // Media is sent as it comes.
    stream.set_nodelay(true).ok()?;
    match tls {
        None => serve_http(stream, address, None, shared).await,
        Some(tls) => {
            let stream = timeout(HEAD_TIMEOUT, tls.accept(stream)).await.ok()?.ok()?;
            let chain = stream.get_ref().1.peer_certificates();
            let identity = chain.map(|chain| PeerIdentity::from_chain(chain.to_vec()));
            serve_http(stream, address, identity, shared).await
        }
    }
}

async fn serve_http(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    address: SocketAddr,
    identity: Option<PeerIdentity>,
    shared: Arc<Shared>,
) -> Option<()> {
    let respond = service_fn(|request| {
        let (shared, identity) = (shared.clone(), identity.clone());
        async move { Ok::<_, Infallible>(shared.respond(request, address, identity).await) }
    });
    hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(stream), respond)
        .with_upgrades()
        .await
        .ok()
}

impl Shared {
    async fn respond(
        &self,
        mut request: Request<Incoming>,
        address: SocketAddr,
        identity: Option<PeerIdentity>,
    ) -> Response<Body> {
        if has_token(request.headers(), header::UPGRADE, "websocket") {
            return self.upgrade(&mut request, address, identity.as_ref()).await;
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return text(StatusCode::METHOD_NOT_ALLOWED, "Only GET is answered here");
        }
        if request.uri().path() == CERTIFICATE_PATH {
            return self.fingerprint();
        }
        if is_hidden(request.uri().path()) {
            return text(StatusCode::NOT_FOUND, "There is no such file");
        }
        match self.files.clone() {
            // It is always ready.
            Some(mut files) => match files.call(request).await {
                Ok(response) => response.map(BodyExt::boxed_unsync),
                Err(never) => match never {},
            },
            None => text(
                StatusCode::NOT_FOUND,
                "This is a MoQ endpoint without a page: the property \"web-root\" names the folder of one",
            ),
        }
    }

    /// What a page needs to trust a certificate that no authority has signed.
    fn fingerprint(&self) -> Response<Body> {
        let fingerprints = self.certificates.fingerprints();
        let mut response = text(
            StatusCode::OK,
            fingerprints.first().map_or("", String::as_str),
        );
        let headers = response.headers_mut();
        // Pages of other origins may connect, too.
        headers.insert(
            header::ACCESS_CONTROL_ALLOW_ORIGIN,
            HeaderValue::from_static("*"),
        );
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }

    /// Lets a WebSocket in (RFC 6455 section 4.2.2).
    async fn upgrade(
        &self,
        request: &mut Request<Incoming>,
        address: SocketAddr,
        identity: Option<&PeerIdentity>,
    ) -> Response<Body> {
        let key = match websocket_key(request) {
            Ok(key) => key,
            Err(response) => return *response,
        };
        let headers = request.headers();
        let Ok(protocol) = self.negotiate(headers) else {
            return text(
                StatusCode::BAD_REQUEST,
                "None of the offered protocols is spoken here",
            );
        };
        let uri = request.uri();
        let asked = SessionRequest::new(
            Some(address),
            "websocket",
            uri.path(),
            uri.query(),
            identity,
        );
        let admitted = match self.admission.admit(&asked).await {
            Ok(admitted) => admitted,
            Err(refusal) => return refused(refusal),
        };
        let session = WebSession {
            request: asked,
            admitted,
            upgrade: hyper::upgrade::on(request),
            protocol: protocol.clone(),
            keep_alive: self.keep_alive,
        };
        if self.sessions.send(session).await.is_err() {
            return refused(Refusal::Busy);
        }
        let mut response = text(StatusCode::SWITCHING_PROTOCOLS, "");
        let headers = response.headers_mut();
        headers.remove(header::CONTENT_TYPE);
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        let accept = HeaderValue::from_str(&derive_accept_key(key.as_bytes()));
        let protocol = protocol.and_then(|protocol| HeaderValue::from_str(&protocol).ok());
        headers.extend(
            accept
                .ok()
                .map(|accept| (header::SEC_WEBSOCKET_ACCEPT, accept)),
        );
        headers.extend(protocol.map(|protocol| (header::SEC_WEBSOCKET_PROTOCOL, protocol)));
        response
    }

    /// The first protocol of ours that the peer offers, none if it offers none.
    fn negotiate(&self, headers: &HeaderMap) -> Result<Option<String>, ()> {
        let offered: Vec<_> = tokens(headers, header::SEC_WEBSOCKET_PROTOCOL).collect();
        if offered.is_empty() {
            return Ok(None);
        }
        let mut protocols = self.protocols.iter();
        let chosen = protocols.find(|protocol| offered.contains(&protocol.as_str()));
        chosen.cloned().map(Some).ok_or(())
    }
}

/// The key of a WebSocket handshake (RFC 6455 section 4.2.1), or what to answer to one that is wrong.
fn websocket_key(request: &Request<Incoming>) -> Result<HeaderValue, Box<Response<Body>>> {
    let headers = request.headers();
    let version = headers.get(header::SEC_WEBSOCKET_VERSION);
    if version.is_none_or(|version| version != WEBSOCKET_VERSION) {
        let mut response = text(StatusCode::UPGRADE_REQUIRED, "The WebSocket version is 13");
        let version = HeaderValue::from_static(WEBSOCKET_VERSION);
        let headers = response.headers_mut();
        headers.insert(header::SEC_WEBSOCKET_VERSION, version);
        return Err(Box::new(response));
    }
    let key = headers.get(header::SEC_WEBSOCKET_KEY).cloned();
    // 16 bytes in base64.
    let key = key.filter(|key| key.len() == 24);
    let is_handshake = request.method() == Method::GET
        && request.version() == Version::HTTP_11
        && has_token(headers, header::CONNECTION, "upgrade");
    key.filter(|_| is_handshake).ok_or_else(|| {
        let advice = "This is no WebSocket handshake";
        Box::new(text(StatusCode::BAD_REQUEST, advice))
    })
}

/// Whether a file is none for the public: its name, or that of a folder on the way, begins with a dot, but
/// for the place that RFC 8615 gives to such files.
fn is_hidden(path: &str) -> bool {
    let path = percent_decode_str(path).decode_utf8_lossy();
    let mut names = path.split('/');
    names.any(|name| name.starts_with('.') && name != ".well-known")
}

fn refused(refusal: Refusal) -> Response<Body> {
    let status = match refusal {
        Refusal::Certificate | Refusal::Token => StatusCode::UNAUTHORIZED,
        Refusal::Application => StatusCode::FORBIDDEN,
        Refusal::Full | Refusal::Busy | Refusal::Silence => StatusCode::SERVICE_UNAVAILABLE,
    };
    text(status, "The session is refused")
}

fn text(status: StatusCode, text: &str) -> Response<Body> {
    let body = Full::new(Bytes::copy_from_slice(text.as_bytes()));
    let body = body.map_err(|never| match never {}).boxed_unsync();
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, plain);
    response
}

/// The elements of a header that is a list.
fn tokens(headers: &HeaderMap, name: header::HeaderName) -> impl Iterator<Item = &str> {
    let values = headers.get_all(name).into_iter();
    let values = values.filter_map(|value| value.to_str().ok());
    let tokens = values.flat_map(|value| value.split(',')).map(str::trim);
    tokens.filter(|token| !token.is_empty())
}

fn has_token(headers: &HeaderMap, name: header::HeaderName, token: &str) -> bool {
    tokens(headers, name).any(|has| has.eq_ignore_ascii_case(token))
}

/// The protocols of WebSocket, the best first: framing and version, then the framing alone, whose
/// version of MoQ is found out later.
fn protocols(versions: &Versions) -> Vec<String> {
    let alpns = versions.alpns();
    let pairs = alpns.iter().flat_map(|alpn| {
        let first_only = FIRST_FRAMING_ONLY.contains(alpn);
        let framings = FRAMINGS
            .iter()
            .take(if first_only { 1 } else { FRAMINGS.len() });
        framings.map(move |framing| format!("{}{alpn}", framing.prefix()))
    });
    pairs
        .chain(qmux::ALPNS.iter().map(|alpn| (*alpn).to_owned()))
        .collect()
}
