// SPDX-License-Identifier: MIT
//! Any catalog and any frame, for the fuzzers, to whom all this is private.

use std::{
    pin::pin,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use moq_net::{Path, Timestamp, broadcast, group, track};

use super::{
    entries::{self, Entry},
    format::Track,
    is_ended,
};

/// Reads a catalog in each format, and a frame of each track that it lists.
///
/// # Panics
///
/// When what is found breaks a promise.
pub fn read(catalog: &[u8], frame: &[u8]) {
    let Ok(catalog) = serde_json::from_slice(catalog) else {
        return;
    };
    let group = group(Bytes::copy_from_slice(frame));
    for track in [Track::Hang, Track::Msf] {
        let (entries, problems) = entries::read(track, &Path::new("room/camera.hang"), &catalog);
        assert!(entries.len() <= 64);
        let longest = problems.iter().map(String::len).max();
        assert!(longest.unwrap_or_default() < 8192, "{problems:?}");
        for entry in &entries {
            assert!(entry.caps.is_fixed(), "{}", entry.caps);
            let read: usize = read_group(entry, group.consume())
                .iter()
                .map(Bytes::len)
                .sum();
            assert!(read <= frame.len(), "{read} bytes of {}", frame.len());
        }
        is_ended(track, &catalog);
    }
}

/// A group of one frame that nobody will ever send.
fn group(frame: Bytes) -> group::Producer {
    let broadcast = broadcast::Producer::new(broadcast::Info::default());
    let track = broadcast.create_track("track", track::Info::default());
    let group = track.and_then(|track| track.append_group());
    let mut group = group.expect("a group of a new track");
    group
        .write_frame(Timestamp::ZERO, frame)
        .expect("room for a frame");
    group.finish().expect("the end of the group");
    group
}

/// The payloads of all frames of a group, as far as it can be read.
fn read_group(entry: &Entry, mut group: group::Consumer) -> Vec<Bytes> {
    let mut context = Context::from_waker(Waker::noop());
    let mut payloads = Vec::new();
    loop {
        let mut read = pin!(entry.frames.read(&mut group));
        match read.as_mut().poll(&mut context) {
            Poll::Ready(Ok(Some(frames))) => {
                payloads.extend(frames.into_iter().map(|frame| frame.payload));
            }
            Poll::Ready(Ok(None) | Err(_)) => return payloads,
            Poll::Pending => panic!("{} waits for more than there is", entry.name),
        }
    }
}
