// SPDX-License-Identifier: MIT
//! Which of several renditions of one picture a path carries: by how late the media come, and by trials.
//!
//! A receiver has no estimate of the bandwidth. It goes down when media come later than they play, and up
//! after it has read the next better rendition beside the current one, at a lower priority, for a while.

use std::{collections::VecDeque, time::Duration};

/// Media that come later than this part of the latency will soon come too late, but jitter of this much is none.
const LATE_PARTS: (u32, u32) = (3, 4);
const MIN_LATE: Duration = Duration::from_millis(80);
/// How long they come late until that is no jitter.
const LATE_INTERVAL: Duration = Duration::from_millis(100);
/// They will be later than that soon if they are behind by this part of the latency, and get later by more than this
/// part of the time for so long, while some still come.
const SOON_PARTS: u32 = 2;
const GROWTH_PARTS: u32 = 2;
const GROWTH_INTERVAL: Duration = Duration::from_millis(200);
/// So many groups given up within that time are too many.
const MAX_LOST: u64 = 2;
const LOST_INTERVAL: Duration = Duration::from_secs(2);
/// Over which the rate is measured that media come in.
const RATE_INTERVAL: Duration = Duration::from_millis(400);
/// Which part of the measured rate a rendition may take.
const RATE_PARTS: (u64, u64) = (2, 3);
/// A rendition of which no frame comes for so long is left.
const SILENCE: Duration = Duration::from_millis(800);
/// How long it is not tried again, twice as long after each time.
const BAN: Duration = Duration::from_secs(10);
/// How long a step takes, until another one down may be needed.
const STEP_INTERVAL: Duration = Duration::from_millis(1500);
/// A trial lasts no longer, has kept up for so long when it succeeds, and no less long in all.
const MAX_TRIAL: Duration = Duration::from_secs(3);
const KEPT_UP: Duration = Duration::from_millis(400);
const MIN_TRIAL: Duration = Duration::from_millis(500);
/// A trial that falls back by so much, while what plays comes late for it, will not keep up.
const FALLEN_BACK: Duration = Duration::from_millis(150);
/// For so long after a trial what is still on its way of it delays what plays.
const AFTERMATH: Duration = Duration::from_millis(500);
/// A trial that did not keep up has succeeded if so much of its rate came all the same, with what plays.
const TRIAL_PARTS: (u64, u64) = (13, 10);
/// The pause before the first trial and after a success, after a step down, and the longest: each failure
/// makes it half as long again.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const FAILED_PAUSE: Duration = Duration::from_secs(5);
const MAX_PAUSE: Duration = Duration::from_secs(20);
/// A step up that is taken back within that time was a failure.
const PROBATION: Duration = Duration::from_secs(10);

/// Why a pad goes on with another rendition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// A person or an application has chosen it, or what is allowed has changed.
    Selected,
    /// The publisher has changed its format, or lists the one before no more.
    Catalog,
    /// The one before came too late.
    Slow,
    /// The one before gave no frame.
    Silent,
    /// There is room for a better one.
    Room,
}

impl Reason {
    /// The word for messages.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Selected => "selected",
            Self::Catalog => "catalog",
            Self::Slow => "slow",
            Self::Silent => "silent",
            Self::Room => "room",
        }
    }
}

/// What has come of one rendition since it is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Since when it is read.
    pub(crate) since: Duration,
    /// How far behind the live edge the newest frame is, as far as frames have come at best, beyond the time from
    /// frame to frame; none before the first one.
    pub(crate) behind: Option<Duration>,
    /// What has come, in bytes.
    pub(crate) bytes: u64,
    /// Groups that were given up.
    pub(crate) lost: u64,
}

/// How things are at a moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Situation<'a> {
    /// The present.
    pub(crate) now: Duration,
    /// How late media may come, beside those that come at best.
    pub(crate) latency: Duration,
    /// The renditions in bits per second, the best first.
    pub(crate) rates: &'a [u64],
    /// Which one plays, and what has come of it.
    pub(crate) current: usize,
    /// See `current`.
    pub(crate) progress: Progress,
    /// One that is read beside it: a trial, or what it goes over to.
    pub(crate) other: Option<(usize, Progress)>,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Nothing.
    Stay,
    /// Go over to this one.
    Switch(usize, Reason),
    /// Read this one beside the current one, at a lower priority.
    Try(usize),
    /// Go over to the one on trial.
    Promote,
    /// Read the one on trial no more.
    Abandon,
}

