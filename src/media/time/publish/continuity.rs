// SPDX-License-Identifier: MIT
//! Outliers, resyncs and jitter in the times of frames, of which no segment says anything: cameras and recorders
//! do that.

/// What continues the frames before comes this much (ns) later at most, or as much later as the clock.
const MAX_AHEAD: i64 = 1_000_000_000;
/// A frame may be this much (ns) behind the one before it without a resync.
const MAX_JITTER: i64 = 10_000_000;
/// The same for audio, which is placed by its durations: as GStreamer's audio sinks do
/// (`alignment-threshold` of GstAudioBaseSink).
const ALIGNMENT_THRESHOLD: i64 = 40_000_000;
/// Where presentation order is not decode order, a frame may be this much (ns) behind the newest.
const MAX_REORDER: i64 = 1_000_000_000;
/// Audio times that differ by less (ns) from what the durations say are exact.
const MAX_ROUNDING: i64 = 1_000_000;
/// How much of the difference remains after each packet, in parts of itself: 31 of 32.
const FOLLOW_PARTS: i64 = 32;
/// A resync follows when so many frames in a row agree on it, or two that are this far (ns) apart.
const RESYNC_FRAMES: u32 = 5;
const RESYNC_INTERVAL: i64 = 250_000_000;
/// A frame without a usable time follows the one before after this long (ns) at most.
const MAX_STEP: i64 = 100_000_000;
/// Frames that have to wait for others come this far (ns) apart: the unit of MoQ time, so that no stream
/// is slowed down by it, however short its frames are.
const MIN_STEP: i64 = 1_000;
/// Tracks that are resynced together differ by no more than this (ns).
const MAX_RESYNC_DIFFERENCE: i64 = 500_000_000;

/// The times of one stream, in decode order, and what they have to continue.
///
/// A single outlier, off by more than a second, is published where it belongs by those around
/// it; times that are off by less are followed, and nothing is lost either way. A file may be any time
/// ahead: a sink waits for it.
#[derive(Debug, Default)]
pub struct Continuity {
    last: Option<Last>,
    /// Frames after which a resync may be due.
    candidate: Option<Candidate>,
}

/// One frame.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    /// Its running time in decode order, in ns.
    pub order: i64,
    /// The running time now, in ns.
    pub now: i64,
    /// How long it lasts, in ns.
    pub duration: Option<i64>,
    /// The stream follows the clock by itself.
    pub live: bool,
    /// `order` never goes back, because it is a decode time, decoding is in presentation order, or this
    /// frame is a keyframe, which nothing before it is presented after.
    pub is_ordered: bool,
    /// It is audio, which is placed by its durations.
    pub is_audio: bool,
    /// Upstream says that it does not continue the one before.
    pub discont: bool,
    /// By how much other tracks were resynced.
    pub others: Option<i64>,
}

/// What becomes of a frame's time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judgement {
    /// This frame is moved by so much (ns).
    Move(i64),
    /// All frames from here on are moved by so much (ns).
    Resync(i64),
}

#[derive(Debug, Clone, Copy)]
struct Last {
    /// The latest time of the frames that continued each other, and when that came.
    time: i64,
    came: i64,
    /// The least time by which they came later than their times.
    least: i64,
    /// Where the newest frame was put.
    placed: i64,
    step: i64,
    /// How long it lasts, where the next one has to begin at its end.
    duration: Option<i64>,
}

#[derive(Debug, Clone, Copy)]
struct Candidate {
    time: i64,
    came: i64,
    since: i64,
    frames: u32,
}

impl Continuity {
    /// Running time begins anew.
    pub fn reset(&mut self) {
        *self = Self::default();
    }

