//! Which frame a decoder can begin with.

use h264_reader::nal::sei::{HeaderType, SeiReader};
use h264_reader::rbsp::ByteReader;

use super::{Framing, Role, Syntax};
use crate::media::format::annexb::{self, Unit};

/// Bytes of a slice that are looked at: the NAL unit header and two Exp-Golomb codes fit.
const SLICE_HEADER: usize = 16;

/// Whether a frame is a key frame: it has a recovery point, or its first slice says so. Nothing
/// behind that slice's header is looked at.
pub(super) fn is_key<S: Syntax>(framing: Framing, payload: &[u8], marked: bool) -> bool {
    match framing {
        Framing::AnnexB => begins::<S>(annexb::units(payload), marked),
        Framing::Prefixed { length_size } => {
            let nals = annexb::prefixed(payload, length_size).map_while(Result::ok);
            begins::<S>(nals.filter_map(Unit::whole), marked)
        }
    }
}

fn begins<'a, S: Syntax>(units: impl Iterator<Item = Unit<'a>>, marked: bool) -> bool {
    for unit in units {
        match S::role(unit.header) {
            Role::Slice => {
                return S::is_random_access(unit.beginning(SLICE_HEADER), marked);
            }
            Role::Sei if has_recovery_point::<S>(unit.nal()) => return true,
            _ => {}
        }
    }
    marked
}

/// Whether an SEI NAL unit has a recovery point message: where refresh without key frames begins,
/// or an open GOP (ITU-T H.264 section D.2.8, H.265 section D.3.8; both number it 6).
fn has_recovery_point<S: Syntax>(nal: &[u8]) -> bool {
    let mut scratch = Vec::new();
    let bytes = ByteReader::skipping_bytes(nal, S::HEADER);
    let mut messages = SeiReader::from_rbsp_bytes(bytes, &mut scratch);
    while let Ok(Some(message)) = messages.next() {
        if message.payload_type == HeaderType::RecoveryPoint {
            return true;
        }
    }
    false
}
