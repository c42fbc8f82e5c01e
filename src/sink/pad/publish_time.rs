// SPDX-License-Identifier: MIT
//! The publish time of a pad's frames: from the segment's times to MoQ time.

use crate::{
    element::pipeline_clock::PipelineClock,
    media::{
        format::codec::Kind,
        time::{
            nanos::{clock_time, nanos},
            publish::{Anchor, Arrival, Before, Continuity, Judgement, PublishTimeline, Sample},
            segment::{Format, TimeError, Times, Timing},
        },
    },
};

/// Live input does not come further ahead (ns) of its time than this.
const MAX_EARLY: i64 = 60_000_000_000;

/// What a stream's next frame has to continue.
#[derive(Default)]
pub(super) struct PublishTime {
    timing: Timing,
    /// Whether upstream follows the clock by itself; unknown at the begin of each stream.
    live: Option<bool>,
    /// `None` until the first frame after a start, a flush, or a new stream.
    anchor: Option<Anchor>,
    /// How the stream stood before; not looked at while there is an anchor.
    before: Before,
    continuity: Continuity,
    /// The newest MoQ time (ns) that was published.
    newest: Option<i64>,
    /// The stream time of the newest frame.
    position: Option<gst::ClockTime>,
    /// The largest running time in ns that a frame has had.
    running: Option<i64>,
}

/// What is known of a frame when it comes.
pub(super) struct FrameInfo {
    pub(super) times: Times,
    pub(super) kind: Kind,
    pub(super) keyframe: bool,
    /// How long it lasts, where its codec, its caps or upstream says so.
    pub(super) duration: Option<gst::ClockTime>,
    /// Upstream says that it does not continue the one before.
    pub(super) discont: bool,
}

/// Where a frame belongs in time.
pub(super) struct Placement {
    pub(super) live: bool,
    pub(super) anchor: Anchor,
    /// Its running time in ns, as far as its own times were right.
    pub(super) running: i64,
    /// Its MoQ time.
    pub(super) time: gst::ClockTime,
    /// The running time in ns at which it leaves if it is paced, as far as its own times were right.
    pub(super) departure: i64,
    /// How much later than its MoQ time a live frame comes, if it is shown.
    pub(super) transit: Option<gst::ClockTime>,
    /// By how much (ns) the stream was moved because its timestamps stepped.
    pub(super) resync: Option<i64>,
    /// Published, it would end the track: nothing may follow that is due before it.
    pub(super) too_early: bool,
}

/// A GAP event in the segment's times.
pub(super) struct Gap {
    /// The running time in ns at which it begins.
    pub(super) running: i64,
    /// The stream time at which it ends.
    pub(super) position: Option<gst::ClockTime>,
}

impl PublishTime {
    /// A STREAM_START event.
    pub(super) fn begin(&mut self) {
        self.live = None;
        self.restart();
    }

    pub(super) fn flush(&mut self) {
        self.timing.reset();
        (self.position, self.running) = (None, None);
        self.restart();
    }

    /// Running time may go on, or begin anew.
    pub(super) fn set_segment(&mut self, segment: &gst::Segment) {
        self.timing.set_segment(segment);
        (self.position, self.running) = (None, None);
        self.continuity.reset();
        if let Some(anchor) = self.anchor.take() {
            self.before = Before::Segment(anchor);
        }
    }

    fn restart(&mut self) {
        self.continuity.reset();
        if let Some(anchor) = self.anchor.take() {
            self.before = Before::Restart(anchor);
        }
    }

    /// Whether the segment ends in SEGMENT_DONE rather than EOS.
    pub(super) fn is_segment_seek(&self) -> bool {
        self.timing.is_segment_seek()
    }

    /// Whether upstream follows the clock by itself, if it was asked.
    pub(super) fn liveness(&self) -> Option<bool> {
        self.live
    }

    pub(super) fn set_liveness(&mut self, live: Option<bool>) {
        self.live = live;
    }

    pub(super) fn is_live(&self) -> bool {
        self.live == Some(true)
    }

    /// The running times of a buffer.
    pub(super) fn times(
        &mut self,
        buffer: &gst::BufferRef,
        format: Format,
    ) -> Result<Times, TimeError> {
        self.timing.times(buffer.pts(), buffer.dts(), format)
    }

