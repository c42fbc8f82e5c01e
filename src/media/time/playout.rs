//! MoQ timestamp and arrival to running time: one timeline for all tracks of a broadcast.
//!
//! The *edge* `E(ts) = ts + offset` says when a frame would arrive if it took the least transit that
//! any track has shown lately. All tracks share it, so equal timestamps get equal running times, and
//! neither the age of a cached group nor the order in which tracks arrive sets the delay.
//!
//! Nothing here reads a clock: arrivals and the present are handed in, in running time.

mod drift;
mod edge;
mod epoch;
mod pace;
mod sparse;
mod transit;

use gst::ClockTime;

use self::{drift::Drift, pace::Pace, transit::Transits};
use super::decode_order::DecodeOrder;
use crate::media::format::codec::Kind;

/// A time or a difference of times in nanoseconds; wide enough for any sum of a few [`ClockTime`]s.
type Nanos = i128;

/// A smaller transit moves the edge at once until frames arrive live, and for this long after that;
/// then it is slewed.
const FREE: Nanos = 1_000_000_000;
/// Frames are held until no track has shown a smaller transit for this long, but for pictures that
/// have their place before.
const QUIET: Nanos = 10_000_000;
/// How much faster than real time an old group is played up to the edge; 60 fps stay 1 ms apart.
const CATCH_UP: Nanos = 16;
/// The edge follows a growing transit at 500 ppm, and a shrinking one at 0.5 %.
const DRIFT: (Nanos, Nanos) = (500, 1_000_000);
const SLEW: (Nanos, Nanos) = (5, 1_000);
/// A track whose frames were all too late for this long is on a longer route.
const LATE: Nanos = 1_000_000_000;
/// A transit this much smaller than any other is another epoch of timestamps, not a better route.
const EPOCH: Nanos = 1_000_000_000;
/// More than this behind the fastest track is no slow encoder but another clock; nobody waits for it.
pub const MAX_DELAY: ClockTime = ClockTime::from_seconds(10);
/// A track of which nothing came for longer is silent.
const LIVE: Nanos = 2_000_000_000;
/// Nothing is held longer to see whether transits still shrink.
const MAX_HOLD: Nanos = 500_000_000;
/// What Matroska and FLV, whose time base is 1 ms, can tell apart.
const LEAST_STEP: Nanos = 1_000_000;
/// Latency that no track has needed for so long is not asked for any more.
const RELAX: Nanos = 30_000_000_000;
/// The least change of the latency that is worth a new latency distribution.
const LATENCY_STEP: Nanos = 5_000_000;

/// Where a subscription starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Join {
    /// With the group that is under way: its pictures are played quickly up to the live edge.
    #[default]
    Live,
    /// With the next group of pictures: nothing is compressed.
    NextGroup,
}

/// One track's place in a [`Timeline`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrackId(usize);

/// When a frame is to be shown, in running time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// Presentation time.
    pub pts: ClockTime,
    /// Decode time, of video alone; increases strictly and is never after `pts`.
    pub dts: Option<ClockTime>,
    /// The timeline jumped before this frame.
    pub discont: bool,
}

/// What becomes of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is shown.
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
    steps: u64,
    drift: Drift,
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
    /// A sparse track has set it, see [`sparse`].
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
    /// Up to where it was shown before it was read again.
    after: Option<Nanos>,
    discont: bool,
    /// When a frame last came that belongs to the epoch of the edge.
    seen: Option<Nanos>,
    /// Its newest frame is of an epoch that no other track has.
    strays: bool,
    /// Since when all frames have been too late.
    late_since: Option<Nanos>,
}

impl Timeline {
    /// A timeline that answers for `latency` of buffering downstream.
    pub fn new(latency: ClockTime, join: Join) -> Self {
        Self {
            latency: nanos(latency),
            join,
            tracks: Vec::new(),
            anchor: None,
            extra: 0,
            unneeded: None,
            steps: 0,
            drift: Drift::default(),
        }
    }

    /// Changes the buffering downstream while running.
    pub fn set_latency(&mut self, latency: ClockTime) {
        self.latency = nanos(latency);
    }

