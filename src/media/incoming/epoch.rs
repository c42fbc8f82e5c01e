//! Timestamps that jump: all tracks of a broadcast go to another epoch, or none.

use super::{EPOCH, Timeline, TrackId};

/// One track may not take the others to another epoch while any of them kept to this one that lately.
const CONFIRM: i64 = 500_000_000;

impl Timeline {
    /// Whether a frame of this transit is of another epoch, to which no other track has gone.
    pub(super) fn strays(&self, id: TrackId, transit: i64, now: i64) -> bool {
        let (Some(anchor), tracks) = (&self.anchor, self.tracks.iter().enumerate()) else {
            return false;
        };
        let mut others = tracks.filter(|(index, _)| *index != id.0);
        transit < anchor.offset - EPOCH
            && others.any(|(_, track)| {
                let seen = track.as_ref().and_then(|track| track.seen);
                seen.is_some_and(|seen| now - seen < CONFIRM)
            })
    }
}
