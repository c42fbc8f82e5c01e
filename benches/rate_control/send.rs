// SPDX-License-Identifier: MIT
//! The process that makes, encodes and sends picture and sound.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, AtomicU64, Ordering},
        mpsc::{Receiver, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use gst::prelude::*;

use crate::{
    job::{Job, Word, now, order_to_end},
    peer::{ENCODER, MOQ_PORT, Peer, SIGNALLING_PORT, SOUND, set, watch},
    picture::{FPS, Mark, Pictures},
    receive::number,
    record::{Packet, SAMPLE, Sample, Sent},
};

/// How long a sender may take until it can be reached.
const PATIENCE: Duration = Duration::from_secs(30);
/// The rates at which the encoder is tried alone, in kbit/s, and how many frames each.
const RATES: [u32; 7] = [100, 200, 400, 1000, 2500, 4000, 8000];
const TRY: u32 = 240;

/// What the encoder makes, and what it is to make.
#[derive(Default)]
struct Meter {
    bytes: AtomicU64,
    encoder: Mutex<Option<gst::Element>>,
    sound: Mutex<Vec<Packet>>,
}

impl Meter {
    fn attach(self: &Arc<Self>, encoder: &gst::Element) {
        let Some(pad) = encoder.static_pad("src") else {
            return;
        };
        let meter = self.clone();
        pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
            if let Some(buffer) = info.buffer() {
                meter
                    .bytes
                    .fetch_add(buffer.size() as u64, Ordering::Relaxed);
            }
            gst::PadProbeReturn::Ok
        });
        *self.encoder.lock().unwrap_or_else(PoisonError::into_inner) = Some(encoder.clone());
    }

    /// Notes the packets of the sound.
    fn listen(self: &Arc<Self>, encoder: &gst::Element) {
        let Some(pad) = encoder.static_pad("src") else {
            return;
        };
        let meter = self.clone();
        pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
            if let Some(packet) = info.buffer().and_then(|buffer| Packet::of(buffer, now())) {
                let mut sound = meter.sound.lock().unwrap_or_else(PoisonError::into_inner);
                sound.push(packet);
            }
            gst::PadProbeReturn::Ok
        });
    }

    /// The encoder's own setting, in bit/s.
    fn bitrate(&self) -> f64 {
        let encoder = self.encoder.lock().unwrap_or_else(PoisonError::into_inner);
        let encoder = encoder.clone();
        encoder.map_or(f64::NAN, |encoder| {
            f64::from(encoder.property::<u32>("bitrate")) * 1e3
        })
    }
}

pub(crate) fn run(job: &Job) -> anyhow::Result<()> {
    gst::init()?;
    let end = order_to_end();
    let pipeline = gst::parse::launch(&text(job))?;
    let pipeline = pipeline.downcast::<gst::Pipeline>().ok();
    let pipeline = pipeline.context("a pipeline")?;
    watch(&pipeline)?;
    let meter = Arc::new(Meter::default());
    let sink = pipeline.by_name("sink").context("a sink")?;
    match pipeline.by_name("encoder").zip(pipeline.by_name("voice")) {
        Some((encoder, voice)) => {
            set_up_video(&encoder, job.bitrate.start);
            meter.attach(&encoder);
            meter.listen(&voice);
        }
        None => set_up_encoders(&sink, job.bitrate.start, &meter),
    }
    set_up_sink(&sink, job);
    let camera = pipeline.by_name("camera").context("an appsrc")?;
    let camera = camera.downcast::<gst_app::AppSrc>().ok();
    let camera = camera.context("an appsrc")?;
    camera.set_caps(Some(&Pictures::caps()));
    pipeline.set_state(gst::State::Playing)?;
    let frames = Arc::new(Mutex::new(Vec::new()));
    let sent = frames.clone();
    thread::spawn(move || {
        if let Err(err) = shoot(&camera, &sent) {
            eprintln!("no more frames: {err:#}");
        }
    });
    Word::Ready(reachable(job.peer, &sink)?).say()?;
    let pad = sink.static_pad("sink_0");
    let target =
        pad.filter(|pad| job.peer == Peer::Controlled && pad.has_property("target-bitrate"));
    let samples = sample(&end, &meter, || match &target {
        Some(pad) => bits(pad),
        None => meter.bitrate(),
    });
    let frames = std::mem::take(&mut *frames.lock().unwrap_or_else(PoisonError::into_inner));
    let sound = std::mem::take(&mut *meter.sound.lock().unwrap_or_else(PoisonError::into_inner));
    let sent = Sent {
        frames,
        samples,
        sound,
    };
    Word::Sent(sent).say()?;
    std::process::exit(0);
}

