//! One pad as the session task knows it.

use std::time::Duration;

use gst::prelude::*;
use tokio::time::Instant;

use super::track::{Refused, Track};
use crate::element::warn_limiter::WarnLimiter;
use crate::media::{
    catalog::description::{Description, Orientation},
    format::{
        caps::{self, Rendition},
        codec::Kind,
        duration,
        rendition::Catalog,
    },
};
use crate::sink::{
    message::{Frame, KEYFRAME_REQUEST_INTERVAL, PadHandle, Report},
    run::Run,
};

/// How often a pad's QOS messages come at most.
const QUALITY_INTERVAL: Duration = Duration::from_secs(1);
/// How long a track's frames are watched before its delay is stated.
const DELAY_WINDOW: Duration = Duration::from_secs(1);

/// A pad's stream and the track that it is published as.
pub(crate) struct Member {
    peer: PadHandle,
    pub(crate) kind: Option<Kind>,
    /// The track name that the user wants.
    pub(crate) wanted: Option<String>,
    /// The base name of the pad's tracks in this broadcast.
    pub(crate) base: Option<String>,
    pub(crate) rendition: Option<Rendition>,
    pub(crate) description: Description,
    pub(crate) track: Option<Track>,
    /// It had a track in this run.
    known: bool,
    /// The track before, while it is listed still.
    pub(crate) outdated: Option<String>,
    /// EOS came.
    pub(crate) ended: bool,
    /// Nothing is published until the next caps.
    pub(crate) failed: bool,
    /// Over the budget: frames go until there is room and a key frame comes.
    skipping: bool,
    /// When a key frame was last asked for in vain.
    asked: Option<Instant>,
    /// Frames were refused, and no key frame was written since.
    stalled: bool,
    /// The least time by which its live frames came later than their running times.
    pub(crate) transit: Option<gst::ClockTime>,
    /// When the delay is evaluated; `None` before the first frame and afterwards.
    evaluate: Option<Instant>,
    /// When the last QOS message was posted.
    qualified: Option<Instant>,
    /// Reasons for drops that were reported; there are few.
    warnings: WarnLimiter,
}

impl Member {
    pub(crate) fn new(peer: PadHandle) -> Self {
        Self {
            peer,
            kind: None,
            wanted: None,
            base: None,
            rendition: None,
            description: Description::default(),
            track: None,
            known: false,
            outdated: None,
            ended: false,
            failed: false,
            skipping: false,
            asked: None,
            stalled: false,
            transit: None,
            evaluate: None,
            qualified: None,
            warnings: WarnLimiter::once(),
        }
    }

    pub(crate) fn report(&self, run: &Run, report: Report) {
        self.peer.report(run.app_queue(), report);
    }

    /// Whether nothing may come for a long time although all is well.
    pub(crate) fn is_sparse(&self) -> bool {
        self.kind.is_some_and(Kind::is_sparse)
    }

    /// Whether anything can come; asked anew each time, because it may change at any moment.
    pub(crate) fn is_linked(&self) -> bool {
        let pad = self.peer.pad.upgrade();
        pad.is_some_and(|pad| pad.is_linked())
    }

    /// Nothing more is expected of it.
    pub(crate) fn is_over(&self) -> bool {
        self.ended || self.failed
    }

    pub(crate) fn publish(&mut self, run: &Run, base: String, track: Track) {
        self.report(run, Report::Published(track.name().to_owned()));
        self.base = Some(base);
        self.track = Some(track);
        if std::mem::replace(&mut self.known, true) {
            self.tell_change(run);
        }
        self.evaluate = Some(Instant::now() + DELAY_WINDOW);
    }

    /// Its viewers get another track, or another format.
    pub(crate) fn tell_change(&self, run: &Run) {
        let Some((track, rendition)) = self.track.as_ref().zip(self.rendition.as_ref()) else {
            return;
        };
        let (track, caps) = (
            track.name().to_owned(),
            caps::from_rendition(rendition).ok(),
        );
        self.report(run, Report::RenditionChanged { track, caps });
    }

    /// A stream of this kind begins; after a failure it is another try.
    pub(crate) fn begin(&mut self, run: &Run, kind: Kind) {
        self.kind = Some(kind);
        if std::mem::take(&mut self.failed) {
            self.report(run, Report::Retrying);
        }
    }

