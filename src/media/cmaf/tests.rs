use hang::catalog::{AAC, AV1, Container, H264, VP9};
use moq_mux::container::fmp4::mp4_atom::Encode;
use proptest::prelude::*;

use super::*;

/// An avcC of High profile, 320 x 240, made by x264.
const AVCC: &[u8] = &[
    0x01, 0x64, 0x00, 0x0d, 0xff, 0xe1, 0x00, 0x19, 0x67, 0x64, 0x00, 0x0d, 0xac, 0xd9, 0x41, 0x41,
    0xfb, 0x01, 0x10, 0x00, 0x00, 0x03, 0x00, 0x10, 0x00, 0x00, 0x03, 0x03, 0x20, 0xf1, 0x42, 0x99,
    0x60, 0x01, 0x00, 0x06, 0x68, 0xeb, 0xe3, 0xcb, 0x22, 0xc0, 0xfd, 0xf8, 0xf8, 0x00,
];
/// AAC-LC of 48 kHz and two channels.
const ASC: &[u8] = &[0x11, 0x90];

fn picture(codec: impl Into<VideoCodec>, description: Option<&'static [u8]>) -> Rendition {
    let mut config = VideoConfig::new(codec);
    config.coded_width = Some(320);
    config.coded_height = Some(240);
    config.description = description.map(Bytes::from_static);
    Rendition::Video(config)
}

fn h264() -> Rendition {
    let codec = H264 {
        profile: 0x64,
        constraints: 0,
        level: 0x0d,
        inline: false,
    };
    picture(codec, Some(AVCC))
}

fn sound(codec: impl Into<AudioCodec>, description: Option<Bytes>) -> Rendition {
    let mut config = AudioConfig::new(codec, 48_000, 2);
    config.description = description;
    Rendition::Audio(config)
}

fn stream_header() -> Bytes {
    let info = flac::Config {
        min_block_size: 4096,
        max_block_size: 4096,
        min_frame_size: 0,
        max_frame_size: 0,
        sample_rate: 48_000,
        channel_count: 2,
        bits_per_sample: 16,
        total_samples: 0,
        md5: [7; 16],
    };
    info.description()
}

fn renditions() -> Vec<Rendition> {
    let head = opus::Config::new(48_000, 2).with_pre_skip(312);
    vec![
        h264(),
        picture(AV1::default(), None),
        picture(VideoCodec::VP8, None),
        picture(VP9::default(), None),
        sound(AAC { profile: 2 }, Some(Bytes::from_static(ASC))),
        sound(AudioCodec::Opus, Some(head.encode().expect("an OpusHead"))),
        sound(AudioCodec::Flac, Some(stream_header())),
    ]
}

fn without_description(rendition: &Rendition) -> Rendition {
    let mut bare = rendition.clone();
    match &mut bare {
        Rendition::Video(config) => {
            config.description = None;
            (config.coded_width, config.coded_height) = (None, None);
        }
        Rendition::Audio(config) => config.description = None,
        Rendition::Text(_) | Rendition::Data(_) => {}
    }
    bare
}

#[test]
fn what_the_catalog_leaves_out_is_read_from_the_init_segment() {
    for rendition in renditions() {
        let codec = rendition.codec();
        let init = init(&rendition).expect(&codec);
        let mut bare = without_description(&rendition);
        Init::parse(&init)
            .and_then(|init| init.complete(&mut bare))
            .expect(&codec);
        // AV1 has a record in the init segment alone.
        if let Rendition::Video(config) = &mut bare
            && matches!(config.codec, VideoCodec::AV1(_))
        {
            assert_eq!(config.description.take().map(|av1c| av1c[0]), Some(0x81));
        }
        assert_eq!(bare, rendition);
    }
}

#[test]
fn an_init_segment_of_another_codec_is_refused() {
    let renditions = renditions();
    for (first, one) in renditions.iter().enumerate() {
        let init = init(one).and_then(|init| Init::parse(&init));
        let init = init.expect("an init segment");
        for (second, other) in renditions.iter().enumerate() {
            let completed = init.complete(&mut other.clone());
            assert_eq!(completed.is_ok(), first == second, "{}", other.codec());
        }
    }
}

fn h264_init() -> Init {
    let init = init(&h264()).expect("an init segment");
    Init::parse(&init).expect("it is read back")
}

/// The tfdt box follows the headers of moof and traf, mfhd and tfhd.
fn decode_time(fragment: &[u8]) -> u64 {
    let time = fragment[60..].first_chunk().expect("a tfdt box");
    u64::from_be_bytes(*time)
}

#[test]
fn reordered_pictures_keep_their_times_and_decode_times_rise() {
    // I P B B P B B, 40 ms each.
    let shown = [0, 3, 1, 2, 6, 4, 5].map(|frame| frame * 40_000);
    for depth in [None, Some(1), Some(2)] {
        let frame = gst::ClockTime::from_mseconds(40);
        let mut fragments = Fragments::pictures(depth, Some(frame));
        let mut decoded = Vec::new();
        for (index, time) in shown.iter().enumerate() {
            let fragment = fragments.wrap(*time, index == 0, b"picture");
            let frames = h264_init().frames(&fragment).expect("a fragment");
            let [frame] = &frames[..] else {
                panic!("{} frames", frames.len());
            };
            assert_eq!(frame.timestamp.as_micros(), u128::from(*time));
            assert_eq!(frame.keyframe, index == 0);
            assert_eq!(frame.payload, &b"picture"[..]);
            decoded.push(decode_time(&fragment));
            if depth.is_some() {
                assert!(decoded[index] <= *time, "no picture is shown before");
            }
        }
        assert!(decoded.is_sorted_by(|one, next| one < next), "{decoded:?}");
    }
}

