// SPDX-License-Identifier: MIT
//! Publishes a clip, plays it back and shows how well that goes: these two lines, with the clip
//! looped, a relay between them, and a table once a second.
//!
//! ```sh
//! gst-launch-1.0 filesrc location=examples/media/bigbuckbunny.mp4 ! qtdemux name=demux \
//!   demux.video_0 ! queue ! h264parse ! moq.sink_0 \
//!   demux.audio_0 ! queue ! aacparse ! moq.sink_1 \
//!   moqsink name=moq url=https://127.0.0.1:4443/ broadcast=demo.hang tls-disable-verify=true
//! gst-launch-1.0 \
//!   moqsrc name=moq url=https://127.0.0.1:4443/ broadcast=demo.hang tls-disable-verify=true \
//!   moq.video_0 ! queue ! avdec_h264 ! videoconvert ! autovideosink \
//!   moq.audio_0 ! queue ! avdec_aac ! audioconvert ! audioresample ! autoaudiosink
//! ```
//!
//! `demo.sh` installs what it needs and runs it; `--help` lists the options.

mod display;
mod events;
mod interrupt;
mod options;
#[allow(dead_code, reason = "shared with the tests, which use all of it")]
#[path = "../../tests/common/probe.rs"]
mod probe;
mod publisher;
#[allow(dead_code, reason = "shared with the tests, which use all of it")]
#[path = "../../tests/common/relay.rs"]
mod relay;
mod snapshot;
mod subscriber;
mod table;

use std::{
    fs,
    process::{self, ExitCode},
    sync::mpsc,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use gst::prelude::*;

use crate::{
    events::Side, options::Options, probe::Delays, publisher::Publisher, relay::Relay,
    subscriber::Subscriber, table::Table,
};

/// How long the recording may take to end.
const END_BOUND: Duration = Duration::from_secs(5);

/// The elements of GStreamer that the demo cannot do without.
const ELEMENTS: [&str; 10] = [
    "uridecodebin",
    "qtdemux",
    "h264parse",
    "aacparse",
    "avdec_h264",
    "avdec_aac",
    "x264enc",
    "opusdec",
    "pngenc",
    "wavenc",
];

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("The demo failed: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<()> {
    let Some(options) = Options::from_args()? else {
        return Ok(());
    };
    gst::init().context("initialize GStreamer")?;
    gstmoq::plugin_register_static().context("register the plugin")?;
    for element in ELEMENTS {
        ensure!(
            gst::ElementFactory::find(element).is_some(),
            "GStreamer's element {element} is missing; examples/demo.sh installs its package"
        );
    }
    fs::create_dir_all(&options.out)
        .with_context(|| format!("cannot create {}", options.out.display()))?;

    let Some(url) = &options.url else {
        // Stopped after the pipelines, which then still have somebody to say goodbye to.
        let relay = Relay::start().context("start the relay")?;
        return Demo::start(&options, &relay.url())?.run();
    };
    Demo::start(&options, url)?.run()
}

/// Both ends of the broadcast, and what is seen of them.
struct Demo<'a> {
    options: &'a Options,
    events: mpsc::Receiver<(Side, gst::Message)>,
    publisher: Publisher,
    subscriber: Subscriber,
    table: Table,
    /// Whether the broadcast has ended by itself.
    ended: bool,
}

impl<'a> Demo<'a> {
    fn start(options: &'a Options, url: &str) -> anyhow::Result<Self> {
        let broadcast = format!("demo-{}.hang", process::id());
        let (video, audio) = (Delays::new(), Delays::new());
        let (sender, events) = mpsc::channel();

        let sink = element("moqsink", url, &broadcast)?;
        // Read back, because what the user gave may hold a token.
        let relay = sink.property::<String>("url");
        println!("Publishing {} to {relay} as {broadcast}", options.media);
        let mut publisher = Publisher::new(&options.media, sink, &sender, [&video, &audio])?;
        publisher
            .start()
            .map_err(|error| match first_error(&events) {
                Some(cause) => error.context(cause),
                None => error,
            })?;

        let source = element("moqsrc", url, &broadcast)?;
        if let Some(latency) = options.latency {
            source.set_property_from_str("latency", &latency.to_string());
        }
        let recording = options.out.join("audio.wav");
        let subscriber = Subscriber::start(
            &source,
            display::is_there(),
            &recording,
            &sender,
            [&video, &audio],
        )?;
        interrupt::on_bus_of(subscriber.pipeline())?;
        Ok(Self {
            options,
            events,
            publisher,
            subscriber,
            table: Table::new(video, audio),
            ended: false,
        })
    }

