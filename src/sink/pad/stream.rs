//! What a pad's streaming thread knows of its stream, and what it lets pass.

use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::media::{
    catalog::description::Tags,
    format::{
        caps::{self, FrameError, Rendition},
        codec::Kind,
        duration,
        input::Span,
    },
    time::{
        nanos::nanos,
        publish::{Anchor, Before, Continuity, Judgement, Sample},
        segment::{Format, TimeError, Times, Timing},
    },
};
use crate::sink::{
    message::{MAX_GROUP_BYTES, MAX_GROUP_FRAMES},
    stats::DropReason,
};

/// The stream of one pad during a run.
#[derive(Default)]
pub(crate) struct Stream {
    caps: Option<gst::Caps>,
    codec: Option<caps::InputStream>,
    pub(crate) timing: Timing,
    pub(crate) tags: Tags,
    /// Whether upstream follows the clock by itself; asked for again with each stream.
    pub(crate) live: Option<bool>,
    /// `None` until the first frame after a start, a flush, or a new stream.
    pub(crate) anchor: Option<Anchor>,
    /// How the stream stood before; not looked at while there is an anchor.
    pub(crate) before: Before,
    /// What the times of its frames have to continue.
    continuity: Continuity,
    /// The newest MoQ time that was published.
    pub(crate) published: Option<i64>,
    /// Since when all buffers have been dropped.
    dropping: Option<Dropping>,
    /// The rendition that the session task has.
    sent: Option<Rendition>,
    /// A key frame came and no frame was lost since.
    flowing: bool,
    group: Fill,
    eos: bool,
    failed: bool,
    dropped: u64,
    /// Reasons that were told already.
    told: Vec<String>,
}

/// What came since the last key frame.
#[derive(Default)]
struct Fill {
    frames: usize,
    bytes: usize,
    /// How full the group was after the last frame, in quarters of its limits.
    quarters: usize,
}

/// A time without a buffer that was published.
struct Dropping {
    since: Instant,
    warned: bool,
}

/// How long every buffer may be dropped before that is warned of.
const MAX_SILENT_DROPS: Duration = Duration::from_secs(1);

/// A buffer that may be published.
pub(crate) struct Admitted {
    pub(crate) times: Times,
    pub(crate) key: bool,
    /// How long it lasts, where its codec, its caps or upstream says so.
    duration: Option<gst::ClockTime>,
    /// Upstream says that it does not continue the one before.
    discont: bool,
}

/// Why a buffer goes no further.
pub(crate) enum Halt {
    Flow(gst::FlowError),
    /// As it should be.
    Skip,
    /// A video frame that nobody can decode yet.
    NoKeyFrame,
    Drop(DropReason, String),
}

impl From<TimeError> for Halt {
    fn from(error: TimeError) -> Self {
        match error {
            TimeError::Clipped => Self::Skip,
            error => Self::Drop(DropReason::NoTimestamp, error.to_string()),
        }
    }
}

impl Stream {
    /// A STREAM_START event; whether the stream had ended before.
    pub(crate) fn begin(&mut self) -> bool {
        self.live = None;
        self.tags = Tags::default();
        self.restart();
        std::mem::take(&mut self.eos)
    }

    /// Whether a CAPS event says something new.
    pub(crate) fn is_news(&self, caps: &gst::CapsRef) -> bool {
        self.failed || self.caps.as_deref() != Some(caps)
    }

    /// What the caps before were of.
    pub(crate) fn kind(&self) -> Option<Kind> {
        self.codec.as_ref().map(caps::InputStream::kind)
    }

    pub(crate) fn set_codec(&mut self, caps: gst::Caps, codec: caps::InputStream) {
        self.caps = Some(caps);
        self.codec = Some(codec);
        self.live = None;
        self.failed = false;
        self.sent = None;
        self.interrupt();
    }

    /// The catalog entry of a sparse stream, which is listed before its first frame.
    pub(crate) fn announce(&mut self) -> Option<Rendition> {
        let codec = self.codec.as_ref();
        let codec = codec.filter(|codec| codec.kind().is_sparse());
        self.sent = codec.and_then(caps::InputStream::rendition).cloned();
        self.sent.clone()
    }

