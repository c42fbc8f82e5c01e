// SPDX-License-Identifier: MIT

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;

const MS: Nanos = 1_000_000;
const S: Nanos = 1_000 * MS;

fn at(nanos: Nanos) -> ClockTime {
    nearest(nanos)
}

fn timeline(join: Join) -> Timeline {
    Timeline::new(ClockTime::from_mseconds(100), join)
}

/// Hands in a frame and stamps it at once; `None` when it was dropped.
fn pass(timeline: &mut Timeline, id: TrackId, ts: Nanos, now: Nanos) -> Option<Stamp> {
    timeline.arrive(id, at(ts), at(now));
    timeline.is_settled(at(now + 50 * MS));
    if timeline.is_outlier(id) {
        return None;
    }
    match timeline.stamp(id, at(ts)) {
        Verdict::Emit(stamp) => Some(stamp),
        Verdict::BeforeStart => None,
    }
}

fn pts(stamp: Option<Stamp>) -> Nanos {
    wide(stamp.expect("the frame is shown").pts)
}

#[test]
fn the_live_edge_and_not_the_first_frame_sets_the_delay() {
    let mut timeline = timeline(Join::Live);
    let video = timeline.add_track(Kind::Video, None, ClockTime::ZERO);
    // A group that began 1.9 s ago arrives in a burst at 5 s.
    for frame in 0..48 {
        let ts = 100 * S + frame * 40 * MS;
        timeline.arrive(video, at(ts), at(5 * S + frame * MS / 10));
    }
    // The catching up is over a fifteenth of that age after the edge.
    for frame in 48..60 {
        let now = 5 * S + (frame - 47) * 40 * MS;
        let shown = pts(pass(&mut timeline, video, 100 * S + frame * 40 * MS, now));
        let delay = shown - now;
        assert!(
            frame < 52 || delay.abs() < 10 * MS,
            "frame {frame}: {delay}"
        );
    }
}

#[test]
fn frames_are_held_until_transits_no_longer_shrink() {
    let mut timeline = timeline(Join::Live);
    let video = timeline.add_track(Kind::Video, None, ClockTime::ZERO);
    assert!(!timeline.is_settled(at(5 * S)), "nothing has arrived");
    timeline.arrive(video, at(S), at(5 * S));
    timeline.arrive(video, at(S + 40 * MS), at(5 * S + 5 * MS));
    assert_eq!(timeline.settles_at(), Some(at(5 * S + 15 * MS)));
    // Ever better transits hold nothing for more than half the latency.
    for frame in 2..20 {
        timeline.arrive(video, at(S + frame * 40 * MS), at(5 * S + frame * 5 * MS));
    }
    assert_eq!(timeline.settles_at(), Some(at(5 * S + 50 * MS)));
    assert!(timeline.is_settled(at(5 * S + 50 * MS)));
}

#[test]
fn pictures_that_come_faster_than_they_are_caught_up_with_are_not_held() {
    let mut timeline = timeline(Join::Live);
    let video = timeline.add_track(Kind::Video, None, ClockTime::ZERO);
    // One every 2 ms is caught up with, as the fourth one that came too late is no more.
    let arrivals = [(1000, 5000), (1032, 5001), (1064, 5004), (1096, 5007)];
    let placed = arrivals.map(|(ts, now)| {
        timeline.arrive(video, at(ts * MS), at(now * MS));
        assert!(
            !timeline.is_settled(at(now * MS)),
            "it is too early for that"
        );
        timeline.is_placed(video, at(ts * MS))
    });
    assert_eq!(placed, [true, true, true, false]);
    timeline.add_track(Kind::Video, None, ClockTime::ZERO);
    assert!(
        !timeline.is_placed(video, at(S)),
        "another one may begin earlier"
    );
}

#[test]
fn an_old_group_is_played_in_order_up_to_the_edge() {
    let mut timeline = timeline(Join::Live);
    let video = timeline.add_track(Kind::Video, None, ClockTime::ZERO);
    let frames: Vec<Nanos> = (0..120).map(|frame| 100 * S + frame * 16_666_667).collect();
    let now = 5 * S;
    for ts in &frames {
        timeline.arrive(video, at(*ts), at(now));
    }
    assert!(timeline.is_settled(at(now + 50 * MS)));
    let mut last = None;
    for ts in &frames {
        let Verdict::Emit(stamp) = timeline.stamp(video, at(*ts)) else {
            panic!("video is never dropped at a live join");
        };
        let shown = wide(stamp.pts);
        assert!(shown >= now, "nothing lies before the start");
        assert!(last.is_none_or(|last| shown - last >= MS), "1 ms apart");
        last = Some(shown);
    }
}

