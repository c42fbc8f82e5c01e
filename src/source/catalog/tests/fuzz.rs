// SPDX-License-Identifier: MIT
//! Damaged catalogs of the committed corpus; see `tests/elements/fuzz.rs`.

use crate::source::catalog::fuzzing;

#[path = "../../../../tests/common/mutate.rs"]
#[allow(dead_code)]
mod mutate;

#[test]
fn damaged_catalogs() {
    gst::init().expect("GStreamer initializes");
    mutate::fuzz(mutate::Form::Json, &mutate::catalogs(), |input| {
        let parts = mutate::parts(input);
        fuzzing::read(parts[0], parts.get(1).copied().unwrap_or_default());
    });
}
