// SPDX-License-Identifier: MIT
//! Tells the connections of one client address apart, so that each can go to another relay.

use std::{
    collections::HashMap,
    io,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    sync::{Arc, Mutex, atomic::Ordering},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::{STOP_CHECK, Shared, lock};

/// The largest UDP datagram.
const DATAGRAM: usize = 65536;

/// A connection on which nothing comes for so long is over.
const FORGOTTEN: Duration = Duration::from_secs(8);

/// One QUIC connection through the proxy.
struct Flow {
    target: SocketAddr,
    /// The address that the relay sees.
    back: Arc<UdpSocket>,
    /// How often addresses had been changed when `back` was made.
    rebinds: u32,
    /// The connection ids that the client sends to.
    ids: Arc<Mutex<Vec<Vec<u8>>>>,
    /// When the client last sent something.
    used: Instant,
}

/// Reads what clients send; each connection gets a socket of its own towards its relay.
pub(super) fn accept(shared: &Arc<Shared>, front: &Arc<UdpSocket>) {
    let mut clients: HashMap<SocketAddr, Vec<Flow>> = HashMap::new();
    let mut readers = Vec::new();
    let mut buffer = vec![0; DATAGRAM];
    while !shared.stopping() {
        clients.retain(|_, flows| {
            flows.retain(|flow| flow.used.elapsed() < FORGOTTEN);
            !flows.is_empty()
        });
        readers.retain(|reader: &JoinHandle<()>| !reader.is_finished());
        // A timeout is the moment to look at `stop`; an ICMP error says nothing new.
        let Ok((length, client)) = front.recv_from(&mut buffer) else {
            continue;
        };
        if !shared.serves(client) {
            continue;
        }
        let packet = &buffer[..length];
        let flows = clients.entry(client).or_default();
        match place(shared, flows, packet) {
            Ok(flow) => {
                if let Some(reader) = flow.connect(shared, front, client) {
                    readers.push(reader);
                }
                shared.up.submit(shared, packet, &flow.back, flow.target);
            }
            Err(err) => eprintln!("the proxy has no socket for {client}: {err}"),
        }
    }
    for reader in readers {
        if reader.join().is_err() {
            eprintln!("a reader of the proxy panicked");
        }
    }
}

/// The flow that a client's packet belongs to, which may begin with it.
fn place<'a>(shared: &Shared, flows: &'a mut Vec<Flow>, packet: &[u8]) -> io::Result<&'a mut Flow> {
    let known = flows.iter().position(|flow| flow.owns(packet));
    let begins = header_ids(packet).filter(|_| is_initial(packet));
    let index = match (known, begins) {
        (Some(known), _) => known,
        (None, None) if !flows.is_empty() => flows.len() - 1,
        (None, begins) => {
            let id = begins.map(|(destination, _)| destination.to_vec());
            flows.push(Flow {
                target: *lock(&shared.target),
                back: back_socket()?,
                // None yet: the first packet makes its reader.
                rebinds: u32::MAX,
                ids: Arc::new(Mutex::new(Vec::from_iter(id))),
                used: Instant::now(),
            });
            flows.len() - 1
        }
    };
    flows[index].used = Instant::now();
    Ok(&mut flows[index])
}

impl Flow {
    fn owns(&self, packet: &[u8]) -> bool {
        let ids = lock(&self.ids);
        match header_ids(packet) {
            Some((destination, _)) => ids.iter().any(|id| id == destination),
            // A short header has the id without its length (RFC 9000 section 17.3.1).
            None => ids.iter().any(|id| {
                !id.is_empty() && packet.get(1..).is_some_and(|rest| rest.starts_with(id))
            }),
        }
    }

    /// Gives the flow a new address when it is due, and returns what reads the answers.
    fn connect(
        &mut self,
        shared: &Arc<Shared>,
        front: &Arc<UdpSocket>,
        client: SocketAddr,
    ) -> Option<JoinHandle<()>> {
        let rebinds = shared.rebinds.load(Ordering::Relaxed);
        if self.rebinds == rebinds {
            return None;
        }
        self.rebinds = rebinds;
        self.back = back_socket().ok()?;
        let (shared, front) = (Arc::clone(shared), Arc::clone(front));
        let (back, ids) = (Arc::clone(&self.back), Arc::clone(&self.ids));
        Some(thread::spawn(move || {
            answer(&shared, &back, &front, client, &ids)
        }))
    }
}

/// Reads what the relay sends to one client.
fn answer(
    shared: &Shared,
    back: &Arc<UdpSocket>,
    front: &Arc<UdpSocket>,
    client: SocketAddr,
    ids: &Mutex<Vec<Vec<u8>>>,
) {
    let mut buffer = vec![0; DATAGRAM];
    let mut used = Instant::now();
    while !shared.stopping() {
        let Ok((length, _)) = back.recv_from(&mut buffer) else {
            // Nobody else has this address any more, and nothing comes to it.
            if Arc::strong_count(back) == 1 && used.elapsed() > FORGOTTEN {
                return;
            }
            continue;
        };
        used = Instant::now();
        let packet = &buffer[..length];
        if let Some((_, source)) = header_ids(packet) {
            let mut ids = lock(ids);
            if !ids.iter().any(|id| id == source) {
                ids.push(source.to_vec());
            }
        }
        if shared.serves(client) {
            shared.down.submit(shared, packet, front, client);
        }
    }
}

/// Destination and source connection id of a long header (RFC 9000 section 17.2).
fn header_ids(packet: &[u8]) -> Option<(&[u8], &[u8])> {
    packet.first().filter(|first| **first & 0x80 != 0)?;
    let (destination, rest) = sized(packet.get(5..)?)?;
    Some((destination, sized(rest)?.0))
}

fn sized(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&length, rest) = data.split_first()?;
    rest.split_at_checked(length.into())
}

/// Whether a packet with a long header begins a connection (RFC 9000 section 17.2.2).
fn is_initial(packet: &[u8]) -> bool {
    packet.first().is_some_and(|first| first & 0x30 == 0)
}

fn back_socket() -> io::Result<Arc<UdpSocket>> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.set_read_timeout(Some(STOP_CHECK))?;
    Ok(Arc::new(socket))
}
