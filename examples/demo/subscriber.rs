// SPDX-License-Identifier: MIT
//! The subscribing side: `moqsrc`, decoders, and sinks that show when a frame is due.

use std::{
    collections::HashMap,
    path::Path,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow};
use gst::prelude::*;

use crate::{
    events::{self, Events, Side},
    probe::Delays,
};

/// Audio that is kept at most, so that a long demo does not fill the disk.
pub(crate) const SOUND_KEPT: gst::ClockTime = gst::ClockTime::from_seconds(60);

/// A frame that is later than this is dropped, as video sinks do.
const MAX_LATENESS: gst::ClockTime = gst::ClockTime::from_mseconds(20);

/// A playing subscriber.
pub(crate) struct Subscriber {
    pipeline: gst::Pipeline,
    started: Instant,
    seen: Arc<Seen>,
    /// Buffers dropped so far, by the element that dropped them.
    dropped: HashMap<String, u64>,
}

/// What the sinks have shown.
#[derive(Default)]
struct Seen {
    video_sink: OnceLock<gst::Element>,
    first_frame: OnceLock<Instant>,
    frames: AtomicU64,
}

/// How pads are decoded and shown.
struct Player {
    windows: bool,
    audio_file: String,
    video: Delays,
    audio: Delays,
    seen: Arc<Seen>,
}

impl Subscriber {
    /// Builds and starts the pipeline.
    pub(crate) fn start(
        source: &gst::Element,
        windows: bool,
        audio_file: &Path,
        events: &Events,
        [video, audio]: [&Delays; 2],
    ) -> anyhow::Result<Self> {
        let pipeline = gst::Pipeline::with_name("subscriber");
        pipeline.use_clock(Some(&gst::SystemClock::obtain()));
        pipeline.add(source)?;
        let seen = Arc::new(Seen::default());
        let player = Player {
            windows,
            audio_file: audio_file.display().to_string(),
            video: video.clone(),
            audio: audio.clone(),
            seen: Arc::clone(&seen),
        };
        source.connect_pad_added(move |source, pad| {
            if let Err(error) = player.play(source, pad) {
                gst::element_error!(source, gst::StreamError::Decode, ("{error:#}"));
            }
        });
        events::forward(&pipeline, Side::Subscriber, events)?;
        let subscriber = Self {
            pipeline,
            started: Instant::now(),
            seen,
            dropped: HashMap::new(),
        };
        let starting = subscriber.pipeline.set_state(gst::State::Playing);
        starting.context("the subscriber does not start")?;
        Ok(subscriber)
    }

    /// The pipeline, on whose bus Ctrl-C is posted.
    pub(crate) fn pipeline(&self) -> &gst::Pipeline {
        &self.pipeline
    }

    /// Video frames shown so far.
    pub(crate) fn frames(&self) -> u64 {
        self.seen.frames.load(Ordering::Relaxed)
    }

    /// From the start to the first video frame.
    pub(crate) fn time_to_first_frame(&self) -> Option<Duration> {
        let first = self.seen.first_frame.get()?;
        Some(first.duration_since(self.started))
    }

    /// The video frame that was shown last.
    pub(crate) fn last_frame(&self) -> Option<gst::Sample> {
        self.seen.video_sink.get()?.property("last-sample")
    }

    /// Buffers that were too late to be shown so far.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.values().sum()
    }

    /// Takes the count of an element that dropped something.
    pub(crate) fn quality_reported(&mut self, message: &gst::message::Qos) {
        let (_, dropped) = message.stats();
        let dropped = match dropped {
            gst::GenericFormattedValue::Buffers(Some(count)) => u64::from(count),
            gst::GenericFormattedValue::Default(Some(count)) => u64::from(count),
            _ => return,
        };
        if let Some(element) = message.src() {
            self.dropped.insert(element.path_string().into(), dropped);
        }
    }

    /// Lets the sinks know that the latency has changed.
    pub(crate) fn latency_changed(&self) {
        // The next LATENCY message retries.
        let _ = self.pipeline.recalculate_latency();
    }

    /// Ends the recording; an EOS message follows.
    pub(crate) fn end(&self) {
        self.pipeline.send_event(gst::event::Eos::new());
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        // Nothing is left to do about a pipeline that does not stop.
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}