/// A step that is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Switch {
        down: bool,
    },
    Trial {
        kept_up_since: Option<Duration>,
        /// How far behind it was at best.
        least: Option<Duration>,
    },
}

/// The choice among the renditions of one picture.
#[derive(Debug, Default)]
pub(crate) struct Adaptation {
    late_since: Option<Duration>,
    /// How far behind it was lately, and what had come.
    delays: VecDeque<(Duration, Duration, u64)>,
    /// Groups given up, and when that was last judged.
    lost: Option<(Duration, u64)>,
    /// What has come in all, over time.
    received: VecDeque<(Duration, u64)>,
    /// What was counted of readers before.
    step: Option<Step>,
    stepped_at: Option<Duration>,
    promoted_at: Option<Duration>,
    trial_at: Option<Duration>,
    /// Until when what plays is late for a trial that has ended.
    aftermath: Option<Duration>,
    pause: Option<Duration>,
    /// Until when a rendition is not tried, and how often that was.
    bans: Vec<(Duration, u32)>,
}

impl Adaptation {
    /// The renditions are others now.
    pub(crate) fn reset(&mut self) {
        *self = Self {
            pause: self.pause,
            ..Self::default()
        };
    }

    /// Another rendition plays from now on, whoever decided it.
    pub(crate) fn switched(&mut self) {
        self.late_since = None;
        self.delays.clear();
        self.lost = None;
        self.received.clear();
        self.step = None;
    }

    /// What was decided last is not done: it is not suggested again before a pause.
    pub(crate) fn refuse(&mut self, now: Duration) {
        self.step = None;
        self.promoted_at = None;
        self.fail(now);
    }

    /// With which of these rates it begins: the best of those that most paths carry.
    pub(crate) fn first(rates: &[u64]) -> usize {
        const MOST_CARRY: u64 = 2_500_000;
        let fits = rates.iter().position(|rate| *rate <= MOST_CARRY);
        fits.unwrap_or(rates.len().saturating_sub(1))
    }

    /// What is to be done now; to be asked many times a second.
    pub(crate) fn decide(&mut self, at: &Situation<'_>) -> Decision {
        self.bans.resize(at.rates.len(), (Duration::ZERO, 0));
        if at.other.is_none() {
            self.step = None;
        }
        self.trial_at.get_or_insert(at.now + FIRST_PAUSE);
        let rate = self.rate(at);
        let lost = self.has_lost(at);
        let excused = self.aftermath.is_some_and(|until| at.now < until);
        let late = (self.is_late(at) && !excused) || lost;
        let decision = match (self.step, at.other) {
            (Some(Step::Trial { .. }), Some((to, trial))) => {
                self.judge_trial(at, lost, rate, to, &trial)
            }
            (Some(Step::Switch { down }), Some((to, progress))) => {
                self.judge_switch(at, late, rate, to, &progress, down)
            }
            _ if is_silent(at.now, &at.progress) => self.leave(at, at.current),
            _ if late => self.go_down(at, rate, at.current),
            _ => self.go_up(at),
        };
        match decision {
            Decision::Switch(..) | Decision::Promote => {
                let down = matches!(decision, Decision::Switch(_, Reason::Slow));
                self.step = Some(Step::Switch { down });
                self.stepped_at = Some(at.now);
            }
            Decision::Try(_) => {
                self.step = Some(Step::Trial {
                    kept_up_since: None,
                    least: None,
                })
            }
            Decision::Abandon => self.step = None,
            Decision::Stay => {}
        }
        decision
    }

