// SPDX-License-Identifier: MIT
//! Sessions that others open: a port for QUIC, WebTransport and WebSocket, and who is let in.

mod admission;
mod certificate;
mod config;
mod session;
mod web;

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::{Duration, SystemTime},
};

use moq_net::{Versions, goaway::Goaway};
use moq_tokio::{
    Server, listen,
    server::{Reject, Request},
    tls::{Certificates, Peers},
};
use qmux::ws::KeepAlive;
use tokio::{
    net::TcpListener,
    sync::mpsc,
    task::JoinSet,
    time::{MissedTickBehavior, interval, timeout},
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use self::{
    admission::{Admission, Admitted, Refusal},
    certificate::GeneratedCertificate,
    session::PeerCounters,
    web::{Site, Web, WebSession},
};
use super::{
    connection::Event,
    dial::CLOSE_TIMEOUT,
    endpoint::Attachment,
    error::Error,
    failure::{UNAVAILABLE, chain},
    mdns::Advertisement,
};

pub(crate) use self::{
    admission::{Ask, SessionRequest},
    config::{
        DEFAULT_BIND_TEXT, DEFAULT_MAX_SESSIONS, ListenConfig, ListenSettings, refuse_listening,
    },
    session::{PeerSession, Reason, SubscriptionCount},
};

/// Events that wait to be taken in; sessions wait with them.
const MAX_EVENTS: usize = 64;
/// Bounds a handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How often the counters of a session are read for those who ask later: the library takes a sample only
/// after somebody has asked, and answers with the one before.
const SAMPLE_INTERVAL: Duration = Duration::from_secs(1);
/// How often the certificate is looked at.
const CERTIFICATE_INTERVAL: Duration = Duration::from_secs(1);
/// How often a port is looked for that is free for both protocols.
const BIND_ATTEMPTS: usize = 16;
/// Web sessions between their handshake and the loop.
const MAX_WEB_SESSIONS: usize = 16;

/// A port that is bound, before anybody is let in.
pub(crate) struct Bound {
    config: ListenConfig,
    server: Server,
    tcp: std::net::TcpListener,
    address: SocketAddr,
    tls: moq_tokio::tls::Listen,
    generated: Option<GeneratedCertificate>,
}

impl Bound {
    /// Binds the port, so that a state change fails where that does. Needs the runtime's context.
    pub(crate) fn new(config: ListenConfig) -> Result<Self, Error> {
        let generated = match &config.certificate {
            Some(_) => None,
            None => Some(GeneratedCertificate::new(SystemTime::now())?),
        };
        let files = generated.as_ref().map(GeneratedCertificate::files);
        let (certificate, key) = config.certificate.clone().or(files).unwrap_or_default();
        let mut tls = moq_tokio::tls::Listen::default();
        tls.cert = vec![certificate];
        tls.key = vec![key];
        tls.root = config.client_ca.iter().cloned().collect();
        if tls.root.is_empty() && config.asks_for_certificate() {
            let peers = Peers::new();
            for fingerprint in &config.client_fingerprints {
                peers.insert(fingerprint).map_err(|err| tls_failed(&err))?;
            }
            tls.peers = Some(peers);
        }
        // Its faults are told by the name of a property, which the whole server's are not.
        tls.server_config(Vec::new())
            .map_err(|err| tls_failed(&err))?;
        let (server, tcp) = match bind(&config, &tls, config.bind) {
            Err(BindError::Io(err)) if config.may_fall_back && has_no_ipv6(&err) => {
                let any = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), config.bind.port());
                bind(&config, &tls, any)
            }
            bound => bound,
        }
        .map_err(|err| err.explain(config.bind))?;
        let address = server.local_addr().map_err(Error::Setup)?;
        Ok(Self {
            config,
            server,
            tcp,
            address,
            tls,
            generated,
        })
    }

    /// Begins to let sessions in; `ask` is how the application decides.
    pub(crate) async fn listen(self, attachment: Attachment, ask: Ask) -> Result<Listener, Error> {
        let certificates = self.server.certificates();
        let admission = Arc::new(Admission::new(&self.config, ask));
        let tls = match self.config.certificate {
            Some(_) => {
                let config = self.tls.server_config_reloading(vec![b"http/1.1".to_vec()]);
                Some(config.map_err(|err| tls_failed(&err))?)
            }
            None => None,
        };
        let versions = match self.config.versions.is_empty() {
            true => Versions::all(),
            false => Versions::from(self.config.versions.clone()),
        };
        let (sender, web_sessions) = mpsc::channel(MAX_WEB_SESSIONS);
        let tcp = TcpListener::from_std(self.tcp).map_err(setup)?;
        let timeouts = self.config.timeouts;
        let keep_alive = match timeouts.keep_alive.is_zero() {
            true => KeepAlive::default(),
            false => KeepAlive::new(timeouts.keep_alive, timeouts.idle_timeout),
        };
        let site = Site {
            admission: admission.clone(),
            certificates: certificates.clone(),
            root: self.config.web_root.as_deref(),
            versions: &versions,
            keep_alive,
        };
        let web = Web::new(tcp, tls, site, sender);
        let (events, receiver) = mpsc::channel(MAX_EVENTS);
        let subscriptions = SubscriptionCount::default();
        let cancel = CancellationToken::new();
        let acceptor = Acceptor {
            quic: self.server.listen().await.map_err(Error::Setup)?,
            web_sessions,
            sessions: JoinSet::new(),
            shared: Arc::new(Shared {
                attachment,
                admission,
                versions,
                events,
                subscriptions: subscriptions.clone(),
                cancel: cancel.clone(),
            }),
            next_id: 0,
            address: self.address,
            certificates,
            generated: self.generated,
            advertises: self.config.advertise.then_some(self.config.broadcast),
            advertisement: None,
        };
        Ok(Listener {
            events: receiver,
            subscriptions,
            cancel,
            task: AbortOnDropHandle::new(tokio::spawn(acceptor.run(web))),
        })
    }
}

