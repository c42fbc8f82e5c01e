// SPDX-License-Identifier: MIT
//! The moving picture, and the mark in it that says which frame it is.

use anyhow::Context;
use serde::{Deserialize, Serialize};

pub(crate) const WIDTH: usize = 1280;
pub(crate) const HEIGHT: usize = 720;
pub(crate) const FPS: u32 = 30;
/// Planes of 8 bits: luma, and two of half the size.
const BYTES: usize = WIDTH * HEIGHT * 3 / 2;

/// A bit is a block of this size, which is legible at the lowest rates, too.
const BLOCK: usize = 32;
const NUMBER_BITS: usize = 16;
const CHECK_BITS: usize = 8;
/// How far the mark is from the corner.
const MARGIN: usize = BLOCK;
const BLACK: u8 = 16;
const WHITE: u8 = 235;

/// How far the texture goes before it begins again.
const TURN: usize = 256;
/// Lines below that have nothing to do with those of the last frame.
const NOISE: usize = 176;

/// A frame, and when it was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mark {
    /// Drawn into the picture.
    pub(crate) number: u16,
    /// CLOCK_MONOTONIC in ns.
    pub(crate) sent: u64,
}

impl Mark {
    /// Few of them are others in the next frame, as each of those costs the encoder something: a Gray code.
    fn bits(number: u16) -> u32 {
        u32::from(number ^ number >> 1) << CHECK_BITS | Self::check(number)
    }

    fn check(number: u16) -> u32 {
        u32::from(number).wrapping_add(1).wrapping_mul(0x9e37_79b1)
            >> (u32::BITS as usize - CHECK_BITS)
    }

    /// Draws it into the luma, whose lines are this far apart.
    fn draw(self, luma: &mut [u8], stride: usize) {
        let bits = Self::bits(self.number);
        for (bit, x) in places().enumerate() {
            let value = match bits >> bit & 1 {
                0 => BLACK,
                _ => WHITE,
            };
            for line in luma.chunks_mut(stride).skip(MARGIN).take(BLOCK) {
                if let Some(block) = line.get_mut(x..x + BLOCK) {
                    block.fill(value);
                }
            }
        }
    }

    /// The number in a picture, if it is legible.
    pub(crate) fn read(luma: &[u8], stride: usize) -> Option<u16> {
        let inner = BLOCK / 4..BLOCK * 3 / 4;
        let mut bits = 0;
        for (bit, x) in places().enumerate() {
            let lines = luma
                .chunks(stride)
                .skip(MARGIN + inner.start)
                .take(inner.len());
            let blocks = lines.filter_map(|line| line.get(x + inner.start..x + inner.end));
            let sum: usize = blocks.flatten().map(|value| usize::from(*value)).sum();
            if sum > inner.len() * inner.len() * 128 {
                bits |= 1 << bit;
            }
        }
        let gray = (bits >> CHECK_BITS) as u16;
        let number = (0..NUMBER_BITS).fold(0, |number, shift| number ^ gray >> shift);
        (bits == Self::bits(number)).then_some(number)
    }
}

/// Where the blocks of the mark begin.
fn places() -> impl Iterator<Item = usize> {
    (0..NUMBER_BITS + CHECK_BITS).map(|bit| MARGIN + bit * BLOCK)
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
