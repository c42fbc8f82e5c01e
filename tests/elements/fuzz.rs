// SPDX-License-Identifier: MIT
//! Damaged input for everything here that reads what comes from outside: no panic, no endless work.
//!
//! `FUZZ_SECONDS` says how long each target runs (5 by default), `FUZZ_SEED` which inputs it gets; the
//! seeds are in `tests/corpus`. `tests/fuzz/run.sh` gives the same targets to libFuzzer.

use crate::{mutate, targets};

fn fuzz(name: &str) {
    targets::init();
    let target = targets::TARGETS.iter().find(|target| target.name == name);
    let target = target.expect("a target");
    mutate::fuzz(target.form, &target.seeds(), target.run);
}

/// One test for each target.
macro_rules! tests {
    ($($test:ident: $target:literal,)*) => {
        $(
            #[test]
            fn $test() {
                fuzz($target);
            }
        )*

        #[test]
        fn every_target_has_a_test() {
            let tested: &[&str] = &[$($target),*];
            assert!(targets::TARGETS.iter().map(|target| target.name).eq(tested.iter().copied()));
        }
    };
}

tests! {
    caps_become_entries_and_caps_again: "caps",
    access_units_of_every_codec: "frames",
    entries_of_catalogs: "entries",
    cmaf_segments: "cmaf",
    cues_and_markup: "text",
    nal_units: "nal",
    the_timeline_of_a_subscriber: "incoming",
    the_timeline_of_a_publisher: "outgoing",
}

#[test]
fn every_seed_is_good() {
    targets::init();
    assert_eq!(targets::RENDITIONS.len(), 19);
}
