// SPDX-License-Identifier: MIT
//! The broadcast: the tracks of all pads, from the first frame to their common end.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use hang::container::track_info;
use moq_mux::Clock;
use moq_net::{broadcast, origin};
use tokio::time::Instant;

use super::{
    Settings,
    catalog::Catalog,
    delivery::DeliveryTasks,
    demand::DemandTasks,
    published_pad::{FollowUp, PublishedPad},
    rate::RatedPad,
    track::PublishedTrack,
};
use crate::{
    media::{
        catalog::{description::Orientation, name::Names},
        format::{
            codec::Kind,
            rendition::{self, Rendition},
        },
    },
    net::{config::Cache, error::Error, listen::SubscriptionCount},
    sink::{
        message::{Message, PadId, PadMessage},
        run::Run,
    },
};

/// How long the announcement waits for the catalog to be complete.
const ANNOUNCE_TIMEOUT: Duration = Duration::from_millis(500);
/// How many tracks may wait for their delivery after a change of format.
const MAX_RETIRED: usize = 8;
/// The least delay that is worth listing.
const MIN_DELAY: gst::ClockTime = gst::ClockTime::from_mseconds(5);
/// How late a subscriber may come to a track that follows another and get all of it.
const FOLLOWING_MAX_AGE: Duration = Duration::from_secs(5);
/// How many times later than video audio may be: it is little, and a gap is heard.
const AUDIO_MAX_AGE_FACTOR: u32 = 5;

/// All that one element publishes during a run.
pub(super) struct PublishedBroadcast {
    name: String,
    origin: origin::Producer,
    /// What is kept for subscribers that come or come back.
    cache: Cache,
    shared: bool,
    /// How late a group of live video may be.
    max_age: Duration,
    /// Whether the catalog says that receivers are listened to.
    returns: bool,
    run: Arc<Run>,
    clock: Option<Clock>,
    pads: BTreeMap<PadId, PublishedPad>,
    /// From the first frame to the end of all streams.
    open: Option<Open>,
    /// A broadcast that has ended, and is served on with its tracks until the next one or the end of the run.
    ended: Option<(Open, Vec<PublishedTrack>)>,
    /// Tracks that go on only until they are delivered, the oldest first.
    retired: Vec<PublishedTrack>,
    tasks: DeliveryTasks,
    demand_tasks: DemandTasks,
    /// The last EOS of a pad, until the EOS message was posted.
    eos: Option<gst::Seqnum>,
}

struct Open {
    producer: broadcast::Producer,
    catalog: Catalog,
    announcement: Announcement,
}

enum Announcement {
    /// At this time at the latest.
    Due(Instant),
    Made(Instant),
}

impl PublishedBroadcast {
    /// Nothing is published before the first frame. Needs the runtime's context.
    ///
    /// `shared` says that many sessions take it, each at its own pace.
    pub(super) fn new(settings: &Settings, shared: bool, run: Arc<Run>) -> Self {
        Self {
            name: settings.broadcast.clone(),
            origin: settings.cache.origin(),
            cache: settings.cache,
            shared,
            max_age: settings.max_age,
            returns: false,
            run,
            clock: None,
            pads: BTreeMap::new(),
            open: None,
            ended: None,
            retired: Vec::new(),
            tasks: DeliveryTasks::default(),
            demand_tasks: DemandTasks::default(),
            eos: None,
        }
    }

    /// What sessions subscribe to is counted so. For the tracks that begin after this.
    pub(super) fn count_by(&mut self, count: Option<SubscriptionCount>) {
        self.demand_tasks.count_by(count);
    }

    /// Receivers are listened to, which the catalog says from its begin on.
    pub(super) fn list_return_path(&mut self) {
        self.returns = true;
    }

    /// A receiver wants a keyframe of the track of this name.
    pub(super) fn request_keyframe(&mut self, track: &str) {
        let mut pads = self.pads.values();
        if let Some(pad) = pads.find(|pad| pad.track_name() == Some(track)) {
            pad.request_keyframe_for_receiver();
        }
    }

