// SPDX-License-Identifier: MIT
//! What all video codecs have in common: size, pixel aspect ratio and frame rate.

use std::ops::RangeInclusive;

use bytes::Bytes;
use hang::catalog::{VideoCodec, VideoConfig};

use super::field;
use crate::media::format::{
    input::InputFormat,
    rendition::{CapsError, FrameError, Rendition},
};

/// Largest width or height in pixels; no codec here codes more, and containers have 16 bits.
pub(super) const MAX_SIZE: u32 = 65_535;

/// The frame rates that are believed, in frames per second.
const FRAMERATES: RangeInclusive<f64> = 1e-6..=1e6;

/// The picture of a video stream, as far as it is known.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Picture {
    /// Width and height of the cropped picture in pixels, each 1 to [`MAX_SIZE`].
    pub(super) size: Option<(u32, u32)>,
    /// Width to height of one pixel; both above zero.
    pub(super) pixel_aspect: Option<(u32, u32)>,
    /// Frames per second; above zero.
    pub(super) framerate: Option<gst::Fraction>,
}

impl Picture {
    /// Reads caps.
    ///
    /// # Errors
    ///
    /// `Broken` for a size that is zero or absurd.
    pub(super) fn from_caps(structure: &gst::StructureRef) -> Result<Self, CapsError> {
        let width = field::positive(structure, "width", MAX_SIZE)?;
        let height = field::positive(structure, "height", MAX_SIZE)?;
        let aspect = field::fraction(structure, "pixel-aspect-ratio");
        Ok(Self {
            size: width.zip(height),
            pixel_aspect: aspect
                .map(|aspect| (aspect.numer().unsigned_abs(), aspect.denom().unsigned_abs())),
            framerate: field::fraction(structure, "framerate"),
        })
    }

    /// Reads a catalog entry. A size from the parameter sets, when there is one, is believed more.
    ///
    /// # Errors
    ///
    /// `Broken` for a size that is zero or absurd.
    pub(super) fn from_config(
        config: &VideoConfig,
        in_band_size: Option<(u32, u32)>,
    ) -> Result<Self, CapsError> {
        let size = config.coded_width.zip(config.coded_height);
        if let Some((width, height)) = size
            && !is_sane(width, height)
        {
            return Err(CapsError::broken(format!(
                "The catalog states a picture of {width} x {height} pixels."
            )));
        }
        let size = in_band_size.or(size);
        let display = config
            .display_aspect_width
            .zip(config.display_aspect_height)
            .filter(|&(width, height)| width > 0 && height > 0);
        let pixel_aspect = size
            .zip(display)
            .and_then(|(size, display)| ratio(display, (size.1, size.0)));
        Ok(Self {
            size,
            pixel_aspect,
            framerate: config.framerate.and_then(framerate),
        })
    }

    /// Adds what the parameter sets say: their size wins, their pixel aspect only fills a gap.
    pub(super) fn with_parameter_sets(self, other: Self) -> Self {
        Self {
            size: other.size.or(self.size),
            pixel_aspect: self.pixel_aspect.or(other.pixel_aspect),
            framerate: self.framerate,
        }
    }

    /// Writes the picture into a catalog entry. The catalog has the aspect of the whole picture,
    /// and only if pixels are not square.
    pub(super) fn fill_config(&self, config: &mut VideoConfig) {
        let display = self
            .size
            .zip(self.pixel_aspect.filter(|aspect| aspect.0 != aspect.1))
            .and_then(|(size, aspect)| ratio(size, aspect));
        config.coded_width = self.size.map(|size| size.0);
        config.coded_height = self.size.map(|size| size.1);
        config.display_aspect_width = display.map(|display| display.0);
        config.display_aspect_height = display.map(|display| display.1);
        config.framerate = self
            .framerate
            .map(|rate| f64::from(rate.numer()) / f64::from(rate.denom()));
    }

    /// Writes the picture into caps; what is unknown is left out.
    pub(super) fn fill_caps(&self, structure: &mut gst::StructureRef) {
        if let Some((width, height)) = self.size
            && let (Ok(width), Ok(height)) = (i32::try_from(width), i32::try_from(height))
        {
            structure.set("width", width);
            structure.set("height", height);
        }
        if let Some((width, height)) = self.pixel_aspect
            && let (Ok(width), Ok(height)) = (i32::try_from(width), i32::try_from(height))
        {
            structure.set("pixel-aspect-ratio", gst::Fraction::new(width, height));
        }
        if let Some(framerate) = self.framerate {
            structure.set("framerate", framerate);
        }
    }

    /// Complete caps: those of `structure`, and the picture.
    pub(super) fn into_caps(self, mut structure: gst::Structure) -> gst::Caps {
        self.fill_caps(&mut structure);
        gst::Caps::builder_full().structure(structure).build()
    }
}

/// Whether a catalog entry is of such a codec.
pub(super) fn is(rendition: &Rendition, codec: fn(&VideoCodec) -> bool) -> bool {
    matches!(rendition, Rendition::Video(config) if codec(&config.codec))
}

/// Writes chroma format and bit depth into caps, as GStreamer's parsers do.
pub(super) fn fill_samples(
    structure: &mut gst::StructureRef,
    chroma_format: Option<&str>,
    bit_depth: u8,
) {
    if let Some(chroma_format) = chroma_format {
        structure.set("chroma-format", chroma_format);
    }
    if matches!(bit_depth, 8 | 10 | 12) {
        structure.set("bit-depth-luma", u32::from(bit_depth));
        structure.set("bit-depth-chroma", u32::from(bit_depth));
    }
}

