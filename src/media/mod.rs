//! Pure media logic: value types in, value types out, no I/O and no clock reads.

pub mod annexb;
pub mod caps;
pub mod cmaf;
pub mod codec;
pub mod container;
pub mod data;
pub mod decode_order;
pub mod description;
pub mod duration;
pub mod incoming;
pub mod name;
pub mod nanos;
pub mod outgoing;
pub mod reconcile;
pub mod rendition;
pub mod text;
pub mod timing;
