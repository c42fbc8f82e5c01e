// SPDX-License-Identifier: MIT
//! The process that subscribes.

use std::{
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc::RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use gst::prelude::*;

use crate::{
    job::{Job, Order, Word, orders},
    library,
    load::{self, Load, Seen},
    peer::{self, Peer},
    publish,
    usage::{Figures, Window},
};

/// How long the first frame may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// What came on one track of one subscriber.
#[derive(Default)]
struct Lane {
    begun: Option<Instant>,
    /// When the first keyframe came: a decoder begins with that.
    first: Option<Instant>,
    /// The number that is expected.
    next: Option<u32>,
    frames: u64,
    lost: u64,
    bytes: u64,
    ages: Vec<Duration>,
}

impl Lane {
    fn take(&mut self, unit: &[u8]) {
        let Some(Seen { number, age, key }) = load::read(unit) else {
            return;
        };
        if key {
            self.first.get_or_insert_with(Instant::now);
        }
        // Numbers only grow within a track.
        self.lost += u64::from(number.saturating_sub(self.next.unwrap_or(number)));
        self.next = Some(number + 1);
        self.frames += 1;
        self.bytes += unit.len() as u64;
        self.ages.push(age);
    }

    /// Forgets what was counted, and not what is expected.
    fn restart(&mut self) {
        *self = Self {
            begun: self.begun,
            first: self.first,
            next: self.next,
            ..Self::default()
        };
    }
}

type Lanes = Arc<Vec<Mutex<Lane>>>;

/// The subscriber of these lanes starts now.
fn begin(lanes: &Lanes, indices: impl Iterator<Item = usize>) {
    let now = Instant::now();
    for index in indices {
        lane(lanes, index).begun = Some(now);
    }
}

fn lane(lanes: &Lanes, index: usize) -> MutexGuard<'_, Lane> {
    lanes[index].lock().unwrap_or_else(PoisonError::into_inner)
}