#[test]
fn audio_before_the_start_is_dropped_and_not_compressed() {
    let mut timeline = timeline(Join::Live);
    let video = timeline.add_track(Kind::Video, None, ClockTime::ZERO);
    let audio = timeline.add_track(Kind::Audio, None, ClockTime::ZERO);
    timeline.arrive(video, at(98 * S), at(5 * S));
    timeline.arrive(audio, at(99 * S), at(5 * S));
    timeline.arrive(audio, at(100 * S), at(5 * S));
    assert!(timeline.is_settled(at(6 * S)));
    assert_eq!(timeline.stamp(audio, at(99 * S)), Verdict::BeforeStart);
    let Verdict::Emit(stamp) = timeline.stamp(audio, at(100 * S)) else {
        panic!("the edge is shown");
    };
    assert_eq!(stamp.pts, at(5 * S));
    assert!(stamp.discont, "what came before it was dropped");
}

#[test]
fn joining_at_the_next_group_compresses_nothing() {
    let mut timeline = timeline(Join::NextGroup);
    let video = timeline.add_track(Kind::Video, None, ClockTime::ZERO);
    timeline.arrive(video, at(98 * S), at(5 * S));
    timeline.arrive(video, at(100 * S), at(5 * S));
    assert!(timeline.is_settled(at(6 * S)));
    assert_eq!(timeline.stamp(video, at(98 * S)), Verdict::BeforeStart);
    assert!(matches!(
        timeline.stamp(video, at(100 * S)),
        Verdict::Emit(stamp) if stamp.pts == at(5 * S)
    ));
}

#[test]
fn a_slower_encoder_raises_the_latency_and_not_the_skew() {
    let mut timeline = timeline(Join::Live);
    let video = timeline.add_track(Kind::Video, None, ClockTime::ZERO);
    let audio = timeline.add_track(Kind::Audio, None, ClockTime::ZERO);
    for tick in 0..200 {
        let now = 5 * S + tick * 20 * MS;
        let sound = pts(pass(&mut timeline, audio, now - 10 * MS, now));
        let picture = pts(pass(&mut timeline, video, now - 285 * MS, now));
        if tick > 60 {
            assert_eq!(
                sound - picture,
                275 * MS,
                "capture times keep their distance"
            );
        }
    }
    let latency = wide(timeline.min_latency());
    assert!((latency - 375 * MS).abs() <= 5 * MS, "{latency}");
}

#[test]
fn one_early_burst_of_a_slow_encoder_lowers_no_latency() {
    let mut timeline = timeline(Join::Live);
    let video = timeline.add_track(Kind::Video, None, ClockTime::ZERO);
    let audio = timeline.add_track(Kind::Audio, None, ClockTime::ZERO);
    for tick in 0..200 {
        let now = 5 * S + tick * 20 * MS;
        pass(&mut timeline, audio, now - 10 * MS, now);
        let transit = if tick == 150 { 20 * MS } else { 285 * MS };
        pass(&mut timeline, video, now - transit, now);
    }
    assert!(wide(timeline.min_latency()) >= 370 * MS);
}

#[test]
fn the_catalog_tells_of_a_slow_encoder_before_its_first_frame() {
    let mut timeline = timeline(Join::Live);
    timeline.add_track(Kind::Audio, None, ClockTime::ZERO);
    let slow = timeline.add_track(
        Kind::Video,
        Some(ClockTime::from_mseconds(275)),
        ClockTime::ZERO,
    );
    assert_eq!(timeline.min_latency(), ClockTime::from_mseconds(375));
    timeline.remove_track(slow);
    assert_eq!(timeline.min_latency(), ClockTime::from_mseconds(375));
}

/// Video that is 275 ms slower than the audio, for a second and a half from `begin` on.
fn slow_video(timeline: &mut Timeline, [audio, video]: [TrackId; 2], begin: Nanos) {
    for tick in 0..75 {
        let now = begin + tick * 20 * MS;
        pass(timeline, audio, now - 10 * MS, now);
        assert!(begin == 5 * S || wide(timeline.min_latency()) >= 370 * MS);
        pass(timeline, video, now - 285 * MS, now);
    }
    let latency = wide(timeline.min_latency());
    assert!((latency - 375 * MS).abs() <= 5 * MS, "{latency}");
}

