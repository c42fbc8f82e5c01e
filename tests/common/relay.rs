// SPDX-License-Identifier: MIT
//! A real `moq-relay` inside this process, on loopback.

use std::{
    future::Future,
    net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket},
    path::Path,
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread,
    time::Duration,
};

use anyhow::{Context, anyhow};
use moq_auth::{Grant, Pattern, Patterns, lease};
use moq_relay::{Config, auth};
use tokio::sync::oneshot;

/// How long a relay may take to come up, and to go down.
const BOUND: Duration = Duration::from_secs(10);

/// Who may publish and subscribe.
enum Access {
    /// Everyone without a token; a token is refused, because nothing here could verify it.
    Public,
    /// Only sessions whose URL carries one of these tokens as `?jwt=`, for this.
    Tokens(Vec<String>, Grant),
    /// Only sessions with a certificate of the authority that `listen.tls.root` names.
    Certificate,
}

/// The tokens of the sessions that were admitted, in order.
type Admitted = Arc<Mutex<Vec<String>>>;

/// What a test sets beside the defaults.
type Configure = Box<dyn FnOnce(&mut Config) + Send>;

/// A running relay, stopped when it is dropped.
///
/// Its certificate is self-signed, so clients set `tls-disable-verify=true`.
pub(crate) struct Relay {
    addr: SocketAddr,
    stop: Option<oneshot::Sender<Goodbye>>,
    stopped: mpsc::Receiver<()>,
    admitted: Admitted,
}

/// How long a relay that is drained serves on.
const DRAIN: Duration = Duration::from_secs(5);

/// Whether clients are told that the relay goes away.
enum Goodbye {
    Said,
    Unsaid,
}

impl Relay {
    /// Starts a relay on a free port: whoever comes without a token may do everything.
    pub(crate) fn start() -> anyhow::Result<Self> {
        Self::start_at(0)
    }

    /// Starts a relay on `port`, so that it can come up where clients look for it already.
    pub(crate) fn start_at(port: u16) -> anyhow::Result<Self> {
        Self::launch(port, Access::Public, Duration::ZERO, Box::new(|_| ()))
    }

    /// Starts a relay that refuses every session without `token`.
    pub(crate) fn start_with_token(token: &str) -> anyhow::Result<Self> {
        Self::start_with_tokens(&[token])
    }

    /// Starts a relay that refuses every session without one of `tokens`.
    pub(crate) fn start_with_tokens(tokens: &[&str]) -> anyhow::Result<Self> {
        let tokens = tokens.iter().map(|token| (*token).to_owned()).collect();
        Self::launch(
            Self::free_port()?,
            Access::Tokens(tokens, everything()),
            Duration::ZERO,
            Box::new(|_| ()),
        )
    }

    /// Starts a relay with the certificate `NAME.pem` of `directory`, over QUIC and over TCP.
    pub(crate) fn start_with_certificate(directory: &Path, name: &str) -> anyhow::Result<Self> {
        Self::launch_with_certificate(directory, name, Access::Public)
    }

    /// Starts one that refuses every session without a certificate of the authority in `directory`.
    pub(crate) fn start_for_certificates(directory: &Path, name: &str) -> anyhow::Result<Self> {
        Self::launch_with_certificate(directory, name, Access::Certificate)
    }

    fn launch_with_certificate(
        directory: &Path,
        name: &str,
        access: Access,
    ) -> anyhow::Result<Self> {
        let port = Self::free_port()?;
        let file = |ending| directory.join(format!("{name}.{ending}"));
        let (certificate, key) = (vec![file("pem")], vec![file("key")]);
        let clients = match access {
            Access::Certificate => vec![directory.join("ca.pem")],
            _ => Vec::new(),
        };
        let configure = Box::new(move |config: &mut Config| {
            config.listen.tls.generate.clear();
            config.listen.tls.cert = certificate.clone();
            config.listen.tls.key = key.clone();
            config.listen.tls.root = clients.clone();
            config.web.https.listen = config.web.http.listen.take();
            config.web.https.cert = certificate;
            config.web.https.key = key;
            config.web.https.root = clients;
        });
        Self::launch(port, access, Duration::ZERO, configure)
    }