    fn restart(&mut self) {
        self.continuity.reset();
        if let Some(anchor) = self.anchor.take() {
            self.before = Before::Restart(anchor);
        }
    }

    /// Running time may go on, or begin anew.
    pub(crate) fn segment(&mut self, segment: &gst::Segment) {
        self.timing.set_segment(segment);
        self.continuity.reset();
        if let Some(anchor) = self.anchor.take() {
            self.before = Before::Segment(anchor);
        }
    }

    /// Nothing passes until the next caps.
    pub(crate) fn fail(&mut self) {
        self.failed = true;
        self.sent = None;
        self.interrupt();
    }

    pub(crate) fn end(&mut self) {
        self.eos = true;
    }

    pub(crate) fn flush(&mut self) {
        self.timing.reset();
        self.restart();
        self.eos = false;
        self.interrupt();
    }

    /// Frames were or will be lost: video begins again with a key frame.
    pub(crate) fn interrupt(&mut self) {
        self.flowing = false;
    }

    /// Whether nothing can be published before a key frame comes.
    pub(crate) fn needs_key_frame(&self) -> bool {
        !self.flowing && !self.failed && !self.eos && self.kind() == Some(Kind::Video)
    }

    /// Counts a frame that is published; whether its group is so long that a key frame is due: at
    /// half of its limits, and again at three quarters.
    pub(crate) fn fill(&mut self, key: bool, bytes: usize) -> bool {
        if key {
            self.group = Fill::default();
        }
        let group = &mut self.group;
        group.frames += 1;
        group.bytes += bytes;
        let quarters = (4 * group.frames / MAX_GROUP_FRAMES).max(4 * group.bytes / MAX_GROUP_BYTES);
        let crossed = std::mem::replace(&mut group.quarters, quarters) < quarters;
        crossed && matches!(quarters, 2 | 3) && self.kind() == Some(Kind::Video)
    }

    /// Checks a buffer and finds out when it is due.
    pub(crate) fn admit(&mut self, buffer: &gst::BufferRef) -> Result<Admitted, Halt> {
        if self.eos {
            return Err(Halt::Flow(gst::FlowError::Eos));
        }
        if self.failed {
            return Err(Halt::Skip);
        }
        let codec = self
            .codec
            .as_mut()
            .ok_or(Halt::Flow(gst::FlowError::NotNegotiated))?;
        let flags = buffer.flags();
        let untimed = buffer.pts().is_none() && buffer.dts().is_none();
        if untimed && flags.contains(gst::BufferFlags::HEADER) {
            codec.remember(buffer);
            return Err(Halt::Skip);
        }
        // To viewers an empty frame is an end; empty text is nothing to show.
        if buffer.size() == 0 && codec.kind() != Kind::Text {
            return Err(Halt::Drop(DropReason::Refused, "it is empty".into()));
        }
        let video = codec.kind() == Kind::Video;
        let key = !video || is_key(codec, buffer)?;
        let duration = frame_duration(codec, buffer);
        let format = Format {
            in_order: !video || codec.reorder_depth() == Some(0),
            step: duration,
            refers: video,
        };
        let times = self.timing.times(buffer.pts(), buffer.dts(), format);
        if !key && !self.flowing {
            self.dropped += 1;
            return Err(Halt::NoKeyFrame);
        }
        if key && times.is_err() {
            self.interrupt();
        }
        Ok(Admitted {
            times: times?,
            key,
            duration,
            discont: flags.contains(gst::BufferFlags::DISCONT),
        })
    }

    /// Where the times of a buffer belong that comes at running time `now`; `others` is by how much
    /// those of other pads stepped.
    pub(crate) fn judge(
        &mut self,
        admitted: &Admitted,
        now: i64,
        others: Option<i64>,
    ) -> Judgement {
        let Some(kind) = self.kind().filter(|kind| !kind.is_sparse()) else {
            return Judgement::Move(0);
        };
        let Admitted { times, key, .. } = admitted;
        if times.lead {
            return Judgement::Move(0);
        }
        self.continuity.judge(Sample {
            order: times.order,
            now,
            duration: admitted.duration.map(nanos),
            live: self.live == Some(true),
            is_ordered: times.is_ordered || *key,
            is_audio: kind == Kind::Audio,
            discont: admitted.discont,
            others,
        })
    }

