// SPDX-License-Identifier: MIT
//! What goes wrong.

use std::{collections::BTreeMap, time::Duration};

use anyhow::Context;
use gst::prelude::*;

use crate::{
    common::Path,
    meter::Meter,
    scene::{RelayProcess, Scene},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    RelayKilled,
    Handover,
    Cable,
    AddressChange,
    Loss,
    LongWay,
    Disorder,
    SlowNetwork,
    PublisherRestart,
    OtherCodec,
    Blocked,
    Paused,
    Stopped,
    Pads,
}

impl Fault {
    const ALL: [Self; 14] = [
        Self::RelayKilled,
        Self::Handover,
        Self::Cable,
        Self::AddressChange,
        Self::Loss,
        Self::LongWay,
        Self::Disorder,
        Self::SlowNetwork,
        Self::PublisherRestart,
        Self::OtherCodec,
        Self::Blocked,
        Self::Paused,
        Self::Stopped,
        Self::Pads,
    ];

    pub(crate) fn draw(random: &mut fastrand::Rng) -> Self {
        Self::ALL[random.usize(..Self::ALL.len())]
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::RelayKilled => "relay killed",
            Self::Handover => "handover to another relay",
            Self::Cable => "cable out",
            Self::AddressChange => "address change",
            Self::Loss => "loss",
            Self::LongWay => "long way",
            Self::Disorder => "disorder",
            Self::SlowNetwork => "slow network",
            Self::PublisherRestart => "publisher restarted",
            Self::OtherCodec => "another codec",
            Self::Blocked => "downstream blocked",
            Self::Paused => "paused",
            Self::Stopped => "stopped and started",
            Self::Pads => "pads requested and released",
        }
    }

    /// Does it, and undoes what can be undone.
    pub(crate) fn run(
        self,
        scene: &mut Scene,
        random: &mut fastrand::Rng,
        meter: &mut Meter,
    ) -> anyhow::Result<()> {
        let length = Duration::from_millis(random.u64(500..6000));
        let side = random.usize(..2);
        match self {
            Self::RelayKilled => {
                let port = scene.relay.take().context("a relay")?.addr.port();
                scene.pass(meter, length)?;
                scene.relay = Some(RelayProcess::start(port)?);
            }
            Self::Handover => {
                let next = RelayProcess::start(0)?;
                for network in &scene.networks {
                    network.redirect(next.addr);
                }
                let mut old = scene.relay.replace(next).context("a relay")?;
                old.hand_over()?;
                scene.pass(meter, Duration::from_secs(3))?;
            }
            Self::Cable => {
                scene.networks[side].cut();
                scene.pass(meter, length)?;
                scene.networks[side].restore();
            }
            Self::AddressChange => scene.networks[side].rebind(),
            Self::Loss | Self::LongWay | Self::Disorder | Self::SlowNetwork => {
                scene.networks[side].set_path(self.path(random));
                scene.pass(meter, length)?;
                scene.networks[side].set_path(Path::default());
            }
            Self::PublisherRestart => scene.publish("x264enc"),
            Self::OtherCodec => {
                scene.publish("vp8enc");
                scene.pass(meter, length)?;
                scene.publish("x264enc");
            }
            Self::Blocked => {
                let pad = scene.subscriber.element("video_in").static_pad("sink");
                let pad = pad.context("a pad")?;
                let block = gst::PadProbeType::BLOCK | gst::PadProbeType::BUFFER;
                let probe = pad.add_probe(block, |_, _| gst::PadProbeReturn::Ok);
                scene.pass(meter, length)?;
                pad.remove_probe(probe.context("a probe")?);
            }
            Self::Paused => {
                scene.subscriber.set_state(gst::State::Paused)?;
                scene.pass(meter, length)?;
                scene.subscriber.start();
            }
            Self::Stopped => {
                scene.subscriber.set_state(gst::State::Ready)?;
                scene.subscriber.start();
            }
            Self::Pads => pads(scene, random)?,
        }
        Ok(())
    }

    fn path(self, random: &mut fastrand::Rng) -> Path {
        let delay = Duration::from_millis(random.u64(5..60));
        let path = Path {
            delay,
            ..Path::default()
        };
        match self {
            Self::Loss => Path {
                loss: 0.01 + 0.09 * random.f64(),
                ..path
            },
            Self::Disorder => Path {
                disorder: 0.1,
                ..path
            },
            Self::SlowNetwork => Path {
                // Video and audio need 700 kbit/s.
                bandwidth: Some(350_000),
                queue: 350_000 / 8 / 10,
                ..path
            },
            _ => path,
        }
    }
}

/// Requests pads of a publisher and releases them, some with a beginning of a stream.
fn pads(scene: &Scene, random: &mut fastrand::Rng) -> anyhow::Result<()> {
    let publisher = scene.publisher.as_ref().context("a publisher")?;
    let sink = publisher.element("moq");
    for _ in 0..random.usize(1..20) {
        let pad = sink.request_pad_simple("sink_%u").context("a pad")?;
        if random.bool() {
            pad.send_event(gst::event::StreamStart::new("soak"));
        }
        sink.release_request_pad(&pad);
    }
    Ok(())
}

/// How often each fault came, and the longest time until media flowed again.
pub(crate) fn summary(recoveries: &[(Fault, Duration)]) {
    let mut faults = BTreeMap::<Fault, (usize, Duration)>::new();
    for (fault, took) in recoveries {
        let (count, longest) = faults.entry(*fault).or_default();
        *count += 1;
        *longest = (*longest).max(*took);
    }
    println!(
        "\n{:<30} {:>5} {:>22}",
        "fault", "times", "media at most after s"
    );
    for (fault, (count, longest)) in faults {
        println!(
            "{:<30} {count:>5} {:>22.1}",
            fault.name(),
            longest.as_secs_f64()
        );
    }
}
