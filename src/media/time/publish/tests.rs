// SPDX-License-Identifier: MIT

use proptest::prelude::*;

use super::*;
use crate::media::time::nanos::nanos;

const S: i64 = 1_000_000_000;
const BASE: i64 = 1000 * S;

fn ms(ms: i64) -> i64 {
    ms * 1_000_000
}

/// MoQ time in ns.
fn stamp(outgoing: &PublishTimeline, anchor: Anchor, due: i64) -> i64 {
    nanos(outgoing.stamp(anchor, due))
}

fn started() -> PublishTimeline {
    let mut outgoing = PublishTimeline::default();
    outgoing.start(BASE, BASE);
    outgoing
}

fn stored(running: i64, elapsed: i64) -> Arrival {
    Arrival {
        due: BASE + ms(running),
        now: BASE + ms(elapsed),
        live: false,
        sparse: false,
        lead: false,
        published: None,
        before: Before::Nothing,
    }
}

#[test]
fn a_file_that_starts_in_time_keeps_its_running_time() {
    let mut outgoing = started();
    let anchor = outgoing.anchor(stored(0, 90));
    assert_eq!(stamp(&outgoing, anchor, BASE + ms(40)), ms(40));
}

#[test]
fn a_file_that_starts_late_goes_on_with_the_clock() {
    let mut outgoing = started();
    let anchor = outgoing.anchor(stored(0, 3000));
    assert_eq!(stamp(&outgoing, anchor, BASE), ms(3000));
    assert_eq!(outgoing.offset(anchor), ms(3000));
}

#[test]
fn a_late_second_pad_takes_the_first_one_along() {
    let mut outgoing = started();
    let video = outgoing.anchor(stored(0, 0));
    let audio = outgoing.anchor(stored(0, 250));
    let due = BASE + ms(400);
    assert_eq!(stamp(&outgoing, video, due), stamp(&outgoing, audio, due));
}

#[test]
fn what_comes_now_and_then_is_never_late() {
    let mut outgoing = started();
    let video = outgoing.anchor(stored(0, 0));
    let cue = outgoing.anchor(Arrival {
        sparse: true,
        ..stored(5000, 9000)
    });
    for anchor in [video, cue] {
        assert_eq!(stamp(&outgoing, anchor, BASE + ms(5000)), ms(5000));
    }
}

#[test]
fn a_new_segment_that_goes_on_keeps_its_place() {
    let mut outgoing = started();
    let first = outgoing.anchor(stored(0, 0));
    let again = |before| Arrival {
        published: Some(ms(2000)),
        before,
        ..stored(1960, 1990)
    };
    // A frame that precedes another one in decode order is no restart.
    assert_eq!(outgoing.anchor(again(Before::Segment(first))), first);
    // The same after a flush is one.
    assert_ne!(outgoing.anchor(again(Before::Restart(first))), first);
}

#[test]
fn pads_that_restart_together_share_a_generation() {
    let mut outgoing = started();
    let [video, audio] = [(); 2].map(|()| outgoing.anchor(stored(0, 0)));
    let restart = |anchor, published| Arrival {
        published: Some(ms(published)),
        before: Before::Restart(anchor),
        ..stored(0, 5000)
    };
    let video = outgoing.anchor(restart(video, 5000));
    let audio = outgoing.anchor(restart(audio, 5020));
    let due = BASE + ms(40);
    assert_eq!(stamp(&outgoing, video, due), stamp(&outgoing, audio, due));
}

#[test]
fn another_clock_goes_on_with_the_time() {
    let mut outgoing = started();
    let anchor = outgoing.anchor(stored(0, 0));
    let elapsed = outgoing.elapsed(BASE + ms(5000));
    outgoing.rebase(ms(77_000), elapsed);
    // Running time 5000 ms on the other clock.
    assert_eq!(stamp(&outgoing, anchor, ms(77_000)), ms(5000));
}

#[test]
fn live_input_is_never_shifted_at_its_start() {
    let mut outgoing = started();
    let arrival = Arrival {
        live: true,
        ..stored(10, 5000)
    };
    let anchor = outgoing.anchor(arrival);
    assert_eq!(stamp(&outgoing, anchor, BASE + ms(10)), ms(10));
}

#[test]
fn a_flush_that_restarts_running_time_does_not_rewind() {
    let mut outgoing = started();
    let anchor = outgoing.anchor(stored(0, 0));
    let published = stamp(&outgoing, anchor, BASE + ms(8000));
    let after = outgoing.anchor(Arrival {
        published: Some(published),
        live: true,
        ..stored(0, 8500)
    });
    assert_eq!(stamp(&outgoing, after, BASE), ms(8500));
    // The other pad goes on with the old running times until its own flush comes.
    assert_eq!(stamp(&outgoing, anchor, BASE + ms(8040)), ms(8040));
    let other = outgoing.anchor(Arrival {
        published: Some(ms(8040)),
        ..stored(0, 8510)
    });
    assert_eq!(stamp(&outgoing, other, BASE), ms(8500));
}

#[test]
fn a_pause_keeps_time_going_on() {
    let mut outgoing = started();
    let anchor = outgoing.anchor(stored(0, 0));
    assert_eq!(stamp(&outgoing, anchor, BASE + ms(1000)), ms(1000));
    // 5 s of pause moved the base time.
    let resumed = BASE + ms(5000);
    outgoing.start(resumed, resumed);
    assert_eq!(stamp(&outgoing, anchor, resumed + ms(1040)), ms(6040));
}

