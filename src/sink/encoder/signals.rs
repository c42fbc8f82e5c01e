// SPDX-License-Identifier: MIT
//! The signals by which the application takes part in driving encoders, as those of webrtcsink: a handler for
//! that element fits this one. One encoder serves all subscribers, so the consumer is always "".

use std::ops::ControlFlow;

use gst::{glib::subclass::Signal, prelude::*};

const SETUP: &str = "encoder-setup";
const BITRATES: &str = "define-encoder-bitrates";

/// The name of the structure that has the bit rate of each pad.
const SHARES: &str = "moqsink/encoder-bitrates";

/// No subscriber has an encoder of its own.
const CONSUMER: &str = "";

/// The declarations.
///
/// `encoder-setup` (consumer, name of the pad, encoder): returns whether the handler has set the encoder up;
/// then no further one is called, and the properties of the encoder are left alone, its bit rate aside.
///
/// `define-encoder-bitrates` (consumer, total in bits per second, structure with one gint for each pad):
/// returns such a structure. The first handler decides.
pub(in crate::sink) fn signals() -> [Signal; 2] {
    let setup = Signal::builder(SETUP)
        .param_types([
            String::static_type(),
            String::static_type(),
            gst::Element::static_type(),
        ])
        .return_type::<bool>()
        .run_last()
        .class_handler(|_| Some(false.to_value()))
        .accumulator(|_, _, returned| match returned.get() {
            Ok(true) => ControlFlow::Break(returned.clone()),
            _ => ControlFlow::Continue(returned.clone()),
        })
        .build();
    let bitrates = Signal::builder(BITRATES)
        .param_types([
            String::static_type(),
            i32::static_type(),
            gst::Structure::static_type(),
        ])
        .return_type::<gst::Structure>()
        .run_last()
        .class_handler(|arguments| arguments.get(3).cloned())
        .accumulator(|_, _, returned| match returned.get::<gst::Structure>() {
            Ok(_) => ControlFlow::Break(returned.clone()),
            // A handler in C may return nothing.
            Err(_) => ControlFlow::Continue(returned.clone()),
        })
        .build();
    [setup, bitrates]
}

/// Tells the application of an encoder upstream of the pad of this name; whether it has set the encoder up.
pub(in crate::sink) fn emit_setup(
    element: &gst::Element,
    pad: &str,
    encoder: &gst::Element,
) -> bool {
    element.emit_by_name(SETUP, &[&CONSUMER, &pad, encoder])
}

/// Lets the application split `total` bits per second; `shares` are by the names of pads, and stay where it
/// gives nothing of use. Together they never get more than `total`.
pub(in crate::sink) fn emit_bitrates(
    element: &gst::Element,
    total: u64,
    shares: Vec<(String, u64)>,
) -> Vec<(String, u64)> {
    let mut structure = gst::Structure::new_empty(SHARES);
    for (pad, bitrate) in &shares {
        structure.set(pad.as_str(), to_int(*bitrate));
    }
    let defined: Option<gst::Structure> =
        element.emit_by_name(BITRATES, &[&CONSUMER, &to_int(total), &structure]);
    let Some(defined) = defined else {
        return shares;
    };
    let given = |pad: &str| {
        let bitrate = defined.get::<i32>(pad).ok()?;
        let bitrate = u64::try_from(bitrate).ok()?;
        (bitrate > 0 && bitrate <= total).then_some(bitrate)
    };
    let split = shares.into_iter().map(|(pad, share)| {
        let bitrate = given(&pad).unwrap_or(share);
        (pad, bitrate)
    });
    let mut split: Vec<_> = split.collect();
    let sum: u64 = split.iter().map(|(_, bitrate)| bitrate).sum();
    if sum > total {
        for (_, bitrate) in &mut split {
            let scaled = u128::from(*bitrate) * u128::from(total) / u128::from(sum);
            *bitrate = u64::try_from(scaled).unwrap_or(total);
        }
    }
    split
}

fn to_int(bitrate: u64) -> i32 {
    i32::try_from(bitrate).unwrap_or(i32::MAX)
}
