// SPDX-License-Identifier: MIT
//! The encoder upstream of a pad, which is set to the bit rate that the pad is to have.
//!
//! All of this sets properties of elements of the application: it belongs on the thread of the application's
//! queue.

use std::time::Instant;

use gst::{prelude::*, subclass::prelude::*};

use super::MoqSinkPad;
use crate::{
    element::sync::lock,
    sink::{
        CAT,
        encoder::{Encoder, NoEncoder, signals},
    },
};

/// The encoder that a pad has found, and what it was set to.
#[derive(Default)]
pub(super) struct DrivenEncoder {
    encoder: Option<Encoder>,
    /// In bits per second, and when.
    set: Option<(u64, Instant)>,
}

impl DrivenEncoder {
    /// Whether the encoder is to be set to so many bits per second now: one that begins anew each time is not
    /// for a little.
    fn is_due(&self, encoder: &Encoder, bits: u64, now: Instant) -> bool {
        self.set.is_none_or(|(before, at)| {
            let change = bits.abs_diff(before) as f64 / before.max(1) as f64;
            change >= encoder.least_change()
                || now.saturating_duration_since(at) >= encoder.least_interval()
        })
    }
}

impl MoqSinkPad {
    /// Finds the encoder early, since some take what they need only before they have caps.
    pub(crate) fn set_up_encoder(&self) {
        if self.obj().is_linked() {
            self.with_encoder(|_, _| {});
        }
    }

    /// Sets the encoder to so many bits per second.
    pub(super) fn drive_encoder(&self, bits: u64) {
        self.with_encoder(|driven, encoder| {
            let now = Instant::now();
            if !driven.is_due(encoder, bits, now) {
                return;
            }
            let set = encoder.set_bitrate(bits);
            gst::debug!(CAT, imp = self, "Encoder set to {set:?} of {bits} bit/s");
            driven.set = Some((bits, now));
            if !encoder.follows_while_playing() {
                let name = encoder.element().map(|element| element.name());
                let name = name.unwrap_or_default();
                let text = format!("The encoder {name} keeps its bit rate while it plays");
                self.warn_once(&text, &text);
            }
        });
    }

    /// Does `work` with the encoder upstream, which may be another one each time.
    fn with_encoder(&self, work: impl FnOnce(&mut DrivenEncoder, &Encoder)) {
        // Out of the lock, since handlers and properties of the application are called.
        let mut driven = std::mem::take(&mut *lock(&self.encoder));
        match Encoder::find(self.obj().upcast_ref()) {
            Ok(found) => {
                let known = driven.encoder.as_ref().and_then(Encoder::element);
                let same = known.is_some() && known == found.element();
                let encoder = match driven.encoder.take().filter(|_| same) {
                    Some(encoder) => encoder,
                    None => {
                        driven.set = None;
                        self.greet(&found);
                        found
                    }
                };
                work(&mut driven, &encoder);
                driven.encoder = Some(encoder);
            }
            Err(error) => self.warn_of_no_encoder(&error),
        }
        *lock(&self.encoder) = driven;
    }

    /// An encoder was found: the application may set it up, else it gets what keeps its delay short.
    fn greet(&self, encoder: &Encoder) {
        let pad = self.obj();
        let Some((element, found)) = pad.parent_element().zip(encoder.element()) else {
            return;
        };
        gst::info!(CAT, imp = self, "Drives the encoder {}", found.name());
        if !signals::emit_setup(&element, &pad.name(), &found) {
            encoder.set_up();
        }
    }

    fn warn_of_no_encoder(&self, error: &NoEncoder) {
        let advice = match error {
            NoEncoder::None => "follow target-bitrate where the frames are encoded",
            NoEncoder::Unknown { .. } => {
                "follow target-bitrate, or use an encoder that docs/encoders.md lists"
            }
        };
        let text = format!("rate-control=encoder has no effect: {error}; {advice}");
        self.warn_once(&text, &text);
    }
}