    fn judge_trial(
        &mut self,
        at: &Situation<'_>,
        lost: bool,
        rate: Option<u64>,
        to: usize,
        trial: &Progress,
    ) -> Decision {
        let age = at.now.saturating_sub(trial.since);
        if is_silent(at.now, trial) {
            // Or nothing is left for it.
            self.fail(at.now);
            self.ban(at.now, to);
            return Decision::Abandon;
        }
        let limit = late_limit(at.latency);
        let keeps_up = trial.behind.is_some_and(|behind| behind <= limit);
        let Some(Step::Trial {
            kept_up_since,
            least,
        }) = &mut self.step
        else {
            return Decision::Abandon;
        };
        *least = (*least).into_iter().chain(trial.behind).min();
        let falls_back = trial.behind.zip(*least);
        let falls_back = falls_back.is_some_and(|(behind, least)| behind > least + FALLEN_BACK);
        let suffers = |limit| at.progress.behind.is_some_and(|behind| behind > limit);
        // A trial that begins within a group has all of it to catch up with, which delays what plays for a while.
        if lost || suffers(limit) || (falls_back && !keeps_up && suffers(MIN_LATE)) {
            self.fail(at.now);
            self.aftermath = Some(at.now + AFTERMATH);
            return Decision::Abandon;
        }
        match keeps_up && !falls_back {
            true => _ = kept_up_since.get_or_insert(at.now),
            false => *kept_up_since = None,
        }
        let kept_up = kept_up_since.is_some_and(|since| at.now.saturating_sub(since) >= KEPT_UP);
        let wanted = at.rates.get(to).copied().unwrap_or(u64::MAX);
        let enough =
            rate.is_some_and(|rate| rate >= wanted.saturating_mul(TRIAL_PARTS.0) / TRIAL_PARTS.1);
        if (kept_up && age >= MIN_TRIAL) || (age >= MAX_TRIAL && enough) {
            self.promoted_at = Some(at.now);
            self.trial_at = Some(at.now + FIRST_PAUSE);
            return Decision::Promote;
        }
        if age >= MAX_TRIAL {
            self.fail(at.now);
            return Decision::Abandon;
        }
        Decision::Stay
    }

    fn judge_switch(
        &mut self,
        at: &Situation<'_>,
        late: bool,
        rate: Option<u64>,
        to: usize,
        progress: &Progress,
        down: bool,
    ) -> Decision {
        // On a path that is full it waits for what was sent before.
        let age = at.now.saturating_sub(progress.since);
        if is_silent(at.now, progress) && (!down || age >= MAX_TRIAL) {
            return self.leave(at, to);
        }
        let limit = late_limit(at.latency);
        let lags = progress.behind.is_some_and(|behind| behind > limit);
        if late && lags {
            return self.go_down(at, rate, to.max(at.current));
        }
        Decision::Stay
    }

    /// A step down from `from`, as far as the rate demands.
    fn go_down(&mut self, at: &Situation<'_>, rate: Option<u64>, from: usize) -> Decision {
        let young = |since: &Duration| at.now.saturating_sub(*since) < STEP_INTERVAL;
        if self.stepped_at.as_ref().is_some_and(young) {
            return Decision::Stay;
        }
        let worse = || (from + 1..at.rates.len()).filter(|place| !self.is_banned(at.now, *place));
        // What came before the path changed counts no more.
        let newest = self.delays.front().zip(self.delays.back());
        let newest = newest.and_then(|((since, _, before), (now, _, bytes))| {
            per_second(*now - *since, bytes - before)
        });
        let rate = newest.into_iter().chain(rate).min();
        let most = rate.unwrap_or(u64::MAX).saturating_mul(RATE_PARTS.0) / RATE_PARTS.1;
        let Some(to) = worse()
            .find(|place| at.rates[*place] <= most)
            .or_else(|| worse().next_back())
        else {
            return Decision::Stay;
        };
        let probation = |since: Duration| at.now.saturating_sub(since) < PROBATION;
        match self.promoted_at.take().is_some_and(probation) {
            true => self.fail(at.now),
            false => {
                self.pause = None;
                self.trial_at = Some(at.now + FAILED_PAUSE);
            }
        }
        Decision::Switch(to, Reason::Slow)
    }

    fn go_up(&mut self, at: &Situation<'_>) -> Decision {
        let due = self.trial_at.is_some_and(|due| at.now >= due);
        let better = (0..at.current)
            .rev()
            .find(|place| !self.is_banned(at.now, *place));
        match better.filter(|_| due && at.progress.behind.is_some()) {
            Some(to) => Decision::Try(to),
            None => Decision::Stay,
        }
    }

