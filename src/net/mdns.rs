// SPDX-License-Identifier: MIT
//! Senders on the local network, by DNS-SD over multicast DNS (RFC 6763, RFC 6762): those that listen are
//! advertised, and those of others are found.
//!
//! The wire is that of moq-tokio's own discovery where it fits: the service type, TXT `fp` and `n`. The subtype
//! is another one, so that relays that look for each other do not find senders.
//!
//! Anyone can advertise anything: what a record says is a hint, and TLS with its fingerprint shows no more than that
//! the listener is the one of the record.

use std::{
    collections::{HashMap, hash_map::Entry},
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use mdns_sd::{
    DaemonEvent, IfKind, IfPredicate, Receiver, RecvTimeoutError, ResolvedService, ScopedIp,
    ServiceDaemon, ServiceEvent, ServiceInfo, TxtProperty,
};
use tokio::time::{timeout, timeout_at};

use super::uri::{BroadcastUri, Form};
use crate::media::catalog::name;

/// The subtype of the service under which senders are advertised.
const SUBTYPE: &str = "_gstreamer._sub._moq._udp.local.";
/// The service that is looked for; those of it that are no senders lack the name of a broadcast. The library
/// answers a question for a subtype by the service alone, and takes no such answer for one to a subtype.
const SERVICE: &str = "_moq._udp.local.";

/// The keys of the TXT record: SHA-256 of the certificate, a random number, how the listener is reached, its host,
/// and the name of the broadcast, which goes on in `broadcast2` and so on.
const FINGERPRINT: &str = "fp";
const NONCE: &str = "n";
const SCHEME: &str = "scheme";
const PATH: &str = "path";
const HOST: &str = "host";
const BROADCAST: &str = "broadcast";

/// A string of a TXT record has 255 bytes with its key.
const MAX_VALUE_BYTES: usize = 240;
const MAX_NAME_PARTS: usize = 5;
/// The schemes that a record may name: those whose certificate is checked by its fingerprint alone.
const SCHEMES: [&str; 3] = ["https", "moqt", "moql"];
/// How long the first announcement may take: a name is probed for 750 ms before.
const ANNOUNCE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the goodbye is waited for.
const GOODBYE_TIMEOUT: Duration = Duration::from_millis(200);
/// Of more senders nothing is kept here.
const MAX_SENDERS: usize = 256;
/// Of more addresses of a sender none is looked at.
const MAX_ADDRESSES: usize = 16;
/// How long nothing is looked for after records came faster than they were taken in.
const OVERFLOW_PAUSE: Duration = Duration::from_secs(1);

/// A listener that is advertised, until this is dropped.
pub(super) struct Advertisement {
    daemon: ServiceDaemon,
    /// Until it is known whether it was announced.
    monitor: Option<Receiver<DaemonEvent>>,
    announced_by: tokio::time::Instant,
    /// What one network has not taken.
    error: Option<String>,
    instance: String,
    address: SocketAddr,
    broadcast: String,
}

impl Advertisement {
    /// Advertises the listener at `address`, with the fingerprint of its certificate. Starts a thread.
    pub(super) fn new(
        address: SocketAddr,
        broadcast: &str,
        fingerprint: &str,
    ) -> Result<Self, mdns_sd::Error> {
        let daemon = ServiceDaemon::new()?;
        let this = Self {
            // Before the registration, whose outcome it is to hear of.
            monitor: Some(daemon.monitor()?),
            announced_by: tokio::time::Instant::now() + ANNOUNCE_TIMEOUT,
            error: None,
            daemon,
            instance: format!("{:016x}", fastrand::u64(..)),
            address,
            broadcast: broadcast.to_owned(),
        };
        this.set_fingerprint(fingerprint)?;
        Ok(this)
    }

    /// Advertises the fingerprint of another certificate.
    pub(super) fn set_fingerprint(&self, fingerprint: &str) -> Result<(), mdns_sd::Error> {
        let host = gst::glib::host_name();
        let service = self.service(fingerprint, &host)?;
        self.daemon.register(service)
    }

    fn service(&self, fingerprint: &str, host: &str) -> Result<ServiceInfo, mdns_sd::Error> {
        let nonce = format!("{:016x}", fastrand::u64(..));
        let mut txt = vec![
            TxtProperty::from((FINGERPRINT, fingerprint)),
            (NONCE, &nonce).into(),
            (SCHEME, "https").into(),
            // A listener has its broadcast at each path.
            (PATH, "/").into(),
        ];
        if is_presentable(host) {
            txt.push((HOST, host).into());
        }
        for (number, part) in parts(&self.broadcast)?.into_iter().enumerate() {
            txt.push((part_key(number), part).into());
        }
        let server = format!("{}.local.", self.instance);
        let (ip, port) = (self.address.ip(), self.address.port());
        let any = ip.is_unspecified();
        let addresses: &[IpAddr] = if any { &[] } else { &[ip] };
        let mut service = ServiceInfo::new(SUBTYPE, &self.instance, &server, addresses, port, txt)?;
        if any {
            service = service.enable_addr_auto();
        }
        // Other programs of this host hear it by the network, too.
        service.set_interfaces(vec![if any {
            let only_v4 = ip.is_ipv4();
            IfKind::Predicate(IfPredicate::new(move |interface| {
                !interface.is_loopback() && (interface.ip().is_ipv4() || !only_v4)
            }))
        } else {
            IfKind::Addr(ip)
        }]);
        Ok(service)
    }

    /// Why it could not be announced, if so; waits for ever once it was, or if this was told. Cancel safe.
    pub(super) async fn failure(&mut self) -> String {
        let Some(monitor) = &self.monitor else {
            return std::future::pending().await;
        };
        let error = &mut self.error;
        let announced = async {
            while let Ok(event) = monitor.recv_async().await {
                match event {
                    DaemonEvent::Announce(..) => return true,
                    // One of several networks that has no multicast is no failure yet.
                    DaemonEvent::Error(err) => drop(error.get_or_insert(err.to_string())),
                    _ => {}
                }
            }
            false
        };
        let announced = timeout_at(self.announced_by, announced).await;
        self.monitor = None;
        match announced {
            Ok(true) => std::future::pending().await,
            _ => {
                let reason = self.error.take();
                reason.unwrap_or_else(|| "no network of this host has multicast".to_owned())
            }
        }
    }

    /// Tells the network that it is there no more; bounded.
    pub(super) async fn withdraw(self) {
        if let Ok(status) = self.daemon.shutdown() {
            // What was not said by then is said by the thread, if at all.
            let _ = timeout(GOODBYE_TIMEOUT, status.recv_async()).await;
        }
    }
}

impl Drop for Advertisement {
    fn drop(&mut self) {
        // Fails only where it was done already.
        let _ = self.daemon.shutdown();
    }
}

/// A sender that is advertised, as far as its record can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sender {
    id: String,
    address: IpAddr,
    url: String,
    broadcast: String,
    fingerprint: String,
    hostname: String,
}

