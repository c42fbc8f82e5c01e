// SPDX-License-Identifier: MIT
//! A bad network on loopback: a UDP proxy with a bandwidth, a queue, a delay, losses and disorder.

// Found from wherever this file is included.
#[path = "proxy/flows.rs"]
mod flows;

use std::{
    collections::{HashSet, VecDeque},
    io,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// How often a reader that has nothing to read looks whether it shall stop.
const STOP_CHECK: Duration = Duration::from_millis(20);

/// What the network does to packets, in each direction by itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Path {
    /// Bits per second, or unlimited.
    pub(crate) bandwidth: Option<u64>,
    /// Bytes that wait for the bandwidth at most; what comes on top is lost.
    pub(crate) queue: usize,
    /// One-way delay.
    pub(crate) delay: Duration,
    /// Probability that a packet is lost, 0 to 1.
    pub(crate) loss: f64,
    /// Probability that a packet comes [`LATER`] than those around it, 0 to 1.
    pub(crate) disorder: f64,
}

/// How much later a packet comes that is out of order.
const LATER: Duration = Duration::from_millis(10);

impl Default for Path {
    /// A path that does no harm.
    fn default() -> Self {
        Self {
            bandwidth: None,
            queue: 64 * 1024,
            delay: Duration::ZERO,
            loss: 0.0,
            disorder: 0.0,
        }
    }
}

/// A running proxy in front of a relay, stopped when it is dropped.
pub(crate) struct Proxy {
    addr: SocketAddr,
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl Proxy {
    /// Starts a proxy on a free port of loopback that passes packets to and from `target`.
    pub(crate) fn start(target: SocketAddr, path: Path) -> io::Result<Self> {
        Self::start_with_luck(target, path, 0)
    }

    /// Starts one that loses other packets for each `luck`, and the same in every run.
    pub(crate) fn start_with_luck(target: SocketAddr, path: Path, luck: u32) -> io::Result<Self> {
        let front = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        front.set_read_timeout(Some(STOP_CHECK))?;
        let addr = front.local_addr()?;
        let shared = Arc::new(Shared {
            path: Mutex::new(path),
            target: Mutex::new(target),
            rebinds: AtomicU32::new(0),
            clients: Mutex::default(),
            up: Wire::default(),
            down: Wire::default(),
            cut: AtomicBool::new(false),
            stop: AtomicBool::new(false),
        });
        for direction in [Direction::Up, Direction::Down] {
            lock(&shared.wire(direction).queue).dice = Dice::with_luck(luck);
        }
        let front = Arc::new(front);
        let mut threads = Vec::new();
        for direction in [Direction::Up, Direction::Down] {
            let shared = Arc::clone(&shared);
            threads.push(thread::spawn(move || {
                shared.wire(direction).deliver(&shared)
            }));
        }
        let reader = Arc::clone(&shared);
        threads.push(thread::spawn(move || flows::accept(&reader, &front)));
        Ok(Self {
            addr,
            shared,
            threads,
        })
    }

    /// The URL under which clients reach the relay behind the proxy.
    pub(crate) fn url(&self) -> String {
        format!("https://{}/", self.addr)
    }

    /// The address that clients dial.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Changes the path for the packets that come from now on.
    pub(crate) fn set_path(&self, path: Path) {
        *lock(&self.shared.path) = path;
    }

    /// Loses every packet, as an unplugged cable does, until [`restore`](Self::restore).
    pub(crate) fn cut(&self) {
        self.shared.cut.store(true, Ordering::Relaxed);
    }

    /// Plugs the cable in again.
    pub(crate) fn restore(&self) {
        self.shared.cut.store(false, Ordering::Relaxed);
    }

    /// Sends the connections that begin from now on to another relay.
    pub(crate) fn redirect(&self, target: SocketAddr) {
        *lock(&self.shared.target) = target;
    }

    /// Gives all clients another address, as a NAT does that has forgotten them.
    pub(crate) fn rebind(&self) {
        self.shared.rebinds.fetch_add(1, Ordering::Relaxed);
    }

    /// Loses for good what comes from or goes to the addresses that clients have had so far, as a
    /// NAT does that holds on to a mapping which leads nowhere.
    pub(crate) fn forsake(&self) {
        let mut clients = lock(&self.shared.clients);
        let Clients { seen, forsaken } = &mut *clients;
        forsaken.extend(seen.drain());
    }

    /// Bytes delivered from clients to the relay, and from the relay to clients.
    pub(crate) fn delivered(&self) -> (u64, u64) {
        let bytes = |wire: &Wire| wire.delivered.load(Ordering::Relaxed);
        (bytes(&self.shared.up), bytes(&self.shared.down))
    }

    /// Packets lost in both directions, on purpose or for lack of room in the queue.
    pub(crate) fn lost(&self) -> u64 {
        let packets = |wire: &Wire| wire.lost.load(Ordering::Relaxed);
        packets(&self.shared.up) + packets(&self.shared.down)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        for wire in [&self.shared.up, &self.shared.down] {
            // Holding the lock closes the gap between a waiter's check and its wait.
            let _queue = lock(&wire.queue);
            wire.changed.notify_all();
        }
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                eprintln!("a thread of the proxy at {} panicked", self.addr);
            }
        }
    }
}

