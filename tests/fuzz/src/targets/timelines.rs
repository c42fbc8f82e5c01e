// SPDX-License-Identifier: MIT
//! The timelines of both elements.

use std::collections::BTreeMap;

use gst::ClockTime;
use gstmoq::media::{
    format::codec::Kind,
    time::{
        nanos::nanos,
        playout::{Join, Timeline, TrackId, Verdict},
        publish::{Anchor, Arrival, Before, Continuity, Judgement, PublishTimeline, Sample},
        segment::{Format, Times, Timing},
    },
};

use super::Choices;

/// Decisions without a plan.
pub(super) fn any() -> Vec<Vec<u8>> {
    let mut random = fastrand::Rng::with_seed(1);
    (0..16)
        .map(|_| (0..1024).map(|_| random.u8(..)).collect())
        .collect()
}

/// Any times of frames and arrivals, as a reader hands them on.
pub(super) fn incoming(input: &[u8]) {
    let mut choices = Choices(input);
    let join = *choices.pick(&[Join::Live, Join::NextGroup]);
    let timeline = Timeline::new(choices.time(50), join);
    let mut play = Play {
        timeline,
        now: choices.time(60),
        tracks: Vec::new(),
        count: 0,
        last: BTreeMap::new(),
    };
    while !choices.is_over() && play.count < 400 {
        play.step(&mut choices);
    }
}

struct Play {
    timeline: Timeline,
    now: ClockTime,
    tracks: Vec<(usize, Kind, TrackId)>,
    count: usize,
    /// Of each track what was shown last, and its timestamp.
    last: BTreeMap<usize, (ClockTime, ClockTime)>,
}

impl Play {
    fn step(&mut self, choices: &mut Choices<'_>) {
        self.count += 1;
        let what = choices.byte();
        if self.tracks.is_empty() || what.is_multiple_of(16) {
            let kind = *choices.pick(&Kind::ALL);
            let delay = choices.flag().then(|| choices.time(60));
            let after = ClockTime::from_nseconds(choices.byte().into()).min(self.now);
            let id = self.timeline.add_track(kind, delay, after);
            self.tracks.push((self.count, kind, id));
        }
        let (name, kind, id) = *choices.pick(&self.tracks);
        let before = self.last.get(&name).map(|last| last.1).unwrap_or_default();
        let ts = match what >> 5 {
            0 => choices.time(60),
            1 => before.saturating_sub(choices.short()),
            _ => before + choices.short(),
        };
        self.now += choices.short();
        match what % 16 {
            1 => self.timeline.restart(),
            2 => self.timeline.set_reorder_depth(id, choices.number() as u32),
            3 => self.timeline.set_frame_duration(id, choices.time(63)),
            4 => self.timeline.set_latency(choices.time(50)),
            5 => {
                self.timeline.remove_track(id);
                self.tracks.retain(|track| track.0 != name);
                return;
            }
            _ => {}
        }
        self.timeline.arrive(id, ts, self.now);
        self.timeline.is_settled(self.now);
        self.timeline.settles_at();
        self.timeline.edge(ts);
        self.timeline.min_latency();
        self.timeline.drift();
        if kind == Kind::Text {
            let end = choices.flag().then(|| ts + choices.short());
            if let Some((stamp, duration)) = self.timeline.stamp_span(id, ts, end) {
                assert!(duration.is_none_or(|duration| !duration.is_zero()));
                self.shows(name, kind, stamp.pts, ts);
            }
        } else if let Verdict::Emit(stamp) = self.timeline.stamp(id, ts) {
            assert!(stamp.dts.is_none_or(|dts| dts <= stamp.pts), "{stamp:?}");
            assert!(stamp.pts < ClockTime::from_nseconds(1 << 62), "{stamp:?}");
            self.shows(name, kind, stamp.dts.unwrap_or(stamp.pts), ts);
        }
    }

    fn shows(&mut self, name: usize, kind: Kind, order: ClockTime, ts: ClockTime) {
        let before = self.last.insert(name, (order, ts));
        let rises = |before| match kind {
            Kind::Video => before < order,
            _ => before <= order,
        };
        assert!(
            before.is_none_or(|last| rises(last.0)),
            "{before:?} before {order}"
        );
    }
}

