// SPDX-License-Identifier: MIT
//! Bytes as decisions.

use gst::ClockTime;

/// Decides by bytes; when they have run out, always for the first choice.
pub(super) struct Choices<'a>(pub(super) &'a [u8]);

impl Choices<'_> {
    pub(super) fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        *first
    }

    pub(super) fn flag(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    pub(super) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[usize::from(self.byte()) % from.len()]
    }

    /// A number at an edge, or any.
    pub(super) fn number(&mut self) -> u64 {
        let choice = self.byte();
        let edge = 1_u64 << (choice & 63);
        match choice >> 6 {
            0 => edge - 1,
            1 => edge,
            2 => u64::MAX - edge,
            _ => (0..8).fold(0, |number, _| number << 8 | u64::from(self.byte())),
        }
    }

    /// Any time below `1 << bits` nanoseconds.
    pub(super) fn time(&mut self, bits: u32) -> ClockTime {
        ClockTime::from_nseconds(self.number() >> (64 - bits))
    }

    /// Up to a quarter of a second.
    pub(super) fn short(&mut self) -> ClockTime {
        ClockTime::from_mseconds(self.byte().into())
    }
}
