// SPDX-License-Identifier: MIT
//! The timescale of a track, and times in its ticks.

use hang::catalog::AudioCodec;
use moq_net::Timescale;

use crate::media::format::rendition::Rendition;

/// Ticks in a second where no rate is known: the clock of RTP and MPEG-TS, from which such streams
/// mostly come.
const DEFAULT_TICKS: u32 = 90_000;
/// The clock of all Opus streams in Hz, whatever rate the encoder's input had (RFC 7845 section 4).
const OPUS_TICKS: u32 = 48_000;
/// A tick of video is at most as long as one of these: what jitters is rounded to it.
const MIN_VIDEO_TICKS: u32 = 10_000;
/// Beyond this many ticks in a second, no rate is meant.
const MAX_VIDEO_TICKS: u32 = 10_000_000;

/// Ticks in a second of one track.
///
/// A frame of video lasts a whole number of them, as does a sample of audio: nothing that is regular
/// has to be rounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ticks(u32);

impl Ticks {
    pub(super) fn of(rendition: &Rendition) -> Self {
        let rate = match rendition {
            Rendition::Video(config) => config.framerate.and_then(fraction).and_then(video),
            Rendition::Audio(config) => Some(match config.codec {
                AudioCodec::Opus => OPUS_TICKS,
                _ => config.sample_rate,
            }),
            Rendition::Text(_) | Rendition::Data(_) => None,
        };
        Self(rate.filter(|rate| *rate > 0).unwrap_or(DEFAULT_TICKS))
    }

    pub(super) fn timescale(self) -> Timescale {
        Timescale::new(self.0.into()).unwrap_or(Timescale::MICRO)
    }

    /// The tick nearest to a time in nanoseconds.
    pub(super) fn at(self, nanoseconds: i128) -> i64 {
        const SECOND: i128 = 1_000_000_000;
        // So far from the ends that a sum of a few cannot overflow.
        const MAX: i128 = i64::MAX as i128 / 8;
        let ticks = (nanoseconds * i128::from(self.0) + SECOND / 2).div_euclid(SECOND);
        ticks.clamp(-MAX, MAX) as i64
    }

    /// The duration of a frame, one tick at least.
    pub(super) fn lasting(self, duration: gst::ClockTime) -> i64 {
        self.at(duration.nseconds().into()).max(1)
    }
}

/// The timescale of a frame rate: the numerator, times a power of ten so that ticks are short.
fn video((numer, _): (u32, u32)) -> Option<u32> {
    let mut ticks = numer;
    while ticks < MIN_VIDEO_TICKS {
        ticks = ticks.checked_mul(10)?;
    }
    Some(ticks).filter(|ticks| *ticks <= MAX_VIDEO_TICKS)
}

/// The fraction of the caps that the catalog states as `rate`: of all fractions with that quotient,
/// the first convergent of its continued fraction.
fn fraction(rate: f64) -> Option<(u32, u32)> {
    /// No fraction of 32 bits has more terms that matter.
    const TERMS: usize = 48;
    if !rate.is_finite() || rate <= 0.0 {
        return None;
    }
    let (mut before, mut last) = ((0, 1), (1, 0));
    let mut rest = rate;
    for _ in 0..TERMS {
        let whole = rest.floor();
        if whole > f64::from(u32::MAX) {
            return None;
        }
        let term = whole as u32;
        let next = |before: u32, last: u32| term.checked_mul(last)?.checked_add(before);
        let this = (next(before.0, last.0)?, next(before.1, last.1)?);
        if this.0 > 0 && f64::from(this.0) / f64::from(this.1) == rate {
            return Some(this);
        }
        (before, last) = (last, this);
        rest = (rest - whole).recip();
    }
    None
}

#[cfg(test)]
mod tests {
    use hang::catalog::{AAC, AudioConfig, VideoCodec, VideoConfig};
    use proptest::prelude::*;

    use super::*;
    use crate::media::format::duration;

    fn video_of(framerate: Option<f64>) -> Rendition {
        let mut config = VideoConfig::new(VideoCodec::VP8);
        config.framerate = framerate;
        Rendition::Video(config)
    }

    #[test]
    fn a_frame_is_a_whole_number_of_ticks() {
        for (numer, denom, ticks, frame) in [
            (30, 1, 30_000, 1000),
            (25, 1, 25_000, 1000),
            (60, 1, 60_000, 1000),
            (30_000, 1001, 30_000, 1001),
            (24_000, 1001, 24_000, 1001),
            (60_000, 1001, 60_000, 1001),
            (25, 2, 25_000, 2000),
            (1, 1, 10_000, 10_000),
            (2997, 100, 29_970, 1000),
            (10_000_000, 333_333, 10_000_000, 333_333),
        ] {
            let rendition = video_of(Some(f64::from(numer) / f64::from(denom)));
            let duration = duration::of(&rendition, &[]).expect("a rate");
            let scale = Ticks::of(&rendition);
            assert_eq!(scale, Ticks(ticks), "{numer}/{denom}");
            assert_eq!(scale.lasting(duration), frame, "{numer}/{denom}");
        }
    }

    #[test]
    fn without_a_usable_rate_ticks_are_those_of_rtp() {
        for rate in [None, Some(0.0), Some(-30.0), Some(f64::NAN), Some(1e300)] {
            assert_eq!(Ticks::of(&video_of(rate)), Ticks(90_000), "{rate:?}");
        }
    }

    #[test]
    fn audio_counts_samples() {
        for (codec, rate, ticks) in [
            (AAC { profile: 2 }.into(), 44_100, 44_100),
            (AudioCodec::Flac, 32_000, 32_000),
            (AudioCodec::Opus, 16_000, 48_000),
        ] {
            let audio = Rendition::Audio(AudioConfig::new(codec, rate, 2));
            assert_eq!(Ticks::of(&audio), Ticks(ticks));
        }
    }

    proptest! {
        #[test]
        fn the_fraction_of_the_caps_is_found_again(numer in 1u32..100_000, denom in 1u32..2000) {
            let found = fraction(f64::from(numer) / f64::from(denom));
            let (n, d) = found.expect("it is one");
            prop_assert_eq!(u64::from(n) * u64::from(denom), u64::from(d) * u64::from(numer));
        }

        #[test]
        fn any_rate_has_a_timescale(rate in any::<f64>()) {
            let Ticks(ticks) = Ticks::of(&video_of(Some(rate)));
            prop_assert!((MIN_VIDEO_TICKS..=MAX_VIDEO_TICKS).contains(&ticks));
        }
    }
}
