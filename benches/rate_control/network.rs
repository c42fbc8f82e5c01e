// SPDX-License-Identifier: MIT
//! Two network namespaces, and the path between them.
//!
//! Each namespace has a TUN device; what it sends is read here, waits in front of the bottleneck and on the
//! way, and is written to the other one. No part of the kernel's traffic control is needed.

use std::{
    collections::VecDeque,
    fs::{self, File, OpenOptions},
    io::{Read, Write},
    net::Ipv4Addr,
    os::fd::AsFd,
    path::Path,
    process::{Command, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc},
    thread,
    time::Duration,
};

use anyhow::{Context, ensure};
use rustix::ioctl::{Setter, ioctl};

use crate::{
    job::now,
    record::{Bin, SAMPLE},
    scene::Scene,
};

/// What the names of namespaces begin with, before the number of the process that has made them.
const SENDER: &str = "rate-sender-";
const RECEIVER: &str = "rate-receiver-";
/// Where the kernel keeps them.
const NAMESPACES: &str = "/run/netns";
pub(crate) const SENDER_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
pub(crate) const RECEIVER_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);

/// From linux/if_tun.h: a device for IP packets, without a header of its own.
const TUNSETIFF: u32 = 0x4004_54ca;
const IFF_TUN_NO_PI: u16 = 0x1001;
/// Of a device's name, and of the structure that begins with it.
const NAME: usize = 16;
const REQUEST: usize = 40;
/// What a packet may have.
const MTU: usize = 1500;

/// Both namespaces; gone when it is dropped.
pub(crate) struct Network {
    course: Arc<Mutex<Course>>,
}

/// What happens on the path, from the sender's side to the receiver's.
struct Course {
    scene: Scene,
    /// When the scene began; before that there is its first capacity.
    begun: Option<u64>,
    bins: Vec<Bin>,
}

impl Network {
    /// Needs root.
    pub(crate) fn create(scene: &Scene) -> anyhow::Result<Self> {
        let course = Arc::new(Mutex::new(Course {
            scene: scene.clone(),
            begun: None,
            bins: Vec::new(),
        }));
        remove_left();
        // From here on they are removed.
        let network = Self { course };
        let id = std::process::id();
        let sender = device(&Self::sender(), &format!("rs{id}"), SENDER_ADDRESS)?;
        let receiver = device(&Self::receiver(), &format!("rr{id}"), RECEIVER_ADDRESS)?;
        network.join(&sender, &receiver, true)?;
        network.join(&receiver, &sender, false)?;
        Ok(network)
    }

    /// The namespace of this process where media are sent.
    pub(crate) fn sender() -> String {
        format!("{SENDER}{}", std::process::id())
    }

    /// The one where they are received.
    pub(crate) fn receiver() -> String {
        format!("{RECEIVER}{}", std::process::id())
    }

    /// The path of this scene, which does not begin yet.
    pub(crate) fn set(&self, scene: &Scene) {
        let mut course = lock(&self.course);
        course.scene = scene.clone();
        course.begun = None;
        course.bins.clear();
    }

    /// Begins the scene now, and says when that is.
    pub(crate) fn begin(&self) -> u64 {
        let begun = now();
        lock(&self.course).begun = Some(begun);
        begun
    }

    /// What has passed since the beginning.
    pub(crate) fn bins(&self) -> Vec<Bin> {
        lock(&self.course).bins.clone()
    }

    /// One direction. Only the sender's has a bottleneck.
    fn join(&self, from: &File, to: &File, is_narrow: bool) -> anyhow::Result<()> {
        let (mut from, mut to) = (from.try_clone()?, to.try_clone()?);
        let (sender, packets) = mpsc::channel::<(u64, Vec<u8>)>();
        let course = self.course.clone();
        let mut lane = Lane {
            is_narrow,
            free: 0,
            waiting: VecDeque::new(),
            last: 0,
            random: fastrand::Rng::with_seed(u64::from(is_narrow)),
        };
        thread::spawn(move || {
            let mut buffer = [0; MTU];
            // A device that is gone ends it.
            while let Ok(length) = from.read(&mut buffer) {
                let arrival = lane.take(&mut lock(&course), length);
                if let Some(arrival) = arrival
                    && sender.send((arrival, buffer[..length].to_vec())).is_err()
                {
                    return;
                }
            }
        });
        thread::spawn(move || {
            for (arrival, packet) in packets {
                thread::sleep(Duration::from_nanos(arrival.saturating_sub(now())));
                // A device that is down takes nothing.
                let _ = to.write(&packet);
            }
        });
        Ok(())
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        remove(&Self::sender());
        remove(&Self::receiver());
    }
}

fn lock(course: &Mutex<Course>) -> MutexGuard<'_, Course> {
    course.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One direction.
struct Lane {
    is_narrow: bool,
    /// When the bottleneck has passed all that it was given.
    free: u64,
    /// When what waits there has passed, and its bytes.
    waiting: VecDeque<(u64, usize)>,
    /// When the last packet arrives.
    last: u64,
    random: fastrand::Rng,
}