#[test]
fn a_track_that_is_read_again_changes_no_latency() {
    let mut timeline = timeline(Join::Live);
    let video = timeline.add_track(Kind::Video, None, ClockTime::ZERO);
    let audio = timeline.add_track(Kind::Audio, None, ClockTime::ZERO);
    slow_video(&mut timeline, [audio, video], 5 * S);
    timeline.remove_track(video);
    assert!(wide(timeline.min_latency()) >= 370 * MS);
    let video = timeline.add_track(Kind::Video, None, at(6 * S));
    slow_video(&mut timeline, [audio, video], 7 * S);
    timeline.restart();
    slow_video(&mut timeline, [audio, video], 9 * S);
}

#[test]
fn a_broadcast_that_comes_back_faster_lowers_the_latency_once_it_is_known() {
    let mut timeline = timeline(Join::Live);
    let video = timeline.add_track(Kind::Video, None, ClockTime::ZERO);
    let audio = timeline.add_track(Kind::Audio, None, ClockTime::ZERO);
    slow_video(&mut timeline, [audio, video], 5 * S);
    timeline.restart();
    for tick in 0..75 {
        let now = 7 * S + tick * 20 * MS;
        pass(&mut timeline, audio, now - 10 * MS, now);
        pass(&mut timeline, video, now - 60 * MS, now);
        let latency = wide(timeline.min_latency());
        let expected = if tick < 50 { 375 } else { 150 } * MS;
        assert!((latency - expected).abs() <= 5 * MS, "{tick}: {latency}");
    }
}

#[test]
fn a_longer_route_is_stepped_to_once() {
    let mut timeline = timeline(Join::Live);
    let video = timeline.add_track(Kind::Video, None, ClockTime::ZERO);
    let mut discontinuities = 0;
    for tick in 0..400 {
        let capture = 5 * S + tick * 20 * MS;
        let transit = if tick < 200 { 10 * MS } else { 285 * MS };
        let stamp = pass(&mut timeline, video, capture, capture + transit);
        discontinuities += u32::from(stamp.is_some_and(|stamp| stamp.discont));
        if tick > 260 {
            assert!(capture + transit - pts(stamp) < 5 * MS, "at the new edge");
        }
    }
    assert_eq!(timeline.resyncs(), 1);
    assert_eq!(discontinuities, 2, "one at the start, one at the step");
}

#[test]
fn a_pause_anchors_anew() {
    let mut timeline = timeline(Join::Live);
    let video = timeline.add_track(Kind::Video, None, ClockTime::ZERO);
    pass(&mut timeline, video, 100 * S, 5 * S);
    timeline.restart();
    assert_eq!(timeline.stamp(video, at(101 * S)), Verdict::BeforeStart);
    let stamp = pass(&mut timeline, video, 160 * S, 6 * S);
    assert_eq!(pts(stamp), 6 * S);
    assert!(stamp.is_some_and(|stamp| stamp.discont));
}

#[test]
fn another_timestamp_base_is_followed_at_once() {
    let mut timeline = timeline(Join::Live);
    let video = timeline.add_track(Kind::Video, None, ClockTime::ZERO);
    pass(&mut timeline, video, 100 * S, 5 * S);
    let stamp = pass(&mut timeline, video, 9_000 * S, 8 * S);
    assert_eq!(pts(stamp), 8 * S);
}

#[test]
fn another_timestamp_base_is_followed_though_nothing_was_held() {
    let mut timeline = timeline(Join::Live);
    let video = timeline.add_track(Kind::Video, None, ClockTime::ZERO);
    // The cached group of a publisher that pauses for 10 minutes.
    for frame in 0..30 {
        let (ts, now) = (100 * S + frame * 33 * MS, 5 * S + frame * MS / 10);
        timeline.arrive(video, at(ts), at(now));
        assert!(timeline.is_placed(video, at(ts)));
        timeline.stamp(video, at(ts));
    }
    timeline.arrive(video, at(700 * S), at(10 * S));
    let Verdict::Emit(stamp) = timeline.stamp(video, at(700 * S)) else {
        panic!("video is never dropped at a live join");
    };
    assert_eq!((stamp.pts, stamp.discont), (at(10 * S), true));
}

#[test]
fn absurd_timestamps_do_no_harm() {
    let mut timeline = timeline(Join::Live);
    let video = timeline.add_track(Kind::Video, None, ClockTime::ZERO);
    for ts in [0, 1 << 62, u64::MAX, 5, 0, 0] {
        timeline.arrive(video, ClockTime::from_nseconds(ts.min(u64::MAX - 1)), at(S));
        timeline.is_settled(at(2 * S));
        timeline.stamp(video, ClockTime::from_nseconds(ts.min(u64::MAX - 1)));
    }
}