#[test]
fn a_clock_that_counts_from_an_epoch_counts_from_the_run() {
    for seconds in [1_800_000_000, 3_989_000_000] {
        let now = seconds * S;
        let mut outgoing = PublishTimeline::default();
        outgoing.start(0, now);
        let arrival = |due| Arrival {
            due,
            now,
            live: true,
            ..stored(0, 0)
        };
        // Captured just before the pipeline played.
        let anchor = outgoing.anchor(arrival(now - ms(40)));
        assert_eq!(stamp(&outgoing, anchor, now - ms(40)), ms(960));
        assert_eq!(outgoing.elapsed(now), S);
    }
}

#[test]
fn frames_before_time_zero_make_room_for_themselves() {
    let mut outgoing = started();
    let audio = outgoing.anchor(stored(0, 0));
    let video = outgoing.anchor(Arrival {
        lead: true,
        ..stored(-125, 0)
    });
    assert_eq!(stamp(&outgoing, video, BASE - ms(125)), 0);
    // Both go on together.
    for anchor in [video, audio] {
        assert_eq!(stamp(&outgoing, anchor, BASE + ms(40)), ms(165));
    }
}

#[test]
fn frames_before_the_next_segment_do_not_rewind() {
    let mut outgoing = started();
    let [video, audio] = [(); 2].map(|()| outgoing.anchor(stored(0, 0)));
    // The next file of a concatenation begins at 10 s, its keyframe comes before.
    let next = outgoing.anchor(Arrival {
        lead: true,
        published: Some(ms(9_960)),
        before: Before::Segment(video),
        ..stored(9_900, 10_000)
    });
    assert_eq!(stamp(&outgoing, next, BASE + ms(9_900)), ms(9_960));
    let due = BASE + ms(10_000);
    assert_eq!(
        stamp(&outgoing, next, due),
        stamp(&outgoing, audio, due),
        "the other track keeps up"
    );
}

#[test]
fn live_input_by_another_clock_begins_now() {
    let mut outgoing = started();
    let live = |running, elapsed| Arrival {
        live: true,
        ..stored(running, elapsed)
    };
    let hours = 7_200_000;
    let camera = outgoing.anchor(live(hours, 1000));
    assert_eq!(stamp(&outgoing, camera, BASE + ms(hours)), ms(1000));
    let sound = outgoing.anchor(live(hours + 20, 1000));
    assert_eq!(stamp(&outgoing, sound, BASE + ms(hours + 20)), ms(1020));
    // Another source, whose times are those of the pipeline's clock.
    let other = outgoing.anchor(live(1500, 1500));
    assert_eq!(stamp(&outgoing, other, BASE + ms(1500)), ms(1500));
}

#[test]
fn tracks_that_step_together_stay_together() {
    let mut outgoing = started();
    let [video, audio] = [(); 2].map(|()| outgoing.anchor(stored(0, 0)));
    let stepped = outgoing.resync(video, ms(8_000));
    assert_eq!(outgoing.resync_of_others(audio), Some(ms(8_000)));
    assert_eq!(outgoing.resync_of_others(stepped), None);
    let followed = outgoing.resync(audio, ms(7_980));
    let due = BASE + ms(2_000);
    for anchor in [stepped, followed] {
        assert_eq!(stamp(&outgoing, anchor, due), ms(10_000));
    }
    // Forward, too.
    let stepped = outgoing.resync(stepped, -ms(3_600_000));
    assert_eq!(stamp(&outgoing, stepped, BASE + ms(3_602_000)), ms(10_000));
    // A pad that has not made the step yet.
    assert_eq!(stamp(&outgoing, followed, due), ms(10_000));
}

proptest! {
    #[test]
    fn no_time_is_too_large(
        base: i64, now: i64, due: i64, shift: i64, live: bool, sparse: bool, lead: bool,
        published in proptest::option::of(0..i64::MAX),
    ) {
        let mut outgoing = PublishTimeline::default();
        outgoing.start(base, now);
        let arrival = Arrival {
            due, now, live, sparse, lead, published, before: Before::Nothing,
        };
        let anchor = outgoing.anchor(arrival);
        let anchor = outgoing.anchor(Arrival { before: Before::Segment(anchor), ..arrival });
        let anchor = outgoing.resync(anchor, shift);
        outgoing.stamp(anchor, due);
        outgoing.anchor(Arrival { before: Before::Restart(anchor), ..arrival });
        outgoing.elapsed(now);
    }

    #[test]
    fn the_offset_only_grows_and_pads_stay_aligned(
        steps in prop::collection::vec((0i64..10_000, 0i64..2_000, any::<bool>()), 1..50)
    ) {
        let mut outgoing = started();
        let mut now = 0;
        let mut before = 0;
        let mut newest = [None; 2];
        for (index, (running, elapsed, live)) in steps.into_iter().enumerate() {
            now += elapsed;
            let pad = index % 2;
            let arrival = Arrival {
                live,
                published: newest[pad],
                ..stored(running, now)
            };
            let anchor = outgoing.anchor(arrival);
            let offset = outgoing.offset(anchor);
            prop_assert!(offset >= before);
            before = offset;

            let time = stamp(&outgoing, anchor, arrival.due);
            prop_assert!(newest[pad].is_none_or(|newest| time >= newest));
            newest[pad] = Some(time);

            let other = outgoing.anchor(Arrival { published: None, live: true, ..arrival });
            prop_assert_eq!(stamp(&outgoing, other, arrival.due), time);
        }
    }
}
