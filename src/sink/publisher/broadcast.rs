//! The broadcast: its catalog, its tracks, and their end.

mod listing;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use moq_mux::{Clock, catalog};
use moq_net::{broadcast, origin};
use tokio::{task::JoinSet, time::Instant};

use super::{
    published_pad::Member,
    track::{Refused, Track},
};
use crate::sink::{
    message::{Frame, Message, PadId, PadMessage},
    run::Run,
};
use crate::{
    media::{
        catalog::{data::Sections, description::Orientation, name::Names},
        format::rendition::Rendition,
    },
    net::{config::Cache, error::Error},
};

/// How long the announcement waits for the catalog to be complete.
const ANNOUNCE_WAIT: Duration = Duration::from_millis(500);
/// A description that changes all the time is listed once in this time.
const DESCRIBE_PAUSE: Duration = Duration::from_millis(250);
/// How many tracks may wait for their delivery after a change of format.
const MAX_RETIRED: usize = 8;

/// All that one element publishes during a run.
pub(crate) struct Publication {
    name: String,
    origin: origin::Producer,
    /// What is kept for viewers that come or come back.
    cache: Cache,
    /// How late a group of live pictures may be.
    max_age: Duration,
    run: Arc<Run>,
    clock: Option<Clock>,
    members: BTreeMap<PadId, Member>,
    /// From the first frame to the end of all streams.
    broadcast: Option<Broadcast>,
    /// Tracks that go on only until they are delivered, the oldest first.
    retired: Vec<Track>,
    watchers: JoinSet<()>,
    /// The pads whose new descriptions are not listed yet, and when they may be.
    described: BTreeSet<PadId>,
    list_at: Instant,
    /// The last EOS of a pad, until the end of all streams was told.
    eos: Option<gst::Seqnum>,
}

struct Broadcast {
    producer: broadcast::Producer,
    catalog: catalog::Producer<Sections>,
    /// Withholds the catalog until the announcement: relays hand on every one that was published, and
    /// some players read the first alone.
    withheld: Option<catalog::Reserved<Sections>>,
    names: Names,
    announcement: Announcement,
}

enum Announcement {
    /// At this time at the latest.
    Due(Instant),
    Made(Instant),
}

impl Publication {
    pub(crate) fn new(
        name: String,
        origin: origin::Producer,
        cache: Cache,
        max_age: Duration,
        run: Arc<Run>,
    ) -> Self {
        Self {
            name,
            origin,
            cache,
            max_age,
            run,
            clock: None,
            members: BTreeMap::new(),
            broadcast: None,
            retired: Vec::new(),
            watchers: JoinSet::new(),
            described: BTreeSet::new(),
            list_at: Instant::now(),
            eos: None,
        }
    }

    pub(crate) fn apply(&mut self, message: Message) -> Result<(), Error> {
        let (id, message) = match message {
            Message::Clock(clock) => {
                self.clock = Some(clock);
                return Ok(());
            }
            Message::Pad(id, PadMessage::Open(peer)) => {
                self.members.insert(id, Member::new(peer));
                return Ok(());
            }
            Message::Pad(id, message) => (id, message),
        };
        let Some(member) = self.members.get_mut(&id) else {
            return Ok(());
        };
        match message {
            PadMessage::Open(_) | PadMessage::LinkChanged => {}
            PadMessage::ExpectedKind(kind) => drop(member.kind.get_or_insert(kind)),
            PadMessage::Kind(kind) => member.begin(&self.run, kind),
            PadMessage::Rendition(rendition, wanted) => {
                member.wanted = wanted;
                if member.rendition.replace(*rendition.clone()) != Some(*rendition) {
                    self.take_down(id);
                }
                return self.publish_sparse();
            }
            PadMessage::InBand(rendition) => {
                member.rendition = Some(*rendition);
                member.tell_change(&self.run);
                return self.list(id, None);
            }
            PadMessage::Frame(frame) => return self.frame(id, frame),
            PadMessage::Describe(description) => {
                if member.describe(*description) {
                    self.described.insert(id);
                    return self.list_described(Instant::now());
                }
            }
            PadMessage::Flush | PadMessage::Restart => return self.revive(id),
            PadMessage::Eos(seqnum) => {
                member.ended = true;
                member.cut();
                self.eos = Some(seqnum);
            }
            PadMessage::Failed(reason) => {
                member.fail(&self.run, reason);
                member.rendition = None;
                return self.retire(id);
            }
            PadMessage::Release => {
                self.retire(id)?;
                self.members.remove(&id);
                let orientation = self.orientation();
                return self.edit(|catalog| Orientation::list(orientation, catalog));
            }
        }
        Ok(())
    }

