// SPDX-License-Identifier: MIT
//! Synthetic H.264: access units of a given size that carry their number and when they were sent.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// Parameter sets of video of 1280x720, with start codes.
const SETS: &[u8] = &[
    0, 0, 0, 1, 0x67, 0x4d, 0x40, 0x1f, 0xda, 0x01, 0x40, 0x16, 0xec, 0x04, 0x40, 0, 0, 3, 0, 0x40,
    0, 0, 0x0c, 0x83, 0xc6, 0x0c, 0xa8, 0, 0, 0, 1, 0x68, 0xef, 0x3c, 0x80,
];
/// The same as caps carry them.
const CODEC_DATA: &str =
    "014d401fffe10017674d401fda014016ec0440000003004000000c83c60ca801000468ef3c80";
const START_CODE: [u8; 4] = [0, 0, 0, 1];
/// The beginning of the only slice of a keyframe, and of another frame.
const KEY: [u8; 2] = [0x65, 0x88];
const DELTA: [u8; 2] = [0x41, 0x9a];
/// Stands before the numbers; transports may put other NAL units before the slice.
const MARK: &[u8] = b"\xa5sent-at\xa5";
/// Bytes of a number of seven bits each, none of them zero, so that no start code arises.
const DIGITS: usize = 10;

/// What one publisher sends.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Load {
    pub(crate) fps: u32,
    /// Bits per second of all tracks together.
    pub(crate) bits: u64,
    /// Frames from keyframe to keyframe.
    pub(crate) group: u32,
    pub(crate) tracks: u32,
    /// After as many frames of each track it stops.
    pub(crate) frames: u32,
    /// With lengths instead of start codes, and parameter sets only in the caps.
    pub(crate) avc: bool,
}

impl Load {
    pub(crate) fn frame_bytes(&self) -> usize {
        (self.bits / 8 / u64::from(self.fps) / u64::from(self.tracks)) as usize
    }

    pub(crate) fn caps(&self) -> String {
        let format = match self.avc {
            true => format!("avc, codec_data=(buffer){CODEC_DATA}"),
            false => "byte-stream".to_owned(),
        };
        format!(
            "video/x-h264, stream-format={format}, alignment=au, width=1280, height=720, \
             profile=main, framerate={}/1",
            self.fps
        )
    }

    pub(crate) fn is_key(&self, number: u32) -> bool {
        number.is_multiple_of(self.group)
    }

    pub(crate) fn due(&self, number: u32) -> Duration {
        Duration::from_secs(1) * number / self.fps
    }

    /// Calls `send` when each frame is due, until it says that it is enough.
    pub(crate) fn pace(&self, mut send: impl FnMut(u32) -> bool) {
        let begun = Instant::now();
        for number in 0..self.frames {
            std::thread::sleep(self.due(number).saturating_sub(begun.elapsed()));
            if !send(number) {
                return;
            }
        }
    }

    /// The access unit `number`, sent now.
    pub(crate) fn access_unit(&self, number: u32) -> Vec<u8> {
        let mut unit = Vec::with_capacity(self.frame_bytes().max(128));
        let key = self.is_key(number);
        if key && !self.avc {
            unit.extend_from_slice(SETS);
        }
        unit.extend_from_slice(&START_CODE);
        unit.extend_from_slice(if key { &KEY } else { &DELTA });
        unit.extend_from_slice(MARK);
        unit.extend_from_slice(&digits(number.into()));
        let time = unit.len();
        unit.extend_from_slice(&digits(0));
        // Stop bit, so that parsers find the end of the slice.
        unit.resize(self.frame_bytes().max(unit.len() + 1), 0xff);
        if self.avc {
            let length = (unit.len() - START_CODE.len()) as u32;
            unit[..START_CODE.len()].copy_from_slice(&length.to_be_bytes());
        }
        // Making it is no part of its delay.
        unit[time..time + DIGITS].copy_from_slice(&digits(now()));
        unit
    }
}

/// What an access unit that arrives now says of itself.
pub(crate) struct Seen {
    pub(crate) number: u32,
    pub(crate) age: Duration,
    pub(crate) key: bool,
}

/// Reads an access unit when it arrives.
pub(crate) fn read(unit: &[u8]) -> Option<Seen> {
    let head = &unit[..unit.len().min(256)];
    let mark = head.windows(MARK.len()).position(|window| window == MARK)?;
    let (slice, at) = (head.get(..mark)?, mark + MARK.len());
    let number = number(unit.get(at..at + DIGITS)?);
    let sent = self::number(unit.get(at + DIGITS..at + 2 * DIGITS)?);
    Some(Seen {
        number: u32::try_from(number).ok()?,
        age: Duration::from_nanos(now().saturating_sub(sent)),
        key: slice.ends_with(&KEY),
    })
}

fn digits(number: u64) -> [u8; DIGITS] {
    std::array::from_fn(|digit| 0x80 | (number >> (7 * digit)) as u8)
}

fn number(digits: &[u8]) -> u64 {
    let digits = digits.iter().enumerate();
    digits.fold(0, |number, (at, digit)| {
        number | u64::from(digit & 0x7f) << (7 * at)
    })
}

/// CLOCK_MONOTONIC in nanoseconds, the same in all processes of a machine.
fn now() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
