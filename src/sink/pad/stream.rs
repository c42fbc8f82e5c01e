// SPDX-License-Identifier: MIT
//! What a pad's streaming thread knows of its stream, and which buffers it lets pass.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;

use super::{
    keyframe::{KeyframeDue, KeyframeState},
    publish_time::{FrameInfo, Placement, PublishTime},
};
use crate::{
    element::pipeline_clock::PipelineClock,
    media::{
        catalog::description::{Description, Tags},
        format::{
            caps::InputStream,
            codec::Kind,
            duration,
            input::Span,
            rendition::{FrameError, Rendition},
        },
        time::{
            publish::PublishTimeline,
            segment::{Format, TimeError},
        },
    },
    sink::{run::RunHandle, stats::DropReason},
};

/// How long every buffer may be dropped before that is warned of.
const MAX_SILENT_DROPS: Duration = Duration::from_secs(1);

/// The stream of one pad during a run.
pub(super) struct StreamState {
    run: Arc<RunHandle>,
    format: NegotiatedFormat,
    time: PublishTime,
    tags: Tags,
    keyframes: KeyframeState,
    /// EOS came.
    ended: bool,
    /// `None` while buffers are published.
    drops: Option<Drops>,
}

/// What the newest caps came to.
enum NegotiatedFormat {
    /// No caps came.
    None,
    /// The caps cannot be published: nothing passes until the next ones.
    Failed,
    Input(Box<Input>),
}

struct Input {
    caps: gst::Caps,
    stream: InputStream,
    /// The catalog entry that the publisher has.
    sent: Option<Rendition>,
}

/// A time without a buffer that was published.
struct Drops {
    since: Instant,
    warned: bool,
}

/// Why a buffer is not published.
pub(super) enum NotPublished {
    Flow(gst::FlowError),
    /// As it should be.
    Skipped,
    Dropped(DropReason, String),
}

/// What follows from a buffer that was dropped.
#[derive(Default)]
pub(super) struct DropReaction {
    /// All have been for a while.
    pub(super) warns: bool,
    pub(super) keyframe: KeyframeDue,
}

/// A frame that is ready to be published.
pub(super) struct Prepared {
    pub(super) payload: Bytes,
    pub(super) duration: Option<gst::ClockTime>,
    /// The catalog entry, unless the publisher has it.
    pub(super) rendition: Option<Rendition>,
    /// The entry has changed by parameter sets in band, without new caps.
    pub(super) in_band: bool,
    /// When an empty frame has to say that its text is over.
    pub(super) clear_at: Option<gst::ClockTime>,
    pub(super) keyframe: KeyframeDue,
}

/// The payload of a buffer, which goes back to its pool when the last reader is done.
struct Mapped(gst::MappedBuffer<gst::buffer::Readable>);

impl AsRef<[u8]> for Mapped {
    fn as_ref(&self) -> &[u8] {
        self.0.as_slice()
    }
}

impl From<gst::FlowError> for NotPublished {
    fn from(error: gst::FlowError) -> Self {
        Self::Flow(error)
    }
}

impl From<TimeError> for NotPublished {
    fn from(error: TimeError) -> Self {
        match error {
            TimeError::Clipped => Self::Skipped,
            error => Self::Dropped(DropReason::NoTimestamp, error.to_string()),
        }
    }
}

impl NotPublished {
    fn refused(reason: impl ToString) -> Self {
        Self::Dropped(DropReason::Refused, reason.to_string())
    }
}

impl StreamState {
    /// Upstream is asked for a keyframe at most once per `request_interval`.
    pub(super) fn new(run: Arc<RunHandle>, request_interval: Duration) -> Self {
        Self {
            run,
            format: NegotiatedFormat::None,
            time: PublishTime::default(),
            tags: Tags::default(),
            keyframes: KeyframeState::new(request_interval),
            ended: false,
            drops: None,
        }
    }

    /// The run that it belongs to.
    pub(super) fn run(&self) -> &Arc<RunHandle> {
        &self.run
    }

    pub(super) fn time(&mut self) -> &mut PublishTime {
        &mut self.time
    }

    /// A STREAM_START event; whether the stream had ended before.
    pub(super) fn begin(&mut self) -> bool {
        self.time.begin();
        self.tags = Tags::default();
        std::mem::take(&mut self.ended)
    }

    /// Whether these are the caps that it has.
    pub(super) fn has_caps(&self, caps: &gst::CapsRef) -> bool {
        self.input().is_some_and(|input| *input.caps == *caps)
    }

    /// The kind of track that the caps are of.
    pub(super) fn kind(&self) -> Option<Kind> {
        self.input().map(|input| input.stream.kind())
    }