    /// Where the next frame in decode order belongs.
    pub fn judge(&mut self, sample: Sample) -> Judgement {
        let Some(last) = self.last else {
            self.keep(sample, sample.order, false);
            return Judgement::Move(0);
        };
        if follows(last.time, last.came, sample) || last.catches_up(sample) {
            let placed = last.align(sample);
            self.keep(sample, placed, true);
            return Judgement::Move(placed.saturating_sub(sample.order));
        }
        if last.is_slightly_behind(sample) {
            return self.absorb(last, sample);
        }
        let expected = last.expected(sample);
        if let Some(shift) = sample.others
            && sample.order.saturating_add(shift).abs_diff(expected)
                <= MAX_RESYNC_DIFFERENCE.unsigned_abs()
        {
            self.keep(sample, sample.order, false);
            return Judgement::Resync(shift);
        }
        let candidate = match self.candidate {
            Some(before) if follows(before.time, before.came, sample) => Candidate {
                time: before.time.max(sample.order),
                came: sample.now,
                frames: before.frames + 1,
                ..before
            },
            _ => Candidate {
                time: sample.order,
                came: sample.now,
                since: sample.now,
                frames: 1,
            },
        };
        let lasts =
            candidate.frames > 1 && sample.now.saturating_sub(candidate.since) >= RESYNC_INTERVAL;
        let shift = expected.saturating_sub(sample.order);
        if candidate.frames >= RESYNC_FRAMES || lasts {
            self.keep(sample, sample.order, false);
            return Judgement::Resync(shift);
        }
        self.candidate = Some(candidate);
        // By the clock only as far as its neighbours: it may be the first of many that were late.
        let placed = expected.min(last.placed.saturating_add(MAX_STEP));
        self.last = Some(Last {
            placed,
            duration: sample.duration,
            ..last
        });
        Judgement::Move(placed.saturating_sub(sample.order))
    }

    /// Waits with the placement until times that went back a little, or after one that was ahead, have
    /// come up to it: they are right, and a shift that stays would part the track from the others.
    fn absorb(&mut self, last: Last, sample: Sample) -> Judgement {
        let placed = sample.order.max(last.placed.saturating_add(MIN_STEP));
        self.keep(sample, placed, false);
        self.last = self.last.map(|now| Last {
            least: last.least,
            duration: sample.duration,
            ..now
        });
        Judgement::Move(placed.saturating_sub(sample.order))
    }

    /// Takes a frame, which is `placed` there, as one whose time is right.
    fn keep(&mut self, sample: Sample, placed: i64, continues: bool) {
        let before = self.last.filter(|_| continues);
        let known = sample.duration.filter(|duration| *duration > 0);
        // Since the very frame before, if that was right, too.
        let direct = before.filter(|_| self.candidate.is_none());
        let passed = direct.map(|last| sample.order.saturating_sub(last.time));
        let step = known.or(passed.filter(|step| *step > 0));
        let step = step.or(self.last.map(|last| last.step));
        let transit = sample.now.saturating_sub(sample.order);
        self.candidate = None;
        self.last = Some(Last {
            time: before.map_or(sample.order, |last| last.time.max(sample.order)),
            came: sample.now,
            least: before.map_or(transit, |last| last.least.min(transit)),
            placed,
            step: step.unwrap_or(0).clamp(0, MAX_STEP),
            // Encoders cut the first packet short and say only by the time of the second how much.
            duration: sample.duration.filter(|_| continues),
        });
    }
}

impl Last {
    /// Where a frame belongs whose own time says nothing.
    fn expected(self, sample: Sample) -> i64 {
        let next = self.placed.saturating_add(self.step);
        match sample.live {
            // As much behind the clock as the last one that was right.
            true => next.max(
                self.time
                    .saturating_add(sample.now.saturating_sub(self.came)),
            ),
            false => next,
        }
    }

    /// Whether the times go back by so little that other tracks need not be moved for it.
    fn is_slightly_behind(self, sample: Sample) -> bool {
        let back = self.time.saturating_sub(sample.order);
        (0..=MAX_AHEAD).contains(&back)
    }

    /// Whether live frames that were late are back in time: what was skipped on the way is no resync.
    fn catches_up(self, sample: Sample) -> bool {
        let transit = sample.now.saturating_sub(sample.order);
        // A frame may be late by any time; what is resynced forward is earlier than any before.
        let usual = self.least.saturating_sub(transit) <= MAX_AHEAD;
        sample.live && sample.order > self.time && usual
    }

    /// Where a frame is put whose time continues the ones before: as its time says, but for audio, whose
    /// durations say it better.
    fn align(self, sample: Sample) -> i64 {
        let after = self.placed.saturating_add(MIN_STEP);
        match (sample.is_audio, sample.is_ordered) {
            (true, _) => self.align_audio(sample).max(after),
            (false, true) => sample.order.max(after),
            (false, false) => sample.order,
        }
    }