impl Sender {
    /// Reads a record, in which anything may stand; the address of `before` is kept while it has that.
    fn read(service: &ResolvedService, before: Option<&Self>) -> Option<Self> {
        let text = |key: &str| {
            service
                .get_property_val(key)
                .flatten()
                .map(std::str::from_utf8)
        };
        let text = |key: &str| text(key).and_then(Result::ok);
        let mut broadcast = String::new();
        for number in 0..MAX_NAME_PARTS {
            let Some(part) = text(&part_key(number)) else {
                break;
            };
            broadcast.push_str(part);
        }
        if name::fault(&broadcast).is_some() || broadcast.contains('*') {
            return None;
        }
        let fingerprint = text(FINGERPRINT)?.to_ascii_lowercase();
        if fingerprint.len() != 64 || !fingerprint.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        let scheme = text(SCHEME).unwrap_or(SCHEMES[0]);
        let path = text(PATH).unwrap_or("/");
        let is_path = path.starts_with('/')
            && path
                .bytes()
                .all(|byte| byte.is_ascii_graphic() && !b"?#\\\"<>".contains(&byte));
        if !SCHEMES.contains(&scheme) || !is_path || service.port == 0 {
            return None;
        }
        let mut addresses = service.addresses.iter().map(ScopedIp::to_ip_addr);
        // The addresses come one network after another.
        let known = before.map(|before| before.address);
        let known = known.filter(|known| addresses.clone().any(|one| one == *known));
        let ip = known.or_else(|| best(addresses.by_ref().take(MAX_ADDRESSES)))?;
        let address = SocketAddr::new(ip, service.port);
        let host = text(HOST).filter(|host| is_presentable(host));
        Some(Self {
            id: service.fullname.to_lowercase(),
            address: ip,
            url: format!("{scheme}://{address}{path}"),
            broadcast,
            fingerprint,
            hostname: host.map_or_else(|| ip.to_string(), str::to_owned),
        })
    }