    pub(crate) fn fail(&mut self, run: &Run, reason: String) {
        self.failed = true;
        self.report(run, Report::Failed(reason));
    }

    /// Ends a track that is over and delivered.
    pub(crate) fn settle(&mut self, run: &Run) {
        if let Some(track) = self.track.as_mut().filter(|_| self.ended)
            && !track.is_finished()
            && track.finish_delivered()
        {
            self.report(run, Report::Ended);
        }
    }

    /// Ends its track for good; another broadcast may follow.
    pub(crate) fn finish(&mut self, run: &Run) {
        self.base = None;
        self.outdated = None;
        let Some(mut track) = self.track.take() else {
            return;
        };
        if self.ended && !track.is_finished() {
            self.report(run, Report::Ended);
        }
        track.finish();
    }

    /// What comes next does not continue what came before.
    pub(crate) fn cut(&mut self) {
        if let Some(track) = &mut self.track {
            track.cut();
        }
    }

    /// Takes a description over; whether it says something new.
    pub(crate) fn describe(&mut self, mut description: Description) -> bool {
        // Parsers correct their average for ever: small changes are not worth a catalog.
        if let Some((old, new)) = self.description.bitrate.zip(description.bitrate)
            && old.abs_diff(new) <= old / 10
        {
            description.bitrate = Some(old);
        }
        let news = self.description != description;
        self.description = description;
        news
    }

    /// How its pictures are to be turned, if it is said.
    pub(crate) fn orientation(&self) -> Option<Orientation> {
        let counts = self.kind == Some(Kind::Video) && !self.failed;
        self.description.orientation.filter(|_| counts)
    }

    /// Warns once if its pictures are to be turned in another way than the broadcast says.
    pub(crate) fn compare(&mut self, run: &Run, orientation: Option<Orientation>) {
        let own = self.orientation();
        if own.is_some() && own != orientation {
            let reason = "The catalog has one orientation for all pictures: this pad's is left out, because an earlier pad has another";
            if self.warnings.is_due(reason, Instant::now()) {
                self.report(run, Report::Warning(reason.into()));
            }
        }
    }

    /// Whether the frame is published: nothing is after a failure, and over its budget live input
    /// loses its oldest frames, up to a key frame.
    pub(crate) fn takes(&mut self, frame: &Frame, run: &Run) -> bool {
        if self.failed {
            self.peer.counters.refused.add(1);
            return false;
        }
        if !frame.live {
            return true;
        }
        let over = self.peer.budget.is_over_beside_one();
        let begins = over && !self.skipping;
        self.skipping = over || (self.skipping && !frame.keyframe);
        if begins {
            self.cut();
            self.tell(run, "more waits than max-bytes and max-time allow".into());
        }
        if self.skipping {
            self.peer.counters.over_budget.add(1);
            self.qualify(run);
            self.ask(run);
        }
        !self.skipping
    }

    /// Takes in that a frame was not written: video goes on with a key frame.
    pub(crate) fn refused(&mut self, run: &Run, refused: &Refused) {
        if matches!(refused, Refused::Congested) {
            self.peer.counters.too_old.add(1);
            return self.qualify(run);
        }
        self.ask(run);
        if matches!(refused, Refused::NoKeyFrame) {
            self.peer.counters.no_key_frame.add(1);
            return;
        }
        self.peer.counters.refused.add(1);
        let reason = refused.to_string();
        if self.kind == Some(Kind::Video) {
            self.stalled = true;
            let text = format!("Frames are dropped until a key frame comes: {reason}");
            self.report(run, Report::Stalled(text));
        }
        self.tell(run, reason);
    }

    /// Takes in that a frame of `bytes` was written, perhaps the first of a group.
    pub(crate) fn written(&mut self, run: &Run, bytes: usize, begins: bool) {
        let counters = &self.peer.counters;
        counters.frames.add(1);
        counters.bytes.add(bytes as u64);
        counters.groups.add(begins.into());
        self.asked = None;
        if std::mem::take(&mut self.stalled) {
            self.report(run, Report::Flowing);
        }
    }

    /// Counts the groups that the network has not carried in time, now that `timestamp` was written.
    pub(crate) fn give_up(&mut self, run: &Run, timestamp: u64) {
        let Some(track) = &mut self.track else { return };
        let given_up = track.give_up(timestamp);
        if given_up.groups > 0 {
            self.peer.counters.groups_given_up.add(given_up.groups);
            self.peer.counters.too_old.add(given_up.frames);
            self.qualify(run);
        }
    }

