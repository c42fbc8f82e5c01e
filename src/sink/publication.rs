//! The broadcast: its catalog, its tracks, and their end.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use hang::container::track_info;
use moq_mux::{Clock, catalog};
use moq_net::{broadcast, origin};
use tokio::{task::JoinSet, time::Instant};

use super::{
    report::{self, Report},
    run::{Frame, Message, PadId, PadMessage, Peer, Run},
    track::{Refused, Track},
};
use crate::{
    media::{caps::Rendition, codec::Kind, name::Names},
    session::error::Error,
};

/// How long groups stay available to viewers that come or come back.
pub(super) const CACHE_TIME: Duration = Duration::from_secs(5);
/// How long the announcement waits for the catalog to be complete.
const ANNOUNCE_WAIT: Duration = Duration::from_millis(500);
/// How long a track's frames are watched before its delay is stated.
const DELAY_WINDOW: Duration = Duration::from_secs(1);
/// The least delay that is worth to be told.
const MIN_DELAY: gst::ClockTime = gst::ClockTime::from_mseconds(5);

/// All that one element publishes during a run.
pub(super) struct Publication {
    name: String,
    origin: origin::Producer,
    run: Arc<Run>,
    clock: Option<Clock>,
    pads: BTreeMap<PadId, Pad>,
    /// From the first frame to the end of all streams.
    broadcast: Option<Broadcast>,
    /// Tracks that go on only until they are delivered.
    retired: Vec<Track>,
    watchers: JoinSet<()>,
    /// The last EOS of a pad, until the end of all streams was told.
    eos: Option<gst::Seqnum>,
}

struct Broadcast {
    producer: broadcast::Producer,
    catalog: catalog::Producer,
    names: Names,
    /// When it is announced at the latest; `None` once it is.
    announce: Option<Instant>,
}

struct Pad {
    peer: Peer,
    kind: Option<Kind>,
    /// The name that the user wants.
    wanted: Option<String>,
    /// The base name of the pad's tracks in this broadcast.
    base: Option<String>,
    rendition: Option<Rendition>,
    bitrate: Option<u64>,
    track: Option<Track>,
    ended: bool,
    failed: bool,
    /// Over the budget: frames go until there is room and a key frame comes.
    skipping: bool,
    transit: Option<gst::ClockTime>,
    /// When the delay is evaluated; `None` before the first frame and afterwards.
    evaluate: Option<Instant>,
}

impl Publication {
    pub(super) fn new(name: String, origin: origin::Producer, run: Arc<Run>) -> Self {
        Self {
            name,
            origin,
            run,
            clock: None,
            pads: BTreeMap::new(),
            broadcast: None,
            retired: Vec::new(),
            watchers: JoinSet::new(),
            eos: None,
        }
    }

    pub(super) fn apply(&mut self, message: Message) -> Result<(), Error> {
        match message {
            Message::Clock(clock) => self.clock = Some(clock),
            Message::Pad(id, PadMessage::Open(peer)) => {
                self.pads.insert(id, Pad::new(peer));
            }
            Message::Pad(id, PadMessage::Release) => return self.release(id),
            Message::Pad(id, PadMessage::Frame(frame)) => return self.frame(id, frame),
            Message::Pad(id, message) => {
                return self.change(id, message);
            }
        }
        Ok(())
    }

    /// The EOS to tell once all is delivered: every pad has ended, and at least one by EOS.
    pub(super) fn ended(&self) -> Option<gst::Seqnum> {
        self.eos
            .filter(|_| self.pads.values().all(|pad| pad.ended || pad.failed))
    }

