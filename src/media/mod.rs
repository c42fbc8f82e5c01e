//! Pure media logic: value types in, value types out, no I/O and no clock reads.

pub mod annexb;
pub mod caps;
pub mod codec;
pub mod name;
pub mod outgoing;
mod rendition;
pub mod timing;