    /// What tells it from others, for as long as it is there.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn broadcast(&self) -> &str {
        &self.broadcast
    }

    /// The SHA-256 of its certificate in hexadecimal.
    pub(crate) fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// The name of its host, or the address.
    pub(crate) fn hostname(&self) -> &str {
        &self.hostname
    }

    /// The URI by which the elements take it.
    pub(crate) fn uri(&self) -> String {
        BroadcastUri::new(self.url.clone(), self.broadcast.clone(), Form::Plain).to_string()
    }
}

/// What becomes of the senders on the network.
#[derive(Debug)]
pub(crate) enum Change {
    /// One has appeared, or has another certificate or address.
    Found(Sender),
    /// The one of this id has gone.
    Lost(String),
}

/// Looks for senders.
pub(crate) struct Browser {
    daemon: ServiceDaemon,
    stopped: Arc<AtomicBool>,
    events: Receiver<ServiceEvent>,
    known: HashMap<String, Sender>,
    /// Those that are lost because records came too fast.
    lost: Vec<String>,
}

/// Ends a search from elsewhere.
pub(crate) struct Stopper {
    daemon: ServiceDaemon,
    stopped: Arc<AtomicBool>,
}

impl Stopper {
    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
        // Fails only where it has ended already.
        let _ = self.daemon.shutdown();
    }
}

impl Browser {
    /// Begins to look for them. Starts a thread.
    pub(crate) fn new() -> Result<Self, mdns_sd::Error> {
        let daemon = ServiceDaemon::new()?;
        let events = daemon.browse(SERVICE)?;
        Ok(Self {
            daemon,
            stopped: Arc::default(),
            events,
            known: HashMap::new(),
            lost: Vec::new(),
        })
    }

    pub(crate) fn stopper(&self) -> Stopper {
        Stopper {
            daemon: self.daemon.clone(),
            stopped: self.stopped.clone(),
        }
    }