    /// What sessions serve.
    pub(super) fn consume(&self) -> origin::Consumer {
        self.origin.consume()
    }

    /// Takes in what a pad or the element has sent.
    pub(super) fn apply(&mut self, message: Message) -> Result<(), Error> {
        let (id, message) = match message {
            Message::Clock(clock) => {
                self.clock = Some(clock);
                return Ok(());
            }
            // The publisher's.
            Message::Rate(_) => return Ok(()),
            Message::Pad(id, PadMessage::Open(handle)) => {
                let pad = PublishedPad::new(handle, self.run.app_queue().clone());
                self.pads.insert(id, pad);
                return Ok(());
            }
            Message::Pad(id, PadMessage::Release) => return self.release(id),
            Message::Pad(id, message) => (id, message),
        };
        match &message {
            PadMessage::Eos(seqnum) => self.eos = Some(*seqnum),
            PadMessage::Flush | PadMessage::Restart => self.run.revived(),
            _ => {}
        }
        let pad = self.pads.get_mut(&id);
        match pad.map(|pad| pad.apply(message, &mut self.tasks)) {
            Some(follow_up) => self.follow_up(id, follow_up),
            None => Ok(()),
        }
    }

    fn follow_up(&mut self, id: PadId, follow_up: FollowUp) -> Result<(), Error> {
        match follow_up {
            FollowUp::Nothing => Ok(()),
            FollowUp::Publish(frame) => {
                self.publish(id, frame.live)?;
                self.publish_sparse()?;
                let pad = self.pads.get_mut(&id);
                match pad.map(|pad| pad.write(frame, &mut self.tasks)) {
                    Some(FollowUp::RemoveTrack) => self.remove_track(id),
                    // Without a track it has none to get: its name is refused.
                    _ => Ok(()),
                }
            }
            FollowUp::PublishSparse => self.publish_sparse(),
            FollowUp::ReplaceTrack => {
                let track = self.pads.get_mut(&id).and_then(PublishedPad::take_track);
                self.retire(track);
                self.publish_sparse()
            }
            FollowUp::RemoveTrack => {
                self.remove_track(id)?;
                self.publish_sparse()
            }
            FollowUp::List => self.list(id, None),
            FollowUp::ListDescription => {
                if let Some(open) = &mut self.open {
                    open.catalog.describe(id);
                }
                Ok(())
            }
            FollowUp::ListDelays => self.list_delays(),
        }
    }

    /// The pad is gone.
    fn release(&mut self, id: PadId) -> Result<(), Error> {
        self.remove_track(id)?;
        self.pads.remove(&id);
        let orientation = self.orientation();
        self.edit(|catalog| Orientation::list(orientation, catalog))
    }

    /// Does what is due at `now`: sees who subscribes, lists new descriptions, and announces the broadcast.
    pub(super) fn advance(&mut self, now: Instant) -> Result<(), Error> {
        for pad in self.pads.values_mut() {
            pad.update_demand(now);
        }
        let open = self.open.as_mut();
        let described = open.map(|open| open.catalog.take_described(now));
        let mut described = described.into_iter().flatten();
        described.try_for_each(|id| self.list(id, None))?;
        if let Some(open) = &mut self.open
            && let Announcement::Due(due) = open.announcement
            && (now >= due || self.pads.values().all(PublishedPad::is_settled))
        {
            open.catalog.publish();
            let route = origin::Route::default();
            open.producer.announce(route).map_err(Error::Publish)?;
            open.announcement = Announcement::Made(now);
        }
        Ok(())
    }

    /// When [`Self::advance`] has something to do.
    pub(super) fn wake(&self) -> Option<Instant> {
        let open = self.open.as_ref()?;
        let announcement = match open.announcement {
            Announcement::Due(due) => Some(due),
            Announcement::Made(_) => None,
        };
        let described = open.catalog.described_due();
        let demand = self.pads.values().filter_map(PublishedPad::demand_wake);
        demand.chain(announcement).chain(described).min()
    }