#[test]
fn a_track_that_is_read_again_goes_on_where_it_was() {
    let mut timeline = timeline(Join::Live);
    let video = timeline.add_track(Kind::Video, None, ClockTime::ZERO);
    let audio = timeline.add_track(Kind::Audio, None, ClockTime::ZERO);
    let picture = pass(&mut timeline, video, 100 * S, 5 * S).expect("a picture");
    let sound = pass(&mut timeline, audio, 100 * S, 5 * S).expect("sound");
    timeline.remove_track(video);
    timeline.remove_track(audio);
    // Both get the group that they had begun with again.
    let video = timeline.add_track(Kind::Video, None, picture.pts);
    let audio = timeline.add_track(Kind::Audio, None, sound.pts);
    let again = pass(&mut timeline, video, 99 * S, 7 * S).expect("the keyframe");
    assert!(again.dts > picture.dts);
    assert_eq!(pass(&mut timeline, audio, 99 * S, 7 * S), None);
    assert!(pass(&mut timeline, audio, 102 * S, 7 * S).is_some());
}

#[test]
fn records_that_are_read_again_are_not_repeated() {
    let mut timeline = timeline(Join::Live);
    let audio = timeline.add_track(Kind::Audio, None, ClockTime::ZERO);
    pass(&mut timeline, audio, 100 * S, 5 * S);
    let data = timeline.add_track(Kind::Data, None, ClockTime::ZERO);
    pass(&mut timeline, data, 100 * S, 5 * S).expect("a record");
    let last = pass(&mut timeline, data, 101 * S, 6 * S).expect("another record");
    // One that is out of order is no repetition.
    let record = pass(&mut timeline, data, 100 * S + 500 * MS, 6 * S);
    assert_eq!(pts(record), wide(last.pts));
    timeline.remove_track(data);
    let data = timeline.add_track(Kind::Data, None, last.pts);
    for ts in [100 * S, 101 * S] {
        assert_eq!(pass(&mut timeline, data, ts, 7 * S), None);
    }
    assert!(pass(&mut timeline, data, 101 * S + MS, 7 * S).is_some());
}

#[test]
fn a_silent_track_does_not_keep_the_others_from_a_longer_route() {
    let mut timeline = timeline(Join::Live);
    let video = timeline.add_track(Kind::Video, None, ClockTime::ZERO);
    let audio = timeline.add_track(Kind::Audio, None, ClockTime::ZERO);
    pass(&mut timeline, video, 5 * S, 5 * S);
    let mut late = 0;
    for tick in 0..1_000 {
        let capture = 20 * S + tick * 20 * MS;
        let arrival = capture + 300 * MS;
        late = arrival - pts(pass(&mut timeline, audio, capture, arrival));
    }
    assert!(late < 5 * MS, "{late}");
    assert_eq!(timeline.resyncs(), 1);
}

/// Plays an hour of frames through a clock that is `ppm` off, with `jitter` on every arrival.
fn drift(ppm: Nanos, jitter: &[Nanos]) -> Nanos {
    let mut timeline = timeline(Join::Live);
    let audio = timeline.add_track(Kind::Audio, None, ClockTime::ZERO);
    let mut worst = 0;
    for frame in 0..36_000_i128 {
        let capture = frame * 100 * MS;
        let ts = capture + capture / 1_000_000 * ppm;
        let transit = 20 * MS + jitter[frame as usize % jitter.len()];
        let now = 10 * S + capture + transit;
        let shown = pts(pass(&mut timeline, audio, 10 * S + ts, now));
        worst = worst.max((shown - (now - transit + 20 * MS)).abs());
    }
    assert_eq!(timeline.resyncs(), 0, "a drift is followed, not stepped");
    let seen = timeline.drift().expect("an hour is enough");
    assert!((seen - ppm as f64).abs() < 5.0, "{ppm} ppm seem {seen}");
    worst
}

#[test]
fn drift_over_an_hour_adds_no_delay() {
    for ppm in [-200, 0, 200] {
        let worst = drift(ppm, &[0, 3 * MS, 9 * MS, MS]);
        assert!(worst < 5 * MS, "{ppm} ppm: {} us off", worst / 1_000);
    }
}

#[test]
fn a_track_of_absurd_times_does_not_move_the_others() {
    for absurd in [86_400 * S, 1 << 59] {
        let mut timeline = timeline(Join::Live);
        let bad = timeline.add_track(Kind::Video, None, ClockTime::ZERO);
        let good = timeline.add_track(Kind::Audio, None, ClockTime::ZERO);
        let mut shown = 0;
        for tick in 0..500 {
            let now = 5 * S + tick * 20 * MS;
            if let Some(stamp) = pass(&mut timeline, good, tick * 20 * MS, now) {
                assert_eq!(wide(stamp.pts), now);
                shown += 1;
            }
            if tick % 3 == 1 {
                assert_eq!(pass(&mut timeline, bad, absurd, now), None);
            }
        }
        assert_eq!(shown, 500);
    }
}

