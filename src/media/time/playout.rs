// SPDX-License-Identifier: MIT
//! MoQ timestamp and arrival to running time: one timeline for all tracks of a broadcast.
//!
//! The *edge* `E(ts) = ts + offset` says when a frame would arrive if it took the least transit that
//! any track has shown lately. All tracks share it, so equal timestamps get equal running times, and
//! neither the age of a cached group nor the order in which tracks arrive sets the delay.
//!
//! Nothing here reads a clock: arrivals and the present are handed in, in running time.

mod drift;
mod pace;
mod transit;

use gst::ClockTime;

use self::{
    drift::Drift,
    pace::Pace,
    transit::{Transits, WINDOW_INTERVAL},
};
use super::{
    decode_order::DecodeOrder,
    nanos::{Nanos, nearest, wide},
};
use crate::media::format::rendition::Kind;

/// A smaller transit moves the edge at once until frames arrive live, and for this long after that;
/// then it is slewed.
const FREE_INTERVAL: Nanos = 1_000_000_000;
/// Frames are held until no track has shown a smaller transit for this long, but for video that
/// have their place before.
const SETTLE_INTERVAL: Nanos = 10_000_000;
/// How much faster than real time an old group is played up to the edge; 60 fps stay 1 ms apart.
const CATCH_UP_RATE: Nanos = 16;
/// The edge follows a growing transit at 500 ppm, and a shrinking one at 0.5 %.
const MAX_DRIFT: (Nanos, Nanos) = (500, 1_000_000);
const MAX_SLEW: (Nanos, Nanos) = (5, 1_000);
/// A track whose frames were all too late for this long is on a longer route.
const LATE_TIMEOUT: Nanos = 1_000_000_000;
/// A transit this much smaller than any other is another timestamp base, not a better route.
const MIN_BASE_DISTANCE: Nanos = 1_000_000_000;
/// More than this behind the fastest track is no slow encoder but another clock; nobody waits for it.
pub const MAX_DELAY: ClockTime = ClockTime::from_seconds(10);
/// A track of which nothing came for longer is silent.
const LIVE_TIMEOUT: Nanos = 2_000_000_000;
/// Nothing is held longer to see whether transits still shrink.
const MAX_HOLD: Nanos = 500_000_000;
/// What Matroska and FLV, whose time base is 1 ms, can tell apart.
const MIN_STEP: Nanos = 1_000_000;
/// Latency that no track has needed for so long is not asked for any more.
const RELAX_INTERVAL: Nanos = 30_000_000_000;
/// The least change of the latency that is worth a new latency distribution.
const MIN_LATENCY_CHANGE: Nanos = 5_000_000;

/// One track may not take the others to another timestamp base while any of them kept to this one that lately.
const CONFIRM_INTERVAL: Nanos = 500_000_000;
/// What a cache had at the join is no older: until frames arrive live, a track that is newer by less
/// shows that the others are silent, and not that its own times are absurd.
const MAX_CACHE_AGE: Nanos = 12 * 3_600_000_000_000;

/// Where a subscription starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Join {
    /// With the group that is under way: its video is played quickly up to the live edge.
    #[default]
    Live,
    /// With the next group: nothing is compressed.
    NextGroup,
}

/// One track's place in a [`Timeline`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrackId(usize);

/// When a frame is to be presented, in running time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// Presentation time.
    pub pts: ClockTime,
    /// Decode time, of video alone; increases strictly and is never after `pts`.
    pub dts: Option<ClockTime>,
    /// The timeline was resynced before this frame.
    pub discont: bool,
}

/// What becomes of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is emitted.
    Emit(Stamp),
    /// It is older than the start of the subscription, and is dropped.
    BeforeStart,
}

/// The map from MoQ timestamps to running time of one subscription.
#[derive(Debug)]
pub struct Timeline {
    latency: Nanos,
    join: Join,
    tracks: Vec<Option<Track>>,
    anchor: Option<Anchor>,
    /// What the last answer to a LATENCY query added to `latency`.
    extra: Nanos,
    /// Since when less was needed, and how much at most.
    unneeded: Option<(Nanos, Nanos)>,
    resyncs: u64,
    drift: Drift,
    /// It plays what is kept of the past: arrivals say nothing.
    is_past: bool,
}

