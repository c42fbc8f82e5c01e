// SPDX-License-Identifier: MIT
//! What a peer keeps of a track: where it begins and ends, and its groups one by one.
//!
//! Groups are fetched when they are due, so that no more of the past is held here than is played soon.

use std::{collections::VecDeque, future::Future, pin::Pin, time::Duration};

use gst::ClockTime;
use moq_net::{
    group,
    track::{self, Subscription},
};
use tokio::time::{Instant, sleep, timeout};

use super::{frame_reader::FrameReader, playout::timestamp};
use crate::media::time::rewind::{GroupSearch, Step, Wish};

/// How long the answer to one FETCH, and the newest group of a track, may take.
const FETCH_TIMEOUT: Duration = Duration::from_secs(3);
/// After so long without a frame those of the newest group that were there already have come.
const NEWEST_SILENCE: Duration = Duration::from_millis(15);
const NEWEST_TIMEOUT: Duration = Duration::from_millis(300);
/// How much of a track is asked for ahead of what is played, and in how many groups.
const AHEAD: Duration = Duration::from_millis(1200);
const MAX_AHEAD: usize = 32;
/// Where a group is missing, how many later ones are looked at.
const MAX_HOLE: u64 = 3;
/// How soon a group that is not there yet is asked for again, and how long it is waited for.
const RETRY_INTERVAL: Duration = Duration::from_millis(50);
const MAX_WAIT: Duration = Duration::from_secs(5);
/// How often a group is asked for that may be there all the same, and how soon again: of a track that has
/// ended, a session that closes the subscription refuses each FETCH for a moment.
const ENDED_TRIES: u32 = 8;
const FEW_TRIES: u32 = 3;
const LOST_TRIES: u32 = 2;
const TRY_INTERVAL: Duration = Duration::from_millis(30);
/// No track has so many groups.
const NEVER: u64 = 1 << 60;

/// What there is of a broadcast, by the timestamps of one of its tracks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Located {
    /// The newest timestamp, and when it was that.
    pub(crate) newest: ClockTime,
    pub(crate) at: Instant,
    /// With which timestamp playing begins; `None` is the live edge.
    pub(crate) begin: Option<ClockTime>,
    /// It is the oldest that there is, which is newer than what was wished.
    pub(crate) is_oldest: bool,
}

/// Finds what `wish` means for a track; without one it finds the oldest that there is.
///
/// The newest timestamp is `expected` to be no less than this; of a broadcast that has `ended` nothing is live.
pub(crate) async fn locate(
    track: &track::Consumer,
    frames: &FrameReader,
    wish: Option<Wish>,
    expected: Option<ClockTime>,
    ended: bool,
) -> Result<Located, moq_net::Error> {
    let newest = Newest::of(track, frames, expected, ended).await?;
    let mut located = Located {
        newest: newest.timestamp,
        at: newest.at,
        begin: None,
        is_oldest: false,
    };
    let target = match wish.map(|wish| match ended {
        true => Some(wish.target(newest.timestamp)),
        false => wish.begin(newest.timestamp),
    }) {
        Some(None) => return Ok(located),
        Some(target) => target,
        None => None,
    };
    let search = search(track, frames, target, newest.first, ended).await;
    let oldest = search.begin();
    located.is_oldest = target.is_none_or(|target| oldest > target);
    if !ended && located.is_oldest && oldest == newest.first.1 {
        // Nothing but what is live: no more is kept, or this version of MoQ cannot ask for it.
        return Ok(located);
    }
    located.begin = Some(target.map_or(oldest, |target| target.max(oldest)));
    Ok(located)
}

/// The newest group of a track.
struct Newest {
    /// Its number and its first timestamp.
    first: (u64, ClockTime),
    /// The newest timestamp in it, and when that came.
    timestamp: ClockTime,
    at: Instant,
    standby: Option<Standby>,
}

