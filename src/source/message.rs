// SPDX-License-Identifier: MIT
//! The messages between the element, its pads, the subscriber and the readers of tracks.
//!
//! [`Control`] goes to the subscriber, [`Message`] to one pad; [`TrackEnd`] and [`TrackProblem`] are what
//! the reader of a track reports.

use std::{
    fmt,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use gst::ClockTime;

use super::selection::Wishes;
use crate::element::{budget::Charge, pipeline_clock::PipelineClock, sync::lock};

/// How much time may wait in one pad's channel, beside the latency that sinks hold, before its reader
/// stops.
pub(crate) const MAX_QUEUE_TIME: ClockTime = ClockTime::from_seconds(2);
/// A position this much ahead of the running time is of an earlier one, which was reset.
pub(crate) const MAX_POSITION_AHEAD: ClockTime = ClockTime::SECOND;

/// Place of a pad in the subscriber's list; never reused within a run.
pub(crate) type PadIndex = usize;

/// What the element, its pads and the readers of their tracks send to the subscriber.
#[derive(Debug)]
pub(crate) enum Control {
    Play(PipelineClock),
    Pause,
    /// The pad was linked; each wish has a greater number than the one before.
    Linked(PadIndex, u32),
    Unlinked(PadIndex),
    /// Downstream asks again for what it refused.
    Wanted(PadIndex, u32),
    /// Downstream does not want the pad now; the number tells which wish was answered.
    Unwanted(PadIndex, u32),
    /// Downstream takes nothing more.
    Finished(PadIndex),
    /// This reader of the pad gives its frames now.
    Switched(PadIndex, u64),
    /// Downstream wants these streams, by their ids.
    SelectStreams(Vec<String>),
    /// The application wants other renditions.
    Wish(Wishes),
    /// Downstream of the pad wants a keyframe.
    Keyframe(PadIndex),
    Latency(ClockTime),
    /// A pad's first frame was taken: its sinks have prerolled and take the latency.
    Flowing,
    /// The application ends the stream.
    Eos(gst::Seqnum),
    /// Something is wrong with what this reader of the pad reads.
    Problem(PadIndex, u64, TrackProblem),
    /// The application has an event for every pad.
    Event(AppEvent),
    /// Playing goes on at this stream time; all pads have got FLUSH_START of this seqnum.
    Seek(gst::Seqnum, ClockTime),
    /// What can be played of the past is to be found out again.
    Measure,
}

/// What a pad has to do, in this order.
pub(crate) enum Message {
    /// The element plays; times are of this clock.
    Play(PipelineClock),
    /// The element no longer plays: silence is no gap.
    Pause,
    /// The streams of the element have changed.
    Collection(Arc<LatestSlot<gst::StreamCollection>>),
    /// The format changes, or the pad's stream begins anew after its end.
    Caps {
        caps: gst::Caps,
        revived: bool,
    },
    /// Another track follows with the next frame, without a hole.
    Opening(Opening),
    /// The catalog describes the track in other words.
    Tags(Arc<LatestSlot<gst::TagList>>),
    Frame(Frame),
    /// An event of the application.
    Event(AppEvent),
    /// What was sent before is of no use any more.
    Flush(Flush),
    /// Text that stays is over at this time.
    Clear(ClockTime, Charge),
    /// The stream has ended; `None` takes a new seqnum.
    Eos(Option<gst::Seqnum>),
}

impl Message {
    /// Whether `earlier` says nothing any more once this one was said.
    pub(crate) fn replaces(&self, earlier: &Self) -> bool {
        let playing = |message: &Self| matches!(message, Self::Play(_) | Self::Pause);
        if let (Self::Event(event), Self::Event(earlier)) = (self, earlier) {
            return event.event.type_() == earlier.event.type_();
        }
        std::mem::discriminant(self) == std::mem::discriminant(earlier)
            || (playing(self) && playing(earlier))
    }
}

/// What is pushed before the first frame of a track that follows another one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Opening {
    /// The track is of another stream.
    pub(crate) stream: Option<gst::Stream>,
    pub(crate) caps: Option<gst::Caps>,
    pub(crate) tags: Option<gst::TagList>,
    /// What is before this running time is for the decoder alone.
    pub(crate) start: Option<ClockTime>,
    /// Running time less stream time from there on.
    pub(crate) offset: Option<i64>,
}