/// What the first frame of a subscription, or of its resumption, fixed.
#[derive(Debug)]
struct Anchor {
    /// Running time of the first arrival.
    start: Nanos,
    /// The first timestamp of any video track.
    first_video: Option<Nanos>,
    /// When a smaller transit was last seen.
    improved: Nanos,
    /// `offset` of the edge, and when it was last slewed.
    offset: Nanos,
    slewed: Nanos,
    settled: bool,
    /// When the first frames arrived live: until then a smaller transit moves the edge at once.
    live: Option<Nanos>,
    /// A sparse track has set it, before any video or audio came.
    by_sparse: bool,
    /// What was added to the latency before, which stands until the tracks had time to come.
    extra: Nanos,
}

#[derive(Debug)]
struct Track {
    kind: Kind,
    /// How late the publisher says that this rendition's encoder is.
    delay: Nanos,
    transits: Transits,
    pace: Pace,
    decode_order: DecodeOrder,
    last: Option<Nanos>,
    /// Up to where it was emitted before it was read again.
    after: Option<Nanos>,
    discont: bool,
    /// When a frame last came that has the timestamp base of the edge.
    seen: Option<Nanos>,
    /// Its newest frame has a timestamp base that no other track has.
    outlier: bool,
    /// Since when all frames have been too late.
    late_since: Option<Nanos>,
}

impl Timeline {
    /// A timeline that answers for `latency` of buffering downstream.
    pub fn new(latency: ClockTime, join: Join) -> Self {
        Self {
            latency: wide(latency),
            join,
            tracks: Vec::new(),
            anchor: None,
            extra: 0,
            unneeded: None,
            resyncs: 0,
            drift: Drift::default(),
            is_past: false,
        }
    }

    /// A timeline on which the past is played: timestamp `begin` at running time `at`, and all others at their
    /// distance from it.
    ///
    /// LATENCY queries are answered as those of the timeline before it, with `least`.
    pub fn of_past(latency: ClockTime, least: ClockTime, begin: ClockTime, at: ClockTime) -> Self {
        let start = wide(at);
        let anchor = Anchor {
            start,
            first_video: None,
            improved: start,
            offset: start - wide(begin),
            slewed: start,
            settled: true,
            live: Some(start),
            by_sparse: false,
            extra: 0,
        };
        Self {
            anchor: Some(anchor),
            extra: (wide(least) - wide(latency)).max(0),
            is_past: true,
            ..Self::new(latency, Join::NextGroup)
        }
    }

    /// Running time less timestamp of what is on the edge; `None` before the first arrival.
    pub fn offset(&self) -> Option<i64> {
        let offset = self.anchor.as_ref()?.offset;
        i64::try_from(offset).ok()
    }

    /// The timestamp that is on the edge at this running time.
    pub fn timestamp(&self, now: ClockTime) -> Option<ClockTime> {
        let offset = self.anchor.as_ref()?.offset;
        Some(nearest(wide(now) - offset))
    }

    /// Changes the buffering downstream while running.
    pub fn set_latency(&mut self, latency: ClockTime) {
        self.latency = wide(latency);
    }

    /// Adds a track of `kind` whose encoder is `delay` behind the broadcast's fastest.
    ///
    /// What was emitted of it up to running time `after` is not gone back behind.
    pub fn add_track(&mut self, kind: Kind, delay: Option<ClockTime>, after: ClockTime) -> TrackId {
        let after = Some(wide(after)).filter(|after| *after > 0);
        let track = Track {
            kind,
            delay: delay.map_or(0, |delay| wide(delay.min(MAX_DELAY))),
            transits: Transits::default(),
            pace: Pace::default(),
            decode_order: DecodeOrder::default(),
            last: after,
            after,
            discont: true,
            seen: None,
            outlier: false,
            late_since: None,
        };
        match self.tracks.iter().position(Option::is_none) {
            Some(free) => {
                self.tracks[free] = Some(track);
                TrackId(free)
            }
            None => {
                self.tracks.push(Some(track));
                TrackId(self.tracks.len() - 1)
            }
        }
    }