    /// Has a QOS message posted, unless that was done a moment ago.
    fn qualify(&mut self, run: &Run) {
        let due = self.qualified;
        if due.is_none_or(|at| at.elapsed() >= QUALITY_INTERVAL) {
            self.qualified = Some(Instant::now());
            self.report(run, Report::Quality(self.peer.counters.quality()));
        }
    }

    /// Asks for a key frame, and again for as long as none comes.
    pub(crate) fn ask(&mut self, run: &Run) {
        let due = self
            .asked
            .is_none_or(|at| at.elapsed() >= KEYFRAME_REQUEST_INTERVAL);
        if due && self.kind == Some(Kind::Video) {
            self.asked = Some(Instant::now());
            self.report(run, Report::NeedsKeyframe);
        }
    }

    pub(crate) fn measure(&mut self, frame: &Frame) {
        // A cue may come early or late without being slower on its way.
        if self.is_sparse() {
            return;
        }
        self.transit = match (self.transit, frame.transit) {
            (Some(least), Some(transit)) => Some(least.min(transit)),
            (least, transit) => least.or(transit),
        };
    }

    /// Whether its delay is not known yet.
    pub(crate) fn is_watched(&self) -> bool {
        self.track.is_none() || self.evaluate.is_some()
    }

    /// Whether it is time to state the delay; true once for each track.
    pub(crate) fn evaluates(&mut self) -> bool {
        let due = self.evaluate.is_some_and(|due| Instant::now() >= due);
        if due {
            self.evaluate = None;
        }
        due
    }

    /// Writes its entry into the catalog; without a `delay`, the listed one stays.
    pub(crate) fn list(&mut self, catalog: &mut Catalog, delay: Option<Duration>) {
        let (Some(track), Some(mut rendition)) = (&self.track, self.rendition.clone()) else {
            return;
        };
        let name = track.name();
        if let Some(outdated) = self.outdated.take() {
            Rendition::delist(catalog, &outdated);
        }
        self.description.describe(&mut rendition);
        rendition.set_delay(delay.or(rendition.listed_delay(catalog, name)));
        if let Rendition::Video(config) = &mut rendition {
            config.jitter = reordering(config);
        }
        rendition.list(catalog, name);
        if let Some(base) = self.base.as_ref().filter(|base| *base != name) {
            let lineage = &mut catalog.ext.lineage;
            lineage.insert(name.to_owned(), base.clone());
        }
    }

    fn tell(&mut self, run: &Run, reason: String) {
        if self.warnings.is_due(&reason, Instant::now()) {
            self.report(run, Report::Dropped(reason));
        }
    }
}

/// How long the encoder may hold a picture back: until the next one, and those that it reorders.
fn reordering(config: &hang::catalog::VideoConfig) -> Option<Duration> {
    let rendition = Rendition::Video(config.clone());
    let frame: Duration = duration::of(&rendition, &[])?.into();
    let depth = caps::reorder_depth(&rendition).unwrap_or_default();
    Some(frame * (depth + 1))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use gst::glib;
    use tokio::sync::mpsc;

    use super::*;
    use crate::element::budget::Budget;

    #[test]
    fn live_input_over_its_budget_loses_its_oldest_frames_up_to_a_key_frame() {
        gst::init().expect("GStreamer initializes");
        let element = gst::Bin::new();
        let (sender, _messages) = mpsc::unbounded_channel();
        let run = Run::new(element.upcast_ref(), sender);
        let budget = Budget::new(100, gst::ClockTime::ZERO);
        let mut member = Member::new(PadHandle {
            pad: glib::WeakRef::new(),
            budget: budget.clone(),
            counters: Default::default(),
        });
        let frame = |key: bool| Frame {
            timestamp: 0,
            duration: None,
            keyframe: key,
            ends_cue: true,
            payload: Bytes::new(),
            live: true,
            transit: None,
            _charge: budget.charge(60, gst::ClockTime::ZERO),
        };
        let waiting = [true, false, false, true, false].map(frame);
        let taken = waiting.map(|frame| member.takes(&frame, &run));
        assert_eq!(taken, [false; 5], "the last one lacks its key frame");
        let next = [true, false].map(|key| member.takes(&frame(key), &run));
        assert_eq!(next, [true; 2]);
    }
}
