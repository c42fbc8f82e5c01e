//! The process that subscribes.

use std::{
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use gst::prelude::*;

use crate::{
    job::{Job, Word, end_of_input},
    library,
    load::{self, Load},
    peer::Peer,
    publish,
    usage::{Figures, Usage},
};

/// How long the first frame may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// What came on one track of one subscriber.
#[derive(Default)]
struct Lane {
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
        let Some((number, age)) = load::read(unit) else {
            return;
        };
        self.first.get_or_insert_with(Instant::now);
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
            first: self.first,
            next: self.next,
            ..Self::default()
        };
    }
}

type Lanes = Arc<Vec<Mutex<Lane>>>;

fn lane(lanes: &Lanes, index: usize) -> std::sync::MutexGuard<'_, Lane> {
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
    let _ended = end_of_input();
    let idle = Usage::now();
    Usage::forget_peak();
    let count = (job.subscribers * job.load.tracks) as usize;
    let lanes: Lanes = Arc::new((0..count).map(|_| Mutex::default()).collect());
    let begun = Instant::now();
    let input = open(job, &lanes)?;
    while (0..count).any(|index| lane(&lanes, index).first.is_none()) {
        if begun.elapsed() > PATIENCE {
            let came = (0..count).filter(|index| lane(&lanes, *index).first.is_some());
            bail!("{} of {count} tracks came", came.count());
        }
        thread::sleep(Duration::from_millis(10));
    }
    let firsts = (0..count).filter_map(|index| lane(&lanes, index).first);
    let first = firsts.map(|first| first - begun).sum::<Duration>() / count as u32;
    // What was cached comes at once: no steady state.
    thread::sleep(Duration::from_secs(1));
    (0..count).for_each(|index| lane(&lanes, index).restart());
    let from = Usage::now();
    thread::sleep(job.measure);
    let now = Usage::now();
    let figures = judge(&lanes, job, idle, from, now, first);
    drop(input);
    Word::Result(figures).say()
}

fn judge(
    lanes: &Lanes,
    job: &Job,
    idle: Usage,
    from: Usage,
    now: Usage,
    first: Duration,
) -> Figures {
    let (mut frames, mut lost, mut bytes, mut ages) = (0, 0, 0, Vec::new());
    for index in 0..lanes.len() {
        let mut lane = lane(lanes, index);
        frames += lane.frames;
        lost += lane.lost;
        bytes += lane.bytes;
        ages.append(&mut lane.ages);
    }
    ages.sort_unstable();
    let delay = |part: f64| {
        let last = ages.len().saturating_sub(1);
        let age = ages.get((last as f64 * part).round() as usize);
        age.map_or(f64::NAN, |age| age.as_secs_f64() * 1e3)
    };
    let (cpu, megabytes) = (now.cpu_ms - from.cpu_ms, bytes as f64 / 1e6);
    Figures::from([
        ("delay p50 ms".into(), delay(0.5)),
        ("delay p99 ms".into(), delay(0.99)),
        ("delay p99.9 ms".into(), delay(0.999)),
        ("delay max ms".into(), delay(1.0)),
        ("frames".into(), frames as f64),
        (
            "frames lost %".into(),
            100.0 * lost as f64 / (frames + lost).max(1) as f64,
        ),
        ("first frame ms".into(), first.as_secs_f64() * 1e3),
        ("subscriber CPU ms/MB".into(), cpu / megabytes),
        ("subscriber CPU µs/frame".into(), cpu * 1e3 / frames as f64),
        ("subscriber memory MiB".into(), now.peak_mib - idle.rss_mib),
        (
            "subscriber growth MiB/min".into(),
            (now.rss_mib - from.rss_mib) / job.measure.as_secs_f64() * 60.0,
        ),
        ("subscriber threads".into(), now.threads),
    ])
}

fn open(job: &Job, lanes: &Lanes) -> anyhow::Result<Input> {
    match job.peer {
        Peer::Bare | Peer::BareGst => bare(job, lanes),
        Peer::Library => {
            let runtime = library::runtime()?;
            for subscriber in 0..job.subscribers {
                let (job, lanes) = (job.clone(), lanes.clone());
                runtime.spawn(async move {
                    let tracks = job.load.tracks;
                    let take = move |track: u32, unit: &[u8]| {
                        lane(&lanes, (subscriber * tracks + track) as usize).take(unit);
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
                let text = job.peer.subscriber(&job.url, &job.broadcast, &job.load);
                let pipeline = gst::parse::launch(&text).with_context(|| text.clone())?;
                let pipeline = pipeline.downcast::<gst::Pipeline>();
                let pipeline = pipeline.map_err(|_| anyhow::anyhow!("{text} is no pipeline"))?;
                connect(&pipeline, job.load.clone(), lanes, subscriber)?;
                pipeline.set_state(gst::State::Playing)?;
                Ok(pipeline)
            });
            Ok(Input::Pipelines(pipelines.collect::<anyhow::Result<_>>()?))
        }
    }
}

/// The load alone, at this end.
fn bare(job: &Job, lanes: &Lanes) -> anyhow::Result<Input> {
    let (load, lanes) = (job.load.clone(), lanes.clone());
    if job.peer == Peer::Bare {
        thread::spawn(move || {
            load.pace(|number| {
                lane(&lanes, 0).take(&load.access_unit(number));
                true
            });
        });
        return Ok(Input::Nowhere);
    }
    gst::init()?;
    let pipeline = gst::parse::launch(&job.peer.subscriber("", "", &load))?;
    let pipeline = pipeline.downcast::<gst::Pipeline>();
    let pipeline = pipeline.map_err(|_| anyhow::anyhow!("no pipeline"))?;
    connect(&pipeline, load.clone(), &lanes, 0)?;
    let source = pipeline.by_name("track0").context("its source")?;
    let source = source.downcast::<gst_app::AppSrc>();
    let source = source.map_err(|_| anyhow::anyhow!("no appsrc"))?;
    pipeline.set_state(gst::State::Playing)?;
    thread::spawn(move || {
        load.pace(|number| {
            let time = source.current_running_time();
            publish::push(&source, load.access_unit(number), time, load.is_key(number)).is_ok()
        });
    });
    Ok(Input::Pipelines(vec![pipeline]))
}

/// Has what comes counted, from the appsink that is there or from the pads that come.
fn connect(
    pipeline: &gst::Pipeline,
    load: Load,
    lanes: &Lanes,
    subscriber: u32,
) -> anyhow::Result<()> {
    let tracks = load.tracks;
    let place = move |track: u32| (subscriber * tracks + track) as usize;
    if let Some(out) = pipeline.by_name("out") {
        let out = out.downcast::<gst_app::AppSink>();
        let out = out.map_err(|_| anyhow::anyhow!("no appsink"))?;
        count(&out, lanes.clone(), place(0));
        return Ok(());
    }
    let source = pipeline.by_name("moq").context("a source")?;
    let (pipeline, lanes) = (pipeline.downgrade(), lanes.clone());
    let next = Mutex::new(0);
    source.connect_pad_added(move |_, pad| {
        let mut next = next.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(pipeline) = pipeline.upgrade().filter(|_| *next < tracks) else {
            return;
        };
        let out = gst_app::AppSink::builder()
            .sync(false)
            .async_(false)
            .build();
        count(&out, lanes.clone(), place(*next));
        *next += 1;
        let linked = || -> anyhow::Result<()> {
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
