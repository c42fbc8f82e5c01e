// SPDX-License-Identifier: MIT
//! What is compared: the pipelines of each peer, as a user would type them.

use std::path::{Path, PathBuf};

use anyhow::Context;
use gst::prelude::*;
use serde::{Deserialize, Serialize};

use crate::load::Load;

/// Gives what comes at once.
const OUT: &str = "appsink name=out sync=false max-buffers=0 emit-signals=false async=false";

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Peer {
    /// The MoQ crates without GStreamer, writing the same container into the same groups.
    Library,
    /// This plugin.
    Ours,
    /// This plugin with fragments of MP4.
    Cmaf,
    /// This plugin without a relay: moqsink listens.
    Direct,
    /// The crate moq-gst.
    MoqGst,
    /// SRT without a relay, at a latency of 20 ms.
    Srt,
    /// RTP over UDP without a relay.
    Rtp,
    /// An appsrc and an appsink in one process: the least delay of all that have them.
    Through,
    /// The load alone: what measuring costs without GStreamer, and with it.
    Bare,
    BareGst,
}

impl Peer {
    pub(crate) const MOQ: [Self; 3] = [Self::Library, Self::Ours, Self::MoqGst];
    pub(crate) const ALL: [Self; 7] = [
        Self::Library,
        Self::Ours,
        Self::Cmaf,
        Self::Direct,
        Self::MoqGst,
        Self::Srt,
        Self::Rtp,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Library => "library",
            Self::Ours => "this plugin",
            Self::Cmaf => "this plugin, CMAF",
            Self::Direct => "this plugin, no relay",
            Self::MoqGst => "moq-gst",
            Self::Srt => "SRT",
            Self::Rtp => "RTP",
            Self::Through => "appsrc and appsink alone",
            Self::Bare => "nothing",
            Self::BareGst => "nothing, GStreamer",
        }
    }

    /// The peer of this name on the command line.
    pub(crate) fn named(name: &str) -> Option<Self> {
        match name {
            "library" => Some(Self::Library),
            "ours" => Some(Self::Ours),
            "cmaf" => Some(Self::Cmaf),
            "direct" => Some(Self::Direct),
            "moq-gst" => Some(Self::MoqGst),
            "srt" => Some(Self::Srt),
            "rtp" => Some(Self::Rtp),
            _ => None,
        }
    }

    /// The peer that costs as much as the harness around this one.
    pub(crate) fn bare(self) -> Self {
        match self {
            Self::Library | Self::Bare => Self::Bare,
            _ => Self::BareGst,
        }
    }

    pub(crate) fn is_bare(self) -> bool {
        self == self.bare()
    }

    /// Whether there is a relay between its ends.
    pub(crate) fn is_relayed(self) -> bool {
        self == Self::Cmaf || Self::MOQ.contains(&self)
    }

    /// The plugin's file below the folder that cargo builds into.
    pub(crate) fn plugin(self, target: &Path) -> Option<PathBuf> {
        match self {
            Self::Ours | Self::Cmaf | Self::Direct => Some(target.join("release/libgstmoq.so")),
            Self::MoqGst => Some(target.join("moq-gst/release/libgstmoq.so")),
            _ => None,
        }
    }

    /// The folder in which GStreamer finds the plugin and nothing else.
    pub(crate) fn folder(self, target: &Path) -> Option<PathBuf> {
        let folder = match self {
            Self::Ours | Self::Cmaf | Self::Direct => "side-by-side/plugins/ours",
            Self::MoqGst => "side-by-side/plugins/moq-gst",
            _ => return None,
        };
        Some(target.join(folder))
    }

    /// The pipeline that takes access units from the appsrcs `track0`, `track1`, ...
    pub(crate) fn publisher(self, url: &str, broadcast: &str, load: &Load) -> String {
        let source = |track: u32| {
            format!(
                "appsrc name=track{track} is-live=true format=time max-bytes=0 \
                 caps=\"{}\"",
                load.caps()
            )
        };
        let port = port(url);
        let one = source(0);
        match self {
            Self::Through => format!("{one} ! {OUT}"),
            Self::Srt => format!(
                "{one} ! h264parse ! mpegtsmux alignment=7 ! \
                 srtsink uri=srt://:{port}?mode=listener latency=20 wait-for-connection=false sync=false"
            ),
            Self::Rtp => format!(
                "{one} ! rtph264pay mtu=1400 config-interval=-1 aggregate-mode=none ! \
                 udpsink host=127.0.0.1 port={port} sync=false buffer-size=4194304"
            ),
            Self::BareGst | Self::Bare | Self::Library => (0..load.tracks)
                .map(|track| format!("{} ! fakesink sync=false ", source(track)))
                .collect(),
            Self::Ours | Self::Cmaf | Self::Direct | Self::MoqGst => {
                let tracks: String = (0..load.tracks)
                    .map(|track| format!("{} ! moq.sink_{track} ", source(track)))
                    .collect();
                let containers: String = (0..load.tracks)
                    .filter(|_| self == Self::Cmaf)
                    .map(|track| format!("sink_{track}::container=cmaf "))
                    .collect();
                let end = match self {
                    Self::Direct => format!("mode=listen bind=127.0.0.1:{port} max-sessions=1000"),
                    _ => format!("url={url} tls-disable-verify=true"),
                };
                format!("moqsink name=moq broadcast={broadcast} {end} {containers}{tracks}")
            }
        }
    }

    /// The pipeline that gives access units to the appsink `out`, or to those that are linked later.
    pub(crate) fn subscriber(self, url: &str, broadcast: &str) -> String {
        let port = port(url);
        match self {
            Self::Srt => format!(
                "srtsrc uri=srt://127.0.0.1:{port} latency=20 ! tsdemux latency=1 ! \
                 h264parse ! video/x-h264,alignment=au,stream-format=byte-stream ! {OUT}"
            ),
            Self::Rtp => format!(
                "udpsrc port={port} buffer-size=4194304 caps=\"application/x-rtp, media=video, \
                 encoding-name=H264, clock-rate=90000, payload=96\" ! rtph264depay ! \
                 video/x-h264,alignment=au,stream-format=byte-stream ! {OUT}"
            ),
            _ => format!(
                "moqsrc name=moq url=https://127.0.0.1:{port}/ broadcast={broadcast} \
                 tls-disable-verify=true"
            ),
        }
    }
}

/// The pipeline of these elements.
pub(crate) fn pipeline(text: &str) -> anyhow::Result<gst::Pipeline> {
    let elements = gst::parse::launch(text).with_context(|| text.to_owned())?;
    // A single element comes without a pipeline.
    elements.downcast().or_else(|element| {
        let pipeline = gst::Pipeline::new();
        pipeline.add(&element)?;
        Ok(pipeline)
    })
}

fn port(url: &str) -> &str {
    let authority = url.trim_end_matches('/');
    authority
        .rsplit_once(':')
        .map_or(authority, |(_, port)| port)
}