#[test]
fn all_tracks_together_go_to_another_timestamp_base() {
    let mut timeline = timeline(Join::Live);
    let tracks =
        [Kind::Video, Kind::Audio].map(|kind| timeline.add_track(kind, None, ClockTime::ZERO));
    let mut shown = [0; 2];
    for tick in 0..500 {
        let now = 5 * S + tick * 20 * MS;
        let base = if tick < 250 { 0 } else { 3_600 * S };
        for (track, shown) in tracks.iter().zip(&mut shown) {
            let stamp = pass(&mut timeline, *track, base + tick * 20 * MS, now);
            *shown += Nanos::from(stamp.is_some_and(|stamp| wide(stamp.pts) == now));
        }
    }
    assert!(shown.into_iter().all(|shown| shown >= 474), "{shown:?}");
}

/// An arrival order of one second of frames: B-frames, two tracks, random transits.
fn arrivals() -> impl Strategy<Value = Vec<(bool, Nanos, Nanos)>> {
    let frame = (any::<bool>(), 0..40_i128, 0..200_i128);
    prop::collection::vec(frame, 1..200).prop_map(|frames| {
        let mut now = 5 * S;
        frames
            .into_iter()
            .enumerate()
            .map(|(i, (video, shuffle, wait))| {
                now += wait * MS / 4;
                (video, (i as Nanos * 20 + shuffle) * MS, now)
            })
            .collect()
    })
}

/// One frame of a scene: whether it is video, its timestamp, when it arrives.
type Arrival = (bool, Nanos, Nanos);

/// What a subscriber gets that joins at 100 s, in order of arrival: of each track what the relay has
/// cached, in a burst, then what comes live. `silent` is the track that was switched off as long before
/// and that is switched on again at `back`; video takes `delay` longer than audio.
fn join(
    silent: Option<(bool, Nanos)>,
    back: Nanos,
    delay: Nanos,
    audio_first: bool,
) -> Vec<Arrival> {
    const JOIN: Nanos = 100 * S;
    let mut frames = Vec::new();
    for (video, interval, transit, gop) in [
        (true, 40 * MS, 10 * MS + delay, 50),
        (false, 20 * MS, 10 * MS, 1),
    ] {
        let off = silent
            .filter(|(of, _)| *of == video)
            .map(|(_, age)| JOIN - age);
        let is_on = |ts: Nanos| off.is_none_or(|off| ts < off || ts > JOIN + back);
        let sent: Vec<Nanos> = (0..7_500)
            .map(|n| n * interval)
            .filter(|ts| is_on(*ts))
            .collect();
        let cached = sent.iter().filter(|ts| **ts + transit <= JOIN).count();
        let group = (cached - 1) / gop * gop;
        let burst = if video == audio_first { 3 * MS } else { 0 };
        for (at, ts) in sent
            .iter()
            .enumerate()
            .skip(group)
            .take(cached - group + 4_000)
        {
            let begin = JOIN + burst + (at - group) as Nanos * MS / 10;
            frames.push((video, *ts, begin.max(ts + transit)));
        }
    }
    frames.retain(|(_, ts, _)| *ts < JOIN + back + 5 * S);
    frames.sort_by_key(|(_, _, now)| *now);
    frames
}

/// What a scene has come to: the latency at the end, and the delay of each track's live frames.
fn play(frames: &[Arrival], until: Nanos) -> (Nanos, [Vec<(Nanos, Nanos)>; 2]) {
    let mut timeline = timeline(Join::Live);
    let tracks =
        [Kind::Audio, Kind::Video].map(|kind| timeline.add_track(kind, None, ClockTime::ZERO));
    let mut delays = [Vec::new(), Vec::new()];
    let mut held: VecDeque<(bool, Nanos, bool)> = VecDeque::new();
    for (video, ts, now) in frames.iter().filter(|(_, _, now)| *now < until) {
        let id = tracks[usize::from(*video)];
        timeline.arrive(id, at(*ts), at(*now));
        held.push_back((*video, *ts, timeline.is_outlier(id)));
        while timeline.is_settled(at(*now))
            && let Some((video, ts, outlier)) = held.pop_front()
        {
            let track = usize::from(video);
            if !outlier && let Verdict::Emit(stamp) = timeline.stamp(tracks[track], at(ts)) {
                delays[track].push((ts, wide(stamp.pts) - ts));
            }
        }
    }
    (wide(timeline.min_latency()), delays)
}