/// Any segments and times of buffers, as a chain function hands them on.
pub(super) fn outgoing(input: &[u8]) {
    let mut choices = Choices(input);
    let live = choices.flag();
    let base = nanos(choices.time(63));
    let mut outgoing = PublishTimeline::default();
    outgoing.start(base, base);
    let mut now = 0;
    let mut pads: [Pad; 3] = Default::default();
    for _ in 0..400 {
        if choices.is_over() {
            return;
        }
        now += nanos(choices.short());
        let pad = &mut pads[usize::from(choices.byte()) % 3];
        let Some(times) = pad.times(&mut choices) else {
            continue;
        };
        assert!(times.departure <= times.presentation, "{times:?}");
        pad.publish(&mut outgoing, times, base, now, live);
    }
}

#[derive(Default)]
struct Pad {
    timing: Timing,
    continuity: Continuity,
    anchor: Option<Anchor>,
    before: Before,
    published: Option<i64>,
    previous: ClockTime,
}

impl Pad {
    fn times(&mut self, choices: &mut Choices<'_>) -> Option<Times> {
        match choices.byte() % 16 {
            0 => {
                self.timing.set_segment(segment(choices).as_ref());
                self.before = self.anchor.take().map_or(self.before, Before::Segment);
                self.continuity.reset();
            }
            1 => {
                self.timing.reset();
                self.timing.set_segment(segment(choices).as_ref());
                self.before = self.anchor.take().map_or(self.before, Before::Restart);
                self.continuity.reset();
            }
            _ => {}
        }
        let format = Format {
            in_order: choices.flag(),
            step: choices.flag().then(|| choices.time(63)),
            refers: choices.flag(),
        };
        let any = |choices: &mut Choices<'_>| match choices.byte() % 4 {
            0 => None,
            1 => Some(choices.time(63)),
            2 => Some(self.previous.saturating_sub(choices.short())),
            _ => Some(self.previous.saturating_add(choices.short())),
        };
        let (pts, dts) = (any(choices), any(choices));
        self.previous = pts.or(dts).unwrap_or_default();
        self.timing.times(pts, dts, format).ok()
    }

    fn publish(
        &mut self,
        outgoing: &mut PublishTimeline,
        times: Times,
        base: i64,
        now: i64,
        live: bool,
    ) {
        let new = self.anchor.is_none();
        let clock = base.saturating_add(now);
        let due = base.saturating_add(times.presentation);
        let mut anchor = *self.anchor.get_or_insert_with(|| {
            outgoing.anchor(Arrival {
                due,
                now: clock,
                live,
                sparse: false,
                lead: times.lead,
                published: self.published,
                before: self.before,
            })
        });
        let judgement = self.continuity.judge(Sample {
            order: times.order,
            now,
            duration: None,
            live,
            is_ordered: times.is_ordered,
            is_audio: false,
            discont: false,
            others: outgoing.resync_of_others(anchor),
        });
        let moved = match judgement {
            Judgement::Move(by) => by,
            Judgement::Resync(shift) => {
                anchor = outgoing.resync(anchor, shift);
                self.anchor = Some(anchor);
                0
            }
        };
        let time = nanos(outgoing.stamp(anchor, due.saturating_add(moved)));
        let newest = self.published.unwrap_or_default();
        // Times at the end of all that can be counted have no room to go on.
        let is_sane = due.unsigned_abs() < 1 << 61 && base < 1 << 61;
        if new && is_sane && self.before == Before::Nothing && !live {
            assert!(time >= newest, "{time} after {newest}");
        }
        self.published = Some(newest.max(time));
    }
}

fn segment(choices: &mut Choices<'_>) -> gst::FormattedSegment<ClockTime> {
    let mut segment = gst::FormattedSegment::<ClockTime>::new();
    if choices.flag() {
        segment.set_rate(*choices.pick(&[1.0, -1.0, 0.5, 1e9, -1e-9]));
        segment.set_applied_rate(*choices.pick(&[1.0, -1.0, 2.0]));
    }
    let time = |choices: &mut Choices<'_>| match choices.flag() {
        true => Some(choices.time(63)),
        false => Some(ClockTime::ZERO),
    };
    segment.set_start(time(choices));
    segment.set_base(time(choices));
    segment.set_offset(time(choices));
    segment.set_time(time(choices));
    segment.set_stop(choices.flag().then(|| choices.time(63)));
    segment
}
