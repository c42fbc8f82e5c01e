// SPDX-License-Identifier: MIT
//! Which rate fits a path, and how it is shared out: values in, values out.

pub(crate) mod path;
pub(crate) mod rate;
pub(crate) mod rendition;
pub(crate) mod share;
