// SPDX-License-Identifier: MIT
//! Playing behind the live edge: where it begins, and which group of a track that is.
//!
//! Groups have numbers of their own in each track, so what is common to all tracks is their timestamps.

use gst::ClockTime;

/// Nearer to the live edge than this is live.
pub const MIN_DISTANCE: ClockTime = ClockTime::from_mseconds(500);
/// What was expected is played on with if the distance that was kept says the same within this.
const MAX_RESUME_ERROR: ClockTime = ClockTime::from_seconds(2);
/// After so many looks the oldest group that is known must do.
const MAX_LOOKS: u32 = 64;

/// Where playing is to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// So much before the live edge.
    Behind(ClockTime),
    /// At this timestamp.
    At(ClockTime),
    /// At this timestamp, which was so much before the live edge; by that alone if the publisher has begun
    /// other timestamps meanwhile.
    Resume(ClockTime, ClockTime),
}

impl Wish {
    /// The timestamp to begin with, now that `live` is the newest; `None` is the live edge.
    pub fn begin(self, live: ClockTime) -> Option<ClockTime> {
        let begin = self.target(live);
        (begin.saturating_add(MIN_DISTANCE) <= live).then_some(begin)
    }

    /// The timestamp to begin with, where `newest` is the newest of what there is.
    pub fn target(self, newest: ClockTime) -> ClockTime {
        let live = newest;
        match self {
            Self::Behind(distance) => live.saturating_sub(distance),
            Self::At(timestamp) => timestamp,
            Self::Resume(timestamp, distance) => {
                let kept = live.saturating_sub(distance);
                // A pause has added to the distance.
                let is_same = timestamp <= kept + MAX_RESUME_ERROR && timestamp < live;
                if is_same { timestamp } else { kept }
            }
        }
    }
}

/// What is to be done next to find a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The first timestamp of this group is to be looked at, see [`GroupSearch::saw`].
    Look(u64),
    /// Playing begins with this group.
    Begin(u64),
}

/// Looks for the group of one track in which a timestamp is, with few looks at groups.
///
/// If there is none so old any more, it is the oldest that there is.
#[derive(Debug)]
pub struct GroupSearch {
    /// `None` looks for the oldest.
    target: Option<ClockTime>,
    /// The newest known group that begins no later than the target.
    before: Option<(u64, ClockTime)>,
    /// The newest known number below `after` of which there is no group.
    missing: Option<u64>,
    /// The oldest known group that begins after the target, or the newest of all.
    after: (u64, ClockTime),
    newest: (u64, ClockTime),
    looks: u32,
}

impl GroupSearch {
    /// A search for the group with the timestamp `target`, or for the oldest one, in a track whose newest group
    /// has this number and first timestamp.
    pub fn new(target: Option<ClockTime>, newest: (u64, ClockTime)) -> Self {
        Self {
            target,
            before: None,
            missing: None,
            after: newest,
            newest,
            looks: 0,
        }
    }

    /// What is to be done next.
    pub fn step(&mut self) -> Step {
        if self.is_before(self.newest.1) {
            return Step::Begin(self.newest.0);
        }
        let before = self.before.map(|(sequence, _)| sequence);
        let low = before.max(self.missing);
        let least = low.map_or(0, |low| low + 1);
        let after = self.after.0;
        if least >= after || self.looks >= MAX_LOOKS {
            return Step::Begin(match before {
                Some(before) if Some(before) == low => before,
                _ => after,
            });
        }
        self.looks += 1;
        Step::Look(self.guess(least).clamp(least, after - 1))
    }

    /// The group of this number begins with this timestamp, or is not there.
    pub fn saw(&mut self, sequence: u64, begin: Option<ClockTime>) {
        match begin {
            Some(begin) if self.is_before(begin) => {
                if self.before.is_none_or(|(before, _)| before < sequence) {
                    self.before = Some((sequence, begin));
                }
            }
            Some(begin) if sequence < self.after.0 => self.after = (sequence, begin),
            Some(_) => {}
            None => self.missing = self.missing.max(Some(sequence)),
        }
    }

    /// The first timestamp of the group to begin with, once that is known.
    pub fn begin(&self) -> ClockTime {
        let before = self
            .before
            .filter(|(sequence, _)| Some(*sequence) >= self.missing);
        if self.is_before(self.newest.1) {
            return self.newest.1;
        }
        before.unwrap_or(self.after).1
    }

    /// How long one group lasts, as far as is known.
    pub fn interval(&self) -> Option<ClockTime> {
        let (sequence, begin) = self.before.unwrap_or(self.after);
        let groups = self
            .newest
            .0
            .checked_sub(sequence)
            .filter(|groups| *groups > 0)?;
        let span = self.newest.1.checked_sub(begin)?;
        Some(span / groups).filter(|interval| !interval.is_zero())
    }

    fn is_before(&self, begin: ClockTime) -> bool {
        self.target.is_some_and(|target| begin <= target)
    }

