// SPDX-License-Identifier: MIT
//! The bit rates of the pads, by what the paths of the sessions carry.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use gst::glib;
use tokio::time::Instant;

use super::super::{
    CAT, MoqSinkPad,
    message::PadId,
    rate_control::{RateControl, RateSettings},
};
use crate::{
    media::{
        control::{
            path::{Condition, Counts, Path},
            rate::{Limits, Rate},
            share::{Policy, Rung, climb, next_rung, split},
        },
        format::codec::Kind,
    },
    net::stats::Sessions,
};

/// A session's counters are as old as this when they are counted anew.
const COUNTS_AGE: Duration = Duration::from_millis(95);
/// How often they are looked at until they are: what was given has to be of the same moment.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);
/// How often they are where nothing is sent.
const IDLE_INTERVAL: Duration = Duration::from_millis(50);
/// What a pad of a fixed rate sends is averaged over about this time.
const AVERAGE: Duration = Duration::from_secs(2);
/// With more than this in the transport, and than `max-age`, video begins anew: it would come when nobody
/// wants it any more.
const MAX_BACKLOG: Duration = Duration::from_millis(400);
/// How soon after that it may again.
const CUT_INTERVAL: Duration = Duration::from_secs(2);
/// How soon a rendition that rests is tried again, and how long it has to last.
const TRIAL_PAUSE: Duration = Duration::from_secs(5);
/// The longest pause after failures.
const MAX_TRIAL_PAUSE: Duration = Duration::from_secs(120);
/// A change of the rate by less is not worth an encoder's while, in parts of it.
const MIN_CHANGE: f64 = 0.02;

/// Controls the rates of the pads for the length of a run.
pub(super) struct Rates {
    settings: RateSettings,
    sessions: BTreeMap<u64, SessionRate>,
    due: Instant,
    fixed: BTreeMap<PadId, FixedRate>,
    /// What was handed on last.
    told: Vec<(PadId, u64)>,
    lacks_shares: bool,
    /// Pads that rest because smaller renditions of their pictures need all that there is.
    crowded_out: BTreeSet<PadId>,
    trials: Trials,
    /// When video was begun anew.
    cut: Option<Instant>,
}

/// When a rendition that rests is tried again.
struct Trials {
    /// All renditions together would get this with the next one, in bits per second.
    need: Option<u64>,
    due: Instant,
    /// How long after a failure.
    pause: Duration,
    /// When the last one began.
    begun: Option<Instant>,
}

/// What fits one session.
struct SessionRate {
    path: Path,
    rate: Rate,
    counts: Option<Counts>,
    /// When they were counted, as far as one can see.
    counted: Instant,
    /// When they are looked at next.
    due: Instant,
    /// Whether it takes media.
    active: bool,
    /// What waits in its transport, in time.
    backlog: Duration,
}

/// What a pad sends whose rate is not controlled.
struct FixedRate {
    at: Instant,
    bytes: u64,
    /// In bits per second.
    rate: f64,
}

/// A pad as the rate control sees it.
pub(super) struct RatedPad {
    pub(super) id: PadId,
    pub(super) pad: glib::WeakRef<MoqSinkPad>,
    pub(super) kind: Kind,
    /// Of the rate that video shares out.
    pub(super) share: f64,
    /// The picture of which it is one of several renditions.
    pub(super) group: Option<String>,
    /// How many pixels it has.
    pub(super) area: u64,
    /// What it has published.
    pub(super) bytes: u64,
}

/// The bit rates that pads are to have.
pub(crate) struct Bitrates {
    /// All of them in bits per second.
    pub(crate) total: u64,
    pub(crate) pads: Vec<(glib::WeakRef<MoqSinkPad>, u64)>,
    /// Whether encoders are set.
    pub(crate) drives: bool,
    /// The shares of all pads are 0, which nobody has been told of.
    pub(crate) lacks_shares: bool,
}

impl Rates {
    pub(super) fn new(settings: RateSettings) -> Self {
        Self {
            settings,
            sessions: BTreeMap::new(),
            due: Instant::now(),
            fixed: BTreeMap::new(),
            told: Vec::new(),
            lacks_shares: false,
            crowded_out: BTreeSet::new(),
            trials: Trials::new(Instant::now()),
            cut: None,
        }
    }

    pub(super) fn set(&mut self, settings: RateSettings) {
        self.settings = settings;
        if settings.control == RateControl::None {
            // What was known is of the past when it is wanted again.
            *self = Self::new(settings);
            return;
        }
        for session in self.sessions.values_mut() {
            session.rate.set_limits(settings.limits());
        }
        self.told.clear();
        self.due = Instant::now();
    }

    /// When [`Self::update`] has something to do; `None` without rate control.
    pub(super) fn wake(&self) -> Option<Instant> {
        (self.settings.control != RateControl::None).then_some(self.due)
    }