    /// Leaves `from`, which gives nothing: for a worse one, else for a better one.
    fn leave(&mut self, at: &Situation<'_>, from: usize) -> Decision {
        self.ban(at.now, from);
        let worse = from + 1..at.rates.len();
        let to = worse
            .chain((0..from.min(at.rates.len())).rev())
            .find(|place| !self.is_banned(at.now, *place));
        match to {
            // It plays already.
            Some(to) if to == at.current => Decision::Abandon,
            Some(to) => Decision::Switch(to, Reason::Silent),
            None => Decision::Stay,
        }
    }

    fn is_late(&mut self, at: &Situation<'_>) -> bool {
        let limit = late_limit(at.latency);
        let soon = self.is_late_soon(at);
        let Some(behind) = at.progress.behind.filter(|behind| *behind > limit) else {
            self.late_since = None;
            return soon;
        };
        let since = *self.late_since.get_or_insert(at.now);
        soon || at.now.saturating_sub(since) >= LATE_INTERVAL || behind > 2 * limit
    }

    fn is_late_soon(&mut self, at: &Situation<'_>) -> bool {
        let Some(behind) = at.progress.behind else {
            self.delays.clear();
            return false;
        };
        let bytes = at.progress.bytes;
        self.delays.push_back((at.now, behind, bytes));
        let is_old = |(time, ..): &(Duration, Duration, u64)| {
            at.now.saturating_sub(*time) >= GROWTH_INTERVAL
        };
        while self.delays.get(1).is_some_and(is_old) {
            self.delays.pop_front();
        }
        let first = self.delays.front().filter(|first| is_old(first));
        first.is_some_and(|(since, before, bytes_before)| {
            let grown = behind.saturating_sub(*before) * GROWTH_PARTS;
            // A pause is no lack of room.
            let comes = bytes > *bytes_before;
            comes && grown > at.now - *since && behind > (at.latency / SOON_PARTS).max(MIN_LATE)
        })
    }

    fn has_lost(&mut self, at: &Situation<'_>) -> bool {
        let (since, before) = *self.lost.get_or_insert((at.now, at.progress.lost));
        let too_many = at.progress.lost >= before + MAX_LOST;
        if too_many || at.now.saturating_sub(since) > LOST_INTERVAL {
            self.lost = Some((at.now, at.progress.lost));
        }
        too_many
    }

    /// In bits per second, what came lately of all that is read.
    fn rate(&mut self, at: &Situation<'_>) -> Option<u64> {
        let other = at.other.map_or(0, |(_, progress)| progress.bytes);
        let bytes = at.progress.bytes + other;
        // A reader that has ended takes its count with it.
        if self
            .received
            .back()
            .is_some_and(|(_, before)| *before > bytes)
        {
            self.received.clear();
        }
        self.received.push_back((at.now, bytes));
        while self
            .received
            .get(1)
            .is_some_and(|(time, _)| at.now.saturating_sub(*time) >= RATE_INTERVAL)
        {
            self.received.pop_front();
        }
        let (since, before) = *self.received.front()?;
        let span = at.now.saturating_sub(since);
        (span >= RATE_INTERVAL)
            .then(|| per_second(span, bytes - before))
            .flatten()
    }

    /// A trial has failed, or what it led to was taken back.
    fn fail(&mut self, now: Duration) {
        let pause = self
            .pause
            .map_or(FAILED_PAUSE, |pause| (pause * 3 / 2).min(MAX_PAUSE));
        self.pause = Some(pause);
        self.trial_at = Some(now + pause);
    }

    fn ban(&mut self, now: Duration, place: usize) {
        if let Some((until, times)) = self.bans.get_mut(place) {
            *until = now + BAN * 2_u32.pow((*times).min(5));
            *times += 1;
        }
    }

    fn is_banned(&self, now: Duration, place: usize) -> bool {
        self.bans.get(place).is_some_and(|(until, _)| now < *until)
    }
}

fn late_limit(latency: Duration) -> Duration {
    (latency * LATE_PARTS.0 / LATE_PARTS.1).max(MIN_LATE)
}

