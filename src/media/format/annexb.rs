// SPDX-License-Identifier: MIT
//! NAL unit framing, the same for all codecs that have NAL units: Annex B start codes
//! (ITU-T H.264 Annex B) and length prefixes (ISO/IEC 14496-15).

use bytes::{BufMut, BytesMut};
use moq_mux::codec::annexb::find_start_code;

/// The start code that is written before each NAL unit.
pub const START_CODE: [u8; 4] = [0, 0, 0, 1];

/// A length prefix that does not fit the frame it is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the length of a NAL unit runs past the end of the frame")]
pub struct Truncated;

/// One NAL unit of an access unit.
#[derive(Clone, Copy, Debug)]
pub struct Unit<'a> {
    /// Offset of the start code in an Annex B access unit.
    pub start: usize,
    /// First byte of the NAL unit.
    pub header: u8,
    body: &'a [u8],
}

impl<'a> Unit<'a> {
    /// A NAL unit that stands alone; `None` when it is empty.
    pub fn whole(nal: &'a [u8]) -> Option<Self> {
        let header = *nal.first()?;
        Some(Self {
            start: 0,
            header,
            body: nal,
        })
    }

    /// The NAL unit without start code and trailing zero bytes.
    ///
    /// Only this looks for its end, so that asking for headers alone never scans a slice.
    pub fn nal(&self) -> &'a [u8] {
        let end = find_start_code(self.body).map_or(self.body.len(), |(end, _)| end);
        let nal = &self.body[..end];
        let zeros = nal.iter().rev().take_while(|&&byte| byte == 0).count();
        &nal[..end - zeros]
    }

    /// At most `length` bytes of it from its header on, found without a look at the rest.
    pub fn beginning(&self, length: usize) -> &'a [u8] {
        let body = &self.body[..self.body.len().min(length)];
        Self { body, ..*self }.nal()
    }
}

/// The NAL units of an Annex B access unit; what precedes the first start code is skipped.
pub fn units(data: &[u8]) -> Units<'_> {
    Units { data, position: 0 }
}

/// Iterator that [`units`] returns.
#[derive(Clone, Debug)]
pub struct Units<'a> {
    data: &'a [u8],
    position: usize,
}

impl<'a> Iterator for Units<'a> {
    type Item = Unit<'a>;

    fn next(&mut self) -> Option<Unit<'a>> {
        let (offset, length) = find_start_code(self.data.get(self.position..)?)?;
        let start = self.position + offset;
        self.position = start + length;
        let body = self.data.get(self.position..)?;
        let header = *body.first()?;
        Some(Unit {
            start,
            header,
            body,
        })
    }
}

/// The NAL units of a frame in which each has a big-endian length of `length_size` bytes before
/// it. Empty NAL units are left out; the first error is the last item.
pub fn prefixed(data: &[u8], length_size: usize) -> Prefixed<'_> {
    Prefixed { data, length_size }
}

/// Iterator that [`prefixed`] returns.
#[derive(Clone, Debug)]
pub struct Prefixed<'a> {
    data: &'a [u8],
    length_size: usize,
}

impl<'a> Prefixed<'a> {
    fn split(&mut self) -> Option<&'a [u8]> {
        let (length, rest) = self.data.split_at_checked(self.length_size)?;
        let length = length
            .iter()
            .fold(0, |length, &byte| (length << 8) | usize::from(byte));
        let (nal, rest) = rest.split_at_checked(length)?;
        self.data = rest;
        Some(nal)
    }
}

impl<'a> Iterator for Prefixed<'a> {
    type Item = Result<&'a [u8], Truncated>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.data.is_empty() {
            match self.split() {
                Some([]) if self.length_size > 0 => {}
                Some(nal) if self.length_size > 0 => return Some(Ok(nal)),
                _ => {
                    self.data = &[];
                    return Some(Err(Truncated));
                }
            }
        }
        None
    }
}

/// Appends one NAL unit with a start code before it.
pub fn push(out: &mut BytesMut, nal: &[u8]) {
    out.put_slice(&START_CODE);
    out.put_slice(nal);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn nals(data: &[u8]) -> Vec<&[u8]> {
        units(data).map(|unit| unit.nal()).collect()
    }

    #[test]
    fn three_and_four_byte_start_codes_are_found() {
        let data = [0, 0, 0, 1, 9, 0xf0, 0, 0, 1, 0x67, 1, 0, 0, 0, 1, 0x65];
        assert_eq!(nals(&data), [&[9, 0xf0][..], &[0x67, 1], &[0x65]]);
        let starts: Vec<_> = units(&data).map(|unit| unit.start).collect();
        assert_eq!(starts, [0, 6, 11]);
    }

    #[test]
    fn trailing_zeros_are_not_part_of_a_nal_unit() {
        assert_eq!(nals(&[0, 0, 1, 0x67, 5, 0, 0]), [&[0x67, 5]]);
    }

    #[test]
    fn data_without_start_code_has_no_nal_units() {
        assert!(nals(&[1, 2, 3]).is_empty());
        assert!(nals(&[0, 0, 1]).is_empty());
    }

    #[test]
    fn length_prefixes_of_all_sizes_are_read() {
        for size in 1..=4 {
            let mut data = vec![0; size];
            data[size - 1] = 2;
            data.extend([7, 8]);
            assert_eq!(prefixed(&data, size).next(), Some(Ok(&[7, 8][..])));
        }
    }

    #[test]
    fn a_length_past_the_end_is_an_error_and_ends_the_frame() {
        let mut units = prefixed(&[0, 1, 7, 0, 9, 1], 2);
        assert_eq!(units.next(), Some(Ok(&[7][..])));
        assert_eq!(units.next(), Some(Err(Truncated)));
        assert_eq!(units.next(), None);
    }

    proptest! {
        #[test]
        fn any_bytes_can_be_taken_apart(data in prop::collection::vec(0u8..4, 0..200), size in 0usize..6) {
            for unit in units(&data) {
                prop_assert!(unit.start + unit.nal().len() < data.len());
            }
            prop_assert!(prefixed(&data, size).count() <= data.len());
        }

        #[test]
        fn what_is_pushed_is_read_back(sent in prop::collection::vec(prop::collection::vec(4u8.., 1..9), 0..9)) {
            let mut out = BytesMut::new();
            sent.iter().for_each(|nal| push(&mut out, nal));
            prop_assert_eq!(nals(&out), sent);
        }
    }
}