impl Newest {
    /// Asks for it, and waits for a while until it is one of the time that is `expected`: what was received
    /// before is there at once.
    async fn of(
        track: &track::Consumer,
        frames: &FrameReader,
        expected: Option<ClockTime>,
        ended: bool,
    ) -> Result<Self, moq_net::Error> {
        if ended {
            return Self::of_ended(track, frames).await;
        }
        let mut newest = None;
        let asking = async {
            let mut subscriber = track.subscribe(Subscription::default()).await?;
            while let Some(group) = subscriber.recv_group().await? {
                if let Some(read) = Self::read(group, frames, NEWEST_SILENCE).await {
                    let is_enough = expected.is_none_or(|expected| read.timestamp >= expected);
                    newest = Some(read);
                    if is_enough {
                        break;
                    }
                }
            }
            Ok::<_, moq_net::Error>(subscriber)
        };
        let asked = timeout(FETCH_TIMEOUT, asking).await;
        let subscriber = match (asked, &newest) {
            (Ok(Ok(subscriber)), _) => Some(subscriber),
            (Ok(Err(err)), None) => return Err(err),
            (Ok(Err(_)), Some(_)) | (Err(_), _) => None,
        };
        let mut newest = newest.ok_or(moq_net::Error::NotFound)?;
        newest.standby = subscriber.map(Standby::new);
        Ok(newest)
    }

    /// Of a track that has ended a subscription may give nothing, and while a session closes it no FETCH is
    /// answered: where all is kept its last group is found by fetches alone.
    async fn of_ended(
        track: &track::Consumer,
        frames: &FrameReader,
    ) -> Result<Self, moq_net::Error> {
        let exists = async |sequence| fetch(track, sequence, 0, FEW_TRIES).await.is_ok();
        if fetch(track, 0, 0, ENDED_TRIES).await.is_ok() {
            let (mut last, mut beyond) = (0, 1);
            while beyond < NEVER && exists(beyond).await {
                (last, beyond) = (beyond, beyond * 2 + 1);
            }
            while last + 1 < beyond {
                let middle = last + (beyond - last) / 2;
                match exists(middle).await {
                    true => last = middle,
                    false => beyond = middle,
                }
            }
            let group = fetch(track, last, 0, ENDED_TRIES).await?;
            let newest = Self::read(group, frames, FETCH_TIMEOUT).await;
            return newest.ok_or(moq_net::Error::NotFound);
        }
        // What is left are the last ones, of which a subscription knows at least the number.
        let asking = async {
            let mut subscriber = track.subscribe(Subscription::default()).await?;
            subscriber.finished().await
        };
        let asked = timeout(FETCH_TIMEOUT, asking).await;
        let end = asked.unwrap_or(Err(moq_net::Error::NotFound))?;
        let last = end.checked_sub(1).ok_or(moq_net::Error::NotFound)?;
        let group = fetch(track, last, 0, ENDED_TRIES).await?;
        let newest = Self::read(group, frames, FETCH_TIMEOUT).await;
        newest.ok_or(moq_net::Error::NotFound)
    }

    /// Reads a group as far as its frames come within so much `silence`.
    async fn read(
        mut group: group::Consumer,
        frames: &FrameReader,
        silence: Duration,
    ) -> Option<Self> {
        let sequence = group.sequence;
        let longest = silence.max(NEWEST_TIMEOUT);
        let first = timeout(longest, first_timestamp(&mut group, frames)).await;
        let first = first.ok()??;
        let begun = Instant::now();
        let mut newest = Self {
            first: (sequence, first),
            timestamp: first,
            at: begun,
            standby: None,
        };
        // What is there already comes at once.
        while begun.elapsed() < longest
            && let Ok(Ok(Some(frames))) = timeout(silence, frames.read(&mut group)).await
        {
            let timestamps = frames.iter().filter_map(timestamp);
            if let Some(latest) = timestamps.max().filter(|latest| *latest > newest.timestamp) {
                (newest.timestamp, newest.at) = (latest, Instant::now());
            }
        }
        Some(newest)
    }
}

