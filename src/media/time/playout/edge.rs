//! How the edge follows the transits that tracks show.

use super::{
    DRIFT, FREE, LATE, Nanos, SLEW, Timeline, TrackId, drift::Drift, nanos, transit::WINDOW,
};

impl Timeline {
    /// Moves the edge towards the least transit of the last seconds.
    pub(super) fn slew(&mut self, now: Nanos) {
        for track in self.tracks.iter_mut().flatten() {
            // A silent track says nothing about the route of the others.
            track.forget_before(now - WINDOW);
        }
        let least = self.least();
        let Some(anchor) = &mut self.anchor else {
            return;
        };
        let elapsed = (now - anchor.slewed).max(0);
        anchor.slewed = now;
        let Some(least) = least else { return };
        let most = |(part, whole): (Nanos, Nanos)| elapsed.saturating_mul(part) / whole;
        anchor.offset = least.clamp(anchor.offset - most(SLEW), anchor.offset + most(DRIFT));
        if now - anchor.start > FREE {
            self.drift.follow(anchor.offset, now);
        }
    }

    /// Steps the edge forward when every frame of the track was too late for [`LATE`].
    pub(super) fn judge_lateness(&mut self, id: TrackId, transit: Nanos, now: Nanos) {
        let Some(offset) = self.anchor.as_ref().map(|anchor| anchor.offset) else {
            return;
        };
        let allowed = offset + nanos(self.min_latency());
        let Some(track) = self.track(id) else { return };
        if transit <= allowed {
            track.late_since = None;
            return;
        }
        if now - *track.late_since.get_or_insert(now) < LATE {
            return;
        }
        for track in self.tracks.iter_mut().flatten() {
            track.late_since = None;
            track.forget_before(now - LATE);
        }
        let least = self.least();
        if let (Some(anchor), Some(least)) = (&mut self.anchor, least)
            && least > anchor.offset
        {
            anchor.offset = least;
            self.steps += 1;
            self.jump();
        }
    }

    /// What follows stands by itself: no group is caught up with across a jump.
    pub(super) fn jump(&mut self) {
        self.drift = Drift::default();
        if let Some(anchor) = &mut self.anchor {
            anchor.first_video = None;
        }
        for track in self.tracks.iter_mut().flatten() {
            track.discont = true;
            track.decode_order.reset();
        }
    }
}
