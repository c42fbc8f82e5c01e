// SPDX-License-Identifier: MIT
//! Writes the frames of one track into its groups, in the container of its catalog entry.

use hang::catalog;
use moq_mux::{
    catalog::hang as wire,
    container::{self, Container as _},
};
use moq_net::{Timestamp, frame, group};

use crate::{
    media::{
        container::cmaf::Fragments,
        format::{caps, codec::Kind, rendition::Rendition},
    },
    sink::message::Frame,
};

/// Wraps the frames of one track.
pub(super) struct FrameWriter(Format);

enum Format {
    /// `legacy` and `loc`: a timestamp, or properties, before each frame.
    Prefixed(wire::Container),
    /// `cmaf`: each frame is a fragment of one sample.
    Fragments(Box<Fragments>),
}

impl FrameWriter {
    /// For the container that the catalog entry states.
    pub(super) fn new(rendition: &Rendition) -> Self {
        let kind = framing(rendition.kind());
        Self(match rendition.container() {
            catalog::Container::Cmaf { .. } => {
                let depth = caps::reorder_depth(rendition);
                Format::Fragments(Box::new(Fragments::of(rendition, depth)))
            }
            catalog::Container::Loc => Format::Prefixed(wire::Container::Loc(kind)),
            catalog::Container::Legacy | catalog::Container::Unknown(_) => {
                Format::Prefixed(wire::Container::Legacy(kind))
            }
        })
    }

    /// Says that the next frame does not continue the ones before.
    pub(super) fn restart(&mut self) {
        if let Format::Fragments(fragments) = &mut self.0 {
            fragments.restart();
        }
    }

    /// Appends a frame to a group.
    pub(super) fn write(
        &mut self,
        group: &mut group::Producer,
        frame: Frame,
    ) -> moq_mux::Result<()> {
        let timestamp = Timestamp::from_micros(frame.timestamp)
            .map_err(|_| moq_mux::Error::from(moq_net::Error::TimestampMismatch))?;
        match &mut self.0 {
            Format::Prefixed(container) => {
                let frame = container::Frame {
                    timestamp,
                    duration: None,
                    payload: frame.payload,
                    keyframe: frame.keyframe,
                };
                container.write(group, &[frame])
            }
            Format::Fragments(fragments) => {
                let fragment = fragments.wrap(
                    frame.timestamp,
                    frame.duration,
                    frame.keyframe,
                    &frame.payload,
                );
                let info = frame::Info {
                    size: fragment.len() as u64,
                    timestamp,
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
