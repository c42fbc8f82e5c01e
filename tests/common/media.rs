// SPDX-License-Identifier: MIT
//! The clip and the live test signals.

use std::path::PathBuf;

/// Access units in the clip's video.
pub(crate) const CLIP_FRAMES: usize = 132;

/// The clip: H.264 without B-frames at 25 fps and AAC 5.1, 5.3 s.
pub(crate) fn clip() -> PathBuf {
    PathBuf::from(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/examples/media/bigbuckbunny.mp4"
    ))
}

/// A launch line that publishes the clip.
///
/// The sink is named `moq`, its pads are `sink_0` (video) and `sink_1` (audio).
pub(crate) fn publish_clip(url: &str, broadcast: &str) -> String {
    format!(
        "filesrc location=\"{}\" ! qtdemux name=demux \
         demux.video_0 ! queue ! h264parse ! moq.sink_0 \
         demux.audio_0 ! queue ! aacparse ! moq.sink_1 {}",
        clip().display(),
        moqsink(url, broadcast)
    )
}

/// A launch line that publishes live video and live audio.
///
/// The sink is named `moq`, its pads are `sink_0` (video) and `sink_1` (audio).
pub(crate) fn publish_live(url: &str, broadcast: &str) -> String {
    format!(
        "{} ! moq.sink_0 {} ! moq.sink_1 {}",
        Video::default().live(),
        live_aac(),
        moqsink(url, broadcast)
    )
}

/// A launch line's `moqsink`, named `moq`.
pub(crate) fn moqsink(url: &str, broadcast: &str) -> String {
    format!("moqsink name=moq url={url} broadcast={broadcast} tls-disable-verify=true")
}

/// A launch line's `moqsrc`, named `moq`.
pub(crate) fn moqsrc(url: &str, broadcast: &str) -> String {
    format!("moqsrc name=moq url={url} broadcast={broadcast} tls-disable-verify=true")
}

/// Live H.264 of a moving test video, as a launch line's elements.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Video {
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) fps: u32,
    /// Frames from keyframe to keyframe.
    pub(crate) gop: u32,
    /// B-frames in a row, 0 for an encoder without delay.
    pub(crate) b_frames: u32,
    /// kbit/s
    pub(crate) bitrate: u32,
}

impl Default for Video {
    /// Small, 30 fps, 2 s from keyframe to keyframe, no B-frames.
    fn default() -> Self {
        Self {
            width: 320,
            height: 240,
            fps: 30,
            gop: 60,
            b_frames: 0,
            bitrate: 500,
        }
    }
}

impl Video {
    /// A live source.
    pub(crate) fn live(&self) -> String {
        self.elements("is-live=true")
    }

    /// A source that gives `frames` frames as fast as they are taken.
    pub(crate) fn finite(&self, frames: u32) -> String {
        self.elements(&format!("num-buffers={frames}"))
    }

    fn elements(&self, source: &str) -> String {
        let Self {
            width,
            height,
            fps,
            gop,
            b_frames,
            bitrate,
        } = self;
        let tune = match b_frames {
            0 => "tune=zerolatency".to_owned(),
            _ => format!("bframes={b_frames} b-adapt=false rc-lookahead=0 sync-lookahead=0"),
        };
        format!(
            "videotestsrc {source} pattern=smpte horizontal-speed=2 ! \
             video/x-raw,width={width},height={height},framerate={fps}/1 ! \
             x264enc speed-preset=ultrafast key-int-max={gop} option-string=scenecut=0 \
             bitrate={bitrate} {tune} ! video/x-h264,profile=main ! h264parse"
        )
    }
}

/// Live AAC of noise, whose packets are all different, as a launch line's elements.
pub(crate) fn live_aac() -> String {
    noise("is-live=true", 48_000, 1024, 2, "avenc_aac ! aacparse")
}

/// `packets` packets of AAC as fast as they are taken.
pub(crate) fn finite_aac(packets: u32) -> String {
    let source = format!("num-buffers={packets}");
    noise(&source, 48_000, 1024, 2, "avenc_aac ! aacparse")
}

/// Live Opus of noise in packets of 20 ms, as a launch line's elements.
pub(crate) fn live_opus() -> String {
    noise(
        "is-live=true",
        48_000,
        960,
        2,
        "opusenc frame-size=20 ! opusparse",
    )
}

fn noise(source: &str, rate: u32, samples: u32, channels: u32, encoder: &str) -> String {
    format!(
        "audiotestsrc {source} wave=pink-noise volume=0.1 samplesperbuffer={samples} ! \
         audio/x-raw,rate={rate},channels={channels} ! audioconvert ! {encoder}"
    )
}
