// SPDX-License-Identifier: MIT
//! The process that publishes.

use std::{
    sync::mpsc::TryRecvError,
    time::{Duration, Instant},
};

use anyhow::Context;
use gst::prelude::*;

use crate::{
    job::{Job, Order, Word, orders},
    library,
    load::Load,
    peer::{self, Peer},
    usage::Window,
};

/// How long a session may take, under valgrind too.
const PATIENCE: Duration = Duration::from_secs(50);

/// Where the access units go.
enum Output {
    Library {
        publisher: Box<library::Publisher>,
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
                    publisher: Box::new(runtime.block_on(start)?),
                    _runtime: runtime,
                })
            }
            peer => {
                gst::init()?;
                let text = peer.publisher(&job.url, &job.broadcast, &job.load);
                let pipeline = peer::pipeline(&text)?;
                let tracks = (0..job.load.tracks).map(|track| {
                    let source = pipeline.by_name(&format!("track{track}"))?;
                    source.downcast().ok()
                });
                let tracks = tracks.collect::<Option<_>>().context("an appsrc a track")?;
                pipeline.set_state(gst::State::Playing)?;
                // Who listens has its port when it plays.
                if let Some(sink) = pipeline.by_name("moq").filter(|_| peer.is_relayed()) {
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
                    tracks[track as usize].push_buffer(buffer(unit, now, key)?)?;
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

pub(crate) fn buffer(
    unit: Vec<u8>,
    time: Option<gst::ClockTime>,
    key: bool,
) -> anyhow::Result<gst::Buffer> {
    let mut buffer = gst::Buffer::from_mut_slice(unit);
    let fields = buffer.get_mut().context("a new buffer")?;
    fields.set_pts(time);
    fields.set_dts(time);
    if !key {
        fields.set_flags(gst::BufferFlags::DELTA_UNIT);
    }
    Ok(buffer)
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
    let orders = orders();
    let mut window = Window::idle();
    let mut output = Output::open(job)?;
    Word::Ready(String::new()).say()?;
    let load = &job.load;
    let (mut first, mut sent, mut result) = (0, 0, Ok(()));
    load.pace(|number| {
        match orders.try_recv() {
            Ok(Order::Measure) => {
                window.restart();
                first = number;
            }
            Err(TryRecvError::Empty) => {}
            Err(TryRecvError::Disconnected) => return false,
        }
        result = output.send(load, number);
        sent = number + 1;
        result.is_ok()
    });
    result?;
    let (cpu, mut figures) = window.figures("publisher");
    let frames = f64::from((sent - first) * load.tracks);
    let megabytes = frames * load.frame_bytes() as f64 / 1e6;
    figures.insert("publisher CPU ms/MB".into(), cpu / megabytes);
    figures.insert("publisher CPU µs/frame".into(), cpu * 1e3 / frames);
    Word::Result(figures).say()
}
