//! The broadcast: its catalog, its tracks, and their end.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use hang::container::track_info;
use moq_mux::{Clock, catalog};
use moq_net::{broadcast, origin};
use tokio::{task::JoinSet, time::Instant};

use super::{
    member::Member,
    report::Report,
    run::{Frame, Message, PadId, PadMessage, Run},
    track::{Refused, Track},
};
use crate::{
    media::{
        codec::Kind,
        description::Orientation,
        name::Names,
        rendition::{Catalog, Rendition, Sections},
    },
    session::error::Error,
};

/// How long the announcement waits for the catalog to be complete.
const ANNOUNCE_WAIT: Duration = Duration::from_millis(500);
/// The least delay that is worth to be told.
const MIN_DELAY: gst::ClockTime = gst::ClockTime::from_mseconds(5);
/// How many tracks may wait for their delivery after a change of format.
const MAX_RETIRED: usize = 8;

/// All that one element publishes during a run.
pub(super) struct Publication {
    name: String,
    origin: origin::Producer,
    /// How long groups stay available to viewers that come or come back.
    cache_time: Duration,
    run: Arc<Run>,
    clock: Option<Clock>,
    members: BTreeMap<PadId, Member>,
    /// From the first frame to the end of all streams.
    broadcast: Option<Broadcast>,
    /// Tracks that go on only until they are delivered, the oldest first.
    retired: Vec<Track>,
    watchers: JoinSet<()>,
    /// The last EOS of a pad, until the end of all streams was told.
    eos: Option<gst::Seqnum>,
}

struct Broadcast {
    producer: broadcast::Producer,
    catalog: catalog::Producer<Sections>,
    names: Names,
    announcement: Announcement,
}

enum Announcement {
    /// At this time at the latest.
    Due(Instant),
    Made(Instant),
}

impl Publication {
    pub(super) fn new(
        name: String,
        origin: origin::Producer,
        cache_time: Duration,
        run: Arc<Run>,
    ) -> Self {
        Self {
            name,
            origin,
            cache_time,
            run,
            clock: None,
            members: BTreeMap::new(),
            broadcast: None,
            retired: Vec::new(),
            watchers: JoinSet::new(),
            eos: None,
        }
    }