    /// The pads that somebody subscribes to, or all as long as nobody does.
    pub(super) fn rated_pads(&self) -> Vec<RatedPad> {
        let rated = self.pads.iter();
        let rated: Vec<_> = rated
            .filter_map(|(id, pad)| Some((pad.is_subscribed(), pad.rated(*id)?)))
            .collect();
        let watched = rated.iter().any(|(subscribed, _)| *subscribed);
        let rated = rated.into_iter();
        rated
            .filter(|(subscribed, _)| *subscribed || !watched)
            .map(|(_, pad)| pad)
            .collect()
    }

    /// Takes back what waits of video, which goes on with its next keyframe.
    pub(super) fn restart_video(&mut self) {
        for pad in self.pads.values_mut() {
            pad.restart_video();
        }
    }

    /// Has the renditions rest for which there is no room, and the others go on.
    pub(super) fn set_crowded_out(&mut self, crowded_out: &BTreeSet<PadId>) {
        for (id, pad) in &mut self.pads {
            pad.set_crowded_out(crowded_out.contains(id));
        }
    }

    /// Since when subscribers could know of the broadcast.
    pub(super) fn announced(&self) -> Option<Instant> {
        match self.open.as_ref()?.announcement {
            Announcement::Due(_) => None,
            Announcement::Made(since) => Some(since),
        }
    }

    /// The EOS to post once all is delivered: every linked pad is over, and one came to its end by EOS.
    pub(super) fn eos(&self) -> Option<gst::Seqnum> {
        let mut linked = self.pads.values().filter(|pad| pad.is_linked());
        self.eos.filter(|_| linked.all(PublishedPad::is_over))
    }

    /// The EOS was handed on.
    pub(super) fn forget_eos(&mut self) {
        self.eos = None;
    }

    /// Returns when a group was delivered, or who subscribes has changed. Cancel safe.
    pub(super) async fn changed(&mut self) {
        tokio::select! {
            () = self.tasks.next() => {}
            () = self.demand_tasks.changed() => {}
        }
    }

    /// Finishes the tracks that are over and delivered; only sensible while the connection is up.
    pub(super) fn finish_delivered(&mut self) {
        self.retired.retain_mut(|track| !track.finish_delivered());
        for pad in self.pads.values_mut() {
            pad.finish_delivered();
        }
    }

    /// Whether all that a subscriber can still use has reached the next hop.
    pub(super) fn is_delivered(&mut self) -> bool {
        let pads = self.pads.values_mut();
        let tracks = pads.filter_map(PublishedPad::track_mut);
        let mut all = tracks.chain(&mut self.retired);
        all.all(PublishedTrack::is_delivered)
    }

    /// The connection was lost: what counted as delivered may have to be sent again.
    pub(super) fn redeliver(&mut self) {
        let pads = self.pads.values_mut();
        let tracks = pads.filter_map(PublishedPad::track_mut);
        for track in tracks.chain(&mut self.retired) {
            track.redeliver(&mut self.tasks);
        }
    }

    /// The connection is back: subscribers that come back begin with a keyframe.
    pub(super) fn reconnected(&mut self) {
        for pad in self.pads.values_mut() {
            pad.reconnected();
        }
    }

    /// Ends tracks, catalog and broadcast, in the order in which subscribers understand it.
    pub(super) fn finish(&mut self) {
        if let Some(open) = &mut self.open {
            open.catalog.mark_end();
        }
        let mut tracks: Vec<PublishedTrack> = self.retired.drain(..).collect();
        for track in &mut tracks {
            track.finish();
        }
        tracks.extend(self.pads.values_mut().filter_map(PublishedPad::finish));
        if let Some(open) = self.open.take() {
            self.ended = Some((open, tracks));
        }
        if !self.cache.is_for_rewind() {
            self.close_ended();
        }
    }