#[test]
fn a_slow_encoder_is_learnt_within_a_second_beside_a_track_that_is_off_or_not() {
    for back in [S, 4 * S] {
        for silent in [None, Some((true, 4 * S)), Some((false, 4 * S))] {
            let frames = join(silent, back, 300 * MS, false);
            let on = if silent.is_some() { back } else { 0 };
            let (latency, _) = play(&frames, 101 * S + on);
            let off = latency - 400 * MS;
            assert!(off.abs() <= 10 * MS, "{silent:?}, {back}: {latency}");
        }
    }
}

#[test]
fn both_tracks_may_be_off_at_the_join() {
    let mut frames = join(Some((true, 900 * MS)), 5 * S, 0, false);
    frames.retain(|(video, _, _)| *video);
    let (latency, [_, video]) = play(&frames, 109 * S);
    assert_eq!(latency, 100 * MS);
    let late = video.iter().filter(|(ts, _)| *ts > 106 * S);
    let late = late.filter(|(_, delay)| (*delay - 10 * MS).abs() > 5 * MS);
    assert_eq!(late.count(), 0, "the edge is the live one");
}

proptest! {
    #[test]
    fn a_track_that_is_off_at_the_join_changes_nothing_for_the_other(
        video_off in any::<bool>(),
        age in 0..60 * S,
        back in 0..20 * S,
        audio_first in any::<bool>(),
        apart in prop::option::of(15 * MS..80 * MS),
    ) {
        let scenes = [None, Some((video_off, age))].map(|silent| {
            let mut frames = join(silent, back, 0, audio_first);
            // The one comes later over a slow path, so that the timeline settles by the other.
            for (video, _, now) in &mut frames {
                if let Some(apart) = apart && *video != audio_first {
                    *now = (*now).max(100 * S + apart);
                }
            }
            frames.sort_by_key(|(_, _, now)| *now);
            frames
        });
        for until in [101 * S, 101 * S + back, 104 * S + back] {
            let [(latency, shown), (other_latency, other_shown)] =
                scenes.each_ref().map(|frames| play(frames, until));
            // Video is no more than its burst late.
            prop_assert!((latency - other_latency).abs() <= 10 * MS, "{latency} {other_latency}");
            let other = usize::from(!video_off);
            let first = |shown: &[Vec<(Nanos, Nanos)>; 2]| {
                let mut live = shown[other].iter().filter(|(ts, _)| *ts > 100 * S + 100 * MS);
                live.next().copied()
            };
            prop_assert_eq!(first(&shown).map(|(ts, _)| ts), first(&other_shown).map(|(ts, _)| ts));
            let last = |shown: &[Vec<(Nanos, Nanos)>; 2]| shown[other].last().copied();
            let (one, two) = (last(&shown), last(&other_shown));
            prop_assert_eq!(one.map(|(ts, _)| ts), two.map(|(ts, _)| ts));
            let apart = one.zip(two).map(|((_, one), (_, two))| (one - two).abs());
            prop_assert!(apart.is_some_and(|apart| apart <= 10 * MS), "{one:?} {two:?}");
        }
    }

    #[test]
    fn times_of_any_size_neither_overflow_nor_panic(
        frames in prop::collection::vec(
            (0..4_usize, prop_oneof![0..1_u64 << 63, Just((1 << 63) - 1), 0..10_000_000_000_u64],
             prop_oneof![0..u64::MAX - 1, 0..10_000_000_000_u64]),
            1..100,
        ),
        latency in prop_oneof![0..u64::MAX - 1, 0..10_000_000_000_u64],
    ) {
        let time = ClockTime::from_nseconds;
        let mut timeline = Timeline::new(time(latency), Join::Live);
        let tracks = [Kind::Video, Kind::Audio, Kind::Text, Kind::Data]
            .map(|kind| timeline.add_track(kind, Some(time(latency)), time(latency / 2)));
        for (track, ts, now) in frames {
            let (id, ts) = (tracks[track], time(ts));
            timeline.arrive(id, ts, time(now));
            timeline.is_settled(time(now));
            timeline.is_placed(id, ts);
            timeline.min_latency();
            timeline.edge(ts);
            if !timeline.is_outlier(id) {
                if track == 2 {
                    timeline.stamp_span(id, ts, Some(ts + ClockTime::from_seconds(60)));
                }
                timeline.stamp(id, ts);
            }
        }
        timeline.drift();
    }

    #[test]
    fn tracks_of_the_unix_epoch_are_shown_as_those_from_zero(
        epoch in (0..(1 << 63) - 1_000 * S).prop_filter("apart", |epoch| *epoch > 60 * S),
        delay in 0..400 * MS,
    ) {
        let frames = join(None, S, delay, false);
        let moved: Vec<Arrival> = frames.iter().map(|(video, ts, now)| (*video, ts + epoch, *now)).collect();
        let (latency, shown) = play(&frames, 105 * S);
        let (moved_latency, moved) = play(&moved, 105 * S);
        prop_assert_eq!(latency, moved_latency);
        for (shown, moved) in shown.iter().zip(&moved) {
            let moved: Vec<_> = moved.iter().map(|(ts, delay)| (ts - epoch, delay + epoch)).collect();
            prop_assert_eq!(shown, &moved);
        }
    }

    #[test]
    fn decode_times_rise_and_never_pass_presentation(frames in arrivals(), depth in 0..4_u32) {
        let mut timeline = timeline(Join::Live);
        let video = timeline.add_track(Kind::Video, None, ClockTime::ZERO);
        timeline.set_reorder_depth(video, depth);
        let mut last = None;
        for (_, ts, now) in frames {
            timeline.arrive(video, at(ts), at(now));
            timeline.is_settled(at(now));
            let Verdict::Emit(stamp) = timeline.stamp(video, at(ts)) else {
                panic!("video is never dropped at a live join");
            };
            let dts = stamp.dts.expect("video has decode times");
            prop_assert!(dts <= stamp.pts);
            prop_assert!(last.is_none_or(|last| dts > last));
            last = Some(dts);
        }
    }

    #[test]
    fn audio_never_goes_backwards(frames in arrivals()) {
        let mut timeline = timeline(Join::Live);
        let audio = timeline.add_track(Kind::Audio, None, ClockTime::ZERO);
        let mut last = ClockTime::ZERO;
        for (i, (_, _, now)) in frames.into_iter().enumerate() {
            if let Some(stamp) = pass(&mut timeline, audio, i as Nanos * 20 * MS, now) {
                prop_assert!(stamp.pts >= last);
                last = stamp.pts;
            }
        }
    }

    #[test]
    fn what_is_placed_early_is_placed_right(
        frames in prop::collection::vec((any::<bool>(), 0..10 * MS), 2..60),
        depth in 0..4_u32,
    ) {
        let stamps = [false, true].map(|early| {
            let mut timeline = timeline(Join::Live);
            let video = timeline.add_track(Kind::Video, None, ClockTime::ZERO);
            let audio = timeline.add_track(Kind::Audio, None, ClockTime::ZERO);
            timeline.set_reorder_depth(video, depth);
            let (mut held, mut stamps, mut now) = (VecDeque::new(), Vec::new(), 5 * S);
            for (i, (is_early, later)) in (0..).zip(&frames) {
                now += later;
                let ts = S + 40 * MS * if i == 0 || *is_early { i } else { i + 2 };
                timeline.arrive(video, at(ts), at(now));
                timeline.arrive(audio, at(ts - 10 * MS), at(now));
                held.push_back(at(ts));
                while early && let Some(ts) = held.pop_front_if(|ts| timeline.is_placed(video, *ts)) {
                    stamps.push(timeline.stamp(video, ts));
                }
            }
            stamps.extend(held.into_iter().map(|ts| timeline.stamp(video, ts)));
            stamps
        });
        prop_assert_eq!(&stamps[0], &stamps[1]);
    }

    #[test]
    fn equal_timestamps_get_equal_running_times(transits in prop::collection::vec(0..60_i128, 60..120)) {
        let mut timeline = timeline(Join::Live);
        let video = timeline.add_track(Kind::Video, None, ClockTime::ZERO);
        let audio = timeline.add_track(Kind::Audio, None, ClockTime::ZERO);
        for (i, transit) in transits.into_iter().enumerate() {
            let (ts, now) = (S + i as Nanos * 20 * MS, 5 * S + (i as Nanos * 20 + transit) * MS);
            timeline.arrive(video, at(ts), at(now));
            timeline.arrive(audio, at(ts), at(now));
            timeline.is_settled(at(now));
            let (picture, sound) = (timeline.stamp(video, at(ts)), timeline.stamp(audio, at(ts)));
            // Once the start is behind: the first frames of a join are compressed, or dropped.
            if let (Verdict::Emit(picture), Verdict::Emit(sound), true) = (picture, sound, i >= 55) {
                prop_assert!(wide(picture.pts).abs_diff(wide(sound.pts)) <= 1_000);
            }
        }
    }
}

