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
}

#[derive(Debug)]
struct Next {
    reader: u64,
    /// It is only tried whether it comes in time.
    trial: bool,
    /// The timestamp with which it will begin.
    begin: Option<ClockTime>,
}

/// What becomes of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// It is given now.
    Now,
    /// The same, and it is the first one of a track that follows another.
    First,
    /// It is judged again at this running time, or when something changes.
    Later(ClockTime),
    /// Another reader gives what is shown at its time.
    Skip,
}

/// A frame that is to be judged.
#[derive(Debug, Clone, Copy)]
pub(super) struct Candidate {
    /// Who has read it.
    pub(super) reader: u64,
    pub(super) timestamp: ClockTime,
    pub(super) begins_group: bool,
    /// Until when it may be held, in running time.
    pub(super) due: ClockTime,
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
    pub(crate) fn expect(&self, reader: u64, trial: bool) {
        self.state().next = Some(Next {
            reader,
            trial,
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
            if next.trial || !frame.begins_group || !follows {
                return (Turn::Skip, false);
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
        match std::mem::take(&mut self.fresh) {
            true => (Turn::First, false),
            false => (Turn::Now, false),
        }
    }

    fn hand_over(&mut self) {
        if let Some(next) = self.next.take() {
            self.current = Some(next.reader);
            self.fresh = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        }
    }

    #[test]
    fn the_next_one_begins_where_the_current_one_ends() {
        let handover = Handover::default();
        handover.begin(1);
        assert_eq!(handover.turn(&frame(1, 0, true, 0)), Turn::Now);
        handover.expect(2, false);
        assert_eq!(
            handover.turn(&frame(2, 0, true, 10)),
            Turn::Skip,
            "it was given already"
        );
        assert_eq!(handover.turn(&frame(2, 40, false, 41)), Turn::Skip);
        assert_eq!(handover.turn(&frame(1, 40, false, 41)), Turn::Later(ms(90)));
        assert_eq!(handover.turn(&frame(2, 80, true, 82)), Turn::Later(ms(130)));
        assert_eq!(handover.turn(&frame(1, 40, false, 82)), Turn::Now);
        assert_eq!(handover.turn(&frame(1, 80, true, 83)), Turn::Skip);
        assert_eq!(handover.turn(&frame(2, 80, true, 83)), Turn::First);
        assert_eq!(handover.turn(&frame(2, 120, false, 121)), Turn::Now);
        assert_eq!(handover.turn(&frame(1, 120, false, 121)), Turn::Skip);
    }

    #[test]
    fn it_waits_no_longer_than_may_be() {
        let handover = Handover::default();
        handover.begin(1);
        handover.turn(&frame(1, 0, true, 0));
        handover.expect(2, false);
        assert_eq!(handover.turn(&frame(1, 40, false, 90)), Turn::Now);
        assert_eq!(handover.turn(&frame(2, 80, true, 130)), Turn::First);
        assert_eq!(handover.turn(&frame(1, 60, false, 131)), Turn::Skip);
    }

    #[test]
    fn who_has_ended_is_not_waited_for_and_who_is_tried_gives_nothing() {
        let handover = Handover::default();
        handover.begin(1);
        handover.turn(&frame(1, 0, true, 0));
        handover.expect(2, true);
        assert!(handover.is_trial(2) && !handover.is_trial(1));
        assert_eq!(handover.turn(&frame(2, 40, true, 41)), Turn::Skip);
        assert_eq!(handover.turn(&frame(1, 40, true, 41)), Turn::Now);
        handover.promote();
        assert_eq!(handover.turn(&frame(2, 80, true, 81)), Turn::Later(ms(130)));
        handover.vacate(1);
        assert_eq!(handover.turn(&frame(2, 80, true, 81)), Turn::First);
    }
}