/// What has to live while media come.
enum Input {
    Library(#[expect(dead_code, reason = "its tasks read")] tokio::runtime::Runtime),
    Pipelines(Vec<gst::Pipeline>),
    Nowhere,
}

impl Drop for Input {
    fn drop(&mut self) {
        if let Self::Pipelines(pipelines) = self {
            for pipeline in pipelines {
                // The process ends.
                let _ = pipeline.set_state(gst::State::Null);
            }
        }
    }
}

pub(crate) fn run(job: &Job) -> anyhow::Result<()> {
    let orders = orders();
    let mut window = Window::idle();
    let count = (job.subscribers * job.load.tracks) as usize;
    let lanes: Lanes = Arc::new((0..count).map(|_| Mutex::default()).collect());
    let opened = Instant::now();
    let _input = open(job, &lanes)?;
    let missing = || (0..count).filter(|index| lane(&lanes, *index).first.is_none());
    while missing().next().is_some() {
        if opened.elapsed() > PATIENCE {
            bail!("{} of {count} tracks did not come", missing().count());
        }
        thread::sleep(Duration::from_millis(10));
    }
    thread::sleep(job.settle);
    (0..count).for_each(|index| lane(&lanes, index).restart());
    window.restart();
    Word::Measuring.say()?;
    match orders.recv_timeout(job.measure) {
        Err(RecvTimeoutError::Timeout) => {}
        Ok(Order::Measure) | Err(RecvTimeoutError::Disconnected) => bail!("ordered to end"),
    }
    let (cpu, mut figures) = window.figures("subscriber");
    judge(job, &lanes, cpu, &mut figures)?;
    // Said before the pipelines stop, which is not measured.
    Word::Result(figures).say()
}

/// Adds what came on all lanes, for this CPU time in ms.
fn judge(job: &Job, lanes: &Lanes, cpu: f64, figures: &mut Figures) -> anyhow::Result<()> {
    let (mut frames, mut lost, mut bytes) = (0, 0, 0);
    let (mut ages, mut firsts) = (Vec::new(), Vec::new());
    for index in 0..lanes.len() {
        let mut lane = lane(lanes, index);
        frames += lane.frames;
        lost += lane.lost;
        bytes += lane.bytes;
        ages.append(&mut lane.ages);
        firsts.extend(
            lane.begun
                .zip(lane.first)
                .map(|(begun, first)| first - begun),
        );
    }
    anyhow::ensure!(frames > 0, "nothing came while it was measured");
    let sent = f64::from(job.load.fps) * job.measure.as_secs_f64() * lanes.len() as f64;
    ages.sort_unstable();
    let delay = |part: f64| {
        let last = ages.len().saturating_sub(1);
        let age = ages.get((last as f64 * part).round() as usize);
        age.map_or(f64::NAN, |age| age.as_secs_f64() * 1e3)
    };
    let first = firsts.iter().sum::<Duration>() / firsts.len() as u32;
    let megabytes = bytes as f64 / 1e6;
    figures.extend([
        ("delay p50 ms".into(), delay(0.5)),
        ("delay p99 ms".into(), delay(0.99)),
        ("delay p99.9 ms".into(), delay(0.999)),
        ("delay max ms".into(), delay(1.0)),
        ("frames".into(), frames as f64),
        ("MB".into(), megabytes),
        (
            "frames lost %".into(),
            100.0 * lost as f64 / (frames + lost).max(1) as f64,
        ),
        ("frames that came %".into(), 100.0 * frames as f64 / sent),
        ("first frame ms".into(), first.as_secs_f64() * 1e3),
        ("subscriber CPU ms/MB".into(), cpu / megabytes),
        ("subscriber CPU µs/frame".into(), cpu * 1e3 / frames as f64),
    ]);
    Ok(())
}

fn open(job: &Job, lanes: &Lanes) -> anyhow::Result<Input> {
    let tracks = job.load.tracks;
    let own = move |subscriber: u32| {
        let first = (subscriber * tracks) as usize;
        first..first + tracks as usize
    };
    match job.peer {
        Peer::Bare | Peer::BareGst => bare(job, lanes),
        Peer::Through => through(job, lanes),
        Peer::Library => {
            let runtime = library::runtime()?;
            for subscriber in 0..job.subscribers {
                let (job, lanes) = (job.clone(), lanes.clone());
                runtime.spawn(async move {
                    begin(&lanes, own(subscriber));
                    let take = move |track: u32, unit: &[u8]| {
                        lane(&lanes, own(subscriber).start + track as usize).take(unit);
                    };
                    let result = library::subscribe(&job.url, &job.broadcast, tracks, take).await;
                    if let Err(err) = result {
                        eprintln!("a subscriber ended: {err:#}");
                    }
                });
            }
            Ok(Input::Library(runtime))
        }
        _ => {
            gst::init()?;
            let pipelines = (0..job.subscribers).map(|subscriber| {
                let pipeline = peer::pipeline(&job.peer.subscriber(&job.url, &job.broadcast))?;
                connect(&pipeline, lanes, own(subscriber))?;
                begin(lanes, own(subscriber));
                pipeline.set_state(gst::State::Playing)?;
                Ok(pipeline)
            });
            Ok(Input::Pipelines(pipelines.collect::<anyhow::Result<_>>()?))
        }
    }
}

/// The load alone: made here, and given to what counts it.
fn bare(job: &Job, lanes: &Lanes) -> anyhow::Result<Input> {
    let (load, lanes) = (job.load.clone(), lanes.clone());
    begin(&lanes, 0..lanes.len());
    if job.peer == Peer::Bare {
        thread::spawn(move || {
            load.pace(|number| {
                for index in 0..lanes.len() {
                    lane(&lanes, index).take(&load.access_unit(number));
                }
                true
            });
        });
        return Ok(Input::Nowhere);
    }
    gst::init()?;
    let pipeline = gst::Pipeline::new();
    let sinks = (0..lanes.len()).map(|index| {
        let out = appsink(&lanes, index);
        pipeline.add(&out)?;
        Ok(out)
    });
    let sinks = sinks.collect::<anyhow::Result<Vec<_>>>()?;
    pipeline.set_state(gst::State::Playing)?;
    let pads = sinks.iter().map(|out| feed(out, &load));
    let pads = pads.collect::<anyhow::Result<Vec<_>>>()?;
    thread::spawn(move || {
        load.pace(|number| {
            pads.iter().all(|pad| {
                let time = gst::ClockTime::try_from(load.due(number)).ok();
                let unit = load.access_unit(number);
                let buffer = publish::buffer(unit, time, load.is_key(number));
                buffer.is_ok_and(|buffer| pad.push(buffer).is_ok())
            })
        });
    });
    Ok(Input::Pipelines(vec![pipeline]))
}

/// The load from an appsrc to an appsink of this process.
fn through(job: &Job, lanes: &Lanes) -> anyhow::Result<Input> {
    gst::init()?;
    let load = job.load.clone();
    let pipeline = peer::pipeline(&job.peer.publisher("", "", &load))?;
    connect(&pipeline, lanes, 0..1)?;
    begin(lanes, 0..1);
    let source = pipeline.by_name("track0").context("an appsrc")?;
    let source = source.downcast::<gst_app::AppSrc>();
    let source = source.map_err(|_| anyhow::anyhow!("no appsrc"))?;
    pipeline.set_state(gst::State::Playing)?;
    thread::spawn(move || {
        load.pace(|number| {
            let time = source.current_running_time();
            let unit = load.access_unit(number);
            let buffer = publish::buffer(unit, time, load.is_key(number));
            buffer.is_ok_and(|buffer| source.push_buffer(buffer).is_ok())
        });
    });
    Ok(Input::Pipelines(vec![pipeline]))
}

/// A pad that gives to `out` as the pad of a source does.
fn feed(out: &gst_app::AppSink, load: &Load) -> anyhow::Result<gst::Pad> {
    let pad = gst::Pad::new(gst::PadDirection::Src);
    pad.set_active(true)?;
    pad.link(&out.static_pad("sink").context("its pad")?)?;
    let caps: gst::Caps = load.caps().parse()?;
    pad.push_event(gst::event::StreamStart::new("load"));
    pad.push_event(gst::event::Caps::new(&caps));
    let segment = gst::FormattedSegment::<gst::ClockTime>::new();
    pad.push_event(gst::event::Segment::new(&segment));
    Ok(pad)
}

/// Has what comes counted, from the appsink that is there or from the pads that come.
fn connect(pipeline: &gst::Pipeline, lanes: &Lanes, own: Range<usize>) -> anyhow::Result<()> {
    if let Some(out) = pipeline.by_name("out") {
        let out = out.downcast::<gst_app::AppSink>();
        let out = out.map_err(|_| anyhow::anyhow!("no appsink"))?;
        count(&out, lanes.clone(), own.start);
        return Ok(());
    }
    let source = pipeline.by_name("moq").context("a source")?;
    let (pipeline, lanes) = (pipeline.downgrade(), lanes.clone());
    let next = Mutex::new(own);
    source.connect_pad_added(move |_, pad| {
        let index = next.lock().unwrap_or_else(PoisonError::into_inner).next();
        let Some((pipeline, index)) = pipeline.upgrade().zip(index) else {
            return;
        };
        let linked = || -> anyhow::Result<()> {
            let out = appsink(&lanes, index);
            pipeline.add(&out)?;
            out.sync_state_with_parent()?;
            pad.link(&out.static_pad("sink").context("its pad")?)?;
            Ok(())
        };
        if let Err(err) = linked() {
            eprintln!("{} is not linked: {err:#}", pad.name());
        }
    });
    Ok(())
}

/// Counts what comes, when it comes.
fn appsink(lanes: &Lanes, index: usize) -> gst_app::AppSink {
    let out = gst_app::AppSink::builder()
        .sync(false)
        .async_(false)
        .build();
    count(&out, lanes.clone(), index);
    out
}

fn count(out: &gst_app::AppSink, lanes: Lanes, index: usize) {
    let take = move |out: &gst_app::AppSink| {
        let sample = out.pull_sample().map_err(|_| gst::FlowError::Eos)?;
        let buffer = sample.buffer().ok_or(gst::FlowError::Error)?;
        let unit = buffer.map_readable().map_err(|_| gst::FlowError::Error)?;
        lane(&lanes, index).take(&unit);
        Ok(gst::FlowSuccess::Ok)
    };
    out.set_callbacks(
        gst_app::AppSinkCallbacks::builder()
            .new_sample(take)
            .build(),
    );
}