#[derive(Clone, Copy)]
enum Direction {
    Up,
    Down,
}

struct Shared {
    path: Mutex<Path>,
    /// Where new connections go.
    target: Mutex<SocketAddr>,
    rebinds: AtomicU32,
    clients: Mutex<Clients>,
    up: Wire,
    down: Wire,
    cut: AtomicBool,
    stop: AtomicBool,
}

impl Shared {
    fn wire(&self, direction: Direction) -> &Wire {
        match direction {
            Direction::Up => &self.up,
            Direction::Down => &self.down,
        }
    }

    /// Whether a client's packets pass; it is known from now on.
    fn serves(&self, client: SocketAddr) -> bool {
        let mut clients = lock(&self.clients);
        let serves = !clients.forsaken.contains(&client);
        if serves {
            clients.seen.insert(client);
        }
        serves
    }

    fn stopping(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// The addresses of clients.
#[derive(Default)]
struct Clients {
    seen: HashSet<SocketAddr>,
    forsaken: HashSet<SocketAddr>,
}

/// One direction, shared by all clients as a bottleneck is.
#[derive(Default)]
struct Wire {
    queue: Mutex<Queue>,
    changed: Condvar,
    delivered: AtomicU64,
    lost: AtomicU64,
}

#[derive(Default)]
struct Queue {
    /// In the order in which they are due.
    packets: VecDeque<Packet>,
    /// When the last accepted packet has left the bottleneck.
    free_at: Option<Instant>,
    dice: Dice,
}

struct Packet {
    due: Instant,
    payload: Vec<u8>,
    socket: Arc<UdpSocket>,
    to: SocketAddr,
}

impl Wire {
    /// Lets the path decide when the packet arrives, if at all.
    fn submit(&self, shared: &Shared, payload: &[u8], socket: &Arc<UdpSocket>, to: SocketAddr) {
        let path = *lock(&shared.path);
        let now = Instant::now();
        let mut queue = lock(&self.queue);
        let unlucky = queue.dice.roll() < path.loss;
        let late = path.disorder > 0.0 && queue.dice.roll() < path.disorder;
        let start = queue.free_at.map_or(now, |free| free.max(now));
        let transmission = |bytes: usize| match path.bandwidth {
            Some(rate) => Duration::from_secs_f64(bytes as f64 * 8.0 / rate as f64),
            None => Duration::ZERO,
        };
        let no_room = start.duration_since(now) > transmission(path.queue);
        if unlucky || no_room || shared.cut.load(Ordering::Relaxed) {
            self.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let sent = start + transmission(payload.len());
        queue.free_at = Some(sent);
        let due = sent + path.delay + if late { LATER } else { Duration::ZERO };
        let place = queue.packets.partition_point(|packet| packet.due <= due);
        let packet = Packet {
            due,
            payload: payload.to_vec(),
            socket: Arc::clone(socket),
            to,
        };
        queue.packets.insert(place, packet);
        self.changed.notify_all();
    }

    /// Sends packets when they are due, until the proxy stops.
    fn deliver(&self, shared: &Shared) {
        let mut queue = lock(&self.queue);
        while !shared.stopping() {
            let now = Instant::now();
            let wait = match queue.packets.front() {
                Some(packet) if packet.due <= now => {
                    if let Some(packet) = queue.packets.pop_front() {
                        drop(queue);
                        self.send(&packet);
                        queue = lock(&self.queue);
                    }
                    continue;
                }
                Some(packet) => packet.due - now,
                None => Duration::from_secs(1),
            };
            let waited = self.changed.wait_timeout(queue, wait);
            queue = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn send(&self, packet: &Packet) {
        match packet.socket.send_to(&packet.payload, packet.to) {
            Ok(bytes) => self.delivered.fetch_add(bytes as u64, Ordering::Relaxed),
            // Nobody listens there (yet): on a real network the packet is gone just the same.
            Err(_) => self.lost.fetch_add(1, Ordering::Relaxed),
        };
    }
}

/// The same losses in every run.
struct Dice(u64);

impl Default for Dice {
    fn default() -> Self {
        Self::with_luck(0)
    }
}

impl Dice {
    fn with_luck(luck: u32) -> Self {
        Self(0x9E37_79B9_7F4A_7C15 ^ u64::from(luck) << 20)
    }

    /// A number from 0 to below 1 (xorshift).
    fn roll(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
