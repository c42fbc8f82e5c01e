// SPDX-License-Identifier: MIT
//! The bit rates of the pads, by what the paths of the sessions carry.

use std::{collections::BTreeMap, time::Duration};

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
            share::{Policy, split},
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
        }
    }

    pub(super) fn set(&mut self, settings: RateSettings) {
        self.settings = settings;
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
                session.update(now, id, sessions.counts(id));
            }
        }
        let due = self.sessions.values().map(|session| session.due).min();
        self.due = due.unwrap_or(now + COUNTS_AGE);
        let active = self.sessions.values().filter(|session| session.active);
        let rates = active.map(|session| session.rate.target()).collect();
        // Before anybody watches, what the first one begins with.
        let policy = Policy::from(self.settings.policy);
        let total = policy.pick(rates).unwrap_or(limits.start);
        self.share_out(total, pads)
    }

    fn share_out(&mut self, total: u64, pads: Vec<RatedPad>) -> Option<Bitrates> {
        let fixed: f64 = self.fixed.values().map(|fixed| fixed.rate).sum();
        let (video, shares): (Vec<_>, Vec<f64>) = pads
            .into_iter()
            .filter(|pad| pad.kind == Kind::Video)
            .map(|pad| ((pad.id, pad.pad), pad.share))
            .unzip();
        let parts = split(total, fixed as u64, &shares);
        let rates = std::iter::zip(&video, &parts).map(|((id, _), part)| (*id, *part));
        let rates: Vec<(PadId, u64)> = rates.collect();
        let same = rates.len() == self.told.len()
            && std::iter::zip(&rates, &self.told).all(|((id, new), (told_id, told))| {
                id == told_id && new.abs_diff(*told) as f64 <= MIN_CHANGE * *told as f64
            });
        if same {
            return None;
        }
        self.told = rates;
        let shared = shares.is_empty() || shares.iter().any(|share| *share > 0.0);
        let lacked = std::mem::replace(&mut self.lacks_shares, !shared);
        let pads = video.into_iter().map(|(_, pad)| pad);
        Some(Bitrates {
            total: parts.iter().sum(),
            pads: pads.zip(parts).collect(),
            drives: self.settings.control == RateControl::Encoder,
            lacks_shares: !shared && !lacked,
        })
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
        }
    }

    fn update(&mut self, now: Instant, id: u64, counts: Option<Counts>) {
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
        self.rate.update(now.into_std(), &condition);
        trace(id, &condition, self.rate.target());
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
        "Session {session}: target {target} bit/s, offered {:.0}, carried {:.0}, capacity {:?}, delay {:?}, standing {:?}, building {:?}",
        path.offered,
        path.carried,
        path.capacity.map(|capacity| capacity as u64),
        path.delay,
        path.standing,
        path.building,
    );
}