    /// What has ended is served no more.
    fn close_ended(&mut self) {
        if let Some((mut open, _)) = self.ended.take() {
            open.catalog.finish();
            open.producer.close();
        }
    }

    /// Goes away without an end, as a stop without EOS does: subscribers wait for what comes back.
    pub(super) fn abort(&mut self) {
        self.close_ended();
        let tracks = self.pads.values_mut().filter_map(PublishedPad::take_track);
        for track in tracks.chain(self.retired.drain(..)) {
            track.abort();
        }
        self.open = None;
    }

    /// Takes the pad's track out of the catalog; it ends when it is delivered.
    fn remove_track(&mut self, id: PadId) -> Result<(), Error> {
        let Some(pad) = self.pads.get_mut(&id) else {
            return Ok(());
        };
        let (track, listed) = (pad.take_track(), pad.take_replaced());
        self.retire(track);
        match listed {
            Some(name) => self.edit(|catalog| Rendition::delist(catalog, &name)),
            None => Ok(()),
        }
    }

    fn retire(&mut self, track: Option<PublishedTrack>) {
        self.retired.extend(track);
        if self.retired.len() > MAX_RETIRED {
            self.retired.remove(0).finish();
        }
    }

    /// Gives the pad a track, unless its name is taken.
    fn publish(&mut self, id: PadId, live: bool) -> Result<(), Error> {
        let pad = self.pads.get(&id);
        let Some((pad, kind)) = pad.and_then(|pad| Some((pad, pad.track_kind()?))) else {
            return Ok(());
        };
        let priority = pad.wanted_priority().unwrap_or_else(|| kind.priority());
        let mut max_late = self.track_max_age(kind, live);
        if pad.is_replacing() {
            max_late = max_late.max(FOLLOWING_MAX_AGE.min(self.cache.time));
        }
        let base = match self.base_name(id, kind) {
            Ok(base) => base,
            Err(reason) => return self.fail(id, reason),
        };
        let cache = self.cache;
        let open = self.open()?;
        let name = open.catalog.take_name(&base);
        // It is also how long the library keeps what was delivered.
        let info = track_info(priority).with_max_age(match cache.is_for_rewind() {
            true => cache.time,
            false => max_late,
        });
        let producer = match open.producer.create_track(name.as_str(), info) {
            Ok(producer) => producer,
            Err(err) => return self.fail(id, format!("The track \"{name}\" is refused: {err}")),
        };
        // Of groups that are larger than the window, little can have left it.
        // One slow session of many is no reason to hold anything back from the others.
        let max_stuck = match self.shared {
            true => None,
            false => Some(self.cache.send_window() as usize),
        };
        let subscribers = self.demand_tasks.watch(producer.clone());
        if let Some(pad) = self.pads.get_mut(&id) {
            pad.publish(base, producer, subscribers, max_late, max_stuck);
        }
        self.list(id, None)
    }

    /// A pad that has no track gets none before its next caps.
    fn fail(&mut self, id: PadId, reason: String) -> Result<(), Error> {
        if let Some(pad) = self.pads.get_mut(&id) {
            pad.fail(reason);
        }
        Ok(())
    }

    /// Gives the sparse pads their tracks beside the others, so that subscribers need not wait for a
    /// first cue.
    ///
    /// The broadcast begins with the first frame of any pad all the same: it needs the clock.
    fn publish_sparse(&mut self) -> Result<(), Error> {
        if self.open.is_none() {
            return Ok(());
        }
        let pads = self.pads.iter();
        let waiting = pads
            .filter(|(_, pad)| pad.needs_sparse_track())
            .map(|(id, _)| *id);
        let mut waiting = waiting.collect::<Vec<_>>().into_iter();
        waiting.try_for_each(|id| self.publish(id, false))
    }

    /// How late a group may be: subscribers that waited for longer would fall ever further behind.
    fn track_max_age(&self, kind: Kind, live: bool) -> Duration {
        let max_age = match kind {
            Kind::Video => self.max_age,
            Kind::Audio => self.max_age.saturating_mul(AUDIO_MAX_AGE_FACTOR),
            Kind::Text | Kind::Data => Duration::ZERO,
        };
        match live && !max_age.is_zero() {
            true => max_age.min(self.cache.time),
            false => self.cache.time,
        }
    }

