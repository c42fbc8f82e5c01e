// SPDX-License-Identifier: MIT
//! The process that receives and decodes, and notes when what is there.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::Context;
use gst::prelude::*;
use gst_video::prelude::*;

use crate::{
    job::{Job, Word, now, order_to_end},
    peer::{MOQ_PORT, Peer, SIGNALLING_PORT, watch},
    picture::Mark,
    record::{Packet, Received},
};

/// How long the first frame may take.
const PATIENCE: Duration = Duration::from_secs(45);

type Notes = Arc<Mutex<Received>>;

fn lock(notes: &Notes) -> MutexGuard<'_, Received> {
    notes.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn run(job: &Job) -> anyhow::Result<()> {
    gst::init()?;
    let end = order_to_end();
    let notes = Notes::default();
    let pipeline = gst::Pipeline::new();
    watch(&pipeline)?;
    let latency = job.latency;
    pipeline.connect_deep_element_added(move |_, _, element| {
        let name = element.factory().map(|factory| factory.name());
        match name.as_deref() {
            Some("webrtcbin") => element.set_property("latency", latency.as_millis() as u32),
            // As browsers do.
            Some("rtph264depay") => element.set_property("request-keyframe", true),
            _ => {}
        }
    });
    let source = source(job)?;
    pipeline.add(&source)?;
    let (bin, taken) = (pipeline.downgrade(), notes.clone());
    source.connect_pad_added(move |_, pad| {
        let Some(pipeline) = bin.upgrade() else {
            return;
        };
        if let Err(err) = link(&pipeline, pad, &taken) {
            eprintln!("{} is not linked: {err:#}", pad.name());
        }
    });
    pipeline.set_state(gst::State::Playing)?;
    let begun = Instant::now();
    while lock(&notes).frames.is_empty() {
        if begun.elapsed() > PATIENCE {
            eprintln!("no frame has come");
            std::process::exit(1);
        }
        thread::sleep(Duration::from_millis(5));
    }
    Word::Receiving.say()?;
    // An input that is gone is an order, too.
    let _ = end.recv();
    let received = std::mem::take(&mut *lock(&notes));
    Word::Received(received).say()?;
    std::process::exit(0);
}

fn source(job: &Job) -> anyhow::Result<gst::Element> {
    let address = job.address;
    if job.peer == Peer::WebRtc {
        let source = gst::ElementFactory::make("webrtcsrc")
            .property("stun-server", None::<&str>)
            .build()?;
        let signaller = source.property::<gst::glib::Object>("signaller");
        signaller.set_property("uri", format!("ws://{address}:{SIGNALLING_PORT}"));
        signaller.set_property("producer-peer-id", &job.sender);
        return Ok(source);
    }
    let source = gst::ElementFactory::make("moqsrc")
        .property("url", format!("https://{address}:{MOQ_PORT}/"))
        .property("tls-fingerprint", &job.sender)
        .property("broadcast", "rate")
        .build()?;
    source.set_property_from_str("latency", &job.latency.as_millis().to_string());
    Ok(source)
}

/// Has what comes decoded and noted: pictures when they are decoded, sound when its packets come.
fn link(pipeline: &gst::Pipeline, pad: &gst::Pad, notes: &Notes) -> anyhow::Result<()> {
    let is_video = pad.name().starts_with("video");
    let text = match is_video {
        // A decoder with several threads would hold frames back.
        true => {
            "h264parse ! avdec_h264 max-threads=1 ! video/x-raw,format=I420 ! \
             appsink name=out sync=false async=false"
        }
        false => "capsfilter caps=audio/x-opus ! appsink name=out sync=false async=false",
    };
    let chain =
        gst::parse::bin_from_description_with_name(text, true, &format!("{}-chain", pad.name()))?;
    let out = chain.by_name("out").context("an appsink")?;
    let out = out.downcast::<gst_app::AppSink>().ok();
    let out = out.context("an appsink")?;
    let notes = notes.clone();
    let take = move |out: &gst_app::AppSink| {
        let now = now();
        let sample = out.pull_sample().map_err(|_| gst::FlowError::Eos)?;
        match is_video {
            true => {
                let mut notes = lock(&notes);
                match number(&sample) {
                    Some(number) => notes.frames.push((number, now)),
                    None => notes.unreadable += 1,
                }
            }
            false => {
                let packet = sample.buffer().and_then(|buffer| Packet::of(buffer, now));
                lock(&notes).sound.extend(packet);
            }
        }
        Ok(gst::FlowSuccess::Ok)
    };
    let callbacks = gst_app::AppSinkCallbacks::builder().new_sample(take);
    out.set_callbacks(callbacks.build());
    pipeline.add(&chain)?;
    chain.sync_state_with_parent()?;
    pad.link(&chain.static_pad("sink").context("its pad")?)?;
    Ok(())
}

/// The number of a decoded frame, if it is legible.
pub(crate) fn number(sample: &gst::Sample) -> Option<u16> {
    let info = gst_video::VideoInfo::from_caps(sample.caps()?).ok()?;
    let frame = gst_video::VideoFrameRef::from_buffer_ref_readable(sample.buffer()?, &info).ok()?;
    let stride = usize::try_from(*frame.plane_stride().first()?).ok()?;
    Mark::read(frame.plane_data(0).ok()?, stride)
}
