// SPDX-License-Identifier: MIT
//! The publishing side: any clip into `moqsink`, again and again.

use std::{sync::mpsc, time::Duration};

use anyhow::{Context, anyhow, ensure};
use gst::prelude::*;

use crate::{
    events::{self, Events, Side},
    probe::Delays,
};

/// What `moqsink` takes as it is; everything else is decoded here and encoded again.
const PASSED_THROUGH: &str = "video/x-h264; audio/mpeg, mpegversion=(int)4; \
     audio/x-opus, channel-mapping-family=(int)0; video/x-raw; audio/x-raw";

/// How long opening the clip and reaching the relay may take.
const START_BOUND: Duration = Duration::from_secs(20);

/// A playing publisher.
pub(crate) struct Publisher {
    pipeline: gst::Pipeline,
    sink: gst::Element,
    /// The seek whose end is awaited; nothing if the clip cannot be looped.
    round: Option<gst::Seqnum>,
}

impl Publisher {
    /// Builds the pipeline; it opens the clip but publishes nothing before `start`.
    pub(crate) fn new(
        media: &str,
        sink: gst::Element,
        events: &Events,
        [video, audio]: [&Delays; 2],
    ) -> anyhow::Result<Self> {
        let pipeline = gst::Pipeline::with_name("publisher");
        pipeline.use_clock(Some(&gst::SystemClock::obtain()));
        let caps: gst::Caps = PASSED_THROUGH.parse().context("caps of passed media")?;
        let source = gst::ElementFactory::make("uridecodebin")
            .property("uri", media)
            .property("caps", caps)
            .build()
            .context("create the clip's source")?;
        pipeline.add_many([&source, &sink])?;
        let (moqsink, delays) = (sink.downgrade(), [video.clone(), audio.clone()]);
        source.connect_pad_added(move |source, pad| {
            let Some(moqsink) = moqsink.upgrade() else {
                return;
            };
            if let Err(error) = publish(&moqsink, pad, &delays) {
                gst::element_error!(source, gst::CoreError::Pad, ("{error:#}"));
            }
        });
        events::forward(&pipeline, Side::Publisher, events)?;
        Ok(Self {
            pipeline,
            sink,
            round: None,
        })
    }

    /// Opens the clip, plays it, and waits until the relay has been reached.
    pub(crate) fn start(&mut self) -> anyhow::Result<()> {
        let bound = gst::ClockTime::try_from(START_BOUND).context("bound of the start")?;
        let opening = self.pipeline.set_state(gst::State::Paused);
        let opened = opening.and_then(|_| self.pipeline.state(bound).0);
        let opened = opened.context("the clip cannot be opened")?;
        ensure!(
            opened != gst::StateChangeSuccess::Async,
            "the clip was not opened in {START_BOUND:?}"
        );
        self.round = self.seek_to_start(gst::SeekFlags::FLUSH);
        self.pipeline
            .set_state(gst::State::Playing)
            .context("the clip cannot be played")?;
        self.wait_connected()
    }

    /// Begins the next round when the clip has been read to its end.
    ///
    /// Such a seek does not flush, so that running time goes on from round to round.
    pub(crate) fn segment_done(&mut self, message: &gst::Message) -> anyhow::Result<()> {
        // Each element of a round may report its end; the first one counts.
        if self.round == Some(message.seqnum()) {
            let next = self.seek_to_start(gst::SeekFlags::empty());
            self.round = Some(next.context("the clip does not begin again")?);
        }
        Ok(())
    }

    /// Lets the elements know that the latency has changed.
    pub(crate) fn latency_changed(&self) {
        // The next LATENCY message retries.
        let _ = self.pipeline.recalculate_latency();
    }

    fn seek_to_start(&self, flags: gst::SeekFlags) -> Option<gst::Seqnum> {
        let seek = gst::event::Seek::new(
            1.0,
            flags | gst::SeekFlags::SEGMENT,
            gst::SeekType::Set,
            gst::ClockTime::ZERO,
            gst::SeekType::None,
            gst::ClockTime::NONE,
        );
        let seqnum = seek.seqnum();
        self.pipeline.send_event(seek).then_some(seqnum)
    }

    fn wait_connected(&self) -> anyhow::Result<()> {
        let (changed, changes) = mpsc::channel();
        let handler = self.sink.connect_notify(Some("connected"), move |sink, _| {
            // After the wait nobody listens any more.
            let _ = changed.send(sink.property::<bool>("connected"));
        });
        let mut connected = self.sink.property::<bool>("connected");
        while !connected {
            connected = changes.recv_timeout(START_BOUND).map_err(|_| {
                let url = self.sink.property::<String>("url");
                anyhow!("the relay at {url} was not reached in {START_BOUND:?}")
            })?;
        }
        self.sink.disconnect(handler);
        Ok(())
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        // Nothing is left to do about a pipeline that does not stop.
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}

/// Links one stream of the clip to a new pad of `moqsink`, through what it needs in between.
fn publish(moqsink: &gst::Element, pad: &gst::Pad, delays: &[Delays; 2]) -> anyhow::Result<()> {
    let caps = pad.current_caps().unwrap_or_else(|| pad.query_caps(None));
    let kind = caps.structure(0).context("the stream has a type")?.name();
    let (elements, delays) = match kind.as_str() {
        "video/x-h264" => ("h264parse", &delays[0]),
        "audio/mpeg" => ("aacparse", &delays[1]),
        "audio/x-opus" => ("opusparse", &delays[1]),
        "video/x-raw" => (
            "videoconvert ! video/x-raw,format=I420 ! x264enc tune=zerolatency key-int-max=60 ! \
             h264parse",
            &delays[0],
        ),
        "audio/x-raw" => (
            "audioconvert ! audioresample ! audio/x-raw,rate=48000 ! avenc_aac ! aacparse",
            &delays[1],
        ),
        other => return Err(anyhow!("{other} cannot be published")),
    };
    let branch = gst::parse::bin_from_description(&format!("queue ! {elements}"), true)
        .context("build the stream's branch")?;
    let pipeline = moqsink
        .parent()
        .and_downcast::<gst::Pipeline>()
        .context("the sink is in a pipeline")?;
    pipeline.add(&branch)?;
    let sink_pad = moqsink
        .request_pad_simple("sink_%u")
        .context("moqsink gives no further pad")?;
    delays.capture(&sink_pad);
    let end = |name| branch.static_pad(name).context("the branch has two ends");
    end("src")?.link(&sink_pad).context("link to moqsink")?;
    branch.sync_state_with_parent()?;
    pad.link(&end("sink")?).context("link the stream")?;
    Ok(())
}