impl Player {
    /// Decodes and shows the first pad of each kind.
    fn play(&self, source: &gst::Element, pad: &gst::Pad) -> anyhow::Result<()> {
        let (branch, delays) = match pad.name().as_str() {
            "video_0" => (self.video_branch()?, &self.video),
            "audio_0" => (self.audio_branch(pad)?, &self.audio),
            _ => return Ok(()),
        };
        let pipeline = source
            .parent()
            .and_downcast::<gst::Pipeline>()
            .context("the source is in a pipeline")?;
        pipeline.add(&branch)?;
        branch.sync_state_with_parent()?;
        delays.receive(pad);
        let entry = branch.static_pad("sink").context("the branch has a pad")?;
        pad.link(&entry).context("link the decoder")?;
        Ok(())
    }

    fn video_branch(&self) -> anyhow::Result<gst::Bin> {
        let window = match self.windows {
            true => "video. ! queue ! videoconvert ! autovideosink",
            false => "",
        };
        let branch = bin(&format!(
            "avdec_h264 ! tee name=video video. ! queue ! \
             fakesink name=shown sync=true signal-handoffs=true enable-last-sample=true \
             qos=true max-lateness={} {window}",
            MAX_LATENESS.nseconds()
        ))?;
        let sink = branch.by_name("shown").context("the video sink")?;
        self.video.render(&sink);
        let seen = Arc::clone(&self.seen);
        sink.connect("handoff", false, move |_| {
            seen.first_frame.get_or_init(Instant::now);
            seen.frames.fetch_add(1, Ordering::Relaxed);
            None
        });
        // A second video pad does not exist, so the cell is free.
        let _ = self.seen.video_sink.set(sink);
        Ok(branch)
    }

    fn audio_branch(&self, pad: &gst::Pad) -> anyhow::Result<gst::Bin> {
        let caps = pad.current_caps().unwrap_or_else(|| pad.query_caps(None));
        let kind = caps.structure(0).map(|structure| structure.name());
        let decoder = match kind.map(|kind| kind.as_str()) {
            Some("audio/mpeg") => "avdec_aac",
            Some("audio/x-opus") => "opusdec",
            _ => return Err(anyhow!("audio of the type {caps} is not decoded here")),
        };
        let speaker = match self.windows {
            true => "audio. ! queue ! audioconvert ! audioresample ! autoaudiosink",
            false => "",
        };
        let branch = bin(&format!(
            "{decoder} ! tee name=audio \
             audio. ! queue ! fakesink name=heard sync=true signal-handoffs=true \
             audio. ! queue ! audioconvert ! audio/x-raw,format=S16LE ! wavenc name=wave ! \
             filesink name=file async=false {speaker}"
        ))?;
        let file = branch.by_name("file").context("the file sink")?;
        file.set_property("location", &self.audio_file);
        let wave = branch.by_name("wave").context("the WAV encoder")?;
        keep_beginning(&wave.static_pad("sink").context("the WAV encoder's pad")?);
        self.audio
            .render(&branch.by_name("heard").context("the audio sink")?);
        Ok(branch)
    }
}

/// Drops what comes after the audio that is kept.
fn keep_beginning(pad: &gst::Pad) {
    let first = OnceLock::new();
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        let Some(time) = info.buffer().and_then(|buffer| buffer.pts()) else {
            return gst::PadProbeReturn::Ok;
        };
        match time < *first.get_or_init(|| time) + SOUND_KEPT {
            true => gst::PadProbeReturn::Ok,
            false => gst::PadProbeReturn::Drop,
        }
    });
}

fn bin(description: &str) -> anyhow::Result<gst::Bin> {
    gst::parse::bin_from_description(description, true).context("build a player's branch")
}
