// SPDX-License-Identifier: MIT
//! From one track of a pad to another: each frame is given by one of them, and none is missing.
//!
//! While the next track is awaited, the frames of the current one are held for a part of the latency, so that
//! the next one, which may come a little later, can begin with any of its groups.

use std::sync::{Mutex, MutexGuard};

use gst::ClockTime;
use tokio::sync::{Notify, futures::Notified};

use crate::element::sync::lock;

/// Which of the readers of a pad gives its frames; each has a number of its own.
#[derive(Debug, Default)]
pub(crate) struct Handover {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// Whose frames the pad gives.
    current: Option<u64>,
    /// The newest timestamp of them.
    given: Option<ClockTime>,
    next: Option<Next>,
    /// The current one has followed another one, and has given nothing yet.
    fresh: bool,
    /// Up to here another one has shown what the current one gives, until its next group.
    shown: Option<ClockTime>,
}

#[derive(Debug)]
struct Next {
    reader: u64,
    /// It is only tried whether it comes in time.
    trial: bool,
    /// It need not wait for the beginning of a group: what was shown of one is decoded once more, unseen.
    urgent: bool,
    /// The timestamp with which it will begin.
    begin: Option<ClockTime>,
}

/// What becomes of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// It is given now.
    Give {
        /// It is the first one of a track that follows another.
        first: bool,
        /// It is only decoded, for what follows it, if its time was shown: up to here.
        shown: Option<ClockTime>,
    },
    /// It is judged again at this running time, or when something changes.
    Later(ClockTime),
    /// Another reader gives what is shown at its time.
    Skip,
}

/// How soon what waits for frames to come is judged again without one.
const PATIENCE: ClockTime = ClockTime::from_mseconds(500);

/// A frame that is to be judged.
#[derive(Debug, Clone, Copy)]
pub(super) struct Candidate {
    /// Who has read it.
    pub(super) reader: u64,
    pub(super) timestamp: ClockTime,
    pub(super) begins_group: bool,
    /// Until when it may be held, in running time.
    pub(super) due: ClockTime,
    /// The same of the first frame behind it that [`Handover::shown`] does not cover.
    pub(super) unshown_due: Option<ClockTime>,
    /// The present running time.
    pub(super) now: ClockTime,
}

impl Handover {
    /// `reader` gives the frames from now on; what was before it does not count.
    pub(crate) fn begin(&self, reader: u64) {
        *self.state() = State {
            current: Some(reader),
            ..State::default()
        };
        self.changed.notify_waiters();
    }

    /// `reader` is to follow, unless it is only tried.
    pub(crate) fn expect(&self, reader: u64, trial: bool, urgent: bool) {
        self.state().next = Some(Next {
            reader,
            trial,
            urgent,
            begin: None,
        });
        self.changed.notify_waiters();
    }

    /// The one that is tried is to follow.
    pub(crate) fn promote(&self) {
        if let Some(next) = &mut self.state().next {
            next.trial = false;
        }
    }

    /// Nobody is to follow.
    pub(crate) fn abandon(&self) {
        self.state().next = None;
        self.changed.notify_waiters();
    }

    /// `reader` gives nothing more: the next one need not wait for it.
    pub(crate) fn vacate(&self, reader: u64) {
        let mut state = self.state();
        if state.current == Some(reader) {
            state.current = None;
        }
        drop(state);
        self.changed.notify_waiters();
    }

    /// Whether what `reader` reads is only counted.
    pub(super) fn is_trial(&self, reader: u64) -> bool {
        let state = self.state();
        let next = state.next.as_ref();
        next.is_some_and(|next| next.reader == reader && next.trial)
    }

    /// Up to where another one has shown what `reader` is urgently to give, and does not yet.
    pub(super) fn shown(&self, reader: u64) -> Option<ClockTime> {
        let state = self.state();
        let next = state.next.as_ref();
        let waits = |next: &&Next| next.reader == reader && next.urgent && next.begin.is_none();
        next.filter(waits).and(state.given)
    }