    /// The times of a GAP event; `None` outside the segment.
    pub(super) fn gap(&self, event: &gst::event::Gap) -> Option<Gap> {
        let (start, duration) = event.get();
        let end = start.saturating_add(duration.unwrap_or_default());
        Some(Gap {
            running: self.timing.running_time(start)?,
            position: self.timing.stream_time(end),
        })
    }

    /// Places a frame that comes now; its stream is moved if its timestamps have stepped.
    pub(super) fn place(
        &mut self,
        timeline: &mut PublishTimeline,
        clock: &PipelineClock,
        frame: &FrameInfo,
    ) -> Placement {
        let (now, base) = (nanos(clock.now()), nanos(clock.base_time()));
        let (live, times) = (self.is_live(), frame.times);
        self.running = self.running.max(Some(times.presentation));
        let due = base.saturating_add(times.presentation);
        let arrival = self.arrival(due, now, frame.kind.is_sparse());
        let mut anchor = self.anchor(
            timeline,
            Arrival {
                lead: times.lead,
                ..arrival
            },
        );
        let others = timeline.resync_of_others(anchor);
        let (moved, resync) = match self.judge(frame, now.saturating_sub(base), others) {
            Judgement::Move(moved) => (moved, None),
            Judgement::Resync(shift) => {
                anchor = timeline.resync(anchor, shift);
                self.anchor = Some(anchor);
                (0, Some(shift))
            }
        };
        let offset = timeline.offset(anchor);
        let running = times.presentation.saturating_add(moved);
        let due = base.saturating_add(running);
        let time = timeline.stamp(anchor, due);
        let elapsed = timeline.elapsed(now);
        Placement {
            live,
            anchor,
            running,
            time,
            departure: times.departure.saturating_add(moved),
            // What is not to be shown is placed by another rule, and says nothing of its way.
            transit: (live && !times.lead).then(|| clock_time(elapsed.saturating_sub(nanos(time)))),
            resync,
            too_early: live && due.saturating_add(offset) > now.saturating_add(MAX_EARLY),
        }
    }

    /// The running time in ns at which a GAP event passes that begins at the running time `running`.
    pub(super) fn place_gap(
        &mut self,
        timeline: &mut PublishTimeline,
        clock: &PipelineClock,
        running: i64,
        sparse: bool,
    ) -> i64 {
        let due = nanos(clock.base_time()).saturating_add(running);
        let arrival = self.arrival(due, nanos(clock.now()), sparse);
        let anchor = self.anchor(timeline, arrival);
        running.saturating_add(timeline.offset(anchor))
    }

    /// A frame was published at `time`.
    pub(super) fn publish(&mut self, time: gst::ClockTime, position: Option<gst::ClockTime>) {
        self.newest = self.newest.max(Some(nanos(time)));
        self.set_position(position);
    }

    /// The largest running time that a frame has had.
    pub(super) fn running(&self) -> Option<gst::ClockTime> {
        self.running.map(clock_time)
    }

    /// The stream time of the newest frame or gap.
    pub(super) fn position(&self) -> Option<gst::ClockTime> {
        self.position
    }

    pub(super) fn set_position(&mut self, position: Option<gst::ClockTime>) {
        self.position = self.position.max(position);
    }

    fn arrival(&self, due: i64, now: i64, sparse: bool) -> Arrival {
        Arrival {
            due,
            now,
            live: self.is_live(),
            sparse,
            lead: false,
            published: self.newest,
            before: self.before,
        }
    }

    /// Where the stream stands on the timeline, found out by its first frame.
    fn anchor(&mut self, timeline: &mut PublishTimeline, first: Arrival) -> Anchor {
        *self.anchor.get_or_insert_with(|| timeline.anchor(first))
    }

    /// Where the times of a frame belong that comes at running time `now`; `others` is by how much those
    /// of other pads stepped.
    fn judge(&mut self, frame: &FrameInfo, now: i64, others: Option<i64>) -> Judgement {
        let times = frame.times;
        if frame.kind.is_sparse() || times.lead {
            return Judgement::Move(0);
        }
        self.continuity.judge(Sample {
            order: times.order,
            now,
            duration: frame.duration.map(nanos),
            live: self.is_live(),
            is_ordered: times.is_ordered || frame.keyframe,
            is_audio: frame.kind == Kind::Audio,
            discont: frame.discont,
            others,
        })
    }
}
