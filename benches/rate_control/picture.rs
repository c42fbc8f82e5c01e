// SPDX-License-Identifier: MIT
//! The moving picture, and the mark in it that says which frame it is and when it was made.

use anyhow::Context;
use serde::{Deserialize, Serialize};

pub(crate) const WIDTH: usize = 1280;
pub(crate) const HEIGHT: usize = 720;
pub(crate) const FPS: u32 = 30;
/// Planes of 8 bits: luma, and two of half the size.
const BYTES: usize = WIDTH * HEIGHT * 3 / 2;

/// A bit is a block of this size, as large as what an encoder takes together.
const BLOCK: usize = 16;
const BITS: usize = 64;
/// Blocks in a row of the mark, and how far it is from the corner.
const COLUMNS: usize = 32;
const MARGIN: usize = BLOCK;
const BLACK: u8 = 16;
const WHITE: u8 = 235;

/// How far the texture goes before it begins again.
const TURN: usize = 256;
/// Lines below that have nothing to do with those of the last frame.
const NOISE: usize = 176;

/// Says which frame it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mark {
    pub(crate) number: u16,
    /// CLOCK_MONOTONIC in ns, exact to 1 µs.
    pub(crate) sent: u64,
}

impl Mark {
    /// Times of the mark begin anew after 12 days.
    const TIME_BITS: u32 = 40;

    fn bits(self) -> u64 {
        let time = (self.sent / 1000) & ((1 << Self::TIME_BITS) - 1);
        let value = u64::from(self.number) << Self::TIME_BITS | time;
        value << 8 | Self::check(value)
    }

    fn check(value: u64) -> u64 {
        value.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56
    }

    /// Draws it into the luma, whose lines are this far apart.
    pub(crate) fn draw(self, luma: &mut [u8], stride: usize) {
        let bits = self.bits();
        for (bit, (x, y)) in places().enumerate() {
            let value = match bits >> bit & 1 {
                0 => BLACK,
                _ => WHITE,
            };
            for line in luma.chunks_mut(stride).skip(y).take(BLOCK) {
                if let Some(block) = line.get_mut(x..x + BLOCK) {
                    block.fill(value);
                }
            }
        }
    }

    /// Reads it; nothing if it cannot be read, or was made after `now`.
    pub(crate) fn read(luma: &[u8], stride: usize, now: u64) -> Option<Self> {
        let inner = BLOCK / 4..BLOCK * 3 / 4;
        let mut bits = 0;
        for (bit, (x, y)) in places().enumerate() {
            let lines = luma.chunks(stride).skip(y + inner.start).take(inner.len());
            let blocks = lines.filter_map(|line| line.get(x + inner.start..x + inner.end));
            let sum: usize = blocks.flatten().map(|value| usize::from(*value)).sum();
            if sum > inner.len() * inner.len() * 128 {
                bits |= 1 << bit;
            }
        }
        let value = bits >> 8;
        if bits & 0xff != Self::check(value) {
            return None;
        }
        let turn = 1 << Self::TIME_BITS;
        let (time, now) = (value % turn, now / 1000);
        let micros = (now - now % turn + time).checked_sub(match time > now % turn {
            true => turn,
            false => 0,
        })?;
        Some(Self {
            number: (value >> Self::TIME_BITS) as u16,
            sent: micros * 1000,
        })
    }
}

/// Where the blocks of the mark are.
fn places() -> impl Iterator<Item = (usize, usize)> {
    (0..BITS).map(|bit| {
        (
            MARGIN + bit % COLUMNS * BLOCK,
            MARGIN + bit / COLUMNS * BLOCK,
        )
    })
}

/// Makes frames whose detail takes whatever rate the encoder has.
pub(crate) struct Pictures {
    /// A texture that moves over the picture, and noise of which each frame has another part.
    texture: Vec<u8>,
    noise: Vec<u8>,
    random: fastrand::Rng,
}

impl Pictures {
    pub(crate) fn new() -> Self {
        let mut random = fastrand::Rng::with_seed(1);
        let width = WIDTH + TURN;
        let texture = (0..width * (HEIGHT + TURN)).map(|index| {
            // Whole waves in a turn: it has no seam.
            let wave = |turns: f64, at: usize| {
                (at as f64 * turns * std::f64::consts::TAU / TURN as f64).sin()
            };
            let (x, y) = (index % width, index / width);
            128.0 + 40.0 * wave(3.0, x) * wave(2.0, y) + 24.0 * wave(17.0, x + y)
        });
        let texture = texture.map(|value| value as u8).collect();
        let noise = (0..WIDTH * NOISE).map(|_| random.u8(88..168)).collect();
        Self {
            texture,
            noise,
            random,
        }
    }

    pub(crate) fn caps() -> gst::Caps {
        gst::Caps::builder("video/x-raw")
            .field("format", "I420")
            .field("width", WIDTH as i32)
            .field("height", HEIGHT as i32)
            .field("framerate", gst::Fraction::new(FPS as i32, 1))
            .build()
    }

    /// A frame with this mark.
    pub(crate) fn draw(&mut self, mark: Mark) -> anyhow::Result<gst::Buffer> {
        let mut buffer = gst::Buffer::with_size(BYTES)?;
        let fields = buffer.get_mut().context("a new buffer")?;
        let mut map = fields.map_writable()?;
        let (luma, chroma) = map.split_at_mut(WIDTH * HEIGHT);
        let number = usize::from(mark.number);
        let (left, top) = (number * 3 % TURN, number % TURN);
        let width = WIDTH + TURN;
        let (above, below) = luma.split_at_mut((HEIGHT - NOISE) * WIDTH);
        for (y, line) in above.chunks_mut(WIDTH).enumerate() {
            let from = (y + top) * width + left;
            line.copy_from_slice(&self.texture[from..from + WIDTH]);
        }
        for line in below.chunks_mut(WIDTH) {
            let from = self.random.usize(..self.noise.len() - WIDTH);
            line.copy_from_slice(&self.noise[from..from + WIDTH]);
        }
        chroma.fill(128);
        mark.draw(luma, WIDTH);
        drop(map);
        Ok(buffer)
    }
}