#[test]
fn latency_that_was_needed_for_a_while_falls_when_it_is_not_any_more() {
    let mut timeline = timeline(Join::Live);
    let [audio, video] =
        [Kind::Audio, Kind::Video].map(|kind| timeline.add_track(kind, None, ClockTime::ZERO));
    let mut latencies = Vec::new();
    for n in 0..4_000 {
        let ts = 10 * S + n * 20 * MS;
        // The encoder was overloaded for the first ten seconds.
        let late = if n < 500 { 300 * MS } else { 0 };
        for (track, delay) in [(audio, 0), (video, late)] {
            timeline.arrive(track, at(ts), at(ts + 10 * MS + delay));
        }
        latencies.push(wide(timeline.min_latency()));
    }
    assert_eq!(latencies[499], 400 * MS);
    assert_eq!(latencies[1500], 400 * MS, "not at once");
    assert_eq!(latencies[3_000], 100 * MS);
}

/// Tracks on which nothing may come for long.
mod sparse {
    use super::*;

    const fn ms(ms: u64) -> ClockTime {
        ClockTime::from_mseconds(ms)
    }

    fn timeline(kinds: [Kind; 2]) -> (Timeline, [TrackId; 2]) {
        let mut timeline = Timeline::new(ms(200), Join::Live);
        let tracks = kinds.map(|kind| timeline.add_track(kind, None, ClockTime::ZERO));
        (timeline, tracks)
    }