    /// Takes in what the `sessions` have counted by `now`; the rates of `pads` where they have changed.
    pub(super) fn update(
        &mut self,
        now: Instant,
        sessions: &Sessions,
        pads: Vec<RatedPad>,
    ) -> Option<Bitrates> {
        self.measure_fixed(now, &pads);
        let limits = self.settings.limits();
        let ids = sessions.ids();
        self.sessions.retain(|id, _| ids.contains(id));
        for id in ids {
            let session = self.sessions.entry(id);
            let session = session.or_insert_with(|| SessionRate::new(now, limits));
            if now >= session.due {
                session.update(now, id, sessions.counts(id), self.trials.rate(now));
            }
        }
        let due = self.sessions.values().map(|session| session.due).min();
        self.due = due.unwrap_or(now + COUNTS_AGE);
        let active = self.sessions.values().filter(|session| session.active);
        let rates = active.map(|session| session.rate.target()).collect();
        // Before anybody watches, what the first one begins with.
        let policy = Policy::from(self.settings.policy);
        let total = policy.pick(rates).unwrap_or(limits.start);
        self.share_out(now, total, pads)
    }

    fn share_out(&mut self, now: Instant, total: u64, pads: Vec<RatedPad>) -> Option<Bitrates> {
        let fixed: f64 = self.fixed.values().map(|fixed| fixed.rate).sum();
        let mut video: Vec<RatedPad> = pads
            .into_iter()
            .filter(|pad| pad.kind == Kind::Video)
            .collect();
        // Renditions of one picture stand beside each other, the smallest first.
        video.sort_by(|a, b| (&a.group, a.area, a.id).cmp(&(&b.group, b.area, b.id)));
        let shares: Vec<f64> = video.iter().map(|pad| pad.share).collect();
        let parts = split(total, fixed as u64, &shares);
        let full = split(self.settings.limits().max, fixed as u64, &shares);
        let (rates, crowded_out, need) = self.climb_pictures(&video, &parts, &full);
        let need = need.map(|part| fixed + part * (total as f64 - fixed).max(1.0));
        self.trials
            .note(now, self.crowded_out.len(), crowded_out.len(), need);
        self.crowded_out = crowded_out;
        let new: Vec<(PadId, u64)> = std::iter::zip(&video, &rates)
            .map(|(pad, rate)| (pad.id, *rate))
            .collect();
        let same = new.len() == self.told.len()
            && std::iter::zip(&new, &self.told).all(|((id, new), (told_id, told))| {
                id == told_id && new.abs_diff(*told) as f64 <= MIN_CHANGE * *told as f64
            });
        if same {
            return None;
        }
        self.told = new;
        let shared = shares.is_empty() || shares.iter().any(|share| *share > 0.0);
        let lacked = std::mem::replace(&mut self.lacks_shares, !shared);
        let pads = video.into_iter().map(|pad| pad.pad);
        Some(Bitrates {
            total: rates.iter().sum(),
            pads: pads.zip(rates).collect(),
            drives: self.settings.control == RateControl::Encoder,
            lacks_shares: !shared && !lacked,
        })
    }

    /// Gives what all renditions of a picture get to the small ones first: the rates of all pads, those
    /// that are to rest, which get 0, and how many times as much is needed for the next of these.
    fn climb_pictures(
        &self,
        video: &[RatedPad],
        parts: &[u64],
        full: &[u64],
    ) -> (Vec<u64>, BTreeSet<PadId>, Option<f64>) {
        let mut crowded_out = BTreeSet::new();
        let mut rates = Vec::with_capacity(video.len());
        let mut need: Option<f64> = None;
        let same = |a: &RatedPad, b: &RatedPad| a.group.is_some() && a.group == b.group;
        for picture in video.chunk_by(same) {
            let range = rates.len()..rates.len() + picture.len();
            let total: u64 = parts[range.clone()].iter().sum();
            let rungs = std::iter::zip(picture, &full[range]).map(|(pad, full)| Rung {
                full: *full,
                rests: self.crowded_out.contains(&pad.id),
            });
            let mut rungs: Vec<Rung> = rungs.collect();
            let climbed = climb(total, &rungs);
            for ((pad, rung), rate) in picture.iter().zip(&mut rungs).zip(climbed) {
                rung.rests = rate.is_none();
                if rung.rests {
                    crowded_out.insert(pad.id);
                }
                rates.push(rate.unwrap_or_default());
            }
            if let Some(next) = next_rung(&rungs) {
                let times = next as f64 / total.max(1) as f64;
                need = Some(need.map_or(times, |least| least.min(times)));
            }
        }
        (rates, crowded_out, need)
    }

