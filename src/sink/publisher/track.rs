// SPDX-License-Identifier: MIT
//! One published track: its groups and their limits.

use std::time::Duration;

use moq_net::{group, track};

use super::{
    delivery::{Delivery, DeliveryTasks, GivenUp},
    frame_writer::FrameWriter,
};
use crate::{
    media::format::{codec::Kind, rendition::Rendition},
    sink::message::{Frame, MAX_GROUP_BYTES, MAX_GROUP_FRAMES},
};

/// How much data one group holds, and audio unless its pad says something else.
///
/// Each group is a QUIC stream: one for each packet would cost more than the audio itself. Frames
/// leave as they are written, so a longer group adds no delay.
const GROUP_DURATION: Duration = Duration::from_millis(100);
/// The largest frame that the library carries, less room for its header.
const MAX_FRAME_BYTES: usize = (32 << 20) - 256;

/// A track under one name, which it never changes.
///
/// Groups never rewind: none begins before the one that came before it.
pub(super) struct PublishedTrack {
    producer: track::Producer,
    kind: Kind,
    writer: FrameWriter,
    open: Option<OpenGroup>,
    /// The first timestamp of the newest group, in microseconds.
    newest_begin: u64,
    delivery: Delivery,
    /// How much of the track one group holds, if it has no keyframes.
    group_duration: Duration,
    finished: bool,
}

struct OpenGroup {
    group: group::Producer,
    /// Its first timestamp, in microseconds.
    begin: u64,
    frames: usize,
    bytes: usize,
}

/// What came of a frame that was written.
#[derive(Debug)]
pub(super) struct Written {
    /// It is the first of its group.
    pub(super) begins_group: bool,
    /// What was given up since the last frame, as too late for the network.
    pub(super) given_up: GivenUp,
}

/// Why a frame was not written.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refused {
    #[error("it cannot be decoded without the keyframe before it")]
    NoKeyframe,
    #[error("its time lies before what was published already")]
    Rewinds,
    #[error("it is larger than 32 MiB")]
    TooLarge,
    #[error(
        "{MAX_GROUP_FRAMES} frames or 24 MiB came without a keyframe: let the encoder make one at least every few seconds"
    )]
    GroupFull,
    #[error("the network has not carried what came before it")]
    Congested,
    #[error(transparent)]
    Failed(#[from] moq_mux::Error),
}

impl PublishedTrack {
    /// Publishes frames of `rendition`; groups may be late by `max_late`, and `max_stuck` bytes of late
    /// groups may be in the network before no other begins.
    pub(super) fn new(
        producer: track::Producer,
        rendition: &Rendition,
        max_late: Duration,
        max_stuck: Option<usize>,
    ) -> Self {
        let kind = rendition.kind();
        Self {
            producer,
            kind,
            writer: FrameWriter::new(rendition),
            open: None,
            newest_begin: 0,
            delivery: Delivery::new(kind, max_late, max_stuck),
            group_duration: GROUP_DURATION,
            finished: false,
        }
    }

    /// How much one group holds from now on, of audio alone.
    pub(super) fn set_audio_group(&mut self, duration: Duration) {
        if self.kind == Kind::Audio {
            self.group_duration = duration;
        }
    }

    pub(super) fn name(&self) -> &str {
        self.producer.name()
    }

    pub(super) fn kind(&self) -> Kind {
        self.kind
    }

    /// Writes one frame, into a new group where one is due.
    pub(super) fn write(
        &mut self,
        frame: Frame,
        tasks: &mut DeliveryTasks,
    ) -> Result<Written, Refused> {
        let timestamp = frame.timestamp;
        // Players show a cue when its group has ended.
        let is_complete = frame.ends_cue && self.kind == Kind::Text;
        let begins_group = self.append(frame, tasks);
        if is_complete {
            self.cut();
        }
        Ok(Written {
            begins_group: begins_group?,
            given_up: self.delivery.give_up(timestamp, &self.producer),
        })
    }