    /// Waits for the next change, until `deadline` if there is one; none also once it was stopped.
    pub(crate) fn next(&mut self, deadline: Option<Instant>) -> Option<Change> {
        loop {
            if let Some(id) = self.lost.pop() {
                return Some(Change::Lost(id));
            }
            let event = match deadline {
                Some(deadline) => self.events.recv_deadline(deadline),
                None => self
                    .events
                    .recv()
                    .map_err(|_| RecvTimeoutError::Disconnected),
            };
            match event {
                Ok(event) => {
                    if let Some(change) = self.take(event) {
                        return Some(change);
                    }
                }
                Err(RecvTimeoutError::Timeout) => return None,
                Err(RecvTimeoutError::Disconnected) => {
                    if !self.is_stopped() {
                        // So many records have come that the library has given up.
                        std::thread::sleep(OVERFLOW_PAUSE);
                        self.events = self.daemon.browse(SERVICE).ok()?;
                        self.lost = self.known.drain().map(|(id, _)| id).collect();
                    }
                    // A question to a daemon that is just ending is never answered.
                    if self.is_stopped() {
                        return None;
                    }
                }
            }
        }
    }

    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }

    fn take(&mut self, event: ServiceEvent) -> Option<Change> {
        match event {
            ServiceEvent::ServiceResolved(service) => {
                let before = self.known.get(&service.fullname.to_lowercase());
                let Some(sender) = Sender::read(&service, before) else {
                    // A record that can be used no more.
                    return self.lose(&service.fullname);
                };
                let room = self.known.len() < MAX_SENDERS;
                match self.known.entry(sender.id.clone()) {
                    Entry::Occupied(known) if *known.get() == sender => return None,
                    Entry::Occupied(mut known) => drop(known.insert(sender.clone())),
                    Entry::Vacant(place) if room => drop(place.insert(sender.clone())),
                    Entry::Vacant(_) => return None,
                }
                Some(Change::Found(sender))
            }
            ServiceEvent::ServiceRemoved(_, fullname) => self.lose(&fullname),
            _ => None,
        }
    }

    fn lose(&mut self, fullname: &str) -> Option<Change> {
        let (id, _) = self.known.remove_entry(&fullname.to_lowercase())?;
        Some(Change::Lost(id))
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Fails only where it was stopped before.
        let _ = self.daemon.shutdown();
    }
}

/// The name of a broadcast in pieces that fit into strings of a TXT record.
fn parts(mut name: &str) -> Result<Vec<&str>, mdns_sd::Error> {
    let mut parts = Vec::new();
    while !name.is_empty() {
        let mut end = name.len().min(MAX_VALUE_BYTES);
        while !name.is_char_boundary(end) {
            end -= 1;
        }
        let (part, rest) = name.split_at(end);
        parts.push(part);
        name = rest;
    }
    if parts.len() > MAX_NAME_PARTS {
        let text = "the name of the broadcast is too long for a record of DNS";
        return Err(mdns_sd::Error::Msg(text.to_owned()));
    }
    Ok(parts)
}

/// The key of a piece of the name, counted from 0.
fn part_key(number: usize) -> String {
    match number {
        0 => BROADCAST.to_owned(),
        number => format!("{BROADCAST}{}", number + 1),
    }
}

/// Whether a host's name is one that can be shown.
fn is_presentable(host: &str) -> bool {
    name::fault(host).is_none() && host.len() <= MAX_VALUE_BYTES
}

