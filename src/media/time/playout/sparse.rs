//! Tracks on which nothing may come for long: they follow the timeline of the others.
//!
//! A cue or a record may be published early, or be cached for as long as it is the latest one, so
//! its arrival says nothing about the route. It counts only while no picture and no sound is
//! subscribed; until the first of them arrives, it is held for [`super::MAX_HOLD`] at most.

use gst::ClockTime;

use super::{Stamp, Timeline, Track, TrackId, Verdict, clock_time, nanos};

impl Timeline {
    /// When something that lasts from `begin` to `end` is shown, and for how long.
    ///
    /// What began before the start of the subscription and lasts on is shown from the start; without
    /// an `end` it lasts until something else follows. `None` says that it is over.
    pub fn stamp_span(
        &mut self,
        id: TrackId,
        begin: ClockTime,
        end: Option<ClockTime>,
    ) -> Option<(Stamp, Option<ClockTime>)> {
        let anchor = self.anchor.as_ref()?;
        let (start, offset) = (anchor.start, anchor.offset);
        let end = end.map(|end| nanos(end) + offset);
        let lasts = end.is_none_or(|end| end > start);
        let begin = match lasts {
            true => begin.max(clock_time(start - offset)),
            false => begin,
        };
        let Verdict::Emit(stamp) = self.stamp(id, begin) else {
            return None;
        };
        let duration = end.map(|end| clock_time(end - nanos(stamp.pts)));
        // What was shown before may have pushed it beyond its end.
        duration
            .is_none_or(|duration| !duration.is_zero())
            .then_some((stamp, duration))
    }

    /// The running time of a timestamp, which no frame of the track has.
    pub fn edge(&self, ts: ClockTime) -> Option<ClockTime> {
        let offset = self.anchor.as_ref()?.offset;
        Some(clock_time(nanos(ts) + offset))
    }

    pub(super) fn is_sparse(&self, id: TrackId) -> bool {
        let track = self.tracks.get(id.0).and_then(Option::as_ref);
        track.is_some_and(|track| track.kind.is_sparse())
    }

    /// Whether the arrivals of the track do not count.
    pub(super) fn follows(&self, id: TrackId) -> bool {
        self.is_sparse(id) && self.has_pacer()
    }

    /// Whether there is a track whose arrivals always count.
    pub(super) fn has_pacer(&self) -> bool {
        let paces = |track: &Track| !track.kind.is_sparse();
        self.tracks.iter().flatten().any(paces)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::{format::codec::Kind, time::playout::Join};

    const fn ms(ms: u64) -> ClockTime {
        ClockTime::from_mseconds(ms)
    }

    fn timeline(kinds: [Kind; 2]) -> (Timeline, [TrackId; 2]) {
        let mut timeline = Timeline::new(ms(200), Join::Live);
        let tracks = kinds.map(|kind| timeline.add_track(kind, None, ClockTime::ZERO));
        (timeline, tracks)
    }

    fn pts(timeline: &mut Timeline, id: TrackId, ts: u64, end: u64) -> Option<(u64, u64)> {
        let (stamp, duration) = timeline.stamp_span(id, ms(ts), Some(ms(end)))?;
        Some((stamp.pts.mseconds(), duration?.mseconds()))
    }

    #[test]
    fn a_cue_that_comes_early_or_late_does_not_move_the_others() {
        let (mut timeline, [audio, text]) = timeline([Kind::Audio, Kind::Text]);
        timeline.arrive(audio, ms(5000), ms(1000));
        // 3 s early, then 4 s old.
        timeline.arrive(text, ms(8000), ms(1000));
        timeline.arrive(text, ms(1000), ms(1001));
        assert!(timeline.is_settled(ms(1011)));
        assert_eq!(timeline.min_latency(), ms(200));
        assert_eq!(pts(&mut timeline, audio, 5000, 5100), Some((1000, 100)));
        assert_eq!(pts(&mut timeline, text, 8000, 8500), Some((4000, 500)));
    }

    #[test]
    fn a_cue_that_is_on_screen_at_the_start_is_shown_for_its_rest() {
        let (mut timeline, [audio, text]) = timeline([Kind::Audio, Kind::Text]);
        timeline.arrive(text, ms(2000), ms(990));
        timeline.arrive(audio, ms(5000), ms(1000));
        assert!(timeline.is_settled(ms(1011)));
        assert_eq!(pts(&mut timeline, text, 1000, 3000), None, "it is over");
        assert_eq!(pts(&mut timeline, text, 2000, 6000), Some((1000, 1000)));
    }

    #[test]
    fn a_cue_waits_for_sound_for_a_bounded_time() {
        let (mut timeline, [audio, text]) = timeline([Kind::Audio, Kind::Text]);
        timeline.arrive(text, ms(2000), ms(1000));
        assert!(!timeline.is_settled(ms(1499)));
        assert!(timeline.is_settled(ms(1500)));
        assert_eq!(pts(&mut timeline, text, 2000, 9000), Some((1000, 7000)));
        timeline.arrive(audio, ms(5000), ms(1600));
        assert!(!timeline.is_settled(ms(1600)), "sound anchors anew");
        assert!(timeline.is_settled(ms(1611)));
        assert_eq!(pts(&mut timeline, audio, 5000, 5020), Some((1600, 20)));
    }

    #[test]
    fn an_old_cue_beside_records_delays_nothing() {
        let (mut timeline, [text, data]) = timeline([Kind::Text, Kind::Data]);
        timeline.arrive(data, ms(6000), ms(1000));
        timeline.arrive(text, ms(1000), ms(1001));
        assert!(timeline.is_settled(ms(1011)));
        timeline.arrive(data, ms(8000), ms(3000));
        assert_eq!(timeline.min_latency(), ms(200));
    }

    #[test]
    fn without_pictures_and_sound_cues_go_by_themselves() {
        let (mut timeline, [text, data]) = timeline([Kind::Text, Kind::Data]);
        timeline.arrive(text, ms(2000), ms(1000));
        timeline.arrive(data, ms(2020), ms(1010));
        assert!(timeline.is_settled(ms(1020)));
        assert_eq!(pts(&mut timeline, text, 2100, 3000), Some((1090, 900)));
    }
}