    fn append(&mut self, frame: Frame, tasks: &mut DeliveryTasks) -> Result<bool, Refused> {
        let bytes = frame.payload.len();
        if bytes > MAX_FRAME_BYTES {
            self.cut();
            return Err(Refused::TooLarge);
        }
        let begins_group = self.begins_group(&frame)?;
        if begins_group {
            self.begin(frame.timestamp, tasks)?;
        }
        let open = self.open.as_mut().ok_or(Refused::NoKeyframe)?;
        open.frames += 1;
        open.bytes += bytes;
        self.writer.write(&mut open.group, frame)?;
        Ok(begins_group)
    }

    /// Whether the frame begins a group.
    fn begins_group(&mut self, frame: &Frame) -> Result<bool, Refused> {
        let Some(open) = &self.open else {
            return match frame.keyframe {
                true => Ok(true),
                false => Err(Refused::NoKeyframe),
            };
        };
        let bytes = open.bytes + frame.payload.len();
        let full = open.frames >= MAX_GROUP_FRAMES || bytes > MAX_GROUP_BYTES;
        match self.kind {
            Kind::Video if !frame.keyframe && full => {
                self.cut();
                Err(Refused::GroupFull)
            }
            // Each cue begins a group, to which the frame that clears it belongs.
            Kind::Video | Kind::Text => Ok(frame.keyframe),
            Kind::Audio | Kind::Data => {
                let time = frame.timestamp.checked_sub(open.begin);
                let time = time.ok_or(Refused::Rewinds)?;
                Ok(full || Duration::from_micros(time) >= self.group_duration)
            }
        }
    }

    fn begin(&mut self, timestamp: u64, tasks: &mut DeliveryTasks) -> Result<(), Refused> {
        if self.open.is_none() {
            self.writer.restart();
        }
        match self.delivery.is_congested() {
            true => self.abort_group(),
            false => self.cut(),
        }
        if timestamp < self.newest_begin {
            return Err(Refused::Rewinds);
        }
        if self.delivery.is_blocked() {
            return Err(Refused::Congested);
        }
        let group = self.producer.append_group().map_err(moq_mux::Error::from)?;
        self.newest_begin = timestamp;
        self.delivery.begin(&group, timestamp, tasks);
        self.open = Some(OpenGroup {
            group,
            begin: timestamp,
            frames: 0,
            bytes: 0,
        });
        Ok(())
    }

    /// Ends the open group: what follows begins another one.
    pub(super) fn cut(&mut self) {
        if let Some(open) = self.open.take() {
            self.delivery.finished(open.frames, open.bytes);
            // Refused only when the group is over anyway.
            let _ = open.group.finish();
        }
    }

    /// Ends the open group, and takes back what nobody has taken.
    pub(super) fn rest(&mut self) {
        self.cut();
        self.delivery.forget();
    }

    /// Takes back what the network has not carried of the open group: it would be stuck behind what is
    /// stuck already, or come too late.
    pub(super) fn abort_group(&mut self) {
        if let Some(open) = self.open.take() {
            self.delivery.aborted(open.frames);
            // Refused only when the group is over anyway.
            let _ = open.group.abort(moq_net::Error::Old);
        }
    }

    /// Has the newest group delivered again: the connection was lost.
    pub(super) fn redeliver(&mut self, tasks: &mut DeliveryTasks) {
        if !self.finished {
            self.delivery.restart(tasks);
        }
    }

    /// Whether all that a subscriber can still use has reached the next hop.
    pub(super) fn is_delivered(&mut self) -> bool {
        let wanted = self.producer.subscription().is_some();
        self.delivery.is_complete(wanted)
    }

    /// Finishes the track if it is delivered; whether it is.
    pub(super) fn finish_delivered(&mut self) -> bool {
        let delivered = self.is_delivered();
        if delivered {
            self.finish();
        }
        delivered
    }

    pub(super) fn is_finished(&self) -> bool {
        self.finished
    }

    /// Says that no group follows; before [`Self::is_delivered`] this may lose the tail.
    pub(super) fn finish(&mut self) {
        self.cut();
        if !std::mem::replace(&mut self.finished, true) {
            // Refused only when the track is over anyway.
            let _ = self.producer.finish();
        }
    }

    /// Breaks the track off: subscribers do not take this for its end.
    pub(super) fn abort(self) {
        // Refused only when the track is over anyway.
        let _ = self.producer.abort(moq_net::Error::Cancel);
    }
}

#[cfg(test)]
mod tests;
