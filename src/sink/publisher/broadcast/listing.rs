//! What the catalog lists: names, entries, and how late each track is.

use std::time::Duration;

use hang::container::track_info;
use moq_mux::catalog;
use tokio::time::Instant;

use super::{ANNOUNCE_WAIT, Announcement, Broadcast, Publication};
use crate::{
    media::{
        catalog::{description::Orientation, name::Names},
        format::{codec::Kind, rendition::Catalog},
    },
    net::error::Error,
    sink::{
        message::PadId,
        publisher::{frame_writer::Container, published_pad::Member, track::Track},
    },
};

/// The least delay that is worth to be told.
const MIN_DELAY: gst::ClockTime = gst::ClockTime::from_mseconds(5);

/// How late a viewer may come to a track that follows another and get all of it.
const BEGINNING: Duration = Duration::from_secs(5);
/// How many times later than pictures sound may be: it is little, and a hole is heard.
const SOUND: u32 = 5;

impl Publication {
    /// Gives the pad a track, unless its name is taken.
    pub(crate) fn publish(&mut self, id: PadId, live: bool) -> Result<(), Error> {
        let rendition = self.members.get(&id).and_then(|pad| pad.rendition.as_ref());
        let Some((kind, container)) =
            rendition.map(|rendition| (rendition.kind(), Container::of(rendition)))
        else {
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
        let follows = self
            .members
            .get(&id)
            .is_some_and(|pad| pad.outdated.is_some());
        let max_age = match follows {
            true => self
                .lateness(kind, live)
                .max(BEGINNING.min(self.cache.time)),
            false => self.lateness(kind, live),
        };
        // Of groups that are larger than that, little can have left it.
        let max_stuck = self.cache.send_window() as usize;
        let broadcast = self.broadcast()?;
        let name = broadcast.names.take(&base);
        let info = track_info(kind.priority()).with_max_age(max_age);
        let producer = broadcast.producer.create_track(name.as_str(), info);
        let Some(member) = self.members.get_mut(&id) else {
            return Ok(());
        };
        match producer {
            Ok(producer) => {
                let track = Track::new(producer, kind, container, max_stuck);
                member.publish(&self.run, base, track);
            }
            Err(err) => {
                member.fail(&self.run, format!("The track \"{name}\" is refused: {err}"));
                return Ok(());
            }
        }
        self.list(id, None)
    }

    /// Lists the sparse tracks beside the others, so that viewers need not wait for a first cue.
    ///
    /// The broadcast begins with the first frame of any pad all the same: it needs the clock.
    pub(crate) fn publish_sparse(&mut self) -> Result<(), Error> {
        if self.broadcast.is_none() {
            return Ok(());
        }
        let silent =
            |member: &Member| member.is_sparse() && member.track.is_none() && !member.is_over();
        let members = self.members.iter();
        let ids: Vec<PadId> = members
            .filter(|(_, member)| silent(member))
            .map(|(id, _)| *id)
            .collect();
        ids.into_iter().try_for_each(|id| self.publish(id, false))
    }

    /// How late a group may be: those who wait for longer would fall ever further behind.
    fn lateness(&self, kind: Kind, live: bool) -> Duration {
        let max_age = match kind {
            Kind::Video => self.max_age,
            Kind::Audio => self.max_age.saturating_mul(SOUND),
            Kind::Text | Kind::Data => Duration::ZERO,
        };
        match live && !max_age.is_zero() {
            true => max_age.min(self.cache.time),
            false => self.cache.time,
        }
    }

    /// The base name of a pad's tracks, or why it can have none.
    pub(crate) fn base(&self, id: PadId, kind: Kind) -> Result<String, String> {
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
                return Err(format!("The track name {wanted:?} {reason}"));
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

    pub(super) fn broadcast(&mut self) -> Result<&mut Broadcast, Error> {
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
                    withheld: Some(catalog.reserve()),
                    catalog,
                    names: Names::default(),
                    announcement: Announcement::Due(Instant::now() + ANNOUNCE_WAIT),
                }
            }
        };
        Ok(self.broadcast.insert(broadcast))
    }

    /// Writes the pad's entry into the catalog.
    pub(crate) fn list(&mut self, id: PadId, delay: Option<Duration>) -> Result<(), Error> {
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
    pub(crate) fn orientation(&self) -> Option<Orientation> {
        self.members.values().find_map(Member::orientation)
    }

    pub(crate) fn edit(&mut self, edit: impl FnOnce(&mut Catalog)) -> Result<(), Error> {
        match &mut self.broadcast {
            Some(broadcast) => broadcast.catalog.mutate(edit).map_err(Error::Catalog),
            None => Ok(()),
        }
    }

    /// States how much later than the earliest track each of the others comes.
    pub(crate) fn evaluate(&mut self) -> Result<(), Error> {
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