    /// Until something changes; counts from the call on.
    pub(super) fn changed(&self) -> Notified<'_> {
        self.changed.notified()
    }

    /// What becomes of the next frame of a reader, in its order.
    pub(super) fn turn(&self, frame: &Candidate) -> Turn {
        let (turn, concerns_another) = self.state().turn(frame);
        if concerns_another {
            self.changed.notify_waiters();
        }
        turn
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl State {
    /// What becomes of the frame, and whether another reader has to look again.
    fn turn(&mut self, frame: &Candidate) -> (Turn, bool) {
        if self.current == Some(frame.reader) {
            return self.turn_of_current(frame);
        }
        let (given, is_vacant) = (self.given, self.current.is_none());
        let Some(next) = self
            .next
            .as_mut()
            .filter(|next| next.reader == frame.reader)
        else {
            return (Turn::Skip, false);
        };
        let begins = next.begin.is_none();
        if begins {
            let follows = given.is_none_or(|given| frame.timestamp > given);
            if next.trial || !frame.begins_group {
                return (Turn::Skip, false);
            }
            if !follows {
                return match frame.unshown_due {
                    _ if !next.urgent => (Turn::Skip, false),
                    Some(due) if due <= frame.now || is_vacant => {
                        self.hand_over();
                        self.shown = given;
                        self.turn_of_current(frame)
                    }
                    due => (Turn::Later(due.unwrap_or(frame.now + PATIENCE)), false),
                };
            }
            next.begin = Some(frame.timestamp);
        }
        if frame.now < frame.due && !is_vacant {
            return (Turn::Later(frame.due), begins);
        }
        self.hand_over();
        self.turn_of_current(frame)
    }

    fn turn_of_current(&mut self, frame: &Candidate) -> (Turn, bool) {
        match &self.next {
            Some(Next {
                begin: Some(begin), ..
            }) if frame.timestamp >= *begin => {
                self.hand_over();
                return (Turn::Skip, true);
            }
            Some(Next {
                begin: None,
                trial: false,
                ..
            }) if frame.now < frame.due => return (Turn::Later(frame.due), false),
            _ => {}
        }
        self.given = self.given.max(Some(frame.timestamp));
        let first = std::mem::take(&mut self.fresh);
        if frame.begins_group && !first {
            self.shown = None;
        }
        let shown = self.shown.filter(|shown| frame.timestamp <= *shown);
        (Turn::Give { first, shown }, false)
    }

    fn hand_over(&mut self) {
        if let Some(next) = self.next.take() {
            self.current = Some(next.reader);
            self.fresh = true;
            self.shown = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIVEN: Turn = Turn::Give {
        first: false,
        shown: None,
    };
    const FIRST: Turn = Turn::Give {
        first: true,
        shown: None,
    };

    const fn ms(ms: u64) -> ClockTime {
        ClockTime::from_mseconds(ms)
    }

    fn frame(reader: u64, timestamp: u64, begins_group: bool, now: u64) -> Candidate {
        Candidate {
            reader,
            timestamp: ms(timestamp),
            begins_group,
            due: ms(timestamp + 50),
            now: ms(now),
            unshown_due: None,
        }
    }

    #[test]
    fn the_next_one_begins_where_the_current_one_ends() {
        let handover = Handover::default();
        handover.begin(1);
        assert_eq!(handover.turn(&frame(1, 0, true, 0)), GIVEN);
        handover.expect(2, false, false);
        assert_eq!(
            handover.turn(&frame(2, 0, true, 10)),
            Turn::Skip,
            "it was given already"
        );
        assert_eq!(handover.turn(&frame(2, 40, false, 41)), Turn::Skip);
        assert_eq!(handover.turn(&frame(1, 40, false, 41)), Turn::Later(ms(90)));
        assert_eq!(handover.turn(&frame(2, 80, true, 82)), Turn::Later(ms(130)));
        assert_eq!(handover.turn(&frame(1, 40, false, 82)), GIVEN);
        assert_eq!(handover.turn(&frame(1, 80, true, 83)), Turn::Skip);
        assert_eq!(handover.turn(&frame(2, 80, true, 83)), FIRST);
        assert_eq!(handover.turn(&frame(2, 120, false, 121)), GIVEN);
        assert_eq!(handover.turn(&frame(1, 120, false, 121)), Turn::Skip);
    }

    #[test]
    fn it_waits_no_longer_than_may_be() {
        let handover = Handover::default();
        handover.begin(1);
        handover.turn(&frame(1, 0, true, 0));
        handover.expect(2, false, false);
        assert_eq!(handover.turn(&frame(1, 40, false, 90)), GIVEN);
        assert_eq!(handover.turn(&frame(2, 80, true, 130)), FIRST);
        assert_eq!(handover.turn(&frame(1, 60, false, 131)), Turn::Skip);
    }

    #[test]
    fn who_has_ended_is_not_waited_for_and_who_is_tried_gives_nothing() {
        let handover = Handover::default();
        handover.begin(1);
        handover.turn(&frame(1, 0, true, 0));
        handover.expect(2, true, false);
        assert!(handover.is_trial(2) && !handover.is_trial(1));
        assert_eq!(handover.turn(&frame(2, 40, true, 41)), Turn::Skip);
        assert_eq!(handover.turn(&frame(1, 40, true, 41)), GIVEN);
        handover.promote();
        assert_eq!(handover.turn(&frame(2, 80, true, 81)), Turn::Later(ms(130)));
        handover.vacate(1);
        assert_eq!(handover.turn(&frame(2, 80, true, 81)), FIRST);
    }

    #[test]
    fn who_is_urgent_begins_within_a_group_and_shows_nothing_twice() {
        let handover = Handover::default();
        handover.begin(1);
        handover.turn(&frame(1, 0, true, 0));
        handover.turn(&frame(1, 40, false, 40));
        handover.expect(2, false, true);
        assert_eq!(handover.shown(2), Some(ms(40)));
        let key = |now, unshown_due: Option<u64>| Candidate {
            unshown_due: unshown_due.map(ms),
            ..frame(2, 0, true, now)
        };
        assert_eq!(handover.turn(&key(100, None)), Turn::Later(ms(600)));
        assert_eq!(handover.turn(&key(110, Some(130))), Turn::Later(ms(130)));
        let unseen = |first| Turn::Give {
            first,
            shown: Some(ms(40)),
        };
        assert_eq!(handover.turn(&key(130, Some(130))), unseen(true));
        assert_eq!(handover.turn(&frame(1, 80, false, 131)), Turn::Skip);
        assert_eq!(handover.turn(&frame(2, 40, false, 131)), unseen(false));
        assert_eq!(handover.turn(&frame(2, 80, false, 131)), GIVEN);
        assert_eq!(handover.turn(&frame(2, 120, true, 131)), GIVEN);
        assert_eq!(handover.shown(2), None);
    }
}