/// The address that is most likely to lead to the sender from here; none that a URL cannot have.
fn best(addresses: impl Iterator<Item = IpAddr>) -> Option<IpAddr> {
    let usable = addresses.filter(|ip| match ip {
        IpAddr::V4(ip) => !ip.is_broadcast(),
        // It would need the name of an interface beside it.
        IpAddr::V6(ip) => !ip.is_unicast_link_local(),
    });
    let usable = usable.filter(|ip| !ip.is_unspecified() && !ip.is_multicast());
    usable.min_by_key(|ip| {
        let is_link_local = matches!(ip, IpAddr::V4(ip) if ip.is_link_local());
        (ip.is_loopback(), is_link_local, ip.is_ipv6(), *ip)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FP: &str = "0123456789abcdef0123456789ABCDEF0123456789abcdef0123456789abcdef";

    fn record(txt: &[(&str, &str)], addresses: &str, port: u16) -> ResolvedService {
        let txt: Vec<TxtProperty> = txt.iter().map(|pair| TxtProperty::from(*pair)).collect();
        let service = ServiceInfo::new(SUBTYPE, "Some", "some.local.", addresses, port, txt);
        service.expect("a record").as_resolved_service()
    }

    #[test]
    fn a_record_is_read() {
        let txt = [
            ("fp", FP),
            ("broadcast", "room/a b#é.hang"),
            ("host", "studio"),
        ];
        let service = record(&txt, "127.0.0.1,fe80::1,fd00::1,10.0.0.7", 4443);
        let sender = Sender::read(&service, None).expect("a sender");
        assert_eq!(sender.url(), "https://10.0.0.7:4443/");
        assert_eq!(
            sender.uri(),
            "moq+https://10.0.0.7:4443/#room/a%20b%23%C3%A9.hang"
        );
        assert_eq!(sender.fingerprint(), FP.to_lowercase());
        assert_eq!(sender.hostname(), "studio");
        assert_eq!(sender.broadcast(), "room/a b#é.hang");
        let more = record(&txt, "10.0.0.1,10.0.0.7", 4443);
        assert_eq!(Sender::read(&more, Some(&sender)).as_ref(), Some(&sender));
        let other = Sender::read(&record(&txt, "10.0.0.1", 4443), Some(&sender));
        assert_eq!(other.expect("a sender").url(), "https://10.0.0.1:4443/");
        let txt = [
            ("fp", FP),
            ("broadcast", "a"),
            ("scheme", "moqt"),
            ("path", "/x"),
            ("host", "a\nb"),
        ];
        let sender = Sender::read(&record(&txt, "fd00::1", 1), None).expect("a sender");
        assert_eq!(sender.uri(), "moqt://[fd00::1]:1/x#a");
        assert_eq!(sender.hostname(), "fd00::1");
    }

    #[test]
    fn a_record_that_is_wrong_is_none() {
        let cases: [&[(&str, &str)]; 12] = [
            &[],
            &[("fp", FP)],
            &[("broadcast", "a")],
            &[("broadcast", "a"), ("fp", "abc")],
            &[("broadcast", "a"), ("fp", &FP.replace('0', "g"))],
            &[("broadcast", ""), ("fp", FP)],
            &[("broadcast", "a\nb"), ("fp", FP)],
            &[("broadcast", "a/*"), ("fp", FP)],
            &[("broadcast", "a"), ("fp", FP), ("scheme", "ws")],
            &[("broadcast", "a"), ("fp", FP), ("scheme", "file")],
            &[("broadcast", "a"), ("fp", FP), ("path", "@other/")],
            &[("broadcast", "a"), ("fp", FP), ("path", "/?jwt=x#b")],
        ];
        for txt in cases {
            assert_eq!(
                Sender::read(&record(txt, "10.0.0.7", 1), None),
                None,
                "{txt:?}"
            );
        }
        let good = [("broadcast", "a"), ("fp", FP)];
        assert!(Sender::read(&record(&good, "10.0.0.7", 1), None).is_some());
        for (addresses, port) in [
            ("10.0.0.7", 0),
            ("0.0.0.0", 1),
            ("fe80::1", 1),
            ("224.0.0.1", 1),
        ] {
            assert_eq!(
                Sender::read(&record(&good, addresses, port), None),
                None,
                "{addresses}"
            );
        }
        let bytes = TxtProperty::from(("broadcast", [0xff, 0xfe]));
        let txt = vec![bytes, ("fp", FP).into()];
        let service = ServiceInfo::new(SUBTYPE, "Some", "some.local.", "10.0.0.7", 1, txt);
        let service = service.expect("a record").as_resolved_service();
        assert_eq!(Sender::read(&service, None), None);
    }

    #[test]
    fn a_name_of_any_length_is_written_and_read_or_refused() {
        for length in [1, 63, 64, 255, 256, 400] {
            let name = "é".repeat(length);
            let parts = parts(&name).expect("it fits");
            assert_eq!(parts.concat(), name);
            let keys: Vec<_> = (0..parts.len()).map(part_key).collect();
            let mut txt: Vec<_> = keys.iter().map(String::as_str).zip(parts).collect();
            txt.push(("fp", FP));
            let sender = Sender::read(&record(&txt, "10.0.0.7", 1), None).expect("a sender");
            assert_eq!(sender.broadcast(), name);
        }
        assert!(parts(&"a".repeat(MAX_VALUE_BYTES * MAX_NAME_PARTS)).is_ok());
        assert!(parts(&"a".repeat(MAX_VALUE_BYTES * MAX_NAME_PARTS + 1)).is_err());
    }
}
