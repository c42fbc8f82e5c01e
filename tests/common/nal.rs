// SPDX-License-Identifier: MIT
//! Test video and the encoders of H.264 and H.265.

/// Frames in a short stream.
pub(crate) const FRAMES: usize = 60;
/// Frames from keyframe to keyframe.
pub(crate) const GOP: usize = 30;

/// x264 with two B-frames in a row, one of which others refer to.
pub(crate) const X264: &str = "x264enc speed-preset=ultrafast key-int-max=30 bframes=2 b-pyramid=true \
    b-adapt=false rc-lookahead=0 sync-lookahead=0 bitrate=500 option-string=scenecut=0";
/// x264 without delay and without B-frames.
pub(crate) const X264_FAST: &str = "x264enc speed-preset=ultrafast tune=zerolatency bitrate=500";
/// x265 with three B-frames in a pyramid and open GOPs: all but the first begin with a CRA picture
/// and the leading pictures that skip over it.
pub(crate) const X265: &str = "x265enc speed-preset=ultrafast key-int-max=30 \
    option-string=\"bframes=3:b-pyramid=1:b-adapt=0:open-gop=1:scenecut=0:pools=none\"";

/// Moving video of 320 x 180 at 30 fps.
pub(crate) fn source(frames: usize) -> String {
    format!(
        "videotestsrc num-buffers={frames} pattern=smpte horizontal-speed=2 ! \
         video/x-raw,format=I420,width=320,height=180,framerate=30/1"
    )
}