#[test]
fn a_gap_of_an_hour_keeps_times() {
    let mut fragments = Fragments::pictures(Some(2), None);
    for time in [0, 3_600_000_000, 3_600_040_000, 7_300_000_000] {
        let fragment = fragments.wrap(time, true, b"picture");
        let frames = h264_init().frames(&fragment).expect("a fragment");
        assert_eq!(frames[0].timestamp.as_micros(), u128::from(time));
    }
}

/// A fragment as ffmpeg makes them: defaults in trex and tfhd, flags of the first sample apart.
fn several() -> (Init, Bytes) {
    use moq_mux::container::fmp4::mp4_atom::{Mdat, Mfhd, Moof, Tfdt, Tfhd, Traf, Trun, TrunEntry};

    let mut init = h264_init();
    init.timescale = Timescale::new(90_000).expect("a timescale");
    init.defaults.default_sample_duration = 3600;
    init.defaults.default_sample_flags = DEPENDENT | NON_SYNC;
    let entry = |size, flags, cts| TrunEntry {
        duration: None,
        size: Some(size),
        flags,
        cts: Some(cts),
    };
    let moof = Moof {
        mfhd: Mfhd { sequence_number: 1 },
        traf: vec![Traf {
            tfhd: Tfhd {
                track_id: TRACK_ID,
                ..Tfhd::default()
            },
            tfdt: Some(Tfdt {
                base_media_decode_time: 90_000,
            }),
            trun: vec![Trun {
                data_offset: Some(0),
                entries: vec![
                    entry(3, Some(INDEPENDENT), 3600),
                    entry(2, None, 7200),
                    entry(1, None, 0),
                ],
            }],
            ..Traf::default()
        }],
    };
    let mut fragment = Vec::new();
    moof.encode(&mut fragment).expect("a moof box");
    let data = b"keyPPb".to_vec();
    Mdat { data }.encode(&mut fragment).expect("a mdat box");
    (init, fragment.into())
}

#[test]
fn several_samples_of_a_fragment_come_apart() {
    let (init, fragment) = several();
    let frames = init.frames(&fragment).expect("a fragment");
    let frames: Vec<_> = frames
        .iter()
        .map(|frame| {
            (
                frame.timestamp.as_millis(),
                frame.keyframe,
                &frame.payload[..],
            )
        })
        .collect();
    let expected: [(u128, bool, &[u8]); 3] = [
        (1040, true, b"key"),
        (1120, false, b"PP"),
        (1080, false, b"b"),
    ];
    assert_eq!(frames, expected);
}

#[test]
fn samples_without_a_duration_are_refused_but_for_the_last() {
    let (mut init, fragment) = several();
    init.defaults.default_sample_duration = 0;
    assert!(init.frames(&fragment).is_err());
}

#[test]
fn every_cut_short_fragment_is_refused() {
    let (init, fragment) = several();
    for length in 0..fragment.len() {
        assert!(init.frames(&fragment.slice(..length)).is_err(), "{length}");
    }
}

#[test]
fn a_panic_of_the_library_is_contained() {
    // mp4-atom subtracts the length of a reference from that of its box.
    let iref = b"\0\0\0\x10iref\0\0\0\0\xff\xff\xff\xff";
    assert!(Init::parse(iref).is_err());
}

/// The catalog entry without a container that is unknown to a reader of its init segment.
fn entry(rendition: &Rendition, init: &[u8]) -> Rendition {
    let mut entry = without_description(rendition);
    entry.set_container(Container::Cmaf {
        init: Bytes::copy_from_slice(init),
    });
    entry
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn a_damaged_init_segment_never_panics(
        which in 0usize..7,
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        length in any::<prop::sample::Index>(),
        short in any::<bool>(),
    ) {
        gst::init().expect("GStreamer initializes");
        let rendition = &renditions()[which];
        let mut init = init(rendition).expect("an init segment").to_vec();
        for (index, byte) in damage {
            *index.get_mut(&mut init) = byte;
        }
        if short {
            init.truncate(length.index(init.len()));
        }
        let mut entry = entry(rendition, &init);
        if let Ok(init) = Init::parse(&init)
            && init.complete(&mut entry).is_ok()
        {
            let _ = crate::media::caps::from_rendition(&entry);
        }
    }

    #[test]
    fn a_damaged_fragment_never_panics(
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        default_duration in any::<u32>(),
        default_size in any::<u32>(),
    ) {
        let (mut init, fragment) = several();
        init.defaults.default_sample_duration = default_duration;
        init.defaults.default_sample_size = default_size;
        let mut fragment = fragment.to_vec();
        for (index, byte) in damage {
            *index.get_mut(&mut fragment) = byte;
        }
        let frames = init.frames(&fragment.into());
        let bytes = frames.iter().flatten().map(|frame| frame.payload.len()).sum::<usize>();
        prop_assert!(bytes <= 6 + 200);
    }

    #[test]
    fn any_bytes_are_no_reason_to_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Init::parse(&bytes);
        let _ = h264_init().frames(&bytes.into());
    }

    #[test]
    fn any_description_is_no_reason_to_panic(
        which in 0usize..7,
        description in prop::collection::vec(any::<u8>(), 0..60),
    ) {
        let mut rendition = renditions()[which].clone();
        match &mut rendition {
            Rendition::Video(config) => config.description = Some(description.into()),
            Rendition::Audio(config) => config.description = Some(description.into()),
            Rendition::Text(_) | Rendition::Data(_) => {}
        }
        let _ = init(&rendition);
    }
}