    /// Forgets a track that is no longer subscribed; what it added to the latency stays, because it
    /// may be subscribed again.
    pub fn remove_track(&mut self, id: TrackId) {
        let removed = self.tracks.get_mut(id.0).and_then(Option::take);
        let delay = removed.map_or(0, |track| track.delay);
        self.extra = self.extra.max(delay);
    }

    /// The track goes on where another one of its pad, emitted up to running time `after`, has ended.
    pub fn follow(&mut self, id: TrackId, after: ClockTime) {
        if let Some(track) = self.track(id) {
            track.last = Some(wide(after)).filter(|after| *after > 0);
            track.after = track.last;
            track.discont = false;
        }
    }

    /// How long after its edge a frame may be held without being late at the sinks.
    pub fn hold(&self) -> ClockTime {
        self.min_latency().saturating_sub(nearest(self.latency / 2))
    }

    /// How many frames `id` holds back to bring them into presentation order, where that is known.
    pub fn set_reorder_depth(&mut self, id: TrackId, depth: u32) {
        if let Some(track) = self.track(id) {
            track.decode_order.set_depth(depth as usize);
        }
    }

    /// How long one frame of `id` lasts, where that is known.
    pub fn set_frame_duration(&mut self, id: TrackId, duration: ClockTime) {
        if let Some(track) = self.track(id) {
            let duration = duration.nseconds();
            let duration = i64::try_from(duration).unwrap_or(i64::MAX);
            track.decode_order.set_frame(duration);
        }
    }

    /// Anchors the edge anew: after a pause, or when a broadcast comes back with other timestamps.
    pub fn restart(&mut self) {
        if !self.is_past {
            self.anchor = None;
        }
        self.drift = Drift::default();
        for track in self.tracks.iter_mut().flatten() {
            track.transits = Transits::default();
            track.pace = Pace::default();
            track.decode_order.reset();
            track.discont = true;
            track.seen = None;
            track.outlier = false;
            track.late_since = None;
        }
    }

    /// Takes in that the frame of timestamp `ts` arrived now; comes before its [`Timeline::stamp`].
    pub fn arrive(&mut self, id: TrackId, ts: ClockTime, now: ClockTime) {
        if self.is_past {
            return;
        }
        let (ts, now) = (wide(ts), wide(now));
        let (sparse, follows) = (self.is_sparse(id), self.follows(id));
        if !sparse && self.anchor.as_ref().is_some_and(|old| old.by_sparse) {
            self.restart();
        }
        // It may have settled unseen: nobody waits for that while all video has its place.
        self.is_settled(nearest(now));
        let extra = self.extra;
        let transit = now - ts;
        let outlier = match follows {
            true => self.is_far_ahead(transit),
            false => self.has_other_base(id, transit, now),
        };
        let Some(track) = self.track(id) else { return };
        track.outlier = outlier;
        if outlier {
            return;
        }
        let became_live = !follows && track.arrive(transit, now);
        let is_video = track.kind == Kind::Video;
        let anchor = self.anchor.get_or_insert(Anchor {
            start: now,
            first_video: None,
            improved: now,
            offset: transit,
            slewed: now,
            settled: false,
            live: None,
            by_sparse: sparse,
            extra,
        });
        if follows {
            return;
        }
        let offset = anchor.offset;
        if let Some(track) = self
            .track(id)
            .filter(|_| (transit - offset).abs() < wide(MAX_DELAY))
        {
            track.seen = Some(now);
        }
        let Some(anchor) = &mut self.anchor else {
            return;
        };
        if is_video && !anchor.settled {
            anchor.first_video = Some(anchor.first_video.map_or(ts, |first| first.min(ts)));
        }
        self.improve(is_video.then_some(ts), transit, now);
        if became_live {
            self.begin_live(now);
        }
        self.slew(now);
        self.judge_lateness(id, transit, now);
        self.update_extra(now);
    }

    /// Whether the newest frame of the track has a timestamp base that no other track has: it has no place.
    pub fn is_outlier(&self, id: TrackId) -> bool {
        let track = self.tracks.get(id.0).and_then(Option::as_ref);
        track.is_some_and(|track| track.outlier)
    }