/// A subscription that gives nothing, and keeps the session from closing the track between two fetches.
struct Standby(#[allow(dead_code, reason = "held until it is dropped")] track::Subscriber);

impl Standby {
    fn new(mut subscriber: track::Subscriber) -> Self {
        // Refused only when the track is over.
        let _ = subscriber.update(Subscription::default().with_groups(NEVER..));
        Self(subscriber)
    }
}

/// Fetches a group; where there may be one that is refused for a moment only, with more than one try.
async fn fetch(
    track: &track::Consumer,
    sequence: u64,
    priority: u8,
    tries: u32,
) -> Result<group::Consumer, moq_net::Error> {
    let mut left = tries;
    loop {
        let options = group::Fetch::default().with_priority(priority);
        let fetched = timeout(FETCH_TIMEOUT, track.fetch_group(sequence, options)).await;
        left = left.saturating_sub(1);
        match fetched {
            Ok(Ok(group)) => return Ok(group),
            Ok(Err(_)) if left > 0 => sleep(TRY_INTERVAL).await,
            Ok(Err(err)) => return Err(err),
            Err(_) => return Err(moq_net::Error::NotFound),
        }
    }
}

/// Looks for the group with the timestamp `target`, or for the oldest one.
async fn search(
    track: &track::Consumer,
    frames: &FrameReader,
    target: Option<ClockTime>,
    newest: (u64, ClockTime),
    ended: bool,
) -> GroupSearch {
    let tries = if ended { ENDED_TRIES } else { 1 };
    let mut search = GroupSearch::new(target, newest);
    while let Step::Look(sequence) = search.step() {
        let looking = async {
            let mut group = fetch(track, sequence, 0, tries).await.ok()?;
            first_timestamp(&mut group, frames).await
        };
        let begin = timeout(FETCH_TIMEOUT, looking).await;
        search.saw(sequence, begin.ok().flatten());
    }
    search
}

async fn first_timestamp(group: &mut group::Consumer, frames: &FrameReader) -> Option<ClockTime> {
    let frames = frames.read(group).await.ok()??;
    frames.first().and_then(timestamp)
}

type Fetching = Pin<Box<dyn Future<Output = Result<group::Consumer, moq_net::Error>> + Send>>;

/// The groups of a track from one of the past on, in their order.
pub(super) struct PastGroups {
    track: track::Consumer,
    priority: u8,
    ended: bool,
    standby: Option<Standby>,
    /// The number of the next group to ask for.
    upcoming: u64,
    /// What was asked for, the oldest first.
    ahead: VecDeque<(u64, Fetching)>,
    depth: usize,
}

impl PastGroups {
    /// Begins with the group of timestamp `begin`, or the oldest after it.
    pub(super) async fn find(
        track: track::Consumer,
        frames: &FrameReader,
        begin: ClockTime,
        priority: u8,
        ended: bool,
    ) -> Result<Self, moq_net::Error> {
        let newest = Newest::of(&track, frames, Some(begin), ended).await?;
        let mut search = search(&track, frames, Some(begin), newest.first, ended).await;
        let (Step::Begin(upcoming) | Step::Look(upcoming)) = search.step();
        let interval = search.interval().map(Duration::from);
        let groups = interval.map_or(1, |interval| AHEAD.as_nanos() / interval.as_nanos().max(1));
        Ok(Self {
            track,
            priority,
            ended,
            standby: newest.standby,
            upcoming,
            ahead: VecDeque::new(),
            depth: usize::try_from(groups)
                .unwrap_or(MAX_AHEAD)
                .clamp(1, MAX_AHEAD)
                + 1,
        })
    }

    /// The next group that is there; none where the track ends, which `is_over` says once no more is
    /// published. Cancel safe.
    pub(super) async fn next(
        &mut self,
        is_over: impl Fn() -> bool,
    ) -> Result<Option<group::Consumer>, moq_net::Error> {
        let give_up_at = Instant::now() + MAX_WAIT;
        loop {
            while self.ahead.len() < self.depth {
                let fetching = self.fetch(self.upcoming);
                self.ahead.push_back((self.upcoming, fetching));
                self.upcoming = self.upcoming.saturating_add(1);
            }
            let Some((sequence, fetching)) = self.ahead.front_mut() else {
                return Ok(None);
            };
            let sequence = *sequence;
            if let Ok(Ok(group)) = timeout(FETCH_TIMEOUT, fetching).await {
                self.ahead.pop_front();
                return Ok(Some(group));
            }
            // It was not there when it was asked for, which is no more true of it or of those behind it.
            self.ahead.clear();
            self.upcoming = sequence;
            // Once the track has ended the subscription would keep it closed.
            let was_open = self.standby.take().is_some();
            let over = is_over();
            let tries = match over || self.ended || was_open {
                true => ENDED_TRIES,
                false => LOST_TRIES,
            };
            for candidate in sequence..=sequence.saturating_add(MAX_HOLE) {
                let tries = if candidate == sequence { tries } else { 1 };
                let fetched = fetch(&self.track, candidate, self.priority, tries).await;
                if let Ok(group) = fetched {
                    self.upcoming = candidate.saturating_add(1);
                    return Ok(Some(group));
                }
            }
            if over {
                return Ok(None);
            }
            if Instant::now() >= give_up_at {
                return Err(moq_net::Error::NotFound);
            }
            sleep(RETRY_INTERVAL).await;
        }
    }

    fn fetch(&self, sequence: u64) -> Fetching {
        let options = group::Fetch::default().with_priority(self.priority);
        Box::pin(self.track.fetch_group(sequence, options))
    }
}