    /// The tokens of the sessions that were admitted, in order.
    pub(crate) fn admitted(&self) -> Vec<String> {
        let admitted = self.admitted.lock();
        admitted.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Starts a relay whose `token` allows to subscribe and not to publish.
    pub(crate) fn start_for_viewers(token: &str) -> anyhow::Result<Self> {
        let grant = Grant::new(Patterns::default(), Pattern::all().into());
        let access = Access::Tokens(vec![token.to_owned()], grant);
        Self::launch(0, access, Duration::ZERO, Box::new(|_| ()))
    }

    /// A port of loopback on which nobody listens at this moment, for UDP and TCP; from below those that
    /// Linux gives to sockets which ask for none, as those of other tests do.
    pub(crate) fn free_port() -> anyhow::Result<u16> {
        let is_free = |port: &u16| {
            let address = (Ipv4Addr::LOCALHOST, *port);
            UdpSocket::bind(address).is_ok() && TcpListener::bind(address).is_ok()
        };
        let ports = std::iter::repeat_with(|| fastrand::u16(20_000..32_000));
        let mut free = ports.take(1000).filter(is_free);
        free.next().context("a port is free")
    }

    /// The URL that a relay on `port` has.
    pub(crate) fn url_at(port: u16) -> String {
        format!("https://127.0.0.1:{port}/")
    }

    /// The URL for `moqsink` and `moqsrc`.
    pub(crate) fn url(&self) -> String {
        Self::url_at(self.addr.port())
    }

    /// The address of its QUIC socket.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Ends the relay and waits until its sockets are closed; clients are told.
    pub(crate) fn stop(mut self) {
        self.end(Goodbye::Said);
    }

    /// Ends the relay as a crash does: clients hear nothing more.
    pub(crate) fn kill(mut self) {
        self.end(Goodbye::Unsaid);
    }

    /// Asks all clients to connect anew, and serves on for a while.
    pub(crate) fn drain(&mut self) {
        if let Some(stop) = self.stop.take() {
            // A relay that failed has dropped its receiver and its end is announced already.
            let _ = stop.send(Goodbye::Said);
        }
    }

    /// Waits until a relay that is drained has ended.
    pub(crate) fn wait_gone(&self) {
        let gone = self.stopped.recv_timeout(BOUND);
        gone.expect("the relay ends in time");
    }

    /// Starts a relay that, drained, serves on for [`DRAIN`].
    pub(crate) fn start_patient() -> anyhow::Result<Self> {
        Self::launch(0, Access::Public, DRAIN, Box::new(|_| ()))
    }

    fn launch(
        port: u16,
        access: Access,
        drain: Duration,
        configure: Configure,
    ) -> anyhow::Result<Self> {
        // The relay's web server wants a process-wide provider; a second install is refused and harmless.
        let _ = moq_tokio::crypto::install_default();
        let (ready, readiness) = mpsc::channel();
        let (stop, stop_asked) = oneshot::channel();
        let (ended, stopped) = mpsc::channel();
        let admitted = Admitted::default();
        let loading = load(port, access, drain, configure, admitted.clone());
        thread::Builder::new()
            .name("relay".to_owned())
            .spawn(move || {
                run(serve(loading, ready, stop_asked));
                // Nobody listens any more once the bound of the stop has passed.
                let _ = ended.send(());
            })
            .context("start the relay's thread")?;
        let addr = readiness
            .recv_timeout(BOUND)
            .context("the relay did not come up in time")?
            .context("the relay did not start")?;
        Ok(Self {
            addr,
            stop: Some(stop),
            stopped,
            admitted,
        })
    }

    fn end(&mut self, goodbye: Goodbye) {
        let Some(stop) = self.stop.take() else {
            return;
        };
        // A relay that failed has dropped its receiver and its end is announced already.
        let _ = stop.send(goodbye);
        if self.stopped.recv_timeout(BOUND).is_err() {
            eprintln!("the relay at {} did not stop in {BOUND:?}", self.addr);
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.end(Goodbye::Said);
    }
}

/// Runs `serving` on a runtime of its own, so that it shares no thread with the elements.
fn run(serving: impl Future<Output = anyhow::Result<()>>) {
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("relay-worker")
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return eprintln!("the relay has no runtime: {error}"),
    };
    if let Err(error) = runtime.block_on(serving) {
        eprintln!("the relay failed: {error:#}");
    }
    runtime.shutdown_timeout(BOUND / 2);
}

/// Brings the relay up, reports its address to `ready`, and serves until `stop` fires.
async fn serve(
    loading: impl Future<Output = anyhow::Result<(moq_relay::Relay, SocketAddr)>>,
    ready: mpsc::Sender<anyhow::Result<SocketAddr>>,
    stop: oneshot::Receiver<Goodbye>,
) -> anyhow::Result<()> {
    let (relay, addr) = match loading.await {
        Ok(loaded) => loaded,
        Err(error) => {
            // The starter has the error; it gave up waiting only if it is gone itself.
            let _ = ready.send(Err(error));
            return Ok(());
        }
    };
    let trigger = relay.shutdown_trigger().clone();
    let up = relay.ready();
    // Ctrl-C belongs to the program around the relay.
    let running = tokio::spawn(relay.with_signals(false).run());
    let _ = ready.send(up.wait().await.map(|()| addr));
    match stop.await {
        Ok(Goodbye::Unsaid) => running.abort(),
        // A dropped handle is a stop too.
        Ok(Goodbye::Said) | Err(_) => {
            trigger.start();
            running.await.context("join the relay")??;
        }
    }
    Ok(())
}

/// Binds the sockets and decides who is admitted.
async fn load(
    port: u16,
    access: Access,
    drain: Duration,
    configure: Configure,
    admitted: Admitted,
) -> anyhow::Result<(moq_relay::Relay, SocketAddr)> {
    let mut config = Config::default();
    config.drain_timeout = drain;
    config.listen.bind = Some(format!("127.0.0.1:{port}").parse()?);
    config.listen.tls.generate = vec!["localhost".into()];
    // On the same port, where `http://` looks for the certificate's fingerprint.
    config.web.http.listen = Some(format!("127.0.0.1:{port}").parse()?);
    if matches!(access, Access::Public) {
        config.auth.public = vec![Pattern::all()];
    }
    configure(&mut config);
    let mut relay = moq_relay::Relay::load(config).await?;
    if !matches!(access, Access::Public) {
        let admissions = relay.admissions().ok_or_else(|| {
            anyhow!("a relay without auth settings leaves admission to its owner")
        })?;
        tokio::spawn(admit(admissions, access, admitted));
    }
    let addr = relay.quic_addr()?;
    Ok((relay, addr))
}

fn everything() -> Grant {
    let everything = || Patterns::from(Pattern::all());
    Grant::new(everything(), everything())
}

/// Admits the sessions that `access` lets in and refuses the others.
async fn admit(mut admissions: auth::Admissions, access: Access, admitted: Admitted) {
    while let Some(admission) = admissions.next().await {
        let query = admission.request.query.as_deref().unwrap_or_default();
        let grant = match &access {
            Access::Public => Some(everything()),
            Access::Certificate => admission.request.tls.as_ref().map(|_| everything()),
            Access::Tokens(tokens, grant) => {
                let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
                let token = pairs.find(|(name, _)| *name == "jwt");
                let known = token.filter(|(_, token)| tokens.iter().any(|one| one == token));
                known.map(|(_, token)| {
                    let mut admitted = admitted.lock().unwrap_or_else(PoisonError::into_inner);
                    admitted.push(token.to_owned());
                    grant.clone()
                })
            }
        };
        match grant {
            Some(grant) => admission.grant(lease::Consumer::fixed(grant)),
            None => admission.refuse(auth::Error::Refused),
        }
    }
}
