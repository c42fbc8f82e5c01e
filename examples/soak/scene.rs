// SPDX-License-Identifier: MIT
//! A relay process, a bad network on both sides of it, a publisher and a subscriber.

use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use gst::prelude::*;

use crate::{
    common::{
        Delays, Proxy, Relay, Running,
        media::{Video, live_aac, moqsink, moqsrc},
    },
    meter::{Meter, Second},
};

pub(crate) const RELAY_VARIABLE: &str = "SOAK_RELAY";
const BROADCAST: &str = "soak.hang";
/// Video frames and audio packets in a row that count as a flow.
const FLOW: usize = 10;
/// Payloads that are measured at a time, 10 s of audio: what the measurement itself holds is full
/// before the first fault is over.
const MEASURED: usize = 512;

/// The relay of a child process, on `port` or, if that is 0, on a free one: it ends with its input,
/// and hands over before that when a line comes.
pub(crate) fn serve(port: u16) -> anyhow::Result<()> {
    let mut relay = match port {
        0 => Relay::start_patient()?,
        port => Relay::start_at(port)?,
    };
    println!("{}", relay.addr());
    for _line in std::io::stdin().lock().lines() {
        relay.drain();
    }
    relay.kill();
    Ok(())
}

/// A relay in a process of its own, killed when it is dropped.
pub(crate) struct RelayProcess {
    child: Child,
    pub(crate) addr: SocketAddr,
}

impl RelayProcess {
    pub(crate) fn start(port: u16) -> anyhow::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .env(RELAY_VARIABLE, port.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let output = child.stdout.take().context("its output")?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        let addr = line.trim().parse().context("the relay's address")?;
        Ok(Self { child, addr })
    }

    /// Asks it to send its clients elsewhere.
    pub(crate) fn hand_over(&mut self) -> anyhow::Result<()> {
        let input = self.child.stdin.as_mut().context("its input")?;
        std::io::Write::write_all(input, b"\n")?;
        Ok(())
    }
}

impl Drop for RelayProcess {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Everything that a fault can hit.
pub(crate) struct Scene {
    pub(crate) relay: Option<RelayProcess>,
    /// Between the relay and the publisher, and between it and the subscriber.
    pub(crate) networks: [Proxy; 2],
    pub(crate) publisher: Option<Running>,
    pub(crate) subscriber: Running,
    video: Delays,
    audio: Delays,
    /// Publishers so far: each has other video, so that frames of one are not taken for another's.
    publishers: usize,
}

impl Scene {
    pub(crate) fn start() -> anyhow::Result<Self> {
        crate::common::init();
        let relay = RelayProcess::start(0)?;
        let network = || Proxy::start(relay.addr, crate::common::Path::default());
        let networks = [network()?, network()?];
        let subscriber = Running::launch(&format!(
            "{} identity name=video_in ! fakesink name=video sync=true signal-handoffs=true \
             identity name=audio_in ! fakesink name=audio sync=true signal-handoffs=true",
            moqsrc(&networks[1].url(), BROADCAST)
        ));
        let [video, audio] = [(); 2].map(|()| Delays::of_the_last(MEASURED));
        video.render(&subscriber.element("video"));
        audio.render(&subscriber.element("audio"));
        // Each start brings new pads.
        let inputs = ["video_in", "audio_in"].map(|name| subscriber.element(name));
        let tracks = [video.clone(), audio.clone()];
        subscriber.element("moq").connect_pad_added(move |_, pad| {
            let names = ["video_0", "audio_0"];
            let Some(at) = names.iter().position(|name| *name == pad.name()) else {
                return;
            };
            tracks[at].receive(pad);
            if let Some(input) = inputs[at].static_pad("sink") {
                // A pad that is not linked shows as media that do not flow.
                let _ = pad.link(&input);
            }
        });
        let mut scene = Self {
            relay: Some(relay),
            networks,
            publisher: None,
            subscriber,
            video,
            audio,
            publishers: 0,
        };
        scene.publish("x264enc");
        scene.subscriber.start();
        Ok(scene)
    }

    /// A new publisher of the same broadcast in place of the one that may be there.
    pub(crate) fn publish(&mut self, encoder: &str) {
        drop(self.publisher.take());
        self.publishers += 1;
        let video = match encoder {
            "vp8enc" => "videotestsrc is-live=true pattern=smpte horizontal-speed=2 ! \
                 video/x-raw,width=320,height=240,framerate=30/1 ! \
                 vp8enc deadline=1 cpu-used=8 keyframe-max-dist=30 target-bitrate=500000"
                .to_owned(),
            _ => Video {
                gop: 30,
                ..Video::default()
            }
            .live(),
        };
        let speed = format!("horizontal-speed={}", 2 + self.publishers % 50);
        let video = video.replace("horizontal-speed=2", &speed);
        let publisher = Running::launch(&format!(
            "{video} ! moq.sink_0 {} ! moq.sink_1 {}",
            live_aac(),
            moqsink(&self.networks[0].url(), BROADCAST)
        ));
        let sink = publisher.element("moq");
        for (delays, pad) in [(&self.video, "sink_0"), (&self.audio, "sink_1")] {
            if let Some(pad) = sink.static_pad(pad) {
                delays.capture(&pad);
            }
        }
        publisher.start();
        self.publisher = Some(publisher);
    }

    /// Lets so much time pass.
    pub(crate) fn pass(&mut self, meter: &mut Meter, time: Duration) -> anyhow::Result<()> {
        let end = Instant::now() + time;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            thread::sleep(left.min(meter.due()).min(Duration::from_millis(100)));
            self.look()?;
            if meter.due().is_zero() {
                meter.print(&self.second());
            }
        }
    }

    /// Waits until video and audio flow again; how long it took.
    pub(crate) fn wait_flow(
        &mut self,
        meter: &mut Meter,
        patience: Duration,
        what: &str,
    ) -> anyhow::Result<Duration> {
        let begun = Instant::now();
        let received = |scene: &Self| [scene.video.received().0, scene.audio.received().0];
        let before = received(self);
        while begun.elapsed() < patience {
            self.pass(meter, Duration::from_millis(20))?;
            let now = received(self);
            let flows = now
                .iter()
                .zip(before)
                .all(|(now, before)| now - before >= FLOW as u64);
            if flows {
                return Ok(begun.elapsed());
            }
        }
        bail!(
            "{patience:?} after {what} media do not flow: {before:?} before, {:?} now",
            received(self)
        )
    }

    /// The delays since the last call.
    fn second(&self) -> Second {
        let delays = |track: &Delays| -> Vec<f64> {
            let samples = track.take_samples();
            samples.iter().map(crate::common::Sample::delay).collect()
        };
        Second {
            video: delays(&self.video),
            audio: delays(&self.audio),
        }
    }

    /// Takes what was posted: nobody else empties the buses.
    fn look(&self) -> anyhow::Result<()> {
        for pipeline in [Some(&self.subscriber), self.publisher.as_ref()]
            .into_iter()
            .flatten()
        {
            while let Some(message) = pipeline.bus().pop() {
                if let gst::MessageView::Error(error) = message.view() {
                    bail!("{} ({:?})", error.error(), error.debug());
                }
            }
        }
        Ok(())
    }
}
