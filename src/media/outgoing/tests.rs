use gst::ClockTime;
use proptest::prelude::*;

use super::*;

const BASE: ClockTime = ClockTime::from_seconds(1000);

fn ms(ms: u64) -> ClockTime {
    ClockTime::from_mseconds(ms)
}

fn started() -> Outgoing {
    let mut outgoing = Outgoing::default();
    outgoing.start(BASE);
    outgoing
}

fn stored(running: u64, elapsed: u64) -> Arrival {
    Arrival {
        due: BASE + ms(running),
        now: BASE + ms(elapsed),
        live: false,
        sparse: false,
        published: None,
        before: Before::Nothing,
    }
}

#[test]
fn a_file_that_starts_in_time_keeps_its_running_time() {
    let mut outgoing = started();
    let anchor = outgoing.anchor(stored(0, 90));
    assert_eq!(outgoing.stamp(anchor, BASE + ms(40)), ms(40));
}

#[test]
fn a_file_that_starts_late_goes_on_with_the_clock() {
    let mut outgoing = started();
    let anchor = outgoing.anchor(stored(0, 3000));
    assert_eq!(outgoing.stamp(anchor, BASE), ms(3000));
    assert_eq!(outgoing.offset(anchor), ms(3000));
}

#[test]
fn a_late_second_pad_takes_the_first_one_along() {
    let mut outgoing = started();
    let video = outgoing.anchor(stored(0, 0));
    let audio = outgoing.anchor(stored(0, 250));
    let due = BASE + ms(400);
    assert_eq!(outgoing.stamp(video, due), outgoing.stamp(audio, due));
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
        assert_eq!(outgoing.stamp(anchor, BASE + ms(5000)), ms(5000));
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
    // A picture that precedes another one in decode order is no restart.
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
    assert_eq!(outgoing.stamp(video, due), outgoing.stamp(audio, due));
}

#[test]
fn another_clock_goes_on_with_the_time() {
    let mut outgoing = started();
    let anchor = outgoing.anchor(stored(0, 0));
    let elapsed = outgoing.elapsed(BASE + ms(5000));
    outgoing.rebase(ms(77_000), elapsed);
    // Running time 5000 ms on the other clock.
    assert_eq!(outgoing.stamp(anchor, ms(77_000)), ms(5000));
}

#[test]
fn live_input_is_never_shifted_at_its_start() {
    let mut outgoing = started();
    let arrival = Arrival {
        live: true,
        ..stored(10, 5000)
    };
    let anchor = outgoing.anchor(arrival);
    assert_eq!(outgoing.stamp(anchor, BASE + ms(10)), ms(10));
}

#[test]
fn a_flush_that_restarts_running_time_does_not_rewind() {
    let mut outgoing = started();
    let anchor = outgoing.anchor(stored(0, 0));
    let published = outgoing.stamp(anchor, BASE + ms(8000));
    let after = outgoing.anchor(Arrival {
        published: Some(published),
        live: true,
        ..stored(0, 8500)
    });
    assert_eq!(outgoing.stamp(after, BASE), ms(8500));
    // The other pad goes on with the old running times until its own flush comes.
    assert_eq!(outgoing.stamp(anchor, BASE + ms(8040)), ms(8040));
    let other = outgoing.anchor(Arrival {
        published: Some(ms(8040)),
        ..stored(0, 8510)
    });
    assert_eq!(outgoing.stamp(other, BASE), ms(8500));
}

#[test]
fn a_pause_keeps_time_going_on() {
    let mut outgoing = started();
    let anchor = outgoing.anchor(stored(0, 0));
    assert_eq!(outgoing.stamp(anchor, BASE + ms(1000)), ms(1000));
    // 5 s of pause moved the base time.
    let resumed = BASE + ms(5000);
    outgoing.start(resumed);
    assert_eq!(outgoing.stamp(anchor, resumed + ms(1040)), ms(6040));
}

proptest! {
    #[test]
    fn the_offset_only_grows_and_pads_stay_aligned(
        steps in prop::collection::vec((0u64..10_000, 0u64..2_000, any::<bool>()), 1..50)
    ) {
        let mut outgoing = started();
        let mut now = 0;
        let mut before = ClockTime::ZERO;
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

            let time = outgoing.stamp(anchor, arrival.due);
            prop_assert!(newest[pad].is_none_or(|newest| time >= newest));
            newest[pad] = Some(time);

            let other = outgoing.anchor(Arrival { published: None, live: true, ..arrival });
            prop_assert_eq!(outgoing.stamp(other, arrival.due), time);
        }
    }
}