    /// A buffer was published.
    pub(crate) fn passed(&mut self) {
        self.dropping = None;
    }

    /// A buffer was dropped; whether all have been for so long that it is to be warned of.
    pub(crate) fn drops(&mut self, now: Instant) -> bool {
        let dropping = self.dropping.get_or_insert(Dropping {
            since: now,
            warned: false,
        });
        let due = now.saturating_duration_since(dropping.since) >= MAX_SILENT_DROPS;
        due && !std::mem::replace(&mut dropping.warned, true)
    }

    /// The bytes to publish, with the catalog entry if the session task does not have it yet, and
    /// whether it changed in band, without new caps.
    pub(crate) fn prepare(
        &mut self,
        payload: Bytes,
        key: bool,
        span: Span,
    ) -> Result<(Bytes, Option<(Rendition, bool)>), Halt> {
        let codec = self.codec.as_mut().ok_or(Halt::Skip)?;
        let prepared = codec.prepare_at(payload, key, span);
        let (payload, rendition) = match (prepared, codec.rendition()) {
            (Ok(payload), _) if payload.is_empty() && !codec.clears() => {
                return Err(match codec.kind() {
                    Kind::Text => Halt::Skip,
                    _ => Halt::Drop(DropReason::Refused, "it is empty".into()),
                });
            }
            (Ok(payload), Some(rendition)) => (payload, rendition),
            (Ok(_), None) => {
                self.interrupt();
                return Err(Halt::from(FrameError::NoParameterSets));
            }
            (Err(FrameError::NoPicture), _) => {
                self.dropped += 1;
                return Err(Halt::Skip);
            }
            (Err(error), _) => {
                self.interrupt();
                return Err(error.into());
            }
        };
        self.flowing = true;
        if self.sent.as_ref() == Some(rendition) {
            return Ok((payload, None));
        }
        let rendition = rendition.clone();
        let in_band = self.sent.replace(rendition.clone()).is_some();
        Ok((payload, Some((rendition, in_band))))
    }

    /// When an empty frame has to say that the text of `span` is over.
    pub(crate) fn clear_at(&self, span: Span) -> Option<gst::ClockTime> {
        let clears = self.codec.as_ref().is_some_and(caps::InputStream::clears);
        let end = span.begin.saturating_add(span.duration?);
        clears.then_some(end).filter(|end| *end > span.begin)
    }

    /// Counts a dropped buffer; whether the reason is new.
    pub(crate) fn count(&mut self, reason: &str) -> bool {
        self.dropped += 1;
        self.is_new(reason)
    }

    /// Whether the user was not told `text` before.
    pub(crate) fn is_new(&mut self, text: &str) -> bool {
        /// There are fewer reasons; a bound all the same.
        const MAX: usize = 32;
        let new = self.told.len() < MAX && !self.told.iter().any(|told| told == text);
        if new {
            self.told.push(text.to_owned());
        }
        new
    }

    /// How many buffers were dropped in this run.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }
}

/// How long a buffer lasts: packets say it best, and video has its rate.
fn frame_duration(codec: &caps::InputStream, buffer: &gst::BufferRef) -> Option<gst::ClockTime> {
    let known = match codec.kind() {
        Kind::Audio => codec
            .rendition()
            .zip(buffer.map_readable().ok())
            .and_then(|(rendition, payload)| duration::of(rendition, &payload)),
        Kind::Video => codec.frame_duration(),
        Kind::Text | Kind::Data => None,
    };
    known.or(buffer.duration().filter(|duration| !duration.is_zero()))
}

/// Whether a video frame can begin a group.
fn is_key(codec: &caps::InputStream, buffer: &gst::BufferRef) -> Result<bool, Halt> {
    let payload = buffer
        .map_readable()
        .map_err(|_| Halt::Drop(DropReason::Refused, "it cannot be read".into()))?;
    let marked = !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT);
    Ok(codec.is_keyframe(&payload, marked))
}

impl From<FrameError> for Halt {
    fn from(error: FrameError) -> Self {
        match error {
            FrameError::Header => Self::Skip,
            error => Self::Drop(DropReason::Refused, error.to_string()),
        }
    }
}