    /// Lists the new descriptions, if the last ones were listed long enough ago.
    pub(crate) fn list_described(&mut self, now: Instant) -> Result<(), Error> {
        if now < self.list_at || self.described.is_empty() {
            return Ok(());
        }
        self.list_at = now + DESCRIBE_PAUSE;
        let mut described = std::mem::take(&mut self.described).into_iter();
        described.try_for_each(|id| self.list(id, None))
    }

    /// When [`Publication::list_described`] has something to do.
    pub(crate) fn description_due(&self) -> Option<Instant> {
        (!self.described.is_empty()).then_some(self.list_at)
    }

    /// The EOS to tell once all is delivered: every linked pad is over, and one came to its end by EOS.
    pub(crate) fn ended(&self) -> Option<gst::Seqnum> {
        let mut linked = self.members.values().filter(|member| member.is_linked());
        self.eos.filter(|_| linked.all(Member::is_over))
    }

    /// When the broadcast has to be announced.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        match self.broadcast.as_ref()?.announcement {
            Announcement::Due(due) => Some(due),
            Announcement::Made(_) => None,
        }
    }

    /// Since when viewers could know of the broadcast.
    pub(crate) fn announced(&self) -> Option<Instant> {
        match self.broadcast.as_ref()?.announcement {
            Announcement::Due(_) => None,
            Announcement::Made(since) => Some(since),
        }
    }

    /// Returns when something was delivered.
    pub(crate) async fn delivery(&mut self) {
        if self.watchers.join_next().await.is_none() {
            std::future::pending().await
        }
    }

    /// Announces the broadcast when it is time.
    pub(crate) fn announce(&mut self, now: Instant) -> Result<(), Error> {
        let mut members = self.members.values();
        let complete = members.all(|member| {
            member.track.is_some() || member.is_over() || member.is_sparse() || !member.is_linked()
        });
        if let Some(broadcast) = &mut self.broadcast
            && let Announcement::Due(due) = broadcast.announcement
            && (complete || now >= due)
        {
            broadcast.withheld = None;
            let route = origin::Route::default();
            broadcast.producer.announce(route).map_err(Error::Publish)?;
            broadcast.announcement = Announcement::Made(now);
        }
        Ok(())
    }

    /// Ends the tracks that are over and delivered; only sensible while the link is up.
    pub(crate) fn settle(&mut self) {
        while self.watchers.try_join_next().is_some() {}
        self.retired.retain_mut(|track| !track.finish_delivered());
        for member in self.members.values_mut() {
            member.settle(&self.run);
        }
    }

    /// Whether all that anyone asked for has reached the next hop.
    pub(crate) fn is_delivered(&mut self) -> bool {
        let current = self
            .members
            .values_mut()
            .filter_map(|member| member.track.as_mut());
        current
            .chain(&mut self.retired)
            .all(|track| track.is_delivered())
    }

    /// The connection was lost: what counted as delivered may have to be sent again.
    pub(crate) fn redeliver(&mut self) {
        let members = self.members.values_mut();
        let current = members.filter_map(|member| member.track.as_mut());
        for track in current.chain(&mut self.retired) {
            track.redeliver(&mut self.watchers);
        }
    }

    /// The connection is back: viewers that come back begin with a key frame.
    pub(crate) fn reconnected(&mut self) {
        for member in self.members.values_mut() {
            if member.track.is_some() && !member.is_over() {
                member.ask(&self.run);
            }
        }
    }

    /// Ends tracks, catalog and broadcast, in the order in which viewers understand it.
    pub(crate) fn finish(&mut self) {
        // Refused only when the catalog is over anyway.
        let _ = self.edit(|catalog| catalog.ext.end = true);
        if let Some(broadcast) = &mut self.broadcast {
            broadcast.withheld = None;
        }
        for mut track in self.retired.drain(..) {
            track.finish();
        }
        for member in self.members.values_mut() {
            member.finish(&self.run);
        }
        if let Some(mut broadcast) = self.broadcast.take() {
            // Refused only when the catalog is over anyway.
            let _ = broadcast.catalog.finish();
            broadcast.producer.close();
        }
    }

    /// The end of all streams was told.
    pub(crate) fn told(&mut self) {
        self.eos = None;
    }

    /// Goes away without an end, as a stop without EOS does: viewers wait for what comes back.
    pub(crate) fn withdraw(&mut self) {
        let current = self.members.values_mut();
        let current = current.filter_map(|member| member.track.take());
        for track in current.chain(self.retired.drain(..)) {
            track.withdraw();
        }
        self.broadcast = None;
    }

    /// The stream begins anew: after an end, under a new name.
    fn revive(&mut self, id: PadId) -> Result<(), Error> {
        self.run.revived();
        let Some(member) = self.members.get_mut(&id) else {
            return Ok(());
        };
        member.ended = false;
        member.cut();
        match member.track.as_ref().is_some_and(Track::is_finished) {
            true => self.retire(id).and_then(|()| self.publish_sparse()),
            false => Ok(()),
        }
    }

    /// Takes the pad's track out of the catalog; it ends when it is delivered.
    fn retire(&mut self, id: PadId) -> Result<(), Error> {
        self.take_down(id);
        let member = self.members.get_mut(&id);
        match member.and_then(|member| member.outdated.take()) {
            Some(name) => self.edit(|catalog| Rendition::delist(catalog, &name)),
            None => Ok(()),
        }
    }

    /// The same, but it stays listed until its successor is, so that viewers see one change.
    fn take_down(&mut self, id: PadId) {
        let Some(member) = self.members.get_mut(&id) else {
            return;
        };
        let Some(mut track) = member.track.take() else {
            return;
        };
        member.transit = None;
        member.outdated = Some(track.name().to_owned());
        track.cut();
        self.retired.push(track);
        if self.retired.len() > MAX_RETIRED {
            self.retired.remove(0).finish();
        }
    }

    fn frame(&mut self, id: PadId, frame: Frame) -> Result<(), Error> {
        let Some(member) = self.members.get_mut(&id) else {
            return Ok(());
        };
        if !member.takes(&frame, &self.run) {
            return Ok(());
        }
        member.measure(&frame);
        if member.track.is_none() {
            self.publish(id, frame.live)?;
            self.publish_sparse()?;
        }
        let Some(member) = self.members.get_mut(&id) else {
            return Ok(());
        };
        let Some(track) = &mut member.track else {
            return Ok(());
        };
        let Frame {
            timestamp,
            duration,
            keyframe,
            ends_cue,
            payload,
            ..
        } = frame;
        let bytes = payload.len();
        let written = track.write(timestamp, duration, keyframe, payload, &mut self.watchers);
        if ends_cue {
            track.end_cue();
        }
        match written {
            Ok(begins) => {
                member.written(&self.run, bytes, begins);
                member.give_up(&self.run, timestamp);
            }
            Err(Refused::Failed(error)) => {
                member.fail(&self.run, format!("A frame cannot be written: {error}"));
                return self.retire(id);
            }
            Err(refused) => member.refused(&self.run, &refused),
        }
        if member.evaluates() {
            return self.evaluate();
        }
        Ok(())
    }
}