enum BindError {
    Io(io::Error),
    Other(moq_tokio::Error),
}

impl BindError {
    fn explain(self, address: SocketAddr) -> Error {
        let port = address.port();
        match self {
            Self::Other(error) => Error::Setup(error),
            Self::Io(error) => match error.kind() {
                io::ErrorKind::AddrInUse => Error::Busy(format!(
                    "Port {port} is in use: stop what listens there, or set another one by the property \"bind\""
                )),
                io::ErrorKind::PermissionDenied => Error::settings(format!(
                    "Port {port} may not be bound by this user: set one of 1024 or more by the property \"bind\""
                )),
                io::ErrorKind::AddrNotAvailable => Error::settings(format!(
                    "This host does not have the address {}: set another one by the property \"bind\"",
                    address.ip()
                )),
                _ => Error::Setup(error.into()),
            },
        }
    }
}

/// Binds both protocols at one port; a port of 0 stands for any that is free for both.
fn bind(
    config: &ListenConfig,
    tls: &moq_tokio::tls::Listen,
    address: SocketAddr,
) -> Result<(Server, std::net::TcpListener), BindError> {
    // The port that TCP is given may be another's of UDP.
    let attempts = if address.port() == 0 {
        BIND_ATTEMPTS
    } else {
        1
    };
    let in_use = |bound: &Result<_, BindError>| matches!(bound, Err(BindError::Io(error)) if error.kind() == io::ErrorKind::AddrInUse);
    let mut bound = bind_once(config, tls, address);
    for _ in 1..attempts {
        if !in_use(&bound) {
            break;
        }
        bound = bind_once(config, tls, address);
    }
    bound
}

fn bind_once(
    config: &ListenConfig,
    tls: &moq_tokio::tls::Listen,
    address: SocketAddr,
) -> Result<(Server, std::net::TcpListener), BindError> {
    let tcp = moq_tokio::bind::tcp(address).map_err(BindError::Io)?;
    let bound = tcp.local_addr().map_err(BindError::Io)?;
    let mut listen = listen::Config::default();
    listen.bind = Some(listen::Bind::Addr(bound));
    listen.tls = tls.clone();
    listen.version = config.versions.clone();
    listen.timeout = HANDSHAKE_TIMEOUT;
    let (timeouts, cache) = (config.timeouts, config.cache);
    let quic = timeouts.quic(cache.receive_window(), cache.shared_send_window());
    let server = listen.init(quic).map_err(|error| match io_cause(&error) {
        Some(kind) => BindError::Io(kind.into()),
        None => BindError::Other(error),
    })?;
    Ok((server, tcp))
}

/// The I/O error below an error of the library.
fn io_cause(error: &moq_tokio::Error) -> Option<io::ErrorKind> {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return Some(error.kind());
        }
        cause = error.source();
    }
    None
}

