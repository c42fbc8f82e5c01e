//! How long a frame lasts, where its codec or its catalog entry tells.

use gst::{ClockTime, prelude::*};
use hang::catalog::{AudioCodec, AudioConfig};

use super::caps::Rendition;

/// The duration of one frame or packet of `rendition`; `None` when only the next one could tell.
pub fn of(rendition: &Rendition, payload: &[u8]) -> Option<ClockTime> {
    match rendition {
        Rendition::Video(video) => {
            // Beyond these it is no rate of pictures, and its inverse may be no time.
            let rate = video
                .framerate
                .filter(|rate| (0.1..=10_000.0).contains(rate))?;
            Some(ClockTime::from_nseconds((1e9 / rate) as u64))
        }
        Rendition::Audio(audio) => audio_packet(audio, payload),
        Rendition::Text(_) | Rendition::Data(_) => None,
    }
}

fn audio_packet(audio: &AudioConfig, payload: &[u8]) -> Option<ClockTime> {
    match &audio.codec {
        AudioCodec::AAC(aac) => {
            // ISO/IEC 14496-3, 4.5.1.1: 1024 samples of the core, which SBR doubles
            // (object types 5 and 29).
            let samples = if matches!(aac.profile, 5 | 29) {
                2048
            } else {
                1024
            };
            samples_to_time(samples, audio.sample_rate)
        }
        AudioCodec::Opus => opus_packet(payload),
        _ => None,
    }
}

/// RFC 6716, section 3.1: configuration and frame count in the first bytes.
fn opus_packet(payload: &[u8]) -> Option<ClockTime> {
    let toc = *payload.first()?;
    let frame_us: u64 = match toc >> 3 {
        config @ 0..=11 => [10_000, 20_000, 40_000, 60_000][usize::from(config % 4)],
        config @ 12..=15 => [10_000, 20_000][usize::from(config % 2)],
        config => [2_500, 5_000, 10_000, 20_000][usize::from(config % 4)],
    };
    let frames = match toc & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => u64::from(payload.get(1)? & 0x3f),
    };
    Some(ClockTime::from_useconds(frame_us * frames)).filter(|time| !time.is_zero())
}

fn samples_to_time(samples: u64, rate: u32) -> Option<ClockTime> {
    ClockTime::SECOND.mul_div_floor(samples, u64::from(rate).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opus_packets_say_how_long_they_last() {
        // 20 ms CELT fullband, one frame; the same with two; three 60 ms SILK frames.
        assert_eq!(opus_packet(&[31 << 3]), Some(ClockTime::from_mseconds(20)));
        assert_eq!(
            opus_packet(&[31 << 3 | 1]),
            Some(ClockTime::from_mseconds(40))
        );
        assert_eq!(
            opus_packet(&[3 << 3 | 3, 3]),
            Some(ClockTime::from_mseconds(180))
        );
        assert_eq!(opus_packet(&[3]), None);
        assert_eq!(opus_packet(&[]), None);
    }

    #[test]
    fn aac_lasts_1024_samples() {
        assert_eq!(
            samples_to_time(1024, 48_000),
            Some(ClockTime::from_nseconds(21_333_333))
        );
    }
}