    /// When [`Publication::settle`] is next due without anything happening.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.broadcast.as_ref()?.announce
    }

    /// Returns when something was delivered.
    pub(super) async fn delivery(&mut self) {
        if self.watchers.join_next().await.is_none() {
            std::future::pending().await
        }
    }

    /// Announces the broadcast when it is time, and ends tracks that are delivered.
    pub(super) fn settle(&mut self) -> Result<(), Error> {
        while self.watchers.try_join_next().is_some() {}
        self.retired.retain_mut(|track| {
            let delivered = track.is_delivered();
            if delivered {
                track.finish();
            }
            !delivered
        });
        let complete = self
            .pads
            .values()
            .all(|pad| pad.track.is_some() || pad.ended || pad.failed);
        let Some(broadcast) = &mut self.broadcast else {
            return Ok(());
        };
        if let Some(due) = broadcast.announce
            && (complete || Instant::now() >= due)
        {
            broadcast
                .producer
                .announce(origin::Route::default())
                .map_err(Error::Publish)?;
            broadcast.announce = None;
        }
        Ok(())
    }

    /// Whether all that anyone asked for has reached the next hop.
    pub(super) fn is_delivered(&mut self) -> bool {
        self.tracks().all(|track| track.is_delivered())
    }

    /// The connection was lost: what counted as delivered may have to be sent again.
    pub(super) fn redeliver(&mut self) {
        let Self {
            pads,
            retired,
            watchers,
            ..
        } = self;
        let current = pads.values_mut().filter_map(|pad| pad.track.as_mut());
        for track in current.chain(retired) {
            track.redeliver(watchers);
        }
    }

    /// Ends tracks, catalog and broadcast, in the order in which viewers understand it.
    pub(super) fn finish(&mut self) {
        self.eos = None;
        for track in self.tracks() {
            track.finish();
        }
        for pad in self.pads.values_mut() {
            pad.track = None;
            pad.base = None;
            if pad.ended {
                report::send(&self.run, &pad.peer, Report::Ended);
            }
        }
        self.retired.clear();
        if let Some(mut broadcast) = self.broadcast.take() {
            // Refused only when the catalog is over anyway.
            let _ = broadcast.catalog.finish();
            broadcast.producer.close();
        }
    }

    fn tracks(&mut self) -> impl Iterator<Item = &mut Track> {
        let current = self.pads.values_mut().filter_map(|pad| pad.track.as_mut());
        current.chain(&mut self.retired)
    }

    fn change(&mut self, id: PadId, message: PadMessage) -> Result<(), Error> {
        let Some(pad) = self.pads.get_mut(&id) else {
            return Ok(());
        };
        match message {
            PadMessage::Kind(kind) => {
                pad.kind = Some(kind);
                pad.failed = false;
            }
            PadMessage::Rendition(rendition, wanted) => {
                pad.wanted = wanted;
                if pad.rendition.as_ref() != Some(&*rendition) {
                    pad.rendition = Some(*rendition);
                    return self.retire(id);
                }
            }
            PadMessage::Bitrate(bitrate) => return self.bitrate(id, bitrate),
            PadMessage::Flush | PadMessage::Revive => {
                pad.revive();
                self.run.revived();
            }
            PadMessage::Eos(seqnum) => {
                pad.ended = true;
                self.eos = Some(seqnum);
                if let Some(track) = &mut pad.track {
                    track.cut();
                }
            }
            PadMessage::Failed => {
                pad.failed = true;
                pad.rendition = None;
                return self.retire(id);
            }
            PadMessage::Open(_) | PadMessage::Frame(_) | PadMessage::Release => {}
        }
        Ok(())
    }

    fn release(&mut self, id: PadId) -> Result<(), Error> {
        self.retire(id)?;
        self.pads.remove(&id);
        Ok(())
    }

    /// Takes the pad's track out of the catalog; it ends when it is delivered.
    fn retire(&mut self, id: PadId) -> Result<(), Error> {
        let Some(mut track) = self.pads.get_mut(&id).and_then(|pad| pad.track.take()) else {
            return Ok(());
        };
        track.cut();
        self.edit(|catalog| {
            catalog.video.renditions.remove(track.name());
            catalog.audio.renditions.remove(track.name());
        })?;
        self.retired.push(track);
        Ok(())
    }

    fn frame(&mut self, id: PadId, frame: Frame) -> Result<(), Error> {
        let Some(pad) = self.pads.get_mut(&id) else {
            return Ok(());
        };
        if pad.failed || !pad.takes(&frame, &self.run) {
            return Ok(());
        }
        pad.measure(&frame);
        if pad.track.is_none() && !self.publish(id)? {
            return Ok(());
        }
        let Some(pad) = self.pads.get_mut(&id) else {
            return Ok(());
        };
        let Some(track) = &mut pad.track else {
            return Ok(());
        };
        let result = track.write(
            frame.timestamp,
            frame.key,
            frame.payload,
            &mut self.watchers,
        );
        match result {
            Ok(()) | Err(Refused::NoKeyFrame) => {}
            Err(Refused::Failed(err)) => return Err(Error::Catalog(err)),
            Err(refused) => {
                report::send(&self.run, &pad.peer, Report::Dropped(refused.to_string()));
            }
        }
        self.evaluate(id)
    }

    /// Gives the pad a track, unless its name is taken.
    fn publish(&mut self, id: PadId) -> Result<bool, Error> {
        let Some(rendition) = self.pads.get(&id).and_then(|pad| pad.rendition.clone()) else {
            return Ok(false);
        };
        let base = match self.base(id, rendition.kind()) {
            Ok(base) => base,
            Err(reason) => {
                if let Some(pad) = self.pads.get_mut(&id) {
                    pad.failed = true;
                    report::send(&self.run, &pad.peer, Report::Failed(reason));
                }
                return Ok(false);
            }
        };
        let broadcast = self.broadcast()?;
        let name = broadcast.names.take(&base);
        let info = track_info(rendition.kind().priority()).with_max_age(CACHE_TIME);
        let producer = broadcast
            .producer
            .create_track(name.as_str(), info)
            .map_err(Error::Publish)?;
        let track = Track::new(producer, rendition.kind());
        if let Some(pad) = self.pads.get_mut(&id) {
            pad.base = Some(base);
            pad.track = Some(track);
            pad.evaluate = Some(Instant::now() + DELAY_WINDOW);
            report::send(&self.run, &pad.peer, Report::Published(name));
        }
        self.list(id, None)?;
        Ok(true)
    }

    /// The base name of a pad's tracks, or why it can have none.
    fn base(&self, id: PadId, kind: Kind) -> Result<String, String> {
        let Some(pad) = self.pads.get(&id) else {
            return Err("The pad is gone".into());
        };
        if let Some(base) = &pad.base {
            return Ok(base.clone());
        }
        let taken = |base: &str| {
            let mut others = self.pads.iter().filter(|(other, _)| **other != id);
            others.any(|(_, pad)| pad.base.as_deref() == Some(base))
        };
        if let Some(wanted) = &pad.wanted {
            if let Some(reason) = Names::refuse(wanted) {
                return Err(format!("The track name \"{wanted}\" {reason}"));
            }
            return match taken(wanted) {
                true => Err(format!("Another pad has the track name \"{wanted}\" already")),
                false => Ok(wanted.clone()),
            };
        }
        let earlier = self.pads.range(..id);
        let like = |pad: &&Pad| pad.kind == Some(kind) && pad.wanted.is_none();
        let first = earlier.map(|(_, pad)| pad).filter(like).count() + 1;
        let mut bases = (first..).map(|number| match number {
            1 => kind.name().to_owned(),
            number => format!("{}-{number}", kind.name()),
        });
        bases
            .find(|base| !taken(base))
            .ok_or_else(|| "No track name is left".to_owned())
    }

    fn broadcast(&mut self) -> Result<&mut Broadcast, Error> {
        if self.broadcast.is_none() {
            let mut producer = self
                .origin
                .create_broadcast(self.name.as_str())
                .map_err(Error::Publish)?;
            let config = catalog::Config::default().with_clock(self.clock.unwrap_or_default());
            let catalog =
                catalog::Producer::new(&mut producer, config).map_err(Error::Publish)?;
            self.broadcast = Some(Broadcast {
                producer,
                catalog,
                names: Names::default(),
                announce: Some(Instant::now() + ANNOUNCE_WAIT),
            });
        }
        self.broadcast
            .as_mut()
            .ok_or_else(|| Error::Internal("no broadcast".into()))
    }

    /// Writes the pad's entry into the catalog.
    fn list(&mut self, id: PadId, delay: Option<gst::ClockTime>) -> Result<(), Error> {
        let Some(pad) = self.pads.get(&id) else {
            return Ok(());
        };
        let (Some(track), Some(rendition)) = (&pad.track, pad.rendition.clone()) else {
            return Ok(());
        };
        let name = track.name().to_owned();
        let bitrate = pad.bitrate;
        self.edit(|catalog| match rendition {
            Rendition::Video(mut config) => {
                let listed = catalog.video.renditions.get(&name);
                config.bitrate = bitrate.or(config.bitrate);
                config.delay = delay.map(Into::into).or(listed.and_then(|old| old.delay));
                catalog.video.renditions.insert(name, config);
            }
            Rendition::Audio(mut config) => {
                let listed = catalog.audio.renditions.get(&name);
                config.bitrate = bitrate.or(config.bitrate);
                config.delay = delay.map(Into::into).or(listed.and_then(|old| old.delay));
                catalog.audio.renditions.insert(name, config);
            }
        })
    }

    fn edit(&mut self, edit: impl FnOnce(&mut hang::Catalog)) -> Result<(), Error> {
        match &mut self.broadcast {
            Some(broadcast) => broadcast
                .catalog
                .mutate(|catalog| edit(catalog))
                .map_err(Error::Catalog),
            None => Ok(()),
        }
    }

    fn bitrate(&mut self, id: PadId, bitrate: u64) -> Result<(), Error> {
        let Some(pad) = self.pads.get_mut(&id) else {
            return Ok(());
        };
        // Parsers correct their average for ever: small changes are not worth a catalog.
        let near = pad
            .bitrate
            .is_some_and(|old| old.abs_diff(bitrate) <= old / 10);
        if near {
            return Ok(());
        }
        pad.bitrate = Some(bitrate);
        self.list(id, None)
    }

    /// States how much later than the earliest track this one comes, once.
    fn evaluate(&mut self, id: PadId) -> Result<(), Error> {
        let Some(pad) = self.pads.get_mut(&id) else {
            return Ok(());
        };
        if pad.evaluate.is_none_or(|due| Instant::now() < due) {
            return Ok(());
        }
        pad.evaluate = None;
        let own = pad.transit;
        let least = self.pads.values().filter_map(|pad| pad.transit).min();
        let delay = own.zip(least).map(|(own, least)| own - least);
        match delay.filter(|delay| *delay >= MIN_DELAY) {
            Some(delay) => self.list(id, Some(delay)),
            None => Ok(()),
        }
    }
}

impl Pad {
    fn new(peer: Peer) -> Self {
        Self {
            peer,
            kind: None,
            wanted: None,
            base: None,
            rendition: None,
            bitrate: None,
            track: None,
            ended: false,
            failed: false,
            skipping: false,
            transit: None,
            evaluate: None,
        }
    }

    fn revive(&mut self) {
        self.ended = false;
        if let Some(track) = &mut self.track {
            track.cut();
        }
    }

    /// Whether the frame fits the budget: live input loses its oldest frames, up to a key frame.
    fn takes(&mut self, frame: &Frame, run: &Run) -> bool {
        if !frame.live {
            return true;
        }
        let over = self.peer.budget.is_over();
        let begins = over && !self.skipping;
        self.skipping = over || (self.skipping && !frame.key);
        if begins {
            if let Some(track) = &mut self.track {
                track.cut();
            }
            let reason = "more waits than max-bytes and max-time allow";
            report::send(run, &self.peer, Report::Dropped(reason.into()));
        }
        !self.skipping
    }

    fn measure(&mut self, frame: &Frame) {
        self.transit = match (self.transit, frame.transit) {
            (Some(least), Some(transit)) => Some(least.min(transit)),
            (least, transit) => least.or(transit),
        };
    }
}