/// What is pushed where playing jumps.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Flush {
    /// Of the SEEK.
    pub(crate) seqnum: gst::Seqnum,
    /// The running time at which it goes on, and the stream time that this is.
    pub(crate) start: ClockTime,
    pub(crate) position: ClockTime,
}

/// One frame, stamped.
pub(crate) struct Frame {
    pub(crate) payload: Bytes,
    pub(crate) pts: ClockTime,
    pub(crate) dts: Option<ClockTime>,
    pub(crate) duration: Option<ClockTime>,
    pub(crate) discont: bool,
    pub(crate) delta: bool,
    /// It is only decoded: another track has shown what it shows.
    pub(crate) unseen: bool,
    /// Text that is shown until something follows it.
    pub(crate) stays: bool,
    /// Its running time less its stream time, which is its timestamp, if it has one.
    pub(crate) offset: Option<i64>,
    pub(crate) charge: Charge,
}

/// An event that an application sent to the element, on its way to the pads.
#[derive(Debug, Clone)]
pub(crate) struct AppEvent {
    event: gst::Event,
    /// Held as long as it waits.
    _place: Arc<()>,
}

impl AppEvent {
    /// How many copies for pads may wait at once.
    const MAX: usize = 4096;

    /// Takes in an event that shares its limit with all of the same `place`; refused when too many
    /// wait already.
    pub(crate) fn new(event: gst::Event, place: &Arc<()>) -> Option<Self> {
        (Arc::strong_count(place) <= Self::MAX).then(|| Self {
            event,
            _place: place.clone(),
        })
    }

    /// Whether a pad keeps it for whoever is linked later.
    pub(crate) fn is_sticky(&self) -> bool {
        self.event.is_sticky()
    }

    pub(crate) fn into_inner(self) -> gst::Event {
        self.event
    }
}

/// What waits once, as it is now, however often it changes while downstream blocks.
pub(crate) struct LatestSlot<T>(Mutex<Option<T>>);

impl<T> Default for LatestSlot<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T> LatestSlot<T> {
    /// Takes the place of what waits; whether nothing did.
    pub(crate) fn replace(&self, value: T) -> bool {
        lock(&self.0).replace(value).is_none()
    }

    pub(crate) fn take(&self) -> Option<T> {
        lock(&self.0).take()
    }
}

/// How a track ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TrackEnd {
    #[error("the publisher finished it")]
    Finished,
    #[error("it has nothing but empty frames and groups")]
    Empty,
    #[error("it was retired, and its tail has come")]
    Retired,
    #[error("it broke off: {0}")]
    Lost(String),
    #[error("reading it failed, which is an error of this plugin")]
    Panicked,
    #[error("the broadcast \"{0}\", which has it, was not found")]
    Missing(String),
}

/// What the application is warned of.
#[derive(Debug)]
pub(crate) enum TrackProblem {
    /// Its frames have been dropped for a second, for this reason.
    Dropping(DropCause),
    /// It gives nothing.
    Silent(Silence),
}

/// Why frames are dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DropCause {
    /// Downstream took what was before them too slowly.
    Late,
    /// Their timestamps are out of range.
    Timestamp,
    /// What they refer to was lost.
    Undecodable,
    /// Their timestamps are on another base than those of the other tracks.
    Outlier,
    /// They belong before the start, or before what was shown.
    BeforeStart,
    /// Their container cannot be read.
    Unreadable,
    /// Their groups break off on the way.
    BrokenOff,
}

impl fmt::Display for DropCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Late => {
                "downstream takes them too slowly; a queue or a faster downstream would help"
            }
            Self::Timestamp => "their timestamps are beyond 2^63 ns; the publisher has to send others",
            Self::Undecodable => {
                "what they refer to was lost; the next keyframe ends that, and more of them would \
                 end it sooner"
            }
            Self::Outlier => {
                "their timestamps are more than a second ahead of those of the other tracks; the \
                 publisher has to stamp all its tracks by one clock"
            }
            Self::BeforeStart => {
                "they are older than what is shown now; the publisher has to stamp all its tracks by \
                 one clock, or a greater latency may help"
            }
            Self::Unreadable => "their container cannot be read",
            Self::BrokenOff => {
                "their groups break off before they have come; the relay refuses them, or the network \
                 is too slow for them"
            }
        })
    }
}

/// What is known of a track that gives nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Silence {
    /// What came was of a cache alone.
    pub(crate) cached: bool,
    pub(crate) reason: String,
}