    fn align_audio(self, sample: Sample) -> i64 {
        let Some(duration) = self.duration else {
            return sample.order;
        };
        let end = self.placed.saturating_add(duration);
        let error = sample.order.saturating_sub(end);
        let resyncs = error > ALIGNMENT_THRESHOLD || (sample.discont && error > 0);
        match resyncs || error.saturating_abs() <= MAX_ROUNDING {
            true => sample.order,
            false => end.saturating_add(error.max(-ALIGNMENT_THRESHOLD) / FOLLOW_PARTS),
        }
    }
}

/// Whether a frame continues those up to `time`, the last of which came at `came`.
fn follows(time: i64, came: i64, sample: Sample) -> bool {
    let passed = sample.order.saturating_sub(time);
    let back = match (sample.is_audio, sample.is_ordered) {
        (true, _) => ALIGNMENT_THRESHOLD,
        (false, true) => MAX_JITTER,
        (false, false) => MAX_REORDER,
    };
    let elapsed = sample.now.saturating_sub(came);
    // A file may have a gap, for which a sink waits.
    let as_clock = !sample.live || passed.saturating_sub(elapsed).saturating_abs() <= MAX_AHEAD;
    passed >= -back && (passed <= MAX_AHEAD || as_clock)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MS: i64 = 1_000_000;

    /// Feeds frames of 20 ms whose own times are `times` (ms), live, and gives back where they are put.
    fn run(is_audio: bool, times: impl IntoIterator<Item = i64>) -> Vec<i64> {
        let mut continuity = Continuity::default();
        let mut offset = 0;
        let frames = times.into_iter().enumerate();
        frames
            .map(|(at, time)| {
                let judgement = continuity.judge(Sample {
                    order: time * MS,
                    now: at as i64 * 20 * MS,
                    duration: is_audio.then_some(20 * MS),
                    live: true,
                    is_ordered: true,
                    is_audio,
                    discont: false,
                    others: None,
                });
                let moved = match judgement {
                    Judgement::Move(by) => offset + by,
                    Judgement::Resync(by) => {
                        offset += by;
                        offset
                    }
                };
                (time * MS + moved) / MS
            })
            .collect()
    }

    fn regular(frames: usize) -> Vec<i64> {
        (0..frames as i64).map(|at| at * 20).collect()
    }

    proptest! {
        #[test]
        fn outliers_are_put_where_they_belong(
            is_audio: bool,
            outliers in prop::collection::btree_map(1usize..100, -10_000_000i64..10_000_000, 0..10),
        ) {
            let mut times = regular(100);
            for (at, by) in outliers {
                // Two that agree with each other begin a resync.
                let alone = times[at - 1] == (at as i64 - 1) * 20;
                if by.abs() > 1_100 && alone {
                    times[at] += by;
                }
            }
            prop_assert_eq!(run(is_audio, times), regular(100));
        }

        #[test]
        fn a_resync_loses_nothing_and_continues(
            is_audio: bool,
            by in prop_oneof![-100_000_000i64..-1_100, 1_100i64..100_000_000],
            at in 1usize..80,
        ) {
            let mut times = regular(100);
            times.iter_mut().skip(at).for_each(|time| *time += by);
            prop_assert_eq!(run(is_audio, times), regular(100));
        }

        #[test]
        fn one_frame_that_is_a_little_off_and_times_that_go_back_a_little_move_nothing_for_good(
            is_audio: bool,
            by in -900i64..900,
            at in 1usize..100,
            stays: bool,
        ) {
            let mut times = regular(1_000);
            let frames = if stays && by < 0 { 1_000 } else { 1 };
            times.iter_mut().skip(at).take(frames).for_each(|time| *time += by);
            let placed = run(is_audio, times.iter().copied());
            prop_assert!(placed.is_sorted(), "{placed:?}");
            let off = placed[999] - times[999];
            prop_assert!(off.abs() <= 40, "{off} ms off at the end");
        }

        #[test]
        fn no_frame_is_put_before_the_one_before(
            is_audio: bool,
            times in prop::collection::vec((-3_000i64..3_000, 0i64..60), 1..200),
        ) {
            let times = times.into_iter().enumerate().map(|(at, (off, seldom))| {
                at as i64 * 20 + if seldom < 20 { off / 30 } else if seldom < 25 { off } else { 0 }
            });
            let placed = run(is_audio, times);
            prop_assert!(placed.is_sorted(), "{placed:?}");
        }

        #[test]
        fn jitter_of_audio_is_taken_out(jitter in prop::collection::vec(-12i64..12, 100)) {
            let times = regular(100).into_iter().zip(&jitter).map(|(time, by)| time + by);
            let placed = run(true, times);
            for (pair, at) in placed[1..].windows(2).zip(1..) {
                prop_assert!((18..=22).contains(&(pair[1] - pair[0])), "{at}: {placed:?}");
            }
        }
    }

    #[test]
    fn a_first_packet_that_was_cut_moves_no_other() {
        let mut continuity = Continuity::default();
        // opusenc cuts off the first packet what its encoder looks ahead.
        for order in [0, 13_500_000, 33_500_000, 53_500_000] {
            let judged = continuity.judge(Sample {
                order,
                now: order,
                duration: Some(20 * MS),
                live: false,
                is_ordered: true,
                is_audio: true,
                discont: false,
                others: None,
            });
            assert_eq!(judged, Judgement::Move(0), "{order}");
        }
    }

    /// A live video frame without a duration.
    fn video(order: i64, now: i64) -> Sample {
        Sample {
            order,
            now,
            duration: None,
            live: true,
            is_ordered: true,
            is_audio: false,
            discont: false,
            others: None,
        }
    }

    #[test]
    fn what_the_clock_knows_of_is_no_resync() {
        let mut continuity = Continuity::default();
        continuity.judge(video(0, 5 * MS));
        // A camera that was off for a minute.
        let judged = continuity.judge(video(60_000 * MS, 60_010 * MS));
        assert_eq!(judged, Judgement::Move(0));
    }

    #[test]
    fn frames_that_a_queue_has_skipped_are_no_resync() {
        let mut continuity = Continuity::default();
        continuity.judge(video(0, 5 * MS));
        // The network stood still for 8 s, then a leaky queue gives what is left of it.
        let late = continuity.judge(video(40 * MS, 8_000 * MS));
        let back = continuity.judge(video(7_960 * MS, 8_001 * MS));
        assert_eq!([late, back], [Judgement::Move(0); 2]);
        // Another stop, and the queue has more of it: what is late is no resync either.
        let backlog = [12_960, 13_000, 13_040, 13_080, 13_120, 13_160];
        for (order, now) in backlog.into_iter().zip(16_000..) {
            let judged = continuity.judge(video(order * MS, now * MS));
            assert_eq!(judged, Judgement::Move(0), "{order}");
        }
    }

    #[test]
    fn an_audio_packet_earlier_than_the_first_follows_it() {
        assert!(run(true, [0, -1, 40, 60]).is_sorted());
    }

    #[test]
    fn a_resync_of_another_track_is_followed_at_once() {
        let mut continuity = Continuity::default();
        continuity.judge(video(10_000 * MS, 0));
        let stepped = Sample {
            others: Some(8_003 * MS),
            ..video(2_040 * MS, 40 * MS)
        };
        assert_eq!(continuity.judge(stepped), Judgement::Resync(8_003 * MS));
        let next = video(2_080 * MS, 80 * MS);
        assert_eq!(continuity.judge(next), Judgement::Move(0));
    }

    #[test]
    fn frames_of_any_rate_keep_their_times() {
        for step in [1_000, 50_000, MS, 40 * MS] {
            let mut continuity = Continuity::default();
            for frame in 0..20_000 {
                let judged = continuity.judge(video(frame * step, frame * step));
                assert_eq!(judged, Judgement::Move(0), "{step} ns apart: {frame}");
            }
        }
    }

    #[test]
    fn reordered_frames_are_no_resync() {
        let mut continuity = Continuity::default();
        for (at, order) in [0, 120, 40, 80, 240, 160, 200].into_iter().enumerate() {
            let judged = continuity.judge(Sample {
                is_ordered: false,
                ..video(order * MS, at as i64 * 40 * MS)
            });
            assert_eq!(judged, Judgement::Move(0), "{order}");
        }
    }
}