    /// Whether so much waits for the only session that live video is to begin anew, which may be late by
    /// `max_age`, without a limit if that is zero; then it counts as done.
    ///
    /// Others would lose what they have no trouble with.
    pub(super) fn take_cut(&mut self, now: Instant, max_age: Duration) -> bool {
        let recent = |at: Instant| now.saturating_duration_since(at) < CUT_INTERVAL;
        if max_age.is_zero() || self.sessions.len() != 1 || self.cut.is_some_and(recent) {
            return false;
        }
        let mut sessions = self.sessions.values_mut();
        let cut = sessions.any(|session| session.take_back(max_age));
        self.cut = cut.then_some(now).or(self.cut);
        cut
    }

    /// The pads for whose renditions there is no room.
    pub(super) fn crowded_out(&self) -> &BTreeSet<PadId> {
        &self.crowded_out
    }

    /// What audio, text and data send, of which nothing is taken away.
    fn measure_fixed(&mut self, now: Instant, pads: &[RatedPad]) {
        let fixed: Vec<_> = pads.iter().filter(|pad| pad.kind != Kind::Video).collect();
        self.fixed
            .retain(|id, _| fixed.iter().any(|pad| pad.id == *id));
        for pad in fixed {
            let measured = self.fixed.entry(pad.id).or_insert_with(|| FixedRate {
                at: now,
                bytes: pad.bytes,
                rate: 0.0,
            });
            measured.update(now, pad.bytes);
        }
    }
}

impl SessionRate {
    fn new(now: Instant, limits: Limits) -> Self {
        Self {
            path: Path::new(),
            rate: Rate::new(limits),
            counts: None,
            counted: now,
            due: now,
            active: false,
            backlog: Duration::ZERO,
        }
    }

    /// Counts on what waits in the transport being taken back, if that is too much.
    fn take_back(&mut self, max_age: Duration) -> bool {
        let too_much = self.backlog >= MAX_BACKLOG.max(max_age);
        if too_much {
            self.path.take_back();
            self.backlog = Duration::ZERO;
        }
        too_much
    }

    fn update(&mut self, now: Instant, id: u64, counts: Option<Counts>, trial: Option<u64>) {
        let transport = |counts: Counts| (counts.sent, counts.rtt);
        if self.counts.map(transport) == counts.map(transport) {
            let waited = now.saturating_duration_since(self.counted) >= 2 * COUNTS_AGE;
            self.due = now + if waited { IDLE_INTERVAL } else { LOOK_INTERVAL };
            return;
        }
        (self.counts, self.counted, self.due) = (counts, now, now + COUNTS_AGE);
        let Some(condition) = counts.and_then(|counts| self.path.update(now.into_std(), counts))
        else {
            return;
        };
        self.active = condition.offered > 0.0;
        self.backlog = condition.backlog;
        self.rate.update(now.into_std(), &condition, trial);
        trace(id, &condition, self.rate.target());
    }
}

impl Trials {
    fn new(now: Instant) -> Self {
        Self {
            need: None,
            due: now + TRIAL_PAUSE,
            pause: TRIAL_PAUSE,
            begun: None,
        }
    }

    /// Up to which rate may be grown for the next trial.
    fn rate(&self, now: Instant) -> Option<u64> {
        self.need.filter(|_| now >= self.due)
    }

    /// Takes in how many renditions rested and rest now, and what the next one needs.
    fn note(&mut self, now: Instant, before: usize, rest: usize, need: Option<f64>) {
        self.need = need.map(|rate| rate.ceil() as u64);
        let lasted = self.begun.map(|at| now.saturating_duration_since(at));
        if rest > before {
            self.pause = match lasted {
                Some(lasted) if lasted < TRIAL_PAUSE => (2 * self.pause).min(MAX_TRIAL_PAUSE),
                _ => TRIAL_PAUSE,
            };
            (self.begun, self.due) = (None, now + self.pause);
        } else if rest < before {
            (self.begun, self.due) = (Some(now), now + TRIAL_PAUSE);
        }
    }
}

impl FixedRate {
    fn update(&mut self, now: Instant, bytes: u64) {
        let time = now.saturating_duration_since(self.at).as_secs_f64();
        if time <= 0.0 {
            return;
        }
        let rate = bytes.saturating_sub(self.bytes) as f64 * 8.0 / time;
        let weight = (time / AVERAGE.as_secs_f64()).min(1.0);
        self.rate += (rate - self.rate) * weight;
        (self.at, self.bytes) = (now, bytes);
    }
}

fn trace(session: u64, path: &Condition, target: u64) {
    gst::log!(
        CAT,
        "Session {session}: target {target} bit/s, offered {:.0}, carried {:.0}, capacity {:?}, delay {:?}, backlog {:?}, standing {:?}, building {:?}",
        path.offered,
        path.carried,
        path.capacity.map(|capacity| capacity as u64),
        path.delay,
        path.backlog,
        path.standing,
        path.building,
    );
}
