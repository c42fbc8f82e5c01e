// SPDX-License-Identifier: MIT
//! The way upstream from a pad to the encoder of its stream.

use gst::{
    glib::translate::{ToGlibPtr, from_glib_full},
    prelude::*,
};

use super::table::TABLE;

/// How many pads are looked at, so that pads that are linked in a circle end the search.
const MAX_DEPTH: usize = 64;

/// How often the pads of an element are listed that change meanwhile.
const MAX_LISTINGS: usize = 8;

/// What is behind a source pad.
enum Behind {
    Encoder(gst::Element),
    /// The source pad before it.
    Pad(gst::Pad),
    /// Nothing that passes on the stream of one encoder.
    Nothing,
}

/// The encoder whose stream comes to `pad`, through whatever passes it on: elements with one input, and bins
/// in both directions.
pub(super) fn upstream(pad: &gst::Pad) -> Option<gst::Element> {
    let mut source = pad.peer()?;
    for _ in 0..MAX_DEPTH {
        source = match behind(&source) {
            Behind::Encoder(encoder) => return Some(encoder),
            Behind::Pad(pad) => pad,
            Behind::Nothing => return None,
        };
    }
    None
}

fn behind(source: &gst::Pad) -> Behind {
    // Into a bin, and out of one: the inner half of its sink pad.
    if let Some(ghost) = source.downcast_ref::<gst::GhostPad>() {
        return pad(ghost.target());
    }
    if let Some(inner) = source.downcast_ref::<gst::ProxyPad>() {
        return pad(inner.internal().and_then(|outer| outer.peer()));
    }
    let Some(element) = source.parent_element() else {
        return Behind::Nothing;
    };
    if let Some(factory) = element.factory() {
        if is_encoder(&factory) {
            return Behind::Encoder(element);
        }
        let klass = factory.metadata("klass").unwrap_or_default();
        if ["Decoder", "Mux", "Demux"]
            .iter()
            .any(|kind| klass.contains(kind))
        {
            return Behind::Nothing;
        }
    }
    pad(input(source, &element).and_then(|sink| sink.peer()))
}

fn pad(pad: Option<gst::Pad>) -> Behind {
    pad.map_or(Behind::Nothing, Behind::Pad)
}

/// The one sink pad whose data leave by `source`; a funnel has more, a source none.
fn input(source: &gst::Pad, element: &gst::Element) -> Option<gst::Pad> {
    let list = || match internal_links(source) {
        Some(pads) => pads.into_iter().collect::<Result<Vec<_>, _>>().ok(),
        None => Some(element.sink_pads()),
    };
    let mut pads = (0..MAX_LISTINGS).find_map(|_| list())?;
    let sink = pads.pop()?;
    pads.is_empty().then_some(sink)
}

/// The pads that `source` is linked with inside of its element. There may be no answer, as from an
/// input-selector without an active pad, and then the method of the bindings panics.
fn internal_links(source: &gst::Pad) -> Option<gst::Iterator<gst::Pad>> {
    // SAFETY: the pad lives, and the iterator over pads that is returned, or NULL, becomes ours.
    unsafe {
        from_glib_full(gst::ffi::gst_pad_iterate_internal_links(
            source.to_glib_none().0,
        ))
    }
}

fn is_encoder(factory: &gst::ElementFactory) -> bool {
    let klass = factory.metadata("klass").unwrap_or_default();
    let by_klass =
        klass.contains("Encoder") && (klass.contains("Video") || klass.contains("Audio"));
    by_klass || TABLE.iter().any(|row| row.is_for(&factory.name()))
}