    /// Prints the table until the time is over, Ctrl-C, or the end of the broadcast.
    fn run(mut self) -> anyhow::Result<()> {
        let start = Instant::now();
        let mut row = Duration::from_secs(1);
        let mut playing = true;
        while playing {
            let left = row.saturating_sub(start.elapsed());
            match self.events.recv_timeout(left) {
                Ok((side, message)) => playing = self.handle(side, &message)?,
                Err(_) => {
                    self.table.row(start.elapsed(), &self.subscriber);
                    playing = self.options.length.is_none_or(|length| row < length);
                    row += Duration::from_secs(1);
                }
            }
        }
        self.end_recording()?;
        self.write_results()
    }

    /// Handles what a pipeline says; false if it is the end.
    fn handle(&mut self, side: Side, message: &gst::Message) -> anyhow::Result<bool> {
        use gst::MessageView::*;

        match (side, message.view()) {
            (_, Error(error)) => bail!("{}", events::describe(error)),
            (Side::Publisher, SegmentDone(_)) => self.publisher.segment_done(message)?,
            (Side::Publisher, Latency(_)) => self.publisher.latency_changed(),
            (Side::Subscriber, Latency(_)) => self.subscriber.latency_changed(),
            (Side::Subscriber, Qos(quality)) => self.subscriber.quality_reported(quality),
            (Side::Subscriber, Eos(_)) => {
                self.ended = true;
                return Ok(false);
            }
            (Side::Subscriber, Application(_)) => return Ok(false),
            _ => (),
        }
        Ok(true)
    }

    /// Ends the WAV file; without an end it would say that it has no length.
    fn end_recording(&mut self) -> anyhow::Result<()> {
        self.subscriber.end();
        let end = Instant::now() + END_BOUND;
        while !self.ended {
            let left = end.saturating_duration_since(Instant::now());
            match self.events.recv_timeout(left) {
                // A failure of the last moment costs the files, so it is said.
                Ok((side, message)) => self.handle(side, &message).map(drop)?,
                Err(_) => bail!("the recording did not end within {END_BOUND:?}"),
            }
        }
        Ok(())
    }

    fn write_results(self) -> anyhow::Result<()> {
        let (frame, first) = self
            .subscriber
            .last_frame()
            .zip(self.subscriber.time_to_first_frame())
            .context("no video frame was received")?;
        let file = self.options.out.join("frame.png");
        snapshot::write_png(&frame, &file)?;
        println!("Time to first frame: {} ms", first.as_millis());
        println!("Video frame: {}", file.display());
        let audio = self.options.out.join("audio.wav");
        if audio.exists() {
            println!(
                "Audio: {} (the first {} s at most)",
                audio.display(),
                subscriber::SOUND_KEPT.seconds()
            );
        }
        Ok(())
    }
}

/// One of the plugin's elements, ready for its relay.
fn element(factory: &str, url: &str, broadcast: &str) -> anyhow::Result<gst::Element> {
    let element = gst::ElementFactory::make(factory)
        .property("url", url)
        .property("broadcast", broadcast)
        .build()
        .with_context(|| format!("create {factory}"))?;
    // A relay on this machine signs its own certificate.
    let here = ["://127.0.0.1", "://localhost", "://[::1]"];
    element.set_property(
        "tls-disable-verify",
        here.iter().any(|host| url.contains(host)),
    );
    Ok(element)
}

/// The text of the first error among the messages that wait.
fn first_error(events: &mpsc::Receiver<(Side, gst::Message)>) -> Option<String> {
    events
        .try_iter()
        .find_map(|(_, message)| match message.view() {
            gst::MessageView::Error(error) => Some(events::describe(error)),
            _ => None,
        })
}