    /// When any frame may be stamped, judged now; `None` before the first arrival.
    pub fn settles_at(&self) -> Option<ClockTime> {
        let anchor = self.anchor.as_ref()?;
        let longest = (self.latency / 2).min(MAX_HOLD);
        let at = match anchor.by_sparse && self.has_pacer() {
            true => anchor.start + MAX_HOLD,
            false => (anchor.improved + SETTLE_INTERVAL).min(anchor.start + longest),
        };
        Some(nearest(at))
    }

    /// Whether any frame may be stamped now.
    pub fn is_settled(&mut self, now: ClockTime) -> bool {
        let at = self.settles_at();
        let Some(anchor) = &mut self.anchor else {
            return false;
        };
        anchor.settled |= at.is_some_and(|at| at <= now);
        anchor.settled
    }

    /// Whether the video frame of timestamp `ts` has its place before the timeline has settled.
    ///
    /// A smaller transit only moves the edge back, which does not move what is caught up with. Frames
    /// that belong before the first one would: another track could bring some, and of the own one those
    /// that cannot be decoded without what came before it, which is why they are few.
    pub fn is_placed(&self, id: TrackId, ts: ClockTime) -> bool {
        let Some(anchor) = &self.anchor else {
            return false;
        };
        let tracks = self.tracks.iter().enumerate();
        let mut video = tracks
            .filter(|(_, track)| {
                track
                    .as_ref()
                    .is_some_and(|track| track.kind == Kind::Video)
            })
            .map(|(at, _)| at);
        let is_alone = video.next() == Some(id.0) && video.next().is_none();
        let ts = wide(ts);
        let begun = anchor
            .first_video
            .map(|first| anchor.start + caught_up(ts - first));
        self.join == Join::Live && is_alone && begun.is_some_and(|at| ts + anchor.offset <= at)
    }

    /// When the frame of timestamp `ts`, the next of its track in decode order, is to be presented.
    pub fn stamp(&mut self, id: TrackId, ts: ClockTime) -> Verdict {
        let ts = wide(ts);
        let join = self.join;
        let Some(anchor) = &self.anchor else {
            return Verdict::BeforeStart;
        };
        let (start, offset, first_video) = (anchor.start, anchor.offset, anchor.first_video);
        let Some(track) = self.tracks.get_mut(id.0).and_then(Option::as_mut) else {
            return Verdict::BeforeStart;
        };
        let catches_up = track.kind == Kind::Video && join == Join::Live;
        // What is due half the latency before the start is still in time, though the timeline may
        // take as long to settle.
        let least = (start - self.latency / 2).max(0);
        let repeats = match track.kind {
            Kind::Audio => track
                .last
                .is_some_and(|last| ts + offset < last - SETTLE_INTERVAL),
            // Records need no order among themselves.
            Kind::Data => track.after.is_some_and(|after| ts + offset <= after),
            Kind::Video | Kind::Text => false,
        };
        if !catches_up && (ts + offset < least || repeats) {
            // The next frame follows a hole.
            track.discont = true;
            return Verdict::BeforeStart;
        }
        // Decode times that begin before the first video frame must not be negative.
        let start = start.max(track.decode_order.lag().into());
        let map = |ts: Nanos| {
            let edge = ts + offset;
            let first = first_video.filter(|_| catches_up);
            first.map_or(edge, |first| edge.max(start + caught_up(ts - first)))
        };
        let discont = std::mem::take(&mut track.discont);
        let mut pts = map(ts).max(0);
        let mut dts = None;
        if track.kind == Kind::Video {
            // Strictly increasing whatever the map does.
            let least = track.last.map_or(0, |last| last + MIN_STEP);
            let decode = map(track.next_decode(ts)).max(least);
            pts = pts.max(decode);
            dts = Some(nearest(decode));
            track.last = Some(decode);
        } else {
            // Records of the time of the first video frame come with it, which is caught up with from the start.
            let begin = if track.kind == Kind::Data { start } else { 0 };
            pts = pts.max(track.last.unwrap_or(0)).max(begin);
            track.last = Some(pts);
        }
        Verdict::Emit(Stamp {
            pts: nearest(pts),
            dts,
            discont,
        })
    }