    /// Which group may be the one, as if all were as long as those that are known.
    fn guess(&self, least: u64) -> u64 {
        let (after, begin) = self.after;
        let target = self.target.unwrap_or_default();
        let groups = |span: ClockTime, interval: ClockTime| {
            // Rather one too old: it ends the search beside the one after it.
            span.nseconds().div_ceil(interval.nseconds().max(1))
        };
        if let Some((before, first)) = self.before {
            let interval = begin.saturating_sub(first) / (after - before).max(1);
            let ahead = target.saturating_sub(first).nseconds() / interval.nseconds().max(1);
            // Times that do not grow evenly are halved now and then.
            return match self.looks % 4 {
                0 => least + (after - least) / 2,
                _ => before.saturating_add(ahead),
            };
        }
        if self.missing.is_some() {
            return least + (after - least) / 2;
        }
        match self.interval() {
            Some(interval) => after.saturating_sub(groups(begin.saturating_sub(target), interval)),
            // The one before it tells how long a group is.
            None => after - 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> ClockTime {
        ClockTime::from_mseconds(ms)
    }

    /// The group that is found, and after how many looks, in a track whose group `n` begins at `begin(n)`.
    fn find(target: Option<u64>, newest: u64, begin: impl Fn(u64) -> Option<u64>) -> (u64, u32) {
        let first = ms(begin(newest).expect("the newest is there"));
        let mut search = GroupSearch::new(target.map(ms), (newest, first));
        for looks in 0.. {
            match search.step() {
                Step::Begin(group) => {
                    assert_eq!(Some(search.begin()), begin(group).map(ms));
                    return (group, looks);
                }
                Step::Look(group) => search.saw(group, begin(group).map(ms)),
            }
        }
        unreachable!()
    }

    #[test]
    fn a_group_among_even_ones_is_found_with_few_looks() {
        for (interval, newest) in [(500_u64, 100_u64), (100, 5000), (2000, 20), (20, 100_000)] {
            for back in [0, 1, 7, 8000, 12_345] {
                let end = newest * interval;
                let target = end.saturating_sub(back);
                let (group, looks) = find(Some(target), newest, |n| Some(n * interval));
                assert_eq!(group, target / interval);
                assert!(looks <= 4, "{looks} looks for {back} of {interval}");
            }
        }
    }

    #[test]
    fn uneven_groups_are_found_too() {
        // Each second group lasts 30 times as long.
        let begin = |n: u64| Some(n / 2 * 3100 + n % 2 * 100);
        for target in [0, 99, 100, 3099, 3100, 40_000, 123_456] {
            let (group, looks) = find(Some(target), 200, begin);
            let next = begin(group + 1).expect("there is one");
            assert!(
                begin(group) <= Some(target) && target < next,
                "{target}: {group}"
            );
            assert!(looks <= 20, "{looks}");
        }
    }

    #[test]
    fn what_is_not_kept_any_more_begins_with_the_oldest() {
        let kept = |n: u64| (n >= 63).then_some(n * 500);
        assert_eq!(find(Some(1000), 100, kept).0, 63);
        assert_eq!(find(None, 100, kept).0, 63);
        assert_eq!(find(None, 100, |n| Some(n * 500)).0, 0);
        assert!(find(None, 100_000, kept).1 <= 20);
        assert_eq!(find(Some(7), 63, kept), (63, 1), "there is but one");
    }

    #[test]
    fn a_search_ends_whatever_the_timestamps_are() {
        let mut wild = GroupSearch::new(Some(ms(5)), (u64::MAX, ms(u64::MAX / 1_000_000)));
        let mut looks = 0;
        while let Step::Look(group) = wild.step() {
            wild.saw(group, (group % 3 > 0).then(|| ms(group % 7)));
            looks += 1;
        }
        assert!(looks <= MAX_LOOKS);
    }

    #[test]
    fn what_is_near_the_live_edge_is_live() {
        let live = ms(60_000);
        assert_eq!(Wish::Behind(ms(8000)).begin(live), Some(ms(52_000)));
        assert_eq!(Wish::Behind(ms(499)).begin(live), None);
        assert_eq!(Wish::Behind(ms(4_000_000)).begin(live), Some(ms(0)));
        assert_eq!(Wish::At(ms(59_500)).begin(live), Some(ms(59_500)));
        assert_eq!(Wish::At(ms(59_501)).begin(live), None);
        assert_eq!(Wish::At(ClockTime::MAX).begin(live), None);
    }

    #[test]
    fn it_goes_on_where_it_was_unless_the_timestamps_are_others() {
        let wish = Wish::Resume(ms(52_000), ms(8000));
        assert_eq!(wish.begin(ms(60_500)), Some(ms(52_000)));
        assert_eq!(wish.begin(ms(90_000)), Some(ms(52_000)), "after a pause");
        assert_eq!(wish.begin(ms(9000)), Some(ms(1000)), "they began anew");
    }
}