/// What moqsink wants its encoder to make.
fn bits(pad: &gst::Pad) -> f64 {
    let value = pad.property_value("target-bitrate").transform::<f64>();
    value.map_or(f64::NAN, |value| value.get().unwrap_or(f64::NAN))
}

/// Picture to `camera`; what webrtcsink takes is not encoded yet.
fn text(job: &Job) -> String {
    let camera = "appsrc name=camera is-live=true format=time max-buffers=4 max-bytes=0 max-time=0 \
                  leaky-type=downstream";
    let sound = "audiotestsrc is-live=true wave=pink-noise volume=0.2 samplesperbuffer=960 ! \
                 audio/x-raw,rate=48000,channels=2";
    match job.peer {
        Peer::WebRtc => format!(
            "webrtcsink name=sink video-caps=video/x-h264 audio-caps=audio/x-opus \
             congestion-control=gcc min-bitrate={} start-bitrate={} max-bitrate={} \
             enable-mitigation-modes=none run-signalling-server=true signalling-server-host=0.0.0.0 \
             signalling-server-port={SIGNALLING_PORT} {} {camera} ! sink. {sound} ! sink.",
            job.bitrate.min, job.bitrate.start, job.bitrate.max, job.settings,
        ),
        _ => format!(
            "moqsink name=sink mode=listen bind=0.0.0.0:{MOQ_PORT} broadcast=rate {camera} ! \
             x264enc name=encoder ! video/x-h264,profile=constrained-baseline ! h264parse ! sink.sink_0 \
             {sound} ! opusenc name=voice bitrate={SOUND} perfect-timestamp=true ! sink.sink_1",
        ),
    }
}

fn set_up_video(encoder: &gst::Element, bits: u32) {
    for (name, value) in ENCODER {
        encoder.set_property_from_str(name, value);
    }
    encoder.set_property("bitrate", bits / 1000);
}

/// Those that webrtcsink makes.
fn set_up_encoders(sink: &gst::Element, bits: u32, meter: &Arc<Meter>) {
    let meter = meter.clone();
    sink.connect("encoder-setup", false, move |values| {
        let peer = values.get(1)?.get::<String>().ok()?;
        let encoder = values.get(3)?.get::<gst::Element>().ok()?;
        let name = encoder.factory().map(|factory| factory.name());
        let is_measured = peer != "discovery";
        let is_video = match name.as_deref() {
            Some("x264enc") => {
                set_up_video(&encoder, bits);
                if is_measured {
                    meter.attach(&encoder);
                }
                true
            }
            Some("opusenc") => {
                encoder.set_property("bitrate", SOUND);
                if is_measured {
                    meter.listen(&encoder);
                }
                false
            }
            other => {
                eprintln!("webrtcsink takes {other:?}");
                false
            }
        };
        // The settings of webrtcsink apply unless this says that they are done.
        Some(is_video.to_value())
    });
}

fn set_up_sink(sink: &gst::Element, job: &Job) {
    match job.peer {
        Peer::WebRtc => sink.set_property("stun-server", None::<&str>),
        Peer::Fixed => set(sink, "rate-control", "none"),
        Peer::Controlled => {
            set(sink, "rate-control", "encoder");
            set(sink, "min-bitrate", &job.bitrate.min.to_string());
            set(sink, "start-bitrate", &job.bitrate.start.to_string());
            set(sink, "max-bitrate", &job.bitrate.max.to_string());
        }
    }
}

