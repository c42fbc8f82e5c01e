//! One published track: its groups, their limits and their delivery.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use moq_net::{group, track};
use tokio::task::JoinSet;

use super::frame_writer::Container;
use crate::{
    media::format::codec::Kind,
    sink::message::{MAX_GROUP_BYTES, MAX_GROUP_FRAMES},
};

/// How much sound one group holds, in microseconds.
///
/// Each group is a QUIC stream: one for each packet would cost more than the sound itself. Frames
/// leave as they are written, so a longer group adds no delay.
const AUDIO_GROUP: u64 = 100_000;
/// The largest frame that the library carries, less room for its header.
const MAX_FRAME: usize = (32 << 20) - 256;

/// A track under one name, which it never changes.
pub(crate) struct Track {
    producer: track::Producer,
    kind: Kind,
    container: Container,
    open: Option<Open>,
    /// The first timestamp of the newest group: the next group may not begin before it.
    edge: u64,
    latest: Option<group::Producer>,
    /// Groups that have not reached the next hop, the oldest first.
    pending: Vec<Pending>,
    /// Groups that were given up after they had been finished: the library goes on sending them, below
    /// everything else, and nothing takes them back from QUIC's send window.
    stuck: Vec<Pending>,
    /// How many bytes of them may be in that window before nothing new is put beside them.
    max_stuck: usize,
    /// What was given up and not told yet.
    lost: GivenUp,
    finished: bool,
}

/// Groups, and the frames in them, that the network has not carried in time.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct GivenUp {
    pub(crate) groups: u64,
    pub(crate) frames: u64,
}

struct Open {
    group: group::Producer,
    begin: u64,
    frames: usize,
    bytes: usize,
}

/// A group on its way to the next hop.
struct Pending {
    group: group::Producer,
    frames: u64,
    bytes: usize,
    /// The first timestamp of the next group.
    end: Option<u64>,
    delivery: Arc<Delivery>,
}

/// How far a group came on its way to the next hop.
#[derive(Default)]
struct Delivery {
    /// A session has begun to send it.
    taken: AtomicBool,
    /// All of it was acknowledged, or it was given up.
    done: AtomicBool,
}

/// Why a frame was not written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    #[error("it cannot be decoded without the key frame before it")]
    NoKeyFrame,
    #[error("its time lies before what was published already")]
    Rewinds,
    #[error("it is larger than 32 MiB")]
    TooLarge,
    #[error(
        "{MAX_GROUP_FRAMES} frames or 24 MiB came without a key frame: let the encoder make one at least every few seconds"
    )]
    GroupFull,
    #[error("the network has not carried what came before it")]
    Congested,
    #[error(transparent)]
    Failed(#[from] moq_mux::Error),
}

impl Track {
    pub(crate) fn new(
        producer: track::Producer,
        kind: Kind,
        container: Container,
        max_stuck: usize,
    ) -> Self {
        Self {
            producer,
            kind,
            container,
            open: None,
            edge: 0,
            latest: None,
            pending: Vec::new(),
            stuck: Vec::new(),
            max_stuck,
            lost: GivenUp::default(),
            finished: false,
        }
    }

    pub(crate) fn name(&self) -> &str {
        self.producer.name()
    }

    /// Writes one frame, into a new group where one is due, which it tells; `watchers` see to the
    /// group's delivery.
    pub(crate) fn write(
        &mut self,
        timestamp: u64,
        duration: Option<gst::ClockTime>,
        key: bool,
        payload: Bytes,
        watchers: &mut JoinSet<()>,
    ) -> Result<bool, Refused> {
        if payload.len() > MAX_FRAME {
            self.cut();
            return Err(Refused::TooLarge);
        }
        let begins = self.begins_group(timestamp, key, payload.len())?;
        if begins {
            self.begin(timestamp, watchers)?;
        }
        let open = self.open.as_mut().ok_or(Refused::NoKeyFrame)?;
        let bytes = payload.len();
        open.frames += 1;
        open.bytes += bytes;
        self.container
            .write(&mut open.group, timestamp, duration, key, payload)?;
        let sequence = open.group.sequence;
        let pending = self.pending.last_mut();
        if let Some(pending) = pending.filter(|pending| pending.group.sequence == sequence) {
            pending.frames += 1;
            pending.bytes += bytes;
        }
        Ok(begins)
    }

    /// A cue is complete: players show it when its group has ended.
    pub(crate) fn end_cue(&mut self) {
        if self.kind == Kind::Text {
            self.cut();
        }
    }

    /// Ends the open group: what follows begins another one.
    pub(crate) fn cut(&mut self) {
        if let Some(open) = self.open.take() {
            // Refused only when the group is over anyway.
            let _ = open.group.finish();
        }
    }

    /// Ends the open group because a newer one begins.
    ///
    /// Behind a group that is stuck already its rest would be stuck as well: it is taken back.
    fn supersede(&mut self) {
        match self.is_congested() {
            true => self.abandon(),
            false => self.cut(),
        }
    }

    /// Takes back from the network what it has not carried of the open group.
    fn abandon(&mut self) {
        let Some(open) = self.open.take() else { return };
        self.lost.groups += 1;
        self.lost.frames += open.frames as u64;
        self.pending
            .retain(|pending| pending.group.sequence != open.group.sequence);
        // Refused only when the group is over anyway.
        let _ = open.group.abort(moq_net::Error::Old);
    }

    /// Whether the network has more to carry than it can.
    ///
    /// Sound, text and data are small: late is better than lost, until much of it is stuck.
    fn is_congested(&mut self) -> bool {
        self.stuck.retain(|stuck| !stuck.is_done());
        match self.kind {
            Kind::Video => !self.stuck.is_empty(),
            Kind::Audio | Kind::Text | Kind::Data => self.stuck_bytes() > self.max_stuck / 8,
        }
    }