fn has_no_ipv6(error: &io::Error) -> bool {
    // EAFNOSUPPORT has no kind of its own.
    error.kind() == io::ErrorKind::AddrNotAvailable || error.raw_os_error() == Some(97)
}

fn setup(error: io::Error) -> Error {
    Error::Setup(error.into())
}

fn tls_failed(error: &moq_tokio::tls::Error) -> Error {
    Error::settings(format!(
        "Check the properties \"tls-certificate\", \"tls-private-key\" and \"tls-client-ca\": {}",
        chain(error)
    ))
}

/// Lets sessions in for the length of a run.
pub(crate) struct Listener {
    events: mpsc::Receiver<Event>,
    subscriptions: SubscriptionCount,
    cancel: CancellationToken,
    task: AbortOnDropHandle<()>,
}

impl Listener {
    /// What happens next; cancel safe.
    pub(crate) async fn next(&mut self) -> Result<Event, Error> {
        let event = self.events.recv().await;
        event.ok_or_else(|| Error::Internal("the listener has ended".into()))
    }

    pub(super) fn subscriptions(&self) -> SubscriptionCount {
        self.subscriptions.clone()
    }

    /// Ends all sessions so that their peers know at once, and frees the port.
    pub(crate) async fn close(mut self) {
        self.cancel.cancel();
        // Sessions that end do not wait for somebody to hear of it.
        self.events.close();
        // What is left after that is aborted.
        let _ = timeout(CLOSE_TIMEOUT + CLOSE_TIMEOUT / 2, &mut self.task).await;
    }
}

/// What the tasks of all sessions share.
struct Shared {
    attachment: Attachment,
    admission: Arc<Admission>,
    versions: Versions,
    events: mpsc::Sender<Event>,
    subscriptions: SubscriptionCount,
    cancel: CancellationToken,
}

/// The task that accepts.
struct Acceptor {
    quic: moq_tokio::Listener,
    web_sessions: mpsc::Receiver<WebSession>,
    sessions: JoinSet<()>,
    shared: Arc<Shared>,
    next_id: u64,
    address: SocketAddr,
    certificates: Certificates,
    generated: Option<GeneratedCertificate>,
    /// The name of the broadcast of which the local network is told.
    advertises: Option<String>,
    advertisement: Option<Advertisement>,
}

impl Acceptor {
    async fn run(mut self, web: Web) {
        let cancel = self.shared.cancel.clone();
        let _web = AbortOnDropHandle::new(tokio::spawn(web.run()));
        tokio::select! {
            () = cancel.cancelled() => {}
            () = self.accept() => {}
        }
        let withdrawn = async {
            if let Some(advertisement) = self.advertisement {
                advertisement.withdraw().await;
            }
        };
        // Each ends its own session.
        let ended = async { while self.sessions.join_next().await.is_some() {} };
        let (_, ()) = tokio::join!(timeout(CLOSE_TIMEOUT, ended), withdrawn);
        self.quic.close().await;
    }

    async fn accept(&mut self) {
        let mut fingerprint = self.fingerprint();
        let listening = Event::Listening {
            address: self.address,
            fingerprint: fingerprint.clone(),
        };
        // Nobody hears it where the run has ended.
        let _ = self.shared.events.send(listening).await;
        self.advertise(&fingerprint).await;
        let mut ticks = interval(CERTIFICATE_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                request = self.quic.accept() => match request {
                    Some(request) => {
                        let (shared, id) = (self.shared.clone(), self.id());
                        self.sessions.spawn(async move { shared.serve_quic(id, request).await });
                    }
                    None => return,
                },
                Some(session) = self.web_sessions.recv() => {
                    let (shared, id) = (self.shared.clone(), self.id());
                    self.sessions.spawn(async move { shared.serve_web(id, session).await });
                }
                Some(_) = self.sessions.join_next() => {}
                reason = not_advertised(&mut self.advertisement) => self.report_unadvertised(reason).await,
                _ = ticks.tick() => {
                    let renewed = self.generated.as_mut().map(|made| made.renew(SystemTime::now()));
                    if let Some(Err(err)) = renewed {
                        log::warn!("The certificate could not be renewed: {err}");
                    }
                    let now = self.fingerprint();
                    if now != fingerprint {
                        fingerprint = now;
                        let event = Event::Certificate { fingerprint: fingerprint.clone() };
                        let _ = self.shared.events.send(event).await;
                        self.advertise(&fingerprint).await;
                    }
                }
            }
        }
    }

    /// Tells the local network of the listener and of its certificate, if it shall be told.
    async fn advertise(&mut self, fingerprint: &str) {
        let Some(broadcast) = &self.advertises else {
            return;
        };
        let advertised = match &self.advertisement {
            Some(advertisement) => advertisement.set_fingerprint(fingerprint),
            None => Advertisement::new(self.address, broadcast, fingerprint)
                .map(|advertisement| self.advertisement = Some(advertisement)),
        };
        if let Err(err) = advertised {
            self.report_unadvertised(err.to_string()).await;
        }
    }

    async fn report_unadvertised(&mut self, reason: String) {
        let event = Event::NotAdvertised { reason };
        // Nobody hears it where the run has ended.
        let _ = self.shared.events.send(event).await;
    }

    fn id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    fn fingerprint(&self) -> String {
        let fingerprints = self.certificates.fingerprints();
        fingerprints.into_iter().next().unwrap_or_default()
    }
}