    /// When something that lasts from `begin` to `end` is presented, and for how long.
    ///
    /// What began before the start of the subscription and lasts on is presented from the start; without
    /// an `end` it lasts until something else follows. `None` says that it is over.
    pub fn stamp_span(
        &mut self,
        id: TrackId,
        begin: ClockTime,
        end: Option<ClockTime>,
    ) -> Option<(Stamp, Option<ClockTime>)> {
        let anchor = self.anchor.as_ref()?;
        let (start, offset) = (anchor.start, anchor.offset);
        let end = end.map(|end| wide(end) + offset);
        let lasts = end.is_none_or(|end| end > start);
        let begin = match lasts {
            true => begin.max(nearest(start - offset)),
            false => begin,
        };
        let Verdict::Emit(stamp) = self.stamp(id, begin) else {
            return None;
        };
        let duration = end.map(|end| nearest(end - wide(stamp.pts)));
        // What was emitted before may have pushed it beyond its end.
        duration
            .is_none_or(|duration| !duration.is_zero())
            .then_some((stamp, duration))
    }

    /// The running time of a timestamp, which no frame of the track has.
    pub fn edge(&self, ts: ClockTime) -> Option<ClockTime> {
        let offset = self.anchor.as_ref()?.offset;
        Some(nearest(wide(ts) + offset))
    }

    /// The least latency of a pipeline that shows every track: what LATENCY queries are answered.
    pub fn min_latency(&self) -> ClockTime {
        let delay = self.tracks.iter().flatten().map(|track| track.delay).max();
        nearest(self.latency + self.extra.max(delay.unwrap_or(0)))
    }

    /// Whether the frames of any track arrive live at this time, or are played as they did.
    pub fn is_live(&self, now: ClockTime) -> bool {
        if self.is_past {
            return true;
        }
        let since = wide(now) - LIVE_TIMEOUT;
        let tracks = self.tracks.iter().flatten();
        let mut live = tracks.filter(|track| track.pace.is_live());
        live.any(|track| track.transits.newest().is_some_and(|newest| newest > since))
    }

    /// Whether nothing is emitted before a group begins.
    pub fn joins_next_group(&self) -> bool {
        self.join == Join::NextGroup && !self.is_past
    }

    /// How often the edge was resynced to a longer route.
    pub fn resyncs(&self) -> u64 {
        self.resyncs
    }

    /// How much faster than ours the publisher's clock runs, in ppm, once it was followed for 30 s.
    pub fn drift(&self) -> Option<f64> {
        self.drift.ppm()
    }

    /// Moves the edge at once where a smaller transit may do so; `video` is the timestamp of its frame
    /// if it is one of video.
    fn improve(&mut self, video: Option<Nanos>, transit: Nanos, now: Nanos) {
        let Some(anchor) = self
            .anchor
            .as_mut()
            .filter(|anchor| transit < anchor.offset)
        else {
            return;
        };
        anchor.improved = now;
        let another_base = transit < anchor.offset - MIN_BASE_DISTANCE;
        if another_base || anchor.is_free(now) {
            anchor.offset = transit;
        }
        if !another_base || !anchor.settled {
            return;
        }
        self.resync();
        if let Some(anchor) = self.anchor.as_mut().filter(|anchor| anchor.live.is_none()) {
            // What came before was of a cache alone: this is the true start.
            anchor.begin_anew(video, now);
        }
    }

    /// The frames of one more track arrive live.
    fn begin_live(&mut self, now: Nanos) {
        let least = self.least();
        let (Some(anchor), Some(least)) = (&mut self.anchor, least) else {
            return;
        };
        anchor.live.get_or_insert(now);
        if least - anchor.offset > wide(MAX_DELAY) {
            // Times that no live track has had set it.
            anchor.offset = least;
            self.resync();
        }
    }