impl Lane {
    /// When the packet arrives at the other end, if it does.
    fn take(&mut self, course: &mut Course, bytes: usize) -> Option<u64> {
        let now = now();
        let passed = match self.is_narrow {
            true => self.pass(course, now, bytes)?,
            false => now,
        };
        let scene = &course.scene;
        let jitter = scene.jitter.mul_f64(self.random.f64());
        self.last = self
            .last
            .max(passed + (scene.delay + jitter).as_nanos() as u64);
        Some(self.last)
    }

    /// When the bottleneck has passed it, unless it is dropped.
    fn pass(&mut self, course: &mut Course, now: u64, bytes: usize) -> Option<u64> {
        // Before the beginning there is the capacity of its first moment.
        let begun = course.begun;
        let seconds = |at: u64| begun.map(|begun| at.saturating_sub(begun) as f64 / 1e9);
        while self.waiting.front().is_some_and(|packet| packet.0 <= now) {
            self.waiting.pop_front();
        }
        let waiting: usize = self.waiting.iter().map(|packet| packet.1).sum();
        let scene = &course.scene;
        let capacity = scene.capacity(seconds(now).unwrap_or_default());
        let room = scene.queue.as_secs_f64() * capacity / 8.0;
        let is_dropped = waiting as f64 + bytes as f64 > room.max(MTU as f64 * 2.0);
        if is_dropped {
            if let Some(bin) = course.bin(now) {
                bin.dropped += 1;
            }
            return None;
        }
        let from = self.free.max(now);
        let bits = bytes as f64 * 8.0;
        let takes = match seconds(from) {
            Some(from) => scene.through(from, bits) - from,
            None => bits / capacity,
        };
        self.free = from + (takes * 1e9) as u64;
        self.waiting.push_back((self.free, bytes));
        let waits = (self.free - now) as f64 / 1e6;
        if let Some(bin) = course.bin(now) {
            bin.queue_ms = bin.queue_ms.max(waits);
        }
        if let Some(bin) = course.bin(self.free) {
            bin.bytes += bytes as u64;
        }
        Some(self.free)
    }
}

impl Course {
    /// What is counted at this time, once it has begun.
    fn bin(&mut self, at: u64) -> Option<&mut Bin> {
        let since = at.checked_sub(self.begun?)?;
        let index = (since / SAMPLE.as_nanos() as u64) as usize;
        // A scene has an end.
        if index as f64 * SAMPLE.as_secs_f64() > self.scene.end + 60.0 {
            return None;
        }
        if self.bins.len() <= index {
            self.bins.resize(index + 1, Bin::default());
        }
        self.bins.get_mut(index)
    }
}

/// A namespace with a device of this name and address.
fn device(namespace: &str, name: &str, address: Ipv4Addr) -> anyhow::Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/net/tun");
    let file = file.context("/dev/net/tun, which needs root")?;
    let mut request = [0; REQUEST];
    request[..name.len()].copy_from_slice(name.as_bytes());
    request[NAME..NAME + 2].copy_from_slice(&IFF_TUN_NO_PI.to_ne_bytes());
    // SAFETY: TUNSETIFF reads a `struct ifreq`, which has 40 bytes at most and is no longer here.
    unsafe {
        let setter = Setter::<{ TUNSETIFF as _ }, [u8; REQUEST]>::new(request);
        ioctl(file.as_fd(), setter).context("a TUN device")?;
    }
    ip(&["netns", "add", namespace])?;
    ip(&["link", "set", name, "netns", namespace])?;
    // ICE would take addresses of its own for paths.
    let off = "echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6";
    let _ = Command::new("ip")
        .args(["netns", "exec", namespace, "sh", "-c", off])
        .stderr(Stdio::null())
        .status();
    let address = format!("{address}/24");
    ip(&["-n", namespace, "addr", "add", &address, "dev", name])?;
    ip(&["-n", namespace, "link", "set", "lo", "up"])?;
    ip(&["-n", namespace, "link", "set", name, "up"])?;
    Ok(file)
}

fn remove(namespace: &str) {
    // It need not be there.
    let _ = Command::new("ip")
        .args(["netns", "delete", namespace])
        .stderr(Stdio::null())
        .status();
}

/// Removes the namespaces of processes that were killed.
fn remove_left() {
    let Ok(entries) = fs::read_dir(NAMESPACES) else {
        return;
    };
    for name in entries.flatten().map(|entry| entry.file_name()) {
        let name = name.to_string_lossy();
        let process = name.strip_prefix(SENDER).or(name.strip_prefix(RECEIVER));
        if process.is_some_and(|process| !Path::new("/proc").join(process).exists()) {
            remove(&name);
        }
    }
}

fn ip(arguments: &[&str]) -> anyhow::Result<()> {
    let status = Command::new("ip").args(arguments).status();
    let status = status.context("iproute2's ip")?;
    ensure!(status.success(), "ip {} failed", arguments.join(" "));
    Ok(())
}
