// SPDX-License-Identifier: MIT
//! Reads the frames of one track out of the container of its catalog entry.

use std::fmt;

use hang::catalog;
use moq_mux::{
    catalog::hang as wire,
    container::{self, Container as _, Frame},
};
use moq_net::group;

use crate::media::{
    container::cmaf::{Init, Malformed},
    format::rendition::Rendition,
};

/// Markers at the end of a group are ours to tell by their empty payload: a publisher whose markers
/// claim a rewind cannot make us stumble.
const CONTENT: container::Kind = container::Kind::Data;

/// Reads the groups of one track.
pub(crate) struct FrameReader(Container);

/// What wraps the frames.
enum Container {
    Frames(wire::Container),
    Fragments(Box<Init>),
}

impl fmt::Debug for FrameReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Container::Frames(_) => "Frames",
            Container::Fragments(_) => "Fragments",
        })
    }
}

/// Why a group cannot be read on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Group(#[from] moq_net::Error),
    #[error(transparent)]
    Frame(#[from] moq_mux::Error),
    #[error(transparent)]
    Fragment(#[from] Malformed),
}

impl Error {
    /// Whether the group broke off, which says nothing about what is in it.
    pub(super) fn is_broken_off(&self) -> bool {
        let wire = match self {
            Self::Group(err) | Self::Frame(moq_mux::Error::Moq(err)) => err,
            Self::Frame(moq_mux::Error::Hang(hang::Error::Moq(err))) => err,
            Self::Frame(_) | Self::Fragment(_) => return false,
        };
        !matches!(
            wire,
            moq_net::Error::Decode(_) | moq_net::Error::BoundsExceeded(_)
        )
    }
}

impl FrameReader {
    /// The reader of an entry's container; the entry gets what only its init segment says.
    pub(crate) fn open(rendition: &mut Rendition) -> Result<Self, Error> {
        if let catalog::Container::Cmaf { init } = rendition.container() {
            let init = Init::parse(init)?;
            init.complete(rendition)?;
            return Ok(Self(Container::Fragments(Box::new(init))));
        }
        let container = wire::Container::new(rendition.container(), CONTENT)?;
        Ok(Self(Container::Frames(container)))
    }

    /// The next frames of a group, none at its end; cancel safe.
    pub(crate) async fn read(
        &self,
        group: &mut group::Consumer,
    ) -> Result<Option<Vec<Frame>>, Error> {
        match &self.0 {
            Container::Frames(container) => Ok(container.read(group).await?),
            Container::Fragments(init) => match group.read_frame().await? {
                Some(fragment) => Ok(Some(init.frames(&fragment.payload)?)),
                None => Ok(None),
            },
        }
    }
}