    /// Moves the edge towards the least transit of the last seconds.
    fn slew(&mut self, now: Nanos) {
        for track in self.tracks.iter_mut().flatten() {
            // A silent track says nothing about the route of the others.
            track.forget_before(now - WINDOW_INTERVAL);
        }
        let least = self.least();
        let Some(anchor) = &mut self.anchor else {
            return;
        };
        let elapsed = (now - anchor.slewed).max(0);
        anchor.slewed = now;
        let Some(least) = least else { return };
        let most = |(part, whole): (Nanos, Nanos)| elapsed.saturating_mul(part) / whole;
        anchor.offset = least.clamp(
            anchor.offset - most(MAX_SLEW),
            anchor.offset + most(MAX_DRIFT),
        );
        if now - anchor.start > FREE_INTERVAL {
            self.drift.follow(anchor.offset, now);
        }
    }

    /// Steps the edge forward when every frame of the track was too late for [`LATE_TIMEOUT`].
    fn judge_lateness(&mut self, id: TrackId, transit: Nanos, now: Nanos) {
        let Some(offset) = self.anchor.as_ref().map(|anchor| anchor.offset) else {
            return;
        };
        let allowed = offset + wide(self.min_latency());
        let Some(track) = self.track(id) else { return };
        if transit <= allowed {
            track.late_since = None;
            return;
        }
        if now - *track.late_since.get_or_insert(now) < LATE_TIMEOUT {
            return;
        }
        for track in self.tracks.iter_mut().flatten() {
            track.late_since = None;
            track.forget_before(now - LATE_TIMEOUT);
        }
        let least = self.least();
        if let (Some(anchor), Some(least)) = (&mut self.anchor, least)
            && least > anchor.offset
        {
            anchor.offset = least;
            self.resyncs += 1;
            self.resync();
        }
    }

    /// What follows stands by itself: no group is caught up with across a resync.
    fn resync(&mut self) {
        self.drift = Drift::default();
        if let Some(anchor) = &mut self.anchor {
            anchor.first_video = None;
        }
        for track in self.tracks.iter_mut().flatten() {
            track.discont = true;
            track.decode_order.reset();
        }
    }

    /// The least transit of the last seconds over all tracks, or over those that are live once any is.
    fn least(&self) -> Option<Nanos> {
        let tracks = || self.tracks.iter().flatten();
        let live = tracks().filter(|track| track.pace.is_live());
        let live = live.filter_map(|track| track.transits.least()).min();
        live.or_else(|| tracks().filter_map(|track| track.transits.least()).min())
    }

    /// Follows how much later than the fastest track the slowest one is.
    fn update_extra(&mut self, now: Nanos) {
        let slower = self.slower();
        let unconfirmed = self.tracks.iter().flatten().any(Track::is_unconfirmed);
        let (Some(anchor), Some(slower)) = (&mut self.anchor, slower) else {
            return;
        };
        // A track that is not known to be live has not shown its least transit yet. Later, less
        // latency is never asked for: one burst that comes early says nothing about the frames after.
        let young = now - anchor.start < FREE_INTERVAL;
        let (extra, may_fall) = match young || unconfirmed {
            true => (slower.max(anchor.extra), young),
            false => (slower, std::mem::take(&mut anchor.extra) > 0),
        };
        let change = extra - self.extra;
        if (!young || anchor.settled)
            && (change > MIN_LATENCY_CHANGE || (may_fall && change < -MIN_LATENCY_CHANGE))
        {
            self.extra = extra;
        }
        self.relax(slower, now);
    }

    /// Takes back what was added to the latency and has not been needed for [`RELAX_INTERVAL`], while every track
    /// shows what it needs.
    fn relax(&mut self, slower: Nanos, now: Nanos) {
        let mut tracks = self.tracks.iter().flatten();
        let all_show = tracks.all(|track| track.kind.is_sparse() || !track.transits.is_empty());
        if !all_show || self.extra - slower <= MIN_LATENCY_CHANGE {
            self.unneeded = None;
            return;
        }
        let (since, most) = *self.unneeded.get_or_insert((now, slower));
        let most = most.max(slower);
        self.unneeded = Some((since, most));
        if now - since >= RELAX_INTERVAL {
            self.extra = most;
            self.unneeded = None;
        }
    }