/// Why the local network could not be told of the listener, once that is known; cancel safe.
async fn not_advertised(advertisement: &mut Option<Advertisement>) -> String {
    match advertisement {
        Some(advertisement) => advertisement.failure().await,
        None => std::future::pending().await,
    }
}

impl Shared {
    async fn serve_quic(&self, id: u64, request: Request) {
        let identity = request.peer_identity();
        let asked = SessionRequest::new(
            request.remote_addr(),
            request.transport().as_str(),
            request.path(),
            request.query(),
            identity.as_ref(),
        )
        .with_setup_token(request.token());
        let admitted = self.admission.admit(&asked).await;
        let place = match admitted.and_then(Admitted::enter) {
            Ok(place) => place,
            Err(refusal) => {
                log::info!("A session is refused: {refusal}");
                // It closes the connection, at which nobody is left to hear of an error.
                let _ = request.reject(reject(refusal)).await;
                return;
            }
        };
        let counters = PeerCounters::new(id, &self.subscriptions);
        let attached = self.attachment.request(request);
        if let Ok(session) = attached.with_stats(counters.meter()).ok().await {
            self.follow(PeerSession::new(id, asked, session, counters))
                .await;
        }
        drop(place);
    }

    async fn serve_web(&self, id: u64, session: WebSession) {
        let (asked, admitted, transport) = session.into_parts();
        let counters = PeerCounters::new(id, &self.subscriptions);
        let server = moq_net::Server::new().with_versions(self.versions.clone());
        let server = self.attachment.server(server).with_stats(counters.meter());
        let accept = async {
            let transport = moq_tokio::transport::Session::new(transport.await.ok()?);
            let now = tokio::time::Instant::now().into_std();
            let handshake = server.accept_request(now, transport).await.ok()?;
            let place = match admitted.enter() {
                Ok(place) => place,
                Err(refusal) => {
                    log::info!("A session is refused: {refusal}");
                    handshake.close(moq_net::Error::App(UNAVAILABLE));
                    return None;
                }
            };
            let (session, driver) = handshake.ok().await.ok()?;
            Some((place, session, driver))
        };
        let Ok(Some((place, session, driver))) = timeout(HANDSHAKE_TIMEOUT, accept).await else {
            return;
        };
        let _driver = AbortOnDropHandle::new(tokio::spawn(moq_net::time::run(driver)));
        self.follow(PeerSession::new(id, asked, session, counters))
            .await;
        drop(place);
    }

    /// Reports a session, from its begin to its end.
    async fn follow(&self, peer: PeerSession) {
        let session = peer.session().clone();
        let id = peer.id();
        // Nobody hears it where the run has ended.
        let _ = self.events.send(Event::SessionAdded(Box::new(peer))).await;
        let mut samples = interval(SAMPLE_INTERVAL);
        let reason = loop {
            tokio::select! {
                biased;
                () = self.cancel.cancelled() => {
                    // One that has ended needs none.
                    let _ = session.drain().send(Goaway::new().with_timeout(CLOSE_TIMEOUT));
                    // How it ends does not matter any more: the bound is the caller's.
                    let _ = session.close().await;
                    break Reason::Stopped;
                }
                error = session.closed() => break Reason::Ended(error.to_string()),
                // For those who ask later.
                _ = samples.tick() => drop(session.stats()),
            }
        };
        let _ = self.events.send(Event::SessionRemoved { id, reason }).await;
    }
}

fn reject(refusal: Refusal) -> Reject {
    match refusal.may_pass() {
        true => Reject::App(UNAVAILABLE),
        false => Reject::Unauthorized,
    }
}