/// So many `bytes` within `span` in bits per second.
fn per_second(span: Duration, bytes: u64) -> Option<u64> {
    let bits = u128::from(bytes) * 8 * 1_000_000;
    u64::try_from(bits.checked_div(span.as_micros())?).ok()
}

fn is_silent(now: Duration, progress: &Progress) -> bool {
    progress.behind.is_none() && now.saturating_sub(progress.since) >= SILENCE
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LATENCY: Duration = Duration::from_millis(200);
    const TICK: Duration = Duration::from_millis(50);

    /// A path that carries `capacity` bits per second: what plays first, then the other.
    struct Link {
        now: Duration,
        rates: Vec<u64>,
        current: usize,
        /// What is read: place, since, bytes, bits that wait.
        readers: Vec<(usize, Duration, u64, f64)>,
        adaptation: Adaptation,
        switch_at: Option<Duration>,
        is_trial: bool,
        silent: Option<usize>,
        /// The time that each rendition played.
        played: Vec<Duration>,
        /// When each trial began.
        trials: Vec<Duration>,
    }

    impl Link {
        fn new(rates: &[u64], current: usize) -> Self {
            Self {
                now: Duration::from_secs(100),
                rates: rates.to_vec(),
                current,
                readers: vec![(current, Duration::from_secs(100), 0, 0.0)],
                adaptation: Adaptation::default(),
                switch_at: None,
                is_trial: false,
                silent: None,
                played: vec![Duration::ZERO; rates.len()],
                trials: Vec::new(),
            }
        }

        fn progress(&self, reader: usize) -> Progress {
            let (place, since, bytes, backlog) = self.readers[reader];
            let behind = Duration::from_secs_f64(backlog / self.rates[place] as f64);
            Progress {
                since,
                behind: (self.silent != Some(place)).then_some(behind),
                bytes,
                lost: 0,
            }
        }

        fn run(&mut self, capacity: u64, duration: Duration) {
            let end = self.now + duration;
            while self.now < end {
                self.step(capacity as f64);
            }
        }

        fn step(&mut self, capacity: f64) {
            self.now += TICK;
            let mut room = capacity * TICK.as_secs_f64();
            for (place, _, bytes, backlog) in &mut self.readers {
                if self.silent == Some(*place) {
                    continue;
                }
                *backlog += self.rates[*place] as f64 * TICK.as_secs_f64();
                let carried = backlog.min(room);
                *backlog -= carried;
                room -= carried;
                *bytes += (carried / 8.0) as u64;
            }
            self.played[self.current] += TICK;
            if self.switch_at.is_some_and(|at| self.now >= at) && self.readers.len() == 2 {
                self.switch_at = None;
                self.readers.remove(0);
                self.current = self.readers[0].0;
                self.adaptation.switched();
            }
            let other = (self.readers.len() > 1).then(|| (self.readers[1].0, self.progress(1)));
            let decision = self.adaptation.decide(&Situation {
                now: self.now,
                latency: LATENCY,
                rates: &self.rates,
                current: self.current,
                progress: self.progress(0),
                other,
            });
            let reader = |place| (place, self.now, 0, 0.0);
            match decision {
                Decision::Stay => {}
                Decision::Switch(to, _) => {
                    assert!(to < self.rates.len() && to != self.current);
                    self.readers.truncate(1);
                    self.readers.insert(1, reader(to));
                    self.switch_at = Some(self.now + 10 * TICK);
                }
                Decision::Try(to) => {
                    assert!(to < self.current && other.is_none());
                    self.readers.push(reader(to));
                    self.is_trial = true;
                    self.trials.push(self.now);
                }
                Decision::Promote => {
                    assert!(self.is_trial && other.is_some());
                    self.switch_at = Some(self.now + 10 * TICK);
                }
                Decision::Abandon => {
                    assert!(other.is_some());
                    self.readers.truncate(1);
                    self.switch_at = None;
                }
            }
        }
    }

    #[test]
    fn it_climbs_to_the_best_that_fits_and_goes_down_before_it_is_a_second_late() {
        let mut link = Link::new(&[2_000_000, 800_000, 250_000], 2);
        link.run(4_000_000, Duration::from_secs(15));
        assert_eq!(link.current, 0);
        link.run(500_000, Duration::from_secs(2));
        assert_eq!(link.current, 2, "in one step");
        link.run(4_000_000, Duration::from_secs(20));
        assert_eq!(link.current, 0);
    }

    #[test]
    fn a_better_one_that_does_not_fit_is_tried_less_and_less() {
        let mut link = Link::new(&[2_000_000, 800_000], 1);
        link.run(1_200_000, Duration::from_secs(300));
        assert_eq!(link.played[0], Duration::ZERO);
        let pauses = link.trials.windows(2).map(|pair| pair[1] - pair[0]);
        let pauses: Vec<Duration> = pauses.collect();
        // A trial itself lasts up to 3 s, and the pauses are 5, 7.5, ... 20 s.
        let within = |pause: &Duration, seconds: f64| {
            (seconds..=seconds + 3.1).contains(&pause.as_secs_f64())
        };
        let expected = [5.0, 7.5, 11.25, 16.8]
            .into_iter()
            .chain(std::iter::repeat(20.0));
        for (pause, seconds) in pauses.iter().zip(expected) {
            assert!(within(pause, seconds), "{pauses:?}");
        }
        assert!(pauses.len() > 10, "{pauses:?}");
    }

    #[test]
    fn a_trial_that_falls_back_ends_soon_and_what_it_cost_is_no_reason_to_go_down() {
        let mut link = Link::new(&[2_000_000, 500_000, 150_000], 1);
        link.run(1_200_000, Duration::from_secs(3));
        let tried = |link: &Link| link.readers.len() > 1;
        while !tried(&link) {
            link.run(1_200_000, TICK);
        }
        // The rest of its group comes first.
        link.readers[1].3 = 1_000_000.0;
        // And what plays has to wait for some of it.
        link.readers[0].3 = 70_000.0;
        let begin = link.now;
        while tried(&link) {
            link.run(500_000, TICK);
        }
        let took = link.now - begin;
        assert!(took < Duration::from_millis(500), "{took:?}");
        // Some of the trial is still on its way.
        link.run(500_000, 3 * TICK);
        link.run(1_200_000, Duration::from_secs(3));
        assert_eq!(link.current, 1);
    }

    #[test]
    fn what_gives_nothing_is_left_within_a_second() {
        let mut link = Link::new(&[2_000_000, 800_000, 250_000], 1);
        link.silent = Some(1);
        link.run(4_000_000, Duration::from_secs(2));
        assert_eq!(link.current, 2);
        link.run(4_000_000, Duration::from_secs(8));
        assert_eq!(link.current, 0, "past the one that is silent");
    }

    #[test]
    fn it_begins_with_what_most_paths_carry() {
        assert_eq!(Adaptation::first(&[8_000_000, 2_000_000, 500_000]), 1);
        assert_eq!(Adaptation::first(&[8_000_000]), 0);
        assert_eq!(Adaptation::first(&[8_000_000, 4_000_000]), 1);
        assert_eq!(Adaptation::first(&[]), 0);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn on_a_path_that_stays_it_finds_its_place(
            capacity in 400_000_u64..6_000_000,
            first in 0_usize..4,
        ) {
            let rates = [3_000_000, 1_500_000, 700_000, 300_000];
            let mut link = Link::new(&rates, first);
            link.run(capacity, Duration::from_secs(60));
            // With the one before beside it while it is tried.
            let fits = |place: usize| rates[place] + rates.get(place + 1).copied().unwrap_or(0) <= capacity * 9 / 10;
            let best = (0..4).find(|place| fits(*place)).unwrap_or(3);
            prop_assert!(link.current <= best, "{} of {best}", link.current);
            let too_much = rates[link.current] > capacity * 21 / 20;
            prop_assert!(!too_much || link.current == 3 || link.readers.len() > 1, "{} at {capacity}", link.current);
        }

        #[test]
        fn no_path_makes_it_panic_or_change_all_the_time(
            path in proptest::collection::vec((0_u64..8_000_000, 1_u64..8000), 1..20),
            silent in proptest::option::of(0_usize..4),
        ) {
            let mut link = Link::new(&[3_000_000, 1_500_000, 700_000, 300_000], 2);
            link.silent = silent;
            for (capacity, millis) in path {
                link.run(capacity, Duration::from_millis(millis));
            }
        }
    }
}