    /// A CAPS event; the catalog entry of a sparse stream, which is listed before its first frame.
    pub(super) fn set_caps(&mut self, caps: gst::Caps, stream: InputStream) -> Option<Rendition> {
        let listed = stream.rendition().filter(|_| stream.kind().is_sparse());
        let listed = listed.cloned();
        self.format = NegotiatedFormat::Input(Box::new(Input {
            caps,
            stream,
            sent: listed.clone(),
        }));
        self.time.set_liveness(None);
        self.keyframes.interrupt();
        listed
    }

    /// Nothing passes until the next caps.
    pub(super) fn fail(&mut self) {
        self.format = NegotiatedFormat::Failed;
        self.keyframes.interrupt();
    }

    /// A TAG event; what is known of the stream by now.
    pub(super) fn describe(&mut self, tags: &gst::TagListRef) -> Description {
        self.tags.take(tags);
        self.tags.description()
    }

    /// An EOS event.
    pub(super) fn end(&mut self) {
        self.ended = true;
    }

    /// A FLUSH_STOP event.
    pub(super) fn flush(&mut self) {
        self.time.flush();
        self.ended = false;
        self.keyframes.interrupt();
    }

    /// The pipeline is paused: what a live source makes meanwhile is lost; whether it is live.
    pub(super) fn pause(&mut self) -> bool {
        let live = self.time.is_live();
        if live {
            self.keyframes.interrupt();
        }
        live
    }

    /// Whether upstream is to be asked for a keyframe, without which nothing can be published.
    pub(super) fn request_missing_keyframe(&mut self) -> bool {
        let waits = !self.ended && self.kind() == Some(Kind::Video);
        waits && self.keyframes.is_missing() && self.request_keyframe()
    }

    /// A keyframe is wanted; whether upstream is to be asked for it now.
    pub(super) fn request_keyframe(&mut self) -> bool {
        self.keyframes.request(Instant::now())
    }

    /// The same if the open group is as old as `age`.
    pub(super) fn request_younger_keyframe(&mut self, age: Duration) -> bool {
        let helps = !self.ended && self.kind() == Some(Kind::Video);
        helps && self.keyframes.is_older(age, Instant::now()) && self.request_keyframe()
    }

    pub(super) fn set_request_interval(&mut self, interval: Duration) {
        self.keyframes.set_min_interval(interval);
    }

    /// Only of live input: a file has no encoder that could answer.
    fn take_keyframe_warning(&mut self) -> bool {
        self.keyframes.take_warning() && self.time.is_live()
    }

    /// Checks a buffer and finds out its running times.
    pub(super) fn admit(&mut self, buffer: &gst::BufferRef) -> Result<FrameInfo, NotPublished> {
        if self.run.has_failed() {
            return Err(gst::FlowError::Error.into());
        }
        if self.ended {
            return Err(gst::FlowError::Eos.into());
        }
        let stream = match &mut self.format {
            NegotiatedFormat::None => return Err(gst::FlowError::NotNegotiated.into()),
            NegotiatedFormat::Failed => return Err(NotPublished::Skipped),
            NegotiatedFormat::Input(input) => &mut input.stream,
        };
        let flags = buffer.flags();
        let is_untimed = buffer.pts().is_none() && buffer.dts().is_none();
        if is_untimed && flags.contains(gst::BufferFlags::HEADER) {
            stream.remember(buffer);
            return Err(NotPublished::Skipped);
        }
        let kind = stream.kind();
        // To subscribers an empty frame is an end; empty text is nothing to show.
        if buffer.size() == 0 && kind != Kind::Text {
            return Err(NotPublished::refused("it is empty"));
        }
        let keyframe = kind != Kind::Video || is_keyframe(stream, buffer)?;
        if kind == Kind::Video {
            self.keyframes.take(keyframe, Instant::now());
        }
        let duration = frame_duration(stream, buffer);
        let format = Format {
            in_order: kind != Kind::Video || stream.reorder_depth() == Some(0),
            step: duration,
            refers: kind == Kind::Video,
        };
        let times = self.time.times(buffer, format);
        if !keyframe && self.keyframes.is_missing() {
            let reason = "no keyframe has come to begin with; let the encoder make one at least every few seconds";
            return Err(NotPublished::Dropped(DropReason::NoKeyframe, reason.into()));
        }
        if keyframe && times.is_err() {
            self.keyframes.lose();
        }
        Ok(FrameInfo {
            times: times?,
            kind,
            keyframe,
            duration,
            discont: flags.contains(gst::BufferFlags::DISCONT),
        })
    }

    /// Places an admitted frame in time; its stream is moved if its timestamps have stepped.
    pub(super) fn place(&mut self, clock: &PipelineClock, frame: &FrameInfo) -> Placement {
        let time = &mut self.time;
        let live = time.is_live();
        let place = |timeline: &mut PublishTimeline| time.place(timeline, clock, frame);
        let placement = self.run.with_timeline(live, place);
        if placement.resync.is_some() {
            self.run.counters().resyncs.add(1);
        }
        if placement.too_early {
            self.keyframes.lose();
        }
        placement
    }