    pub(super) fn apply(&mut self, message: Message) -> Result<(), Error> {
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
            PadMessage::Open(_) => {}
            PadMessage::Kind(kind) => {
                member.kind = Some(kind);
                if std::mem::take(&mut member.failed) {
                    member.report(&self.run, Report::Retries);
                }
            }
            PadMessage::Rendition(rendition, wanted) => {
                member.wanted = wanted;
                if member.rendition.replace(*rendition.clone()) != Some(*rendition) {
                    self.take_down(id);
                }
            }
            PadMessage::InBand(rendition) => {
                member.rendition = Some(*rendition);
                return self.list(id, None);
            }
            PadMessage::Frame(frame) => return self.frame(id, frame),
            PadMessage::Describe(description) => {
                if member.describe(*description) {
                    return self.list(id, None);
                }
            }
            PadMessage::Flush | PadMessage::Revive => return self.revive(id),
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

    /// The EOS to tell once all is delivered: every pad is over, and at least one by EOS.
    pub(super) fn ended(&self) -> Option<gst::Seqnum> {
        self.eos
            .filter(|_| self.members.values().all(Member::is_over))
    }

    /// When the broadcast has to be announced.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.broadcast.as_ref()?.announcement {
            Announcement::Due(due) => Some(due),
            Announcement::Made(_) => None,
        }
    }

    /// Since when viewers could know of the broadcast.
    pub(super) fn announced(&self) -> Option<Instant> {
        match self.broadcast.as_ref()?.announcement {
            Announcement::Due(_) => None,
            Announcement::Made(since) => Some(since),
        }
    }

    /// Returns when something was delivered.
    pub(super) async fn delivery(&mut self) {
        if self.watchers.join_next().await.is_none() {
            std::future::pending().await
        }
    }

    /// Announces the broadcast when it is time.
    pub(super) fn announce(&mut self, now: Instant) -> Result<(), Error> {
        let mut members = self.members.values();
        let complete = members.all(|member| member.track.is_some() || member.is_over());
        if let Some(broadcast) = &mut self.broadcast
            && let Announcement::Due(due) = broadcast.announcement
            && (complete || now >= due)
        {
            let route = origin::Route::default();
            broadcast.producer.announce(route).map_err(Error::Publish)?;
            broadcast.announcement = Announcement::Made(now);
        }
        Ok(())
    }

    /// Ends the tracks that are over and delivered; only sensible while the link is up.
    pub(super) fn settle(&mut self) {
        while self.watchers.try_join_next().is_some() {}
        self.retired.retain_mut(|track| !track.finish_delivered());
        for member in self.members.values_mut() {
            member.settle(&self.run);
        }
    }

    /// Whether all that anyone asked for has reached the next hop.
    pub(super) fn is_delivered(&mut self) -> bool {
        let current = self
            .members
            .values_mut()
            .filter_map(|member| member.track.as_mut());
        current
            .chain(&mut self.retired)
            .all(|track| track.is_delivered())
    }

    /// The connection was lost: what counted as delivered may have to be sent again.
    pub(super) fn redeliver(&mut self) {
        let members = self.members.values_mut();
        let current = members.filter_map(|member| member.track.as_mut());
        for track in current.chain(&mut self.retired) {
            track.redeliver(&mut self.watchers);
        }
    }

    /// The connection is back: viewers that come back begin with a key frame.
    pub(super) fn reconnected(&mut self) {
        for member in self.members.values_mut() {
            if member.track.is_some() && !member.is_over() {
                member.ask(&self.run);
            }
        }
    }

    /// Ends tracks, catalog and broadcast, in the order in which viewers understand it.
    pub(super) fn finish(&mut self) {
        self.eos = None;
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

    /// Goes away without an end, as a stop without EOS does: viewers wait for what comes back.
    pub(super) fn withdraw(&mut self) {
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
            true => self.retire(id),
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
        if member.failed || !member.takes(&frame, &self.run) {
            return Ok(());
        }
        member.measure(&frame);
        if member.track.is_none() {
            self.publish(id)?;
        }
        let Some(member) = self.members.get_mut(&id) else {
            return Ok(());
        };
        let Some(track) = &mut member.track else {
            return Ok(());
        };
        let Frame {
            timestamp,
            key,
            payload,
            ..
        } = frame;
        match track.write(timestamp, key, payload, &mut self.watchers) {
            Ok(()) => member.written(&self.run),
            Err(Refused::Failed(error)) => return Err(Error::Catalog(error)),
            Err(refused) => member.refused(&self.run, &refused),
        }
        if member.evaluates() {
            return self.evaluate();
        }
        Ok(())
    }

    /// Gives the pad a track, unless its name is taken.
    fn publish(&mut self, id: PadId) -> Result<(), Error> {
        let rendition = self.members.get(&id).and_then(|pad| pad.rendition.as_ref());
        let Some(kind) = rendition.map(|rendition| rendition.kind()) else {
            return Ok(());
        };
        let base = match self.base(id, kind) {
            Ok(base) => base,
            Err(reason) => {
                if let Some(member) = self.members.get_mut(&id) {
                    member.fail(&self.run, reason);
                }
                return Ok(());
            }
        };
        let cache_time = self.cache_time;
        let broadcast = self.broadcast()?;
        let name = broadcast.names.take(&base);
        let info = track_info(kind.priority()).with_max_age(cache_time);
        let producer = broadcast.producer.create_track(name.as_str(), info);
        let Some(member) = self.members.get_mut(&id) else {
            return Ok(());
        };
        match producer {
            Ok(producer) => member.publish(&self.run, base, Track::new(producer, kind)),
            Err(err) => {
                member.fail(&self.run, format!("The track \"{name}\" is refused: {err}"));
                return Ok(());
            }
        }
        self.list(id, None)
    }

    /// The base name of a pad's tracks, or why it can have none.
    fn base(&self, id: PadId, kind: Kind) -> Result<String, String> {
        let Some(member) = self.members.get(&id) else {
            return Err("The pad is gone".into());
        };
        if let Some(base) = &member.base {
            return Ok(base.clone());
        }
        let taken = |base: &str| {
            let mut others = self.members.iter().filter(|(other, _)| **other != id);
            others.any(|(_, member)| member.base.as_deref() == Some(base))
        };
        if let Some(wanted) = &member.wanted {
            if let Some(reason) = Names::refuse(wanted) {
                return Err(format!("The track name \"{wanted}\" {reason}"));
            }
            return match taken(wanted) {
                true => Err(format!(
                    "Another pad has the track name \"{wanted}\" already"
                )),
                false => Ok(wanted.clone()),
            };
        }
        // In the order of requests, whichever pad's first frame comes first.
        let earlier = self.members.range(..id).map(|(_, member)| member);
        let number = 1 + earlier
            .filter(|other| other.kind == Some(kind) && other.wanted.is_none())
            .count();
        let mut bases = (number..).map(|number| match number {
            1 => kind.name().to_owned(),
            number => format!("{}-{number}", kind.name()),
        });
        bases
            .find(|base| !taken(base))
            .ok_or_else(|| "No track name is left".to_owned())
    }

    fn broadcast(&mut self) -> Result<&mut Broadcast, Error> {
        let broadcast = match self.broadcast.take() {
            Some(broadcast) => broadcast,
            None => {
                let mut producer = self
                    .origin
                    .create_broadcast(self.name.as_str())
                    .map_err(Error::Publish)?;
                let config = catalog::Config::default()
                    .with_catalog(Catalog::default())
                    .with_clock(self.clock.unwrap_or_default());
                let catalog =
                    catalog::Producer::new(&mut producer, config).map_err(Error::Publish)?;
                Broadcast {
                    producer,
                    catalog,
                    names: Names::default(),
                    announcement: Announcement::Due(Instant::now() + ANNOUNCE_WAIT),
                }
            }
        };
        Ok(self.broadcast.insert(broadcast))
    }

    /// Writes the pad's entry into the catalog.
    fn list(&mut self, id: PadId, delay: Option<Duration>) -> Result<(), Error> {
        let orientation = self.orientation();
        for member in self.members.values_mut() {
            member.compare(&self.run, orientation);
        }
        let Some((broadcast, member)) = self.broadcast.as_mut().zip(self.members.get_mut(&id))
        else {
            return Ok(());
        };
        if member.track.is_none() {
            return Ok(());
        }
        broadcast
            .catalog
            .mutate(|catalog| {
                member.list(catalog, delay);
                Orientation::list(orientation, catalog);
            })
            .map_err(Error::Catalog)
    }

    /// How all pictures are to be turned: the first pad that says so wins.
    fn orientation(&self) -> Option<Orientation> {
        self.members.values().find_map(Member::orientation)
    }

    fn edit(&mut self, edit: impl FnOnce(&mut Catalog)) -> Result<(), Error> {
        match &mut self.broadcast {
            Some(broadcast) => broadcast.catalog.mutate(edit).map_err(Error::Catalog),
            None => Ok(()),
        }
    }

    /// States how much later than the earliest track each of the others comes.
    fn evaluate(&mut self) -> Result<(), Error> {
        let transits = self.members.values().filter_map(|member| member.transit);
        let Some(least) = transits.min() else {
            return Ok(());
        };
        let watched = self
            .members
            .iter()
            .filter(|(_, member)| !member.is_watched());
        let delays: Vec<(PadId, gst::ClockTime)> = watched
            .filter_map(|(id, member)| Some((*id, member.transit? - least)))
            .filter(|(_, delay)| *delay >= MIN_DELAY)
            .collect();
        for (id, delay) in delays {
            self.list(id, Some(delay.into()))?;
        }
        Ok(())
    }
}