    /// Adds a track of `kind` whose encoder is `delay` behind the broadcast's fastest.
    ///
    /// What was shown of it up to running time `after` is not gone back behind.
    pub fn add_track(&mut self, kind: Kind, delay: Option<ClockTime>, after: ClockTime) -> TrackId {
        let after = Some(nanos(after)).filter(|after| *after > 0);
        let track = Track {
            kind,
            delay: delay.map_or(0, |delay| nanos(delay.min(MAX_DELAY))),
            transits: Transits::default(),
            pace: Pace::default(),
            decode_order: DecodeOrder::default(),
            last: after,
            after,
            discont: true,
            seen: None,
            strays: false,
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
        self.anchor = None;
        self.drift = Drift::default();
        for track in self.tracks.iter_mut().flatten() {
            track.transits = Transits::default();
            track.pace = Pace::default();
            track.decode_order.reset();
            track.discont = true;
            track.seen = None;
            track.strays = false;
            track.late_since = None;
        }
    }

    /// Takes in that the frame of timestamp `ts` arrived now; comes before its [`Timeline::stamp`].
    pub fn arrive(&mut self, id: TrackId, ts: ClockTime, now: ClockTime) {
        let (ts, now) = (nanos(ts), nanos(now));
        let (sparse, follows) = (self.is_sparse(id), self.follows(id));
        if !sparse && self.anchor.as_ref().is_some_and(|old| old.by_sparse) {
            self.restart();
        }
        // It may have settled unseen: nobody waits for that while all pictures have their places.
        self.is_settled(clock_time(now));
        let extra = self.extra;
        let transit = now - ts;
        let strays = match follows {
            true => self.is_far_ahead(transit),
            false => self.strays(id, transit, now),
        };
        let Some(track) = self.track(id) else { return };
        track.strays = strays;
        if strays {
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
            .filter(|_| (transit - offset).abs() < nanos(MAX_DELAY))
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
        let another_epoch = transit < anchor.offset - EPOCH;
        if another_epoch || anchor.is_free(now) {
            anchor.offset = transit;
        }
        if !another_epoch || !anchor.settled {
            return;
        }
        self.jump();
        if let Some(anchor) = self.anchor.as_mut().filter(|anchor| anchor.live.is_none()) {
            // What came before was of a cache alone: this is the true start.
            anchor.begin_anew(video, now);
        }
    }

    /// Whether the newest frame of the track is of an epoch that no other track has: it has no place.
    pub fn is_outlier(&self, id: TrackId) -> bool {
        let track = self.tracks.get(id.0).and_then(Option::as_ref);
        track.is_some_and(|track| track.strays)
    }

    /// When any frame may be stamped, judged now; `None` before the first arrival.
    pub fn settles_at(&self) -> Option<ClockTime> {
        let anchor = self.anchor.as_ref()?;
        let longest = (self.latency / 2).min(MAX_HOLD);
        let at = match anchor.by_sparse && self.has_pacer() {
            true => anchor.start + MAX_HOLD,
            false => (anchor.improved + QUIET).min(anchor.start + longest),
        };
        Some(clock_time(at))
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

    /// Whether the picture of timestamp `ts` has its place before the timeline has settled.
    ///
    /// A smaller transit only moves the edge back, which does not move what is caught up with. Pictures
    /// that belong before the first one would: another track could bring some, and of the own one those
    /// that cannot be decoded without what came before it, which is why they are few.
    pub fn is_placed(&self, id: TrackId, ts: ClockTime) -> bool {
        let Some(anchor) = &self.anchor else {
            return false;
        };
        let tracks = self.tracks.iter().enumerate();
        let mut pictures = tracks
            .filter(|(_, track)| {
                track
                    .as_ref()
                    .is_some_and(|track| track.kind == Kind::Video)
            })
            .map(|(at, _)| at);
        let is_alone = pictures.next() == Some(id.0) && pictures.next().is_none();
        let ts = nanos(ts);
        let begun = anchor
            .first_video
            .map(|first| anchor.start + caught_up(ts - first));
        self.join == Join::Live && is_alone && begun.is_some_and(|at| ts + anchor.offset <= at)
    }

    /// When the frame of timestamp `ts`, the next of its track in decode order, is to be shown.
    pub fn stamp(&mut self, id: TrackId, ts: ClockTime) -> Verdict {
        let ts = nanos(ts);
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
            Kind::Audio => track.last.is_some_and(|last| ts + offset < last - QUIET),
            // Records need no order among themselves.
            Kind::Data => track.after.is_some_and(|after| ts + offset <= after),
            Kind::Video | Kind::Text => false,
        };
        if !catches_up && (ts + offset < least || repeats) {
            // The next frame follows a hole.
            track.discont = true;
            return Verdict::BeforeStart;
        }
        // Decode times that begin before the first picture must not be negative.
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
            let least = track.last.map_or(0, |last| last + LEAST_STEP);
            let decode = map(track.next_decode(ts)).max(least);
            pts = pts.max(decode);
            dts = Some(clock_time(decode));
            track.last = Some(decode);
        } else {
            // Records of the time of the first picture come with it, which is caught up with from the start.
            let begin = if track.kind == Kind::Data { start } else { 0 };
            pts = pts.max(track.last.unwrap_or(0)).max(begin);
            track.last = Some(pts);
        }
        Verdict::Emit(Stamp {
            pts: clock_time(pts),
            dts,
            discont,
        })
    }

    /// The least latency of a pipeline that shows every track: what LATENCY queries are answered.
    pub fn min_latency(&self) -> ClockTime {
        let delay = self.tracks.iter().flatten().map(|track| track.delay).max();
        clock_time(self.latency + self.extra.max(delay.unwrap_or(0)))
    }

    /// Whether the frames of any track arrive live at this time.
    pub fn is_live(&self, now: ClockTime) -> bool {
        let since = nanos(now) - LIVE;
        let tracks = self.tracks.iter().flatten();
        let mut live = tracks.filter(|track| track.pace.is_live());
        live.any(|track| track.transits.newest().is_some_and(|newest| newest > since))
    }

    /// Whether nothing is shown before a group begins.
    pub fn joins_next_group(&self) -> bool {
        self.join == Join::NextGroup
    }

    /// How often the edge stepped forward to a longer route.
    pub fn resyncs(&self) -> u64 {
        self.steps
    }

    /// How much faster than ours the publisher's clock runs, in ppm, once it was followed for 30 s.
    pub fn drift(&self) -> Option<f64> {
        self.drift.ppm()
    }

    /// Takes back what was added to the latency and has not been needed for [`RELAX`], while every track
    /// shows what it needs.
    fn relax(&mut self, slower: Nanos, now: Nanos) {
        let mut tracks = self.tracks.iter().flatten();
        let all_show = tracks.all(|track| track.kind.is_sparse() || !track.transits.is_empty());
        if !all_show || self.extra - slower <= LATENCY_STEP {
            self.unneeded = None;
            return;
        }
        let (since, most) = *self.unneeded.get_or_insert((now, slower));
        let most = most.max(slower);
        self.unneeded = Some((since, most));
        if now - since >= RELAX {
            self.extra = most;
            self.unneeded = None;
        }
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
        let young = now - anchor.start < FREE;
        let (extra, may_fall) = match young || unconfirmed {
            true => (slower.max(anchor.extra), young),
            false => (slower, std::mem::take(&mut anchor.extra) > 0),
        };
        let change = extra - self.extra;
        if (!young || anchor.settled)
            && (change > LATENCY_STEP || (may_fall && change < -LATENCY_STEP))
        {
            self.extra = extra;
        }
        self.relax(slower, now);
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
            .filter(|slower| *slower <= nanos(MAX_DELAY))
            .max()
    }

    /// The least transit of the last seconds over all tracks, or over those that are live once any is.
    fn least(&self) -> Option<Nanos> {
        let tracks = || self.tracks.iter().flatten();
        let live = tracks().filter(|track| track.pace.is_live());
        let live = live.filter_map(|track| track.transits.least()).min();
        live.or_else(|| tracks().filter_map(|track| track.transits.least()).min())
    }

    /// The frames of one more track arrive live.
    fn begin_live(&mut self, now: Nanos) {
        let least = self.least();
        let (Some(anchor), Some(least)) = (&mut self.anchor, least) else {
            return;
        };
        anchor.live.get_or_insert(now);
        if least - anchor.offset > nanos(MAX_DELAY) {
            // Times that no live track has had set it.
            anchor.offset = least;
            self.jump();
        }
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
        since.is_none_or(|since| now - since < FREE)
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

/// When a picture `since` after the first one is played, after that one, while it is caught up with.
fn caught_up(since: Nanos) -> Nanos {
    // What is shown before the first one is decoded after it, and keeps its distance.
    since.min(since / CATCH_UP)
}

/// Signed and wide, so that sums and differences need no care.
fn nanos(time: ClockTime) -> Nanos {
    time.nseconds().into()
}

/// The nearest time that there is.
fn clock_time(nanos: Nanos) -> ClockTime {
    let nanos = nanos.clamp(0, self::nanos(ClockTime::MAX));
    ClockTime::from_nseconds(u64::try_from(nanos).unwrap_or(0))
}

#[cfg(test)]
mod tests;
