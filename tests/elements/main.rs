// SPDX-License-Identifier: MIT
//! The elements and what they read, without a network.

#[path = "../common"]
#[allow(dead_code)]
mod common {
    pub(crate) mod pipeline;
}
#[path = "../common/mutate.rs"]
#[allow(dead_code)]
mod mutate;
#[path = "../fuzz/src/targets/mod.rs"]
mod targets;

mod docs;
mod fuzz;
mod inspect;
mod sink;
mod source;
mod uris;