/// Waits until a receiver can come: the fingerprint of moqsink's certificate, or the name that webrtcsink has at
/// its signalling server.
fn reachable(peer: Peer, sink: &gst::Element) -> anyhow::Result<String> {
    let begun = Instant::now();
    loop {
        let name = match peer {
            Peer::WebRtc => {
                let signaller = sink.property::<gst::glib::Object>("signaller");
                signaller.property::<Option<String>>("client-id")
            }
            _ => sink.property::<Option<String>>("certificate-fingerprint"),
        };
        if let Some(name) = name {
            return Ok(name);
        }
        ensure!(begun.elapsed() < PATIENCE, "nobody can reach it");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Frames in real time, for as long as they are taken.
fn shoot(camera: &gst_app::AppSrc, sent: &Mutex<Vec<Mark>>) -> anyhow::Result<()> {
    let mut pictures = Pictures::new();
    let begun = Instant::now();
    for number in 0..=u16::MAX {
        let due = Duration::from_secs(1) * u32::from(number) / FPS;
        thread::sleep(due.saturating_sub(begun.elapsed()));
        let (mark, time) = (
            Mark {
                number,
                sent: now(),
            },
            camera.current_running_time(),
        );
        let mut buffer = pictures.draw(mark)?;
        let fields = buffer.get_mut().context("a new buffer")?;
        fields.set_pts(time);
        fields.set_duration(gst::ClockTime::SECOND / u64::from(FPS));
        camera.push_buffer(buffer)?;
        let mut sent = sent.lock().unwrap_or_else(PoisonError::into_inner);
        sent.push(mark);
    }
    Ok(())
}

/// A sample every tenth of a second until the end.
fn sample(end: &Receiver<()>, meter: &Meter, target: impl Fn() -> f64) -> Vec<Sample> {
    let mut samples = Vec::new();
    let mut next = Instant::now();
    loop {
        next += SAMPLE;
        match end.recv_timeout(next.saturating_duration_since(Instant::now())) {
            Err(RecvTimeoutError::Timeout) => {}
            Ok(()) | Err(RecvTimeoutError::Disconnected) => return samples,
        }
        let target = target();
        samples.push(Sample {
            at: now(),
            bytes: meter.bytes.swap(0, Ordering::Relaxed),
            // Until there is an encoder.
            target: if target.is_nan() { 0.0 } else { target },
        });
    }
}

/// Prints what the encoder makes of the picture at several rates, without a network.
pub(crate) fn encode() -> anyhow::Result<()> {
    gst::init()?;
    println!(
        "\nwanted kbit/s, made kbit/s, frames without a legible mark, ms of CPU time per frame with all"
    );
    for rate in RATES {
        let text = "appsrc name=camera format=time block=true max-buffers=4 max-bytes=0 ! \
                    x264enc name=encoder ! video/x-h264,profile=constrained-baseline ! h264parse ! \
                    avdec_h264 max-threads=1 ! video/x-raw,format=I420 ! appsink name=out sync=false";
        let pipeline = gst::parse::launch(text)?;
        let pipeline = pipeline.downcast::<gst::Pipeline>().ok();
        let pipeline = pipeline.context("a pipeline")?;
        watch(&pipeline)?;
        let encoder = pipeline.by_name("encoder").context("an encoder")?;
        set_up_video(&encoder, rate * 1000);
        let meter = Arc::new(Meter::default());
        meter.attach(&encoder);
        let camera = pipeline.by_name("camera").context("an appsrc")?;
        let camera = camera.downcast::<gst_app::AppSrc>().ok();
        let camera = camera.context("an appsrc")?;
        camera.set_caps(Some(&Pictures::caps()));
        let legible = Arc::new(AtomicU32::new(0));
        let out = pipeline.by_name("out").context("an appsink")?;
        let out = out.downcast::<gst_app::AppSink>().ok();
        let count = legible.clone();
        let take = move |out: &gst_app::AppSink| {
            let sample = out.pull_sample().map_err(|_| gst::FlowError::Eos)?;
            count.fetch_add(number(&sample).map_or(0, |_| 1), Ordering::Relaxed);
            Ok(gst::FlowSuccess::Ok)
        };
        let callbacks = gst_app::AppSinkCallbacks::builder().new_sample(take);
        out.context("an appsink")?.set_callbacks(callbacks.build());
        let mut pictures = Pictures::new();
        pipeline.set_state(gst::State::Playing)?;
        let before = cpu();
        for number in 0..TRY {
            // The first second is not the rule.
            if number == FPS {
                meter.bytes.store(0, Ordering::Relaxed);
            }
            let mark = Mark {
                number: number as u16,
                sent: now(),
            };
            let mut buffer = pictures.draw(mark)?;
            let fields = buffer.get_mut().context("a new buffer")?;
            fields.set_pts(gst::ClockTime::SECOND * u64::from(number) / u64::from(FPS));
            camera.push_buffer(buffer)?;
        }
        camera.end_of_stream()?;
        let bus = pipeline.bus().context("a bus")?;
        bus.timed_pop_filtered(gst::ClockTime::from_seconds(10), &[gst::MessageType::Eos]);
        let spent = (cpu() - before).as_secs_f64() * 1e3 / f64::from(TRY);
        let bits = meter.bytes.load(Ordering::Relaxed) as f64 * 8.0;
        let made = bits * f64::from(FPS) / f64::from(TRY - FPS) / 1e3;
        let lost = TRY - legible.load(Ordering::Relaxed);
        println!("{rate}, {made:.0}, {lost}, {spent:.1}");
        pipeline.set_state(gst::State::Null)?;
    }
    Word::Ready(String::new()).say()
}

/// CPU time of this process.
fn cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
