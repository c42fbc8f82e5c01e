// SPDX-License-Identifier: MIT
//! Who is measured: the elements, their settings, and where GStreamer finds them.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use anyhow::{Context, ensure};
use gst::prelude::*;
use serde::{Deserialize, Serialize};

use crate::{
    job::{Job, Role, Word, Worker},
    network::Network,
    options::Options,
};

/// Of the port where moqsink listens, and of the signalling of webrtcsink.
pub(crate) const MOQ_PORT: u16 = 4443;
pub(crate) const SIGNALLING_PORT: u16 = 8443;

/// Settings of the encoder that are the same for all: those of webrtcsink, but for a keyframe every 2 s and for
/// one thread. Each of several threads makes a slice, rtph264pay 1.22 repeats SPS and PPS in front of each slice
/// of a keyframe, and h264parse at the other end takes those for as many frames.
pub(crate) const ENCODER: [(&str, &str); 6] = [
    ("tune", "zerolatency"),
    ("speed-preset", "ultrafast"),
    ("threads", "1"),
    ("key-int-max", "60"),
    ("b-adapt", "false"),
    ("vbv-buf-capacity", "120"),
];
/// Of the sound, in bit/s.
pub(crate) const SOUND: i32 = 64_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Peer {
    /// moqsink with `rate-control=encoder`.
    Controlled,
    /// moqsink with `rate-control=none`.
    Fixed,
    WebRtc,
}

impl Peer {
    pub(crate) const ALL: [Self; 3] = [Self::Controlled, Self::Fixed, Self::WebRtc];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Controlled => "moqsink rate-control=encoder",
            Self::Fixed => "moqsink rate-control=none",
            Self::WebRtc => "webrtcsink",
        }
    }

    /// On the command line, and in names of files.
    pub(crate) fn short(self) -> &'static str {
        match self {
            Self::Controlled => "encoder",
            Self::Fixed => "none",
            Self::WebRtc => "webrtcsink",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|peer| peer.short() == name)
    }

    fn elements(self) -> &'static [&'static str] {
        match self {
            Self::Controlled | Self::Fixed => &["moqsink", "moqsrc", "x264enc", "avdec_h264"],
            Self::WebRtc => &[
                "webrtcsink",
                "webrtcsrc",
                "rtpgccbwe",
                "nicesrc",
                "x264enc",
                "avdec_h264",
            ],
        }
    }

    fn plugins(self, options: &Options) -> Vec<PathBuf> {
        match self {
            Self::Controlled | Self::Fixed => vec![options.plugin.clone()],
            Self::WebRtc => ["libgstrswebrtc.so", "libgstrsrtp.so"]
                .map(|name| options.webrtc.join(name))
                .into(),
        }
    }

    /// The folder in which GStreamer finds the plugins and nothing else.
    pub(crate) fn folder(self, options: &Options) -> PathBuf {
        let name = match self {
            Self::Controlled | Self::Fixed => "plugins/moq",
            Self::WebRtc => "plugins/webrtc",
        };
        options.output.join(name)
    }

    /// Puts the plugins where processes look for them, and has one of them find the elements.
    pub(crate) fn prepare(self, options: &Options, job: &Job) -> anyhow::Result<()> {
        let folder = self.folder(options);
        fs::create_dir_all(&folder)?;
        for file in self.plugins(options) {
            ensure!(
                file.exists(),
                "{} is missing; rate-control.sh builds it",
                file.display()
            );
            link(&file, &folder)?;
        }
        let job = Job {
            role: Role::Find,
            peer: self,
            ..job.clone()
        };
        let missing = Worker::start(&job, &folder, &Network::sender())?.ready()?;
        ensure!(missing.is_empty(), "{missing} is missing");
        Ok(())
    }
}

fn link(file: &Path, folder: &Path) -> anyhow::Result<()> {
    let link = folder.join(file.file_name().context("a plugin's name")?);
    match fs::remove_file(&link) {
        Err(err) if err.kind() != std::io::ErrorKind::NotFound => Err(err.into()),
        _ => symlink(file.canonicalize()?, &link).context("a link to the plugin"),
    }
}

/// Says what is missing, or nothing.
pub(crate) fn find(job: &Job) -> anyhow::Result<()> {
    gst::init()?;
    let is_missing = |name: &&&str| gst::ElementFactory::find(name).is_none();
    let mut missing = job.peer.elements().iter().find(is_missing).copied();
    if job.peer == Peer::Controlled && missing.is_none() {
        let sink = gst::ElementFactory::make("moqsink").build()?;
        if !sink.has_property("rate-control") {
            missing = Some("the property rate-control");
        }
    }
    Word::Ready(missing.unwrap_or_default().to_owned()).say()
}

/// Sets a property that not every version has.
pub(crate) fn set(object: &gst::Element, name: &str, value: &str) {
    if object.has_property(name) {
        object.set_property_from_str(name, value);
    }
}

/// Prints errors and ends the process for them.
pub(crate) fn watch(pipeline: &gst::Pipeline) -> anyhow::Result<()> {
    let bus = pipeline.bus().context("a bus")?;
    bus.set_sync_handler(|_, message| {
        if let gst::MessageView::Error(error) = message.view() {
            let source = error.src().map(|source| source.path_string());
            eprintln!("{source:?}: {} ({:?})", error.error(), error.debug());
            std::process::exit(1);
        }
        if let gst::MessageView::Eos(_) = message.view() {
            return gst::BusSyncReply::Pass;
        }
        gst::BusSyncReply::Drop
    });
    Ok(())
}