    fn pts(timeline: &mut Timeline, id: TrackId, ts: u64, end: u64) -> Option<(u64, u64)> {
        let (stamp, duration) = timeline.stamp_span(id, ms(ts), Some(ms(end)))?;
        Some((stamp.pts.mseconds(), duration?.mseconds()))
    }

    #[test]
    fn a_cue_that_comes_early_or_late_does_not_move_the_others() {
        let (mut timeline, [audio, text]) = timeline([Kind::Audio, Kind::Text]);
        timeline.arrive(audio, ms(5000), ms(1000));
        // 3 s early, then 4 s old.
        timeline.arrive(text, ms(8000), ms(1000));
        timeline.arrive(text, ms(1000), ms(1001));
        assert!(timeline.is_settled(ms(1011)));
        assert_eq!(timeline.min_latency(), ms(200));
        assert_eq!(pts(&mut timeline, audio, 5000, 5100), Some((1000, 100)));
        assert_eq!(pts(&mut timeline, text, 8000, 8500), Some((4000, 500)));
    }

    #[test]
    fn a_cue_that_is_on_screen_at_the_start_is_shown_for_its_rest() {
        let (mut timeline, [audio, text]) = timeline([Kind::Audio, Kind::Text]);
        timeline.arrive(text, ms(2000), ms(990));
        timeline.arrive(audio, ms(5000), ms(1000));
        assert!(timeline.is_settled(ms(1011)));
        assert_eq!(pts(&mut timeline, text, 1000, 3000), None, "it is over");
        assert_eq!(pts(&mut timeline, text, 2000, 6000), Some((1000, 1000)));
    }

    #[test]
    fn a_cue_waits_for_audio_for_a_bounded_time() {
        let (mut timeline, [audio, text]) = timeline([Kind::Audio, Kind::Text]);
        timeline.arrive(text, ms(2000), ms(1000));
        assert!(!timeline.is_settled(ms(1499)));
        assert!(timeline.is_settled(ms(1500)));
        assert_eq!(pts(&mut timeline, text, 2000, 9000), Some((1000, 7000)));
        timeline.arrive(audio, ms(5000), ms(1600));
        assert!(!timeline.is_settled(ms(1600)), "audio anchors anew");
        assert!(timeline.is_settled(ms(1611)));
        assert_eq!(pts(&mut timeline, audio, 5000, 5020), Some((1600, 20)));
    }

    #[test]
    fn an_old_cue_beside_records_delays_nothing() {
        let (mut timeline, [text, data]) = timeline([Kind::Text, Kind::Data]);
        timeline.arrive(data, ms(6000), ms(1000));
        timeline.arrive(text, ms(1000), ms(1001));
        assert!(timeline.is_settled(ms(1011)));
        timeline.arrive(data, ms(8000), ms(3000));
        assert_eq!(timeline.min_latency(), ms(200));
    }

    #[test]
    fn without_video_and_audio_cues_go_by_themselves() {
        let (mut timeline, [text, data]) = timeline([Kind::Text, Kind::Data]);
        timeline.arrive(text, ms(2000), ms(1000));
        timeline.arrive(data, ms(2020), ms(1010));
        assert!(timeline.is_settled(ms(1020)));
        assert_eq!(pts(&mut timeline, text, 2100, 3000), Some((1090, 900)));
    }
}