/// The catalog entry of a stream whose keyframe states its size, which wins over that of the caps;
/// `None` for a size that is empty or absurd.
pub(super) fn describe(
    mut config: VideoConfig,
    picture: Picture,
    [width, height]: [u32; 2],
) -> Option<Rendition> {
    let size = is_sane(width, height).then_some((width, height))?;
    let picture = Picture {
        size: Some(size),
        ..picture
    };
    picture.fill_config(&mut config);
    Some(Rendition::Video(config))
}

/// The catalog entry that a frame describes, `None` when it is no keyframe.
type Describe = fn(&[u8], Picture) -> Result<Option<Rendition>, FrameError>;

/// The input of a codec without reordering whose keyframes say all that is to know: frames go out
/// as they are.
#[derive(Debug)]
pub(super) struct SelfDescribed {
    picture: Picture,
    describe: Describe,
    rendition: Option<Rendition>,
}

impl SelfDescribed {
    /// # Errors
    ///
    /// `Broken` for a size that is zero or absurd.
    pub(super) fn input(
        structure: &gst::StructureRef,
        describe: Describe,
    ) -> Result<Box<dyn InputFormat>, CapsError> {
        Ok(Box::new(Self {
            picture: Picture::from_caps(structure)?,
            describe,
            rendition: None,
        }))
    }
}

impl InputFormat for SelfDescribed {
    fn rendition(&self) -> Option<&Rendition> {
        self.rendition.as_ref()
    }

    fn prepare(&mut self, payload: Bytes, _keyframe: bool) -> Result<Bytes, FrameError> {
        if let Some(rendition) = (self.describe)(&payload, self.picture)? {
            self.rendition = Some(rendition);
        }
        Ok(payload)
    }

    fn is_keyframe(&self, payload: &[u8], _marked: bool) -> bool {
        matches!((self.describe)(payload, self.picture), Ok(Some(_)))
    }
}

/// Whether a picture size is neither empty nor absurd.
pub(super) fn is_sane(width: u32, height: u32) -> bool {
    (1..=MAX_SIZE).contains(&width) && (1..=MAX_SIZE).contains(&height)
}

/// `a.0 * b.0` to `a.1 * b.1` in lowest terms, unless it needs more than 32 bits.
fn ratio(a: (u32, u32), b: (u32, u32)) -> Option<(u32, u32)> {
    let width = u64::from(a.0) * u64::from(b.0);
    let height = u64::from(a.1) * u64::from(b.1);
    let divisor = greatest_common_divisor(width, height);
    Some((
        u32::try_from(width.checked_div(divisor)?).ok()?,
        u32::try_from(height.checked_div(divisor)?).ok()?,
    ))
}

fn greatest_common_divisor(a: u64, b: u64) -> u64 {
    if b == 0 {
        a
    } else {
        greatest_common_divisor(b, a % b)
    }
}

/// The fraction that is meant by a frame rate in frames per second, which people round.
fn framerate(rate: f64) -> Option<gst::Fraction> {
    if !FRAMERATES.contains(&rate) {
        return None;
    }
    let duration = gst::ClockTime::from_nseconds((1e9 / rate) as u64);
    // 23.98 is the coarsest way in which people write 24000/1001: it is off by 1.7e-4.
    let is_meant = |guess: &gst::Fraction| {
        let guess = f64::from(guess.numer()) / f64::from(guess.denom());
        (guess - rate).abs() <= 2e-4 * rate
    };
    gst_video::guess_framerate(duration)
        .filter(is_meant)
        .or_else(|| gst::Fraction::approximate_f64(rate))
        .filter(|fraction| fraction.numer() > 0 && fraction.denom() > 0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn frame_rates_become_the_fraction_that_is_meant() {
        for (rate, expected) in [
            (25.0, (25, 1)),
            (29.97, (30000, 1001)),
            (30000.0 / 1001.0, (30000, 1001)),
            (23.976, (24000, 1001)),
            (23.98, (24000, 1001)),
            (59.94, (60000, 1001)),
            (12.5, (25, 2)),
            (0.5, (1, 2)),
        ] {
            let fraction = framerate(rate).unwrap();
            assert_eq!((fraction.numer(), fraction.denom()), expected, "{rate}");
        }
    }

    #[test]
    fn impossible_frame_rates_are_left_out() {
        for rate in [0.0, -25.0, f64::NAN, f64::INFINITY, 1e9, 1e-300] {
            assert_eq!(framerate(rate), None, "{rate}");
        }
    }

    proptest! {
        #[test]
        fn a_frame_rate_survives_the_catalog(numer in 1i32..200_000, denom in 1i32..1002) {
            let rate = f64::from(numer) / f64::from(denom);
            let back = framerate(rate);
            prop_assume!(rate >= 1.0);
            let back = back.unwrap();
            let back = f64::from(back.numer()) / f64::from(back.denom());
            prop_assert!((back - rate).abs() / rate < 2.1e-4);
        }

        #[test]
        fn a_pixel_aspect_survives_the_catalog(
            size in (1u32..5000, 1u32..5000),
            aspect in (1u32..300, 1u32..300),
        ) {
            let mut config = VideoConfig::new(VideoCodec::VP8);
            let sent = Picture { size: Some(size), pixel_aspect: Some(aspect), framerate: None };
            sent.fill_config(&mut config);
            let back = Picture::from_config(&config, None).unwrap();
            prop_assert_eq!(back.size, sent.size);
            match back.pixel_aspect {
                Some(back) => prop_assert_eq!(back.0 * aspect.1, back.1 * aspect.0),
                None => prop_assert_eq!(aspect.0, aspect.1),
            }
        }
    }
}