    /// The base name of a pad's tracks, or why it can have none.
    fn base_name(&self, id: PadId, kind: Kind) -> Result<String, String> {
        let Some(pad) = self.pads.get(&id) else {
            return Err("The pad is gone".into());
        };
        if let Some(base) = pad.base_name() {
            return Ok(base.to_owned());
        }
        let is_taken = |base: &str| {
            let mut others = self.pads.iter().filter(|(other, _)| **other != id);
            others.any(|(_, other)| other.base_name() == Some(base))
        };
        if let Some(wanted) = pad.wanted_name() {
            if let Some(reason) = Names::refuse(wanted) {
                return Err(format!("The track name {wanted:?} {reason}"));
            }
            return match is_taken(wanted) {
                true => Err(format!(
                    "Another pad has the track name \"{wanted}\" already"
                )),
                false => Ok(wanted.to_owned()),
            };
        }
        // In the order of requests, whichever pad's first frame comes first.
        let earlier = self.pads.range(..id);
        let number = 1 + earlier
            .filter(|(_, earlier)| earlier.is_numbered(kind))
            .count();
        let mut bases = (number..).map(|number| match number {
            1 => kind.name().to_owned(),
            number => format!("{}-{number}", kind.name()),
        });
        bases
            .find(|base| !is_taken(base))
            .ok_or_else(|| "No track name is left".to_owned())
    }

    /// The broadcast and its catalog, which the first track begins.
    fn open(&mut self) -> Result<&mut Open, Error> {
        let open = match self.open.take() {
            Some(open) => open,
            None => {
                self.close_ended();
                let created = self.origin.create_broadcast(self.name.as_str());
                let mut producer = created.map_err(Error::Publish)?;
                let clock = self.clock.unwrap_or_default();
                Open {
                    catalog: Catalog::new(&mut producer, clock, self.returns)?,
                    producer,
                    announcement: Announcement::Due(Instant::now() + ANNOUNCE_TIMEOUT),
                }
            }
        };
        Ok(self.open.insert(open))
    }

    /// Writes the pad's entry into the catalog.
    fn list(&mut self, id: PadId, delay: Option<Duration>) -> Result<(), Error> {
        let orientation = self.orientation();
        for pad in self.pads.values_mut() {
            pad.check_orientation(orientation);
        }
        let pad = self.pads.get_mut(&id);
        match self.open.as_mut().zip(pad.filter(|pad| pad.is_published())) {
            Some((open, pad)) => open.catalog.edit(|catalog| {
                pad.list(catalog, delay);
                Orientation::list(orientation, catalog);
            }),
            None => Ok(()),
        }
    }

    fn edit(&mut self, edit: impl FnOnce(&mut rendition::Catalog)) -> Result<(), Error> {
        match &mut self.open {
            Some(open) => open.catalog.edit(edit),
            None => Ok(()),
        }
    }

    /// How all video is to be turned: the first pad that says so wins.
    fn orientation(&self) -> Option<Orientation> {
        self.pads.values().find_map(PublishedPad::orientation)
    }

    /// Lists how much later than the earliest track each of the others comes.
    fn list_delays(&mut self) -> Result<(), Error> {
        let transits = self.pads.values().filter_map(PublishedPad::transit);
        let Some(least) = transits.min() else {
            return Ok(());
        };
        let delays: Vec<(PadId, gst::ClockTime)> = self
            .pads
            .iter()
            .filter_map(|(id, pad)| Some((*id, pad.measured_transit()? - least)))
            .filter(|(_, delay)| *delay >= MIN_DELAY)
            .collect();
        let mut delays = delays.into_iter();
        delays.try_for_each(|(id, delay)| self.list(id, Some(delay.into())))
    }
}
