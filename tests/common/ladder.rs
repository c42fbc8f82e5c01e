// SPDX-License-Identifier: MIT
//! A publisher of one numbered picture in several qualities, and who watches one of them.

use gst::prelude::*;

use super::{
    Packets, Running,
    barcode::{self, Pictures},
    media::{moqsink, moqsrc},
};

/// The tracks of the picture, the best first, with their sizes and bit rates in kbit/s.
pub(crate) const LADDER: [(&str, u32, u32, u32); 3] = [
    ("cam-hd", 640, 360, 1600),
    ("cam-md", 320, 180, 500),
    ("cam-sd", 160, 90, 150),
];
/// Pictures a second, and from keyframe to keyframe.
pub(crate) const FPS: u32 = 30;

/// A live pipeline that publishes one numbered picture three times.
pub(crate) fn publish(
    url: &str,
    broadcast: &str,
    gops: [u32; 3],
    encoder: &str,
    options: &str,
) -> Running {
    publish_to(&moqsink(url, broadcast), gops, encoder, options)
}

/// The same with this sink, named `moq`.
pub(crate) fn publish_to(sink: &str, gops: [u32; 3], encoder: &str, options: &str) -> Running {
    let mut sink = sink.to_owned();
    let mut line = format!(
        "videotestsrc is-live=true pattern=ball ! video/x-raw,format=I420,width=640,height=360,framerate={FPS}/1 ! \
         identity name=numbered ! tee name=all "
    );
    for (place, ((name, width, height, bitrate), gop)) in LADDER.iter().zip(gops).enumerate() {
        line += &format!(
            "all. ! queue ! videoscale ! video/x-raw,width={width},height={height} ! \
             x264enc speed-preset=ultrafast threads=1 {encoder} bitrate={bitrate} key-int-max={gop} \
             option-string=scenecut=0{options} ! video/x-h264,profile=main ! h264parse ! moq.sink_{place} "
        );
        sink += &format!(" sink_{place}::track={name}");
    }
    line += &sink;
    let publisher = Running::launch(&line);
    let numbered = publisher
        .element("numbered")
        .static_pad("src")
        .expect("a pad");
    barcode::write(&numbered);
    publisher.start();
    publisher
}

/// A subscriber of one decoded picture.
pub(crate) fn watch(url: &str, broadcast: &str, settings: &str) -> (Running, Pictures, Packets) {
    let watcher = Running::launch(&format!(
        "{} {settings} moq.video_0 ! avdec_h264 max-threads=1 output-corrupt=false ! \
         identity name=shown sync=true ! fakesink sync=false async=false",
        moqsrc(url, broadcast)
    ));
    let shown = watcher.element("shown").static_pad("src").expect("a pad");
    let pictures = Pictures::of(&shown);
    let packets = Packets::of_pad(&watcher.element("moq"), "video_0");
    watcher.start();
    (watcher, pictures, packets)
}
