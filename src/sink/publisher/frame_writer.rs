//! Writes the frames of one track in the container of its catalog entry.

use bytes::Bytes;
use hang::catalog;
use moq_mux::{
    catalog::hang as wire,
    container::{self, Container as _},
};
use moq_net::{Timestamp, frame, group};

use crate::media::{
    container::cmaf::Fragments,
    format::{caps, codec::Kind, rendition::Rendition},
};

/// What wraps the frames of one track.
pub(crate) enum Container {
    Frames(wire::Container),
    Fragments(Box<Fragments>),
}

impl Container {
    pub(crate) fn of(rendition: &Rendition) -> Self {
        let kind = rendition.kind();
        match rendition.container() {
            catalog::Container::Cmaf { .. } => {
                let depth = caps::reorder_depth(rendition);
                Self::Fragments(Box::new(Fragments::of(rendition, depth)))
            }
            catalog::Container::Loc => Self::Frames(wire::Container::Loc(framing(kind))),
            catalog::Container::Legacy | catalog::Container::Unknown(_) => Self::legacy(kind),
        }
    }

    pub(crate) fn legacy(kind: Kind) -> Self {
        Self::Frames(wire::Container::Legacy(framing(kind)))
    }

    /// What follows does not continue what came before.
    pub(crate) fn restart(&mut self) {
        if let Self::Fragments(fragments) = self {
            fragments.restart();
        }
    }

    /// Appends a frame of `timestamp` microseconds to a group; `duration` is what its buffer says.
    pub(crate) fn write(
        &mut self,
        group: &mut group::Producer,
        timestamp: u64,
        duration: Option<gst::ClockTime>,
        key: bool,
        payload: Bytes,
    ) -> moq_mux::Result<()> {
        let time = Timestamp::from_micros(timestamp)
            .map_err(|_| moq_mux::Error::from(moq_net::Error::TimestampMismatch))?;
        match self {
            Self::Frames(container) => {
                let frame = container::Frame {
                    timestamp: time,
                    duration: None,
                    payload,
                    keyframe: key,
                };
                container.write(group, &[frame])
            }
            Self::Fragments(fragments) => {
                let fragment = fragments.wrap(timestamp, duration, key, &payload);
                let info = frame::Info {
                    size: fragment.len() as u64,
                    timestamp: time,
                };
                let mut frame = group.create_frame(info)?;
                frame.write(fragment)?;
                Ok(frame.finish()?)
            }
        }
    }
}

/// `Kind::Video` would end each group with a marker that open GOPs cannot have.
fn framing(kind: Kind) -> container::Kind {
    match kind {
        Kind::Audio => container::Kind::Audio,
        Kind::Video | Kind::Text | Kind::Data => container::Kind::Data,
    }
}
