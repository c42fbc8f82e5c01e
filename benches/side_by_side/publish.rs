//! The process that publishes.

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use anyhow::Context;
use gst::prelude::*;

use crate::{
    job::{Job, Word, end_of_input},
    library,
    load::Load,
    peer::Peer,
    usage::{Figures, Usage},
};

/// How long a session may take, under valgrind too.
const PATIENCE: Duration = Duration::from_secs(50);

/// Where the access units go.
enum Output {
    Library {
        publisher: library::Publisher,
        _runtime: tokio::runtime::Runtime,
    },
    Pipeline {
        pipeline: gst::Pipeline,
        tracks: Vec<gst_app::AppSrc>,
    },
    Nowhere,
}

impl Output {
    fn open(job: &Job) -> anyhow::Result<Self> {
        match job.peer {
            Peer::Bare => Ok(Self::Nowhere),
            Peer::Library => {
                let runtime = library::runtime()?;
                let start = library::Publisher::start(&job.url, &job.broadcast, job.load.tracks);
                Ok(Self::Library {
                    publisher: runtime.block_on(start)?,
                    _runtime: runtime,
                })
            }
            peer => {
                gst::init()?;
                let text = peer.publisher(&job.url, &job.broadcast, &job.load);
                let pipeline = gst::parse::launch(&text).with_context(|| text.clone())?;
                let pipeline = pipeline.downcast::<gst::Pipeline>();
                let pipeline = pipeline.map_err(|_| anyhow::anyhow!("{text} is no pipeline"))?;
                let tracks = (0..job.load.tracks).map(|track| {
                    let source = pipeline.by_name(&format!("track{track}"))?;
                    source.downcast().ok()
                });
                let tracks = tracks.collect::<Option<_>>().context("an appsrc a track")?;
                pipeline.set_state(gst::State::Playing)?;
                if let Some(sink) = pipeline.by_name("moq") {
                    wait_connected(&sink)?;
                }
                Ok(Self::Pipeline { pipeline, tracks })
            }
        }
    }

    fn send(&mut self, load: &Load, number: u32) -> anyhow::Result<()> {
        let (time, key) = (load.due(number), load.is_key(number));
        for track in 0..load.tracks {
            let unit = load.access_unit(number);
            match self {
                Self::Nowhere => drop(std::hint::black_box(unit)),
                Self::Library { publisher, .. } => publisher.write(track, time, key, unit)?,
                Self::Pipeline { pipeline, tracks } => {
                    let now = pipeline.current_running_time();
                    push(&tracks[track as usize], unit, now, key)?;
                }
            }
        }
        Ok(())
    }
}

/// The library is measured from its session on, too.
fn wait_connected(sink: &gst::Element) -> anyhow::Result<()> {
    let begun = Instant::now();
    while !sink.property::<bool>("connected") {
        anyhow::ensure!(begun.elapsed() < PATIENCE, "no session");
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

pub(crate) fn push(
    source: &gst_app::AppSrc,
    unit: Vec<u8>,
    time: Option<gst::ClockTime>,
    key: bool,
) -> anyhow::Result<()> {
    let mut buffer = gst::Buffer::from_mut_slice(unit);
    let fields = buffer.get_mut().context("a new buffer")?;
    fields.set_pts(time);
    fields.set_dts(time);
    if !key {
        fields.set_flags(gst::BufferFlags::DELTA_UNIT);
    }
    source.push_buffer(buffer)?;
    Ok(())
}

impl Drop for Output {
    fn drop(&mut self) {
        if let Self::Pipeline { pipeline, .. } = self {
            // The process ends.
            let _ = pipeline.set_state(gst::State::Null);
        }
    }
}

pub(crate) fn run(job: &Job) -> anyhow::Result<()> {
    let ended = end_of_input();
    let idle = Usage::now();
    Usage::forget_peak();
    let mut output = Output::open(job)?;
    Word::Ready(String::new()).say()?;
    let load = &job.load;
    let (mut first, mut result) = (None, Ok(()));
    let mut sent = 0;
    load.pace(|number| {
        // The beginning is no steady state.
        if load.due(number) >= Duration::from_secs(1) && first.is_none() {
            first = Some((Usage::now(), number));
        }
        result = output.send(load, number);
        sent = number + 1;
        result.is_ok() && !ended.load(Ordering::Acquire)
    });
    result?;
    let (from, number) = first.context("it lasts for more than a second")?;
    let now = Usage::now();
    let frames = f64::from((sent - number) * load.tracks);
    let megabytes = frames * load.frame_bytes() as f64 / 1e6;
    let cpu = now.cpu_ms - from.cpu_ms;
    let figures = Figures::from([
        ("publisher CPU ms/MB".into(), cpu / megabytes),
        ("publisher CPU µs/frame".into(), cpu * 1e3 / frames),
        ("publisher memory MiB".into(), now.peak_mib - idle.rss_mib),
        (
            "publisher growth MiB/min".into(),
            (now.rss_mib - from.rss_mib) / (frames / f64::from(load.fps * load.tracks) / 60.0),
        ),
        ("publisher threads".into(), now.threads),
    ]);
    Word::Result(figures).say()
}
