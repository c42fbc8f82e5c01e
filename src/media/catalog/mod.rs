// SPDX-License-Identifier: MIT
//! What a catalog says beyond renditions, and which tracks of two catalogs are the same.

pub mod alternatives;
pub mod data;
pub mod description;
pub mod name;
pub mod reconcile;
pub mod return_path;
