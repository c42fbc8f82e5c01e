// SPDX-License-Identifier: MIT
//! Pictures that are numbered by large blocks in their luma, which survive scaling and coding.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use gst::prelude::*;
use gst_video::{VideoFrameExt, prelude::*};

/// How many bits a number has; the first block beside them is always white, the second always black.
const BITS: u32 = 14;
const BLOCKS: u32 = BITS + 2;

/// Numbers the pictures of a raw I420 stream that pass `pad` from 0 on.
pub(crate) fn write(pad: &gst::Pad) -> Arc<AtomicU32> {
    let next = Arc::new(AtomicU32::new(0));
    let count = next.clone();
    pad.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
        let video = video_info(pad);
        let number = count.fetch_add(1, Ordering::Relaxed);
        if let Some(gst::PadProbeData::Buffer(buffer)) = &mut info.data {
            let buffer = buffer.make_mut();
            let mut frame = gst_video::VideoFrameRef::from_buffer_ref_writable(buffer, &video)
                .expect("a frame");
            let (width, height) = (video.width(), video.height());
            let stride = video.stride()[0] as usize;
            let luma = frame.plane_data_mut(0).expect("luma");
            for y in 0..height / 2 {
                for x in 0..width {
                    let block = x * BLOCKS / width;
                    let white = match block {
                        0 => true,
                        1 => false,
                        bit => number >> (bit - 2) & 1 == 1,
                    };
                    luma[y as usize * stride + x as usize] = if white { 235 } else { 16 };
                }
            }
        }
        gst::PadProbeReturn::Ok
    });
    next
}

/// One picture as it was shown.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shown {
    pub(crate) number: u32,
    pub(crate) width: u32,
    pub(crate) at: Instant,
    pub(crate) pts: Option<gst::ClockTime>,
}

/// The pictures that pass a pad.
#[derive(Clone, Default)]
pub(crate) struct Pictures(Arc<Mutex<Vec<Shown>>>);

impl Pictures {
    /// Reads the numbers of the I420 pictures that pass `pad`.
    pub(crate) fn of(pad: &gst::Pad) -> Self {
        let pictures = Self::default();
        let shown = pictures.clone();
        pad.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
            if let Some(buffer) = info.buffer() {
                let video = video_info(pad);
                let picture = Shown {
                    number: read(&video, buffer),
                    width: video.width(),
                    at: Instant::now(),
                    pts: buffer.pts(),
                };
                shown.0.lock().expect("no panic").push(picture);
            }
            gst::PadProbeReturn::Ok
        });
        pictures
    }

    pub(crate) fn so_far(&self) -> Vec<Shown> {
        self.0.lock().expect("no panic").clone()
    }

    /// Waits until so many have passed.
    pub(crate) fn wait(
        &self,
        claim: &str,
        deadline: Duration,
        reached: impl Fn(&[Shown]) -> bool,
    ) -> Vec<Shown> {
        let mut shown = Vec::new();
        super::pipeline::wait_until(claim, deadline, || {
            shown = self.so_far();
            reached(&shown)
        });
        shown
    }
}

fn read(video: &gst_video::VideoInfo, buffer: &gst::BufferRef) -> u32 {
    let frame = gst_video::VideoFrameRef::from_buffer_ref_readable(buffer, video).expect("a frame");
    let luma = frame.plane_data(0).expect("luma");
    let stride = frame.plane_stride()[0] as usize;
    let (width, height) = (video.width(), video.height());
    let is_white = |block: u32| {
        let x = (block * 2 + 1) * width / (2 * BLOCKS);
        luma[(height / 4) as usize * stride + x as usize] > 125
    };
    assert!(is_white(0) && !is_white(1), "a numbered picture");
    (0..BITS)
        .map(|bit| u32::from(is_white(bit + 2)) << bit)
        .sum()
}

fn video_info(pad: &gst::Pad) -> gst_video::VideoInfo {
    let caps = pad.current_caps().expect("caps come first");
    gst_video::VideoInfo::from_caps(&caps).expect("raw video")
}
