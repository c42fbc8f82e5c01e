// SPDX-License-Identifier: MIT
//! Whether the pads play at the live edge or behind it, and the search for where that is.

use std::{sync::Arc, time::Duration};

use gst::ClockTime;
use moq_net::broadcast;
use tokio::{
    task::JoinSet,
    time::{Instant, timeout},
};

use super::config::Config;
use crate::{
    element::pipeline_clock::PipelineClock,
    media::time::rewind::{MIN_DISTANCE, Wish},
    source::{
        CAT,
        catalog::Entry,
        playback::Playback,
        track::{Located, locate},
    },
};

/// How long a search may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// So much may the newest timestamp differ from what was expected of it.
const MAX_LIVE_ERROR: ClockTime = ClockTime::SECOND;
/// What is played on a short way is found by this time.
const MIN_LEAD: Duration = Duration::from_millis(50);

/// Where the pads play.
#[derive(Debug, Clone, Copy)]
enum Place {
    Live,
    /// It is not known yet where that is.
    Wanted(Wish),
    /// The same, and it is looked for.
    Sought(Wish),
    /// This much of running time less timestamp.
    Past,
}

/// What a search has found.
pub(super) struct Found {
    number: u64,
    took: Duration,
    located: Option<Located>,
}

/// Where the pads are to play from now on.
pub(super) enum Start {
    Live,
    /// With this timestamp, so much later.
    Past(ClockTime, Duration),
}

/// Where the pads play of what a peer has: live, or what it keeps of the past.
pub(super) struct Rewind {
    config: Arc<Config>,
    place: Place,
    searches: JoinSet<Found>,
    /// The number of the last search; what earlier ones find is of no use.
    number: u64,
    /// What there is to seek is being found out, by the search of this number.
    measures: Option<u64>,
    /// It is to be found out when there is a track for it.
    is_asked: bool,
    /// The broadcast has ended: nothing of it is live.
    ended: bool,
}

impl Rewind {
    pub(super) fn new(config: Arc<Config>) -> Self {
        let offset = config.start_offset;
        Self {
            place: match offset.is_zero() {
                true => Place::Live,
                false => Place::Wanted(Wish::Behind(offset)),
            },
            config,
            searches: JoinSet::new(),
            number: 0,
            measures: None,
            is_asked: false,
            ended: false,
        }
    }

    /// Whether it is known where the pads play.
    pub(super) fn is_settled(&self) -> bool {
        matches!(self.place, Place::Live | Place::Past)
    }

    pub(super) fn is_past(&self) -> bool {
        matches!(self.place, Place::Past)
    }

    /// Playing goes on at the stream time `position`.
    pub(super) fn seek(&mut self, position: ClockTime) {
        self.number += 1;
        let live = self.config.reach.live();
        let is_live =
            !self.ended && live.is_some_and(|live| position.saturating_add(MIN_DISTANCE) > live);
        self.place = match is_live {
            true => Place::Live,
            false => Place::Wanted(Wish::At(position)),
        };
    }

    /// The broadcast had ended before: it is played from its beginning, or from so much before its end.
    pub(super) fn record(&mut self) {
        self.number += 1;
        self.ended = true;
        let offset = self.config.start_offset;
        self.place = Place::Wanted(match offset.is_zero() {
            true => Wish::At(ClockTime::ZERO),
            false => Wish::Behind(offset),
        });
    }

    /// The broadcast has ended, and is still `served` or not.
    pub(super) fn end(&mut self, served: bool) {
        self.ended = true;
        match served {
            true => self.config.reach.end(),
            false => self.config.reach.forget(),
        }
    }

