// SPDX-License-Identifier: MIT
//! What this receiver asks of the publisher, in a small broadcast of its own.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use moq_net::{Timestamp, broadcast, origin, track};
use tokio::time::Instant;

use crate::{
    media::catalog::return_path::{Request, TRACK, path},
    net::config::Cache,
};

/// Above all media of the publisher: it is little.
const PRIORITY: u8 = 200;

/// The way back to a publisher that listens.
pub(super) struct ReturnPath {
    origin: origin::Producer,
    id: u64,
    begun: Instant,
    /// While the publisher listens.
    open: Option<Open>,
    /// Whether it does, for the pads.
    listens: Arc<AtomicBool>,
}

struct Open {
    path: String,
    track: track::Producer,
    broadcast: broadcast::Producer,
}

impl ReturnPath {
    /// To nobody yet; `listens` is kept up to date. Needs the runtime's context.
    pub(super) fn new(listens: Arc<AtomicBool>) -> Self {
        Self {
            origin: Cache::REQUESTS.origin(),
            id: fastrand::u64(..),
            begun: Instant::now(),
            open: None,
            listens,
        }
    }

    /// What sessions publish.
    pub(super) fn consume(&self) -> origin::Consumer {
        // Relays ask for it only so, up to moq-lite-06.
        self.origin.consume().with_hidden(true)
    }

    /// The publisher of this broadcast listens, or nobody does.
    pub(super) fn set_publisher(&mut self, broadcast: Option<&str>) {
        let path = broadcast.map(|broadcast| path(broadcast, self.id));
        if self.open.as_ref().map(|open| &open.path) != path.as_ref() {
            if let Some(open) = self.open.take() {
                // Refused only when it is over anyway.
                let _ = open.track.finish();
                open.broadcast.close();
            }
            // Refused only where the name of the broadcast is out of bounds.
            self.open = path.and_then(|path| self.open(path).ok());
        }
        self.listens.store(self.open.is_some(), Ordering::Relaxed);
    }

    /// Asks for a keyframe of the track of this name.
    pub(super) fn request_keyframe(&self, name: &str) {
        let Some(open) = &self.open else { return };
        let request = Request {
            keyframe: name.to_owned(),
        };
        let Some(json) = request.to_json() else {
            return;
        };
        let now = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or_default();
        // It fails only when the track is over; downstream asks again.
        let _ = write(&open.track, now, json);
    }

    fn open(&self, path: String) -> Result<Open, moq_net::Error> {
        let broadcast = self.origin.create_broadcast(path.as_str())?;
        let info = track::Info::default().with_priority(PRIORITY);
        let track = broadcast.create_track(TRACK, info)?;
        broadcast.announce(origin::Route::default())?;
        Ok(Open {
            path,
            track,
            broadcast,
        })
    }
}

fn write(track: &track::Producer, millis: u64, json: Vec<u8>) -> Option<()> {
    let timestamp = Timestamp::from_millis(millis).ok()?;
    let mut group = track.append_group().ok()?;
    group.write_frame(timestamp, json).ok()?;
    group.finish().ok()
}