    fn stuck_bytes(&self) -> usize {
        self.stuck.iter().map(|stuck| stuck.bytes).sum()
    }

    /// Has the newest group delivered again: the connection was lost.
    pub(crate) fn redeliver(&mut self, watchers: &mut JoinSet<()>) {
        // What was under way went with the session.
        self.stuck.clear();
        if let Some(group) = self.latest.clone().filter(|_| !self.finished) {
            self.pending.clear();
            self.watch(group, watchers);
        }
    }

    /// Whether all that a subscriber can still use has reached the next hop.
    pub(crate) fn is_delivered(&mut self) -> bool {
        let wanted = self.producer.subscription().is_some();
        self.pending.retain(|pending| !pending.is_done());
        // Older groups that nobody took are older than what the subscriber began with.
        let moving = self.pending.iter().any(Pending::is_moving);
        let owed = wanted && self.pending.iter().any(Pending::is_newest);
        !(moving || owed)
    }

    /// Gives up what has not got through at `timestamp`, and tells what was given up since the last call.
    ///
    /// A group has until the newest frame is later than its end by the budget of those who subscribed,
    /// or by the publisher's.
    pub(crate) fn give_up(&mut self, timestamp: u64) -> GivenUp {
        if self.pending.iter().any(Pending::is_outdated)
            && let Some(wanted) = self.producer.subscription()
        {
            let late = |pending: &mut Pending| {
                let age = pending.end.map(|end| timestamp.saturating_sub(end));
                let age = age.map(Duration::from_micros);
                pending.is_outdated() && age >= Some(wanted.max_age)
            };
            let given_up = self.pending.extract_if(.., late);
            for pending in given_up {
                self.lost.groups += 1;
                self.lost.frames += pending.frames;
                self.stuck.push(pending);
            }
        }
        std::mem::take(&mut self.lost)
    }

    /// Finishes the track if it is delivered; whether it is.
    pub(crate) fn finish_delivered(&mut self) -> bool {
        let delivered = self.is_delivered();
        if delivered {
            self.finish();
        }
        delivered
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.finished
    }

    /// Says that no group follows; before [`Track::is_delivered`] this may lose the tail.
    pub(crate) fn finish(&mut self) {
        self.cut();
        if !std::mem::replace(&mut self.finished, true) {
            // Refused only when the track is over anyway.
            let _ = self.producer.finish();
        }
    }

    /// Breaks the track off: its viewers do not take this for its end.
    pub(crate) fn withdraw(self) {
        // Refused only when the track is over anyway.
        let _ = self.producer.abort(moq_net::Error::Cancel);
    }

    fn begins_group(&mut self, timestamp: u64, key: bool, bytes: usize) -> Result<bool, Refused> {
        let Some(open) = &self.open else {
            return match key {
                true => Ok(true),
                false => Err(Refused::NoKeyFrame),
            };
        };
        let full = open.frames >= MAX_GROUP_FRAMES || open.bytes + bytes > MAX_GROUP_BYTES;
        match self.kind {
            Kind::Video if !key && full => {
                self.cut();
                Err(Refused::GroupFull)
            }
            // Each cue begins a group, to which the frame that clears it belongs.
            Kind::Video | Kind::Text => Ok(key),
            _ if timestamp < open.begin => Err(Refused::Rewinds),
            _ => Ok(full || timestamp >= open.begin + AUDIO_GROUP),
        }
    }

    fn begin(&mut self, timestamp: u64, watchers: &mut JoinSet<()>) -> Result<(), Refused> {
        if self.open.is_none() {
            self.container.restart();
        }
        self.supersede();
        if timestamp < self.edge {
            return Err(Refused::Rewinds);
        }
        if self.stuck_bytes() > self.max_stuck {
            return Err(Refused::Congested);
        }
        self.edge = timestamp;
        let group = self.producer.append_group().map_err(moq_mux::Error::from)?;
        if let Some(newest) = self.pending.last_mut().filter(|last| last.is_newest()) {
            newest.end = Some(timestamp);
        }
        self.watch(group.clone(), watchers);
        self.latest = Some(group.clone());
        self.open = Some(Open {
            group,
            begin: timestamp,
            frames: 0,
            bytes: 0,
        });
        Ok(())
    }

    fn watch(&mut self, group: group::Producer, watchers: &mut JoinSet<()>) {
        self.pending.retain(|pending| !pending.is_done());
        let delivery = Arc::new(Delivery::default());
        self.pending.push(Pending {
            group: group.clone(),
            frames: 0,
            bytes: 0,
            end: None,
            delivery: delivery.clone(),
        });
        // Ends by itself when nobody ever asks: the cache gives the group up.
        watchers.spawn(async move {
            if group.used().await.is_ok() {
                delivery.taken.store(true, Ordering::Release);
                // An error says that the group was given up.
                let _ = group.unused().await;
            }
            delivery.done.store(true, Ordering::Release);
        });
    }
}

impl Pending {
    /// Whether no group was begun after it: the newest one leaves the list when it is delivered, the
    /// last of the list may be older.
    fn is_newest(&self) -> bool {
        self.end.is_none()
    }

    /// Whether it was taken and has not got through.
    fn is_moving(&self) -> bool {
        self.delivery.taken.load(Ordering::Acquire) && !self.is_done()
    }

    /// Whether it is under way still after a newer one has begun.
    fn is_outdated(&self) -> bool {
        !self.is_newest() && self.is_moving()
    }

    fn is_done(&self) -> bool {
        self.delivery.done.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests;
