// SPDX-License-Identifier: MIT
//! Live text, from a publisher to a pad.

use std::{fs, path::Path};

use gst::{ClockTime, prelude::*};

use super::{
    Packet, Packets, Relay, Running,
    media::{moqsink, moqsrc},
    pipeline::{DEADLINE, wait_pad},
};

/// A publisher of live cues.
pub(crate) struct Cues {
    pub(crate) pipeline: Running,
    pub(crate) source: gst_app::AppSrc,
}

impl Cues {
    /// Publishes live text of `caps`; `pad` sets properties, `others` are further elements of the launch line, which come after the text pad.
    pub(crate) fn start(
        relay: &Relay,
        broadcast: &str,
        caps: &str,
        pad: &str,
        others: &str,
    ) -> Self {
        let pipeline = Running::play(&format!(
            "appsrc name=cues is-live=true do-timestamp=true format=time caps={caps} ! moq.sink_0 \
             {} {pad} {others}",
            moqsink(&relay.url(), broadcast)
        ));
        let source = pipeline.element("cues").downcast().expect("an appsrc");
        Self { pipeline, source }
    }

    /// Publishes a cue that begins now.
    pub(crate) fn push(&self, text: &str, duration: Option<ClockTime>) {
        let mut buffer = gst::Buffer::from_slice(text.to_owned());
        let unshared = buffer.get_mut().expect("a new buffer");
        unshared.set_duration(duration);
        self.source.push_buffer(buffer).expect("the cue is taken");
    }

    /// Ends the stream and waits for it.
    pub(crate) fn end(&self) {
        self.source.end_of_stream().expect("the end is taken");
        self.pipeline.wait_eos();
    }
}

/// A subscriber to `text_0` of a broadcast, with what passes the pad.
pub(crate) fn subscribe(relay: &Relay, broadcast: &str) -> (Running, Packets) {
    let subscriber = Running::play(&format!(
        "{} moq.text_0 ! fakesink sync=false async=false",
        moqsrc(&relay.url(), broadcast)
    ));
    let pad = wait_pad(&subscriber.element("moq"), "text_0", DEADLINE);
    (subscriber, Packets::of(&pad))
}

/// The payloads as text.
pub(crate) fn texts(packets: &[Packet]) -> Vec<&str> {
    let payloads = packets.iter().map(|packet| packet.bytes.as_slice());
    payloads
        .map(|text| str::from_utf8(text).expect("UTF-8"))
        .collect()
}

/// A file of subtitles in `folder`; its path.
pub(crate) fn write_srt(folder: &Path, text: &str) -> String {
    let path = folder.join("cues.srt");
    fs::write(&path, text).expect("the file is written");
    path.display().to_string()
}
