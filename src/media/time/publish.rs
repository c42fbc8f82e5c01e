// SPDX-License-Identifier: MIT
//! Running time to MoQ time, on one timeline for all pads of a broadcast.

mod continuity;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use super::nanos::clock_time;

pub use self::continuity::{Continuity, Judgement, Sample};

/// How late (ns) a file may start before MoQ time is moved on to the clock.
const MAX_LATE: i64 = 100_000_000;

/// How far (ns) behind the newest frame one may be that only follows it in decode order.
const MAX_REORDER: i64 = 1_000_000_000;

/// Live input that begins further (ns) ahead of the clock has times of another clock.
const MAX_EARLY: i64 = 60_000_000_000;

/// A clock that shows more than this (ns, ten years) when the pipeline begins to play at base time 0
/// counts from 1900 or 1970, as those of PTP and NTP do, and not from the start of a host. MoQ time is
/// counted from the run then: the catalog cannot tell the time of day of a zero before 1970.
const MIN_WALL_CLOCK: i64 = 315_360_000_000_000_000;
/// Where MoQ time begins then: what was captured just before the run has a time all the same.
const WALL_CLOCK_LEAD: i64 = 1_000_000_000;

/// Pads that are resynced by nearly the same (ns) are resynced together.
const MAX_RESYNC_DIFFERENCE: i64 = 500_000_000;

/// The offsets of so many earlier generations are kept for pads that have not restarted yet.
const MAX_PAST: usize = 8;

/// The timeline of a run: MoQ time is the clock's time since the run first played, plus an offset.
///
/// All times are in ns and saturate. Within a generation the offset only grows, so that groups never
/// rewind: it is moved on when a file starts late, and where frames come before time zero. A flush, a
/// seek or a new stream that restarts running time, and a resync open another
/// generation, whose offset continues what was published. A pause needs no offset, because it moves
/// the base time.
#[derive(Debug, Default)]
pub struct PublishTimeline {
    /// The clock's time at MoQ time 0.
    timestamp_base: Option<i64>,
    offset: i64,
    /// Counts the restarts of running time.
    generation: u64,
    /// The offsets of the generations before, the newest last.
    past: VecDeque<(u64, i64)>,
}

/// Where a pad's stream stands on the timeline, from one restart to the next.
///
/// Pads that have not restarted yet keep the offset that their running times belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Anchor {
    generation: u64,
    /// The offset of its generation when it was made.
    offset: i64,
}

/// The first frame of a stream.
#[derive(Debug, Clone, Copy)]
pub struct Arrival {
    /// The base time plus the frame's running time.
    pub due: i64,
    /// The clock's time.
    pub now: i64,
    /// Whether the stream follows the clock by itself.
    pub live: bool,
    /// Whether it has frames only now and then, which are no later for it.
    pub sparse: bool,
    /// It is not to be presented, others refer to it: it may not come before what was published.
    pub lead: bool,
    /// The newest MoQ time that this pad has published.
    pub published: Option<i64>,
    /// What came before it.
    pub before: Before,
}

/// How a stream stood before its first frame.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Before {
    /// It is the pad's first one.
    #[default]
    Nothing,
    /// Another segment, whose running time this one may continue.
    Segment(Anchor),
    /// A flush or the end of another stream.
    Restart(Anchor),
}

impl PublishTimeline {
    /// The pipeline plays, by a clock that shows `now`; only the first call of a run counts.
    pub fn start(&mut self, base_time: i64, now: i64) {
        self.timestamp_base
            .get_or_insert(match now.saturating_sub(base_time) > MIN_WALL_CLOCK {
                true => now.saturating_sub(WALL_CLOCK_LEAD),
                false => base_time,
            });
    }

    /// Places a stream by its first frame after a start, a flush, or a new segment.
    pub fn anchor(&mut self, arrival: Arrival) -> Anchor {
        let anchor = self.generation_of(arrival);
        // What comes first may lie before time zero, or before what was published.
        let newest = arrival.published.filter(|_| arrival.lead).unwrap_or(0);
        let place = self.place(arrival.due, self.offset(anchor));
        let missing = newest.saturating_sub(place);
        if missing > 0 && anchor.generation == self.generation {
            self.offset = self.offset.saturating_add(missing);
        }
        self.anchor_of(anchor.generation)
    }

