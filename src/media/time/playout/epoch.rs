//! Timestamps that jump: all tracks of a broadcast go to another epoch, or none.

use super::{EPOCH, Nanos, Timeline, TrackId};

/// One track may not take the others to another epoch while any of them kept to this one that lately.
const CONFIRM: Nanos = 500_000_000;
/// What a cache had at the join is no older: until frames arrive live, a track that is newer by less
/// shows that the others are silent, and not that its own times are absurd.
const STALE: Nanos = 12 * 3_600_000_000_000;

impl Timeline {
    /// Whether a frame of this transit is of another epoch, to which no other track has gone.
    pub(super) fn strays(&self, id: TrackId, transit: Nanos, now: Nanos) -> bool {
        let (Some(anchor), tracks) = (&self.anchor, self.tracks.iter().enumerate()) else {
            return false;
        };
        let ahead = anchor.offset - transit;
        let mut others = tracks.filter(|(index, _)| *index != id.0);
        ahead > EPOCH
            && others.any(|(_, track)| {
                track.as_ref().is_some_and(|track| {
                    let lately = track.seen.is_some_and(|seen| now - seen < CONFIRM);
                    lately && (track.pace.is_live() || ahead > STALE)
                })
            })
    }

    /// Whether a cue or a record of this transit is of another epoch: nobody publishes that early.
    pub(super) fn is_far_ahead(&self, transit: Nanos) -> bool {
        let anchor = self.anchor.as_ref();
        anchor.is_some_and(|anchor| anchor.offset - transit > STALE)
    }
}
