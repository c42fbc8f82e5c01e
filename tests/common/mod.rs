// SPDX-License-Identifier: MIT
//! What the integration tests share: a real relay, a bad network, pipelines that are always
//! taken down again, and measurements from capture to render.

// Each test binary uses a part of these helpers.
#![allow(dead_code, unused_imports)]

pub(crate) mod barcode;
pub(crate) mod cues;
pub(crate) mod feeder;
pub(crate) mod ladder;
pub(crate) mod media;
pub(crate) mod nal;
pub(crate) mod packets;
pub(crate) mod pads;
pub(crate) mod peer;
pub(crate) mod pipeline;
pub(crate) mod probe;
pub(crate) mod proxy;
pub(crate) mod publisher;
pub(crate) mod relay;
pub(crate) mod resources;
pub(crate) mod scene;
pub(crate) mod stops;
pub(crate) mod viewer;
pub(crate) mod web_transport;

pub(crate) use feeder::Feeder;
pub(crate) use packets::{Packet, Packets, noise, payloads, same};
pub(crate) use pads::{Pad, subscribe, wait_pads};
pub(crate) use peer::{Answer, Authority, Peer};
pub(crate) use pipeline::{Running, init, unique_broadcast, wait_message, watchdog};
pub(crate) use probe::{Delays, Sample, median};
pub(crate) use proxy::{Path, Proxy};
pub(crate) use publisher::{Announced, Publisher};
pub(crate) use relay::Relay;
pub(crate) use resources::Resources;
pub(crate) use scene::Scene;
pub(crate) use viewer::Viewer;
pub(crate) use web_transport::{Refusal, WebTransportRelay};