    fn generation_of(&mut self, arrival: Arrival) -> Anchor {
        let Arrival {
            due,
            now,
            live,
            sparse,
            published,
            before,
            ..
        } = arrival;
        let paced = !live && !sparse;
        let is_late =
            |offset: i64| paced && due.saturating_add(offset).saturating_add(MAX_LATE) < now;
        let is_early =
            |offset: i64| live && due.saturating_add(offset) > now.saturating_add(MAX_EARLY);
        if let Before::Segment(anchor) = before {
            let offset = self.offset(anchor);
            let place = self.place(due, offset).saturating_add(MAX_REORDER);
            let goes_on = published.is_none_or(|newest| place >= newest);
            if goes_on && !is_late(offset) && !is_early(offset) {
                return anchor;
            }
        }
        let is_new = before == Before::Nothing && published.is_none();
        if let Some(fitting) = self.fitting(due, now).filter(|_| live && is_new) {
            return fitting;
        }
        let restarted = published.is_some_and(|newest| self.place(due, self.offset) < newest);
        let early = is_early(self.offset);
        // The first pad that restarts opens a generation, the others of the restart join it.
        let opens = match before {
            Before::Nothing => true,
            Before::Segment(anchor) | Before::Restart(anchor) => {
                anchor.generation == self.generation
            }
        };
        let target = now.max(
            self.timestamp_base()
                .saturating_add(published.unwrap_or_default()),
        );
        let offset = target.saturating_sub(due);
        if (restarted || early) && opens {
            let grown = if early {
                offset
            } else {
                self.offset.max(offset)
            };
            self.open(grown);
        } else if restarted || is_late(self.offset) {
            self.offset = self.offset.max(offset);
        }
        self.anchor_of(self.generation)
    }

    /// The newest generation whose times are those of the clock, for a live pad that comes later.
    fn fitting(&self, due: i64, now: i64) -> Option<Anchor> {
        let past = self.past.iter().rev().map(|(generation, _)| *generation);
        std::iter::once(self.generation)
            .chain(past)
            .map(|generation| self.anchor_of(generation))
            .find(|anchor| {
                let at = due.saturating_add(self.offset(*anchor));
                at.saturating_sub(now).saturating_abs() <= MAX_EARLY
            })
    }

    /// Resyncs a stream: added to its times, `shift` continues what was published.
    ///
    /// Pads that are resynced by the same get the same offset, and stay together.
    pub fn resync(&mut self, anchor: Anchor, shift: i64) -> Anchor {
        let offset = self.offset(anchor).saturating_add(shift);
        let joins = anchor.generation != self.generation
            && self.offset.saturating_sub(offset).saturating_abs() <= MAX_RESYNC_DIFFERENCE;
        if !joins {
            self.open(offset);
        }
        self.anchor_of(self.generation)
    }

    /// By how much another pad was resynced lately, which this one may be, too.
    pub fn resync_of_others(&self, anchor: Anchor) -> Option<i64> {
        (anchor.generation != self.generation)
            .then(|| self.offset.saturating_sub(self.offset(anchor)))
    }

    /// How far the stream is moved on: added to `due`, it is when the frame is due by the clock.
    pub fn offset(&self, anchor: Anchor) -> i64 {
        if anchor.generation == self.generation {
            return self.offset;
        }
        let mut past = self.past.iter();
        past.find(|(generation, _)| *generation == anchor.generation)
            .map_or(anchor.offset, |(_, offset)| *offset)
    }

    /// The MoQ time of a frame that is due at base time plus running time; what lies before zero is
    /// published at zero.
    pub fn stamp(&self, anchor: Anchor, due: i64) -> gst::ClockTime {
        clock_time(self.place(due, self.offset(anchor)))
    }

    /// MoQ time at the clock's time `now`.
    pub fn elapsed(&self, now: i64) -> i64 {
        now.saturating_sub(self.timestamp_base())
    }

    /// The pipeline has another clock, whose time is `now` at MoQ time `elapsed`.
    pub fn rebase(&mut self, now: i64, elapsed: i64) {
        self.timestamp_base = Some(now.saturating_sub(elapsed));
    }

    fn open(&mut self, offset: i64) {
        self.past.push_back((self.generation, self.offset));
        if self.past.len() > MAX_PAST {
            self.past.pop_front();
        }
        self.generation += 1;
        self.offset = offset;
    }

    fn anchor_of(&self, generation: u64) -> Anchor {
        let anchor = Anchor {
            generation,
            offset: self.offset,
        };
        Anchor {
            offset: self.offset(anchor),
            ..anchor
        }
    }

    fn place(&self, due: i64, offset: i64) -> i64 {
        due.saturating_sub(self.timestamp_base())
            .saturating_add(offset)
    }

    fn timestamp_base(&self) -> i64 {
        self.timestamp_base.unwrap_or_default()
    }
}