    /// The broadcast has come again.
    pub(super) fn begin_anew(&mut self) {
        self.ended = false;
        self.config.reach.forget();
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    /// What `playback` plays of the past goes on where it is now, once it is known what there is.
    pub(super) fn interrupt(&mut self, playback: &Playback) {
        self.number += 1;
        self.place = match self.place {
            Place::Past => {
                let now = playback.clock.running_time();
                let at = playback.timeline().timestamp(now).unwrap_or_default();
                let live = self.config.reach.live().unwrap_or(at);
                Place::Wanted(Wish::Resume(at, live.saturating_sub(at)))
            }
            Place::Sought(wish) => Place::Wanted(wish),
            place => place,
        };
    }

    /// What there is to seek is to be found out.
    pub(super) fn measure(&mut self) {
        self.is_asked = self.measures.is_none();
    }

    /// Whether a track is needed to look at.
    pub(super) fn needs_track(&self) -> bool {
        self.is_asked || matches!(self.place, Place::Wanted(_))
    }

    /// Looks at the track of `entry` for what is wanted.
    pub(super) fn look(&mut self, broadcast: &broadcast::Consumer, entry: &Entry) {
        if let Place::Wanted(wish) = self.place {
            self.place = Place::Sought(wish);
            self.search(Some(wish), broadcast, entry);
        } else if self.is_settled() && std::mem::take(&mut self.is_asked) {
            self.search(None, broadcast, entry);
            self.measures = Some(self.number);
        }
    }

    /// Nothing is there to look at: playing begins at the live edge.
    pub(super) fn give_up(&mut self) {
        self.place = Place::Live;
    }

    fn search(&mut self, wish: Option<Wish>, broadcast: &broadcast::Consumer, entry: &Entry) {
        self.number += 1;
        self.measures = None;
        let (number, frames, ended) = (self.number, entry.frames.clone(), self.ended);
        let track = broadcast.track(&entry.name);
        let log = self.config.name.clone();
        let expected = self.config.reach.live();
        let expected = expected.map(|live| live.saturating_sub(MAX_LIVE_ERROR));
        self.searches.spawn(async move {
            let begun = Instant::now();
            let located = match track {
                Ok(track) => timeout(TIMEOUT, locate(&track, &frames, wish, expected, ended)).await,
                Err(err) => Ok(Err(err)),
            };
            gst::debug!(CAT, id = &log, "Looked for {wish:?}: {located:?}");
            Found {
                number,
                took: begun.elapsed(),
                located: located.ok().and_then(Result::ok),
            }
        });
    }

    /// What a search has found; never without one. Cancel safe.
    pub(super) async fn next(&mut self) -> Option<Found> {
        match self.searches.join_next().await {
            Some(found) => found.ok(),
            None => std::future::pending().await,
        }
    }

    /// Takes in what a search has found: where the pads play, if that is known by it.
    pub(super) fn on_found(&mut self, found: Found) -> Option<Start> {
        if found.number != self.number {
            return None;
        }
        let measures = self.measures.take() == Some(found.number);
        let Some(located) = found.located else {
            if measures {
                return None;
            }
            gst::warning!(
                CAT,
                id = &self.config.name,
                "What is kept of the broadcast cannot be fetched: it plays at the live edge"
            );
            self.place = Place::Live;
            return Some(Start::Live);
        };
        let at = located.at.into_std();
        let reach = &self.config.reach;
        match located.begin {
            Some(begin) if measures => reach.set(begin, located.newest, at, self.ended),
            _ if measures => {}
            Some(begin) => {
                // More may be kept than what was looked for.
                reach.set(begin, located.newest, at, self.ended);
                self.is_asked = !located.is_oldest;
            }
            None => {}
        }
        if measures {
            return None;
        }
        let Place::Sought(wish) = self.place else {
            return None;
        };
        self.post(wish, &located);
        Some(match located.begin {
            None => {
                self.place = Place::Live;
                Start::Live
            }
            Some(begin) => {
                self.place = Place::Past;
                // Each track is looked at once more.
                let lead = found.took + MIN_LEAD;
                let passed = match wish {
                    Wish::Behind(_) if !located.is_oldest && !self.ended => {
                        ClockTime::try_from(located.at.elapsed() + lead).unwrap_or_default()
                    }
                    _ => ClockTime::ZERO,
                };
                Start::Past(begin + passed, lead)
            }
        })
    }

    fn post(&self, wish: Wish, located: &Located) {
        let distance = located
            .begin
            .map(|begin| located.newest.saturating_sub(begin));
        let (position, is_oldest) = (located.begin.unwrap_or(located.newest), located.is_oldest);
        let distance = distance.unwrap_or_default().mseconds();
        if is_oldest {
            gst::info!(
                CAT,
                id = &self.config.name,
                "No more is kept than {distance} ms, {wish:?} was wanted"
            );
        }
        self.config.app_queue.post("moq-rewound", move |s| {
            s.field("position", position)
                .field("distance", distance)
                .field("limited", is_oldest)
        });
    }
}

/// The playback of what starts now.
pub(super) fn playback(
    start: &Start,
    config: &Config,
    clock: &PipelineClock,
    latency: ClockTime,
) -> Arc<Playback> {
    let (answer, app_queue) = (config.answer.clone(), config.app_queue.clone());
    match start {
        Start::Live => Playback::new(clock.clone(), latency, config.join, answer, app_queue),
        Start::Past(begin, lead) => {
            let lead = ClockTime::try_from(*lead).unwrap_or_default();
            let at = clock.running_time() + lead;
            Playback::of_past(clock.clone(), latency, (*begin, at), answer, app_queue)
        }
    }
}