    /// The running time in ns at which a gap passes that begins at the running time `running`.
    pub(super) fn place_gap(&mut self, clock: &PipelineClock, running: i64) -> i64 {
        let sparse = self.kind().is_some_and(Kind::is_sparse);
        let time = &mut self.time;
        let live = time.is_live();
        let place =
            |timeline: &mut PublishTimeline| time.place_gap(timeline, clock, running, sparse);
        self.run.with_timeline(live, place)
    }

    /// Makes of a buffer what is published at `time`.
    pub(super) fn prepare(
        &mut self,
        buffer: gst::Buffer,
        frame: &FrameInfo,
        time: gst::ClockTime,
    ) -> Result<Prepared, NotPublished> {
        let NegotiatedFormat::Input(input) = &mut self.format else {
            return Err(NotPublished::Skipped);
        };
        let span = Span {
            begin: time,
            duration: buffer.duration(),
        };
        let keyframes = &mut self.keyframes;
        let mapped = buffer.into_mapped_buffer_readable().map_err(|_| {
            keyframes.lose();
            NotPublished::refused("it cannot be read")
        })?;
        let payload = Bytes::from_owner(Mapped(mapped));
        let payload = match input.stream.prepare_at(payload, frame.keyframe, span) {
            Ok(payload) if payload.is_empty() && !input.stream.clears() => {
                return Err(match frame.kind {
                    Kind::Text => NotPublished::Skipped,
                    _ => NotPublished::refused("it is empty"),
                });
            }
            Ok(payload) => payload,
            Err(FrameError::NoPicture) => return Err(NotPublished::Skipped),
            Err(error) => {
                keyframes.lose();
                return Err(error.into());
            }
        };
        let Some(rendition) = input.stream.rendition() else {
            keyframes.lose();
            return Err(FrameError::NoParameterSets.into());
        };
        let rendition = (input.sent.as_ref() != Some(rendition)).then(|| rendition.clone());
        let known = rendition.clone().and_then(|new| input.sent.replace(new));
        let due = match frame.kind {
            Kind::Video => keyframes.publish(frame.keyframe, payload.len(), Instant::now()),
            _ => KeyframeDue::default(),
        };
        let clears = input.stream.clears() && !payload.is_empty();
        self.time.publish(time, frame.times.position);
        self.drops = None;
        Ok(Prepared {
            clear_at: end_of(span).filter(|_| clears),
            payload,
            duration: span.duration,
            rendition,
            in_band: known.is_some(),
            keyframe: KeyframeDue {
                warning: due.warning && self.time.is_live(),
                ..due
            },
        })
    }

    /// Takes in that a buffer was dropped; `playing` says that somebody would see it.
    pub(super) fn drop_buffer(&mut self, reason: DropReason, playing: bool) -> DropReaction {
        self.run.counters().of(reason).add(1);
        if reason == DropReason::OverBudget {
            self.keyframes.lose();
        }
        if reason == DropReason::NoKeyframe && !playing {
            return DropReaction::default();
        }
        let now = Instant::now();
        let drops = self.drops.get_or_insert(Drops {
            since: now,
            warned: false,
        });
        let due = now.saturating_duration_since(drops.since) >= MAX_SILENT_DROPS;
        DropReaction {
            warns: due && !std::mem::replace(&mut drops.warned, true),
            keyframe: KeyframeDue {
                request: self.request_missing_keyframe(),
                warning: self.take_keyframe_warning(),
            },
        }
    }

    fn input(&self) -> Option<&Input> {
        match &self.format {
            NegotiatedFormat::Input(input) => Some(input),
            NegotiatedFormat::None | NegotiatedFormat::Failed => None,
        }
    }
}

fn end_of(span: Span) -> Option<gst::ClockTime> {
    let end = span.begin.saturating_add(span.duration?);
    Some(end).filter(|end| *end > span.begin)
}

/// How long a buffer lasts: packets say it best, and video has its rate.
fn frame_duration(stream: &InputStream, buffer: &gst::BufferRef) -> Option<gst::ClockTime> {
    let known = match stream.kind() {
        Kind::Audio => stream
            .rendition()
            .zip(buffer.map_readable().ok())
            .and_then(|(rendition, payload)| duration::of(rendition, &payload)),
        Kind::Video => stream.frame_duration(),
        Kind::Text | Kind::Data => None,
    };
    known.or(buffer.duration().filter(|duration| !duration.is_zero()))
}

/// Whether a video frame can begin a group.
fn is_keyframe(stream: &InputStream, buffer: &gst::BufferRef) -> Result<bool, NotPublished> {
    let payload = buffer
        .map_readable()
        .map_err(|_| NotPublished::refused("it cannot be read"))?;
    let marked = !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT);
    Ok(stream.is_keyframe(&payload, marked))
}

impl From<FrameError> for NotPublished {
    fn from(error: FrameError) -> Self {
        match error {
            FrameError::Header => Self::Skipped,
            error => Self::refused(error),
        }
    }
}
