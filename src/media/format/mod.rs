// SPDX-License-Identifier: MIT
//! What a stream is made of: caps in both directions, renditions, and the codecs between them.

pub mod annexb;
pub mod caps;
pub mod codec;
pub mod duration;
pub mod input;
pub mod rendition;