    /// How much later than the fastest track the slowest one is, of those that share a clock and whose
    /// frames arrive live: the age of what a cache had is no delay of an encoder.
    ///
    /// A cue or a record may be old when it comes, which says nothing about the next one.
    fn slower(&self) -> Option<Nanos> {
        let least = self.least()?;
        let tracks = self.tracks.iter().flatten();
        let tracks = tracks.filter(|track| !track.kind.is_sparse() && track.pace.is_live());
        let transits = tracks.filter_map(|track| track.transits.least());
        transits
            .map(|transit| transit - least)
            .filter(|slower| *slower <= wide(MAX_DELAY))
            .max()
    }

    /// Whether a frame of this transit has another timestamp base, to which no other track has gone.
    fn has_other_base(&self, id: TrackId, transit: Nanos, now: Nanos) -> bool {
        let (Some(anchor), tracks) = (&self.anchor, self.tracks.iter().enumerate()) else {
            return false;
        };
        let ahead = anchor.offset - transit;
        let mut others = tracks.filter(|(index, _)| *index != id.0);
        ahead > MIN_BASE_DISTANCE
            && others.any(|(_, track)| {
                track.as_ref().is_some_and(|track| {
                    let lately = track.seen.is_some_and(|seen| now - seen < CONFIRM_INTERVAL);
                    lately && (track.pace.is_live() || ahead > MAX_CACHE_AGE)
                })
            })
    }

    /// Whether a cue or a record of this transit has another timestamp base: nobody publishes that early.
    fn is_far_ahead(&self, transit: Nanos) -> bool {
        let anchor = self.anchor.as_ref();
        anchor.is_some_and(|anchor| anchor.offset - transit > MAX_CACHE_AGE)
    }

    fn is_sparse(&self, id: TrackId) -> bool {
        let track = self.tracks.get(id.0).and_then(Option::as_ref);
        track.is_some_and(|track| track.kind.is_sparse())
    }

    /// Whether the arrivals of the track do not count: a cue or a record may be published early, or be
    /// cached for as long as it is the latest one, so its arrival says nothing about the route.
    fn follows(&self, id: TrackId) -> bool {
        self.is_sparse(id) && self.has_pacer()
    }

    /// Whether there is a track whose arrivals always count.
    fn has_pacer(&self) -> bool {
        let paces = |track: &Track| !track.kind.is_sparse();
        self.tracks.iter().flatten().any(paces)
    }

    fn track(&mut self, id: TrackId) -> Option<&mut Track> {
        self.tracks.get_mut(id.0)?.as_mut()
    }
}

impl Track {
    /// Takes in the transit of a frame; whether the track is known to be live by it.
    fn arrive(&mut self, transit: Nanos, now: Nanos) -> bool {
        self.transits.add(transit, now);
        self.pace.add(transit, now)
    }

    /// Forgets what was seen before `time`; a track of which nothing is left may come from a cache
    /// again.
    fn forget_before(&mut self, time: Nanos) {
        self.transits.forget_before(time);
        if self.transits.is_empty() {
            self.pace = Pace::default();
        }
    }

    /// Whether frames came lately that may have been those of a cache.
    fn is_unconfirmed(&self) -> bool {
        !self.kind.is_sparse() && !self.transits.is_empty() && !self.pace.is_live()
    }

    /// The next time in decode order.
    fn next_decode(&mut self, ts: Nanos) -> Nanos {
        // All timestamps are below 2^63.
        i64::try_from(ts).map_or(ts, |ts| self.decode_order.next(ts).into())
    }
}

impl Anchor {
    /// Whether a smaller transit moves the edge at once.
    fn is_free(&self, now: Nanos) -> bool {
        let since = match self.by_sparse {
            true => Some(self.start),
            false => self.live,
        };
        since.is_none_or(|since| now - since < FREE_INTERVAL)
    }

    /// The first frame that counts arrives now.
    fn begin_anew(&mut self, first_video: Option<Nanos>, now: Nanos) {
        self.start = now;
        self.improved = now;
        self.slewed = now;
        self.settled = false;
        self.first_video = first_video;
    }
}

/// When a video frame `since` after the first one is played, after that one, while it is caught up with.
fn caught_up(since: Nanos) -> Nanos {
    // What is presented before the first one is decoded after it, and keeps its distance.
    since.min(since / CATCH_UP_RATE)
}

#[cfg(test)]
mod tests;
