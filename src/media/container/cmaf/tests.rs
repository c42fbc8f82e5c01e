// SPDX-License-Identifier: MIT

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

fn audio(codec: impl Into<AudioCodec>, description: Option<Bytes>) -> Rendition {
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
        audio(AAC { profile: 2 }, Some(Bytes::from_static(ASC))),
        audio(AudioCodec::Opus, Some(head.encode().expect("an OpusHead"))),
        audio(AudioCodec::Flac, Some(stream_header())),
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

/// What a fragment says of the time of its one sample, in ticks.
#[derive(Clone, Copy, Debug)]
struct Timed {
    begin: u64,
    duration: u64,
    offset: i32,
}

impl Timed {
    /// tfhd, tfdt and trun follow the headers of moof and traf, and mfhd.
    fn read(fragment: &[u8]) -> Self {
        let u32_at =
            |at: usize| u32::from_be_bytes(*fragment[at..].first_chunk().expect("a field"));
        assert_eq!(&fragment[36..40], b"tfhd");
        assert_eq!(u32_at(40), 0x02_0008, "with a duration");
        assert_eq!(&fragment[56..60], b"tfdt");
        assert_eq!(&fragment[76..80], b"trun");
        Self {
            begin: u64::from_be_bytes(*fragment[64..].first_chunk().expect("a time")),
            duration: u32_at(48).into(),
            offset: u32_at(100).cast_signed(),
        }
    }

    fn end(self) -> u64 {
        self.begin + self.duration
    }
}

fn video_at(framerate: Option<f64>) -> Rendition {
    let mut rendition = h264();
    if let Rendition::Video(config) = &mut rendition {
        config.framerate = framerate;
    }
    rendition
}

/// Fragments of frames at these times (microseconds), as they say of themselves and as they are read.
fn timed(rendition: &Rendition, depth: Option<u32>, times: &[u64]) -> (Vec<Timed>, Vec<u64>) {
    gst::init().expect("GStreamer initializes");
    let init = init(rendition).expect("an init segment");
    let init = Init::parse(&init).expect("it is read back");
    let mut fragments = Fragments::of(rendition, depth);
    let each = times.iter().enumerate().map(|(index, time)| {
        let fragment = fragments.wrap(*time, None, index == 0, b"frame");
        let frames = init.frames(&fragment).expect("a fragment");
        let [frame] = &frames[..] else {
            panic!("{} frames", frames.len());
        };
        assert_eq!(frame.payload, &b"frame"[..]);
        let read = u64::try_from(frame.timestamp.as_micros()).expect("a time");
        (Timed::read(&fragment), read)
    });
    each.unzip()
}

/// The times of `count` frames of a rate, rounded down to microseconds as GStreamer does.
fn regular(rate: (u64, u64), count: u64) -> Vec<u64> {
    let time = |frame| frame * 1_000_000 * rate.1 / rate.0;
    (0..count).map(time).collect()
}

#[test]
fn fragments_of_a_regular_stream_lie_end_to_end() {
    for (rate, frame) in [
        ((30, 1), 1000),
        ((25, 1), 1000),
        ((60, 1), 1000),
        ((30_000, 1001), 1001),
        ((24_000, 1001), 1001),
    ] {
        let rendition = video_at(Some(rate.0 as f64 / rate.1 as f64));
        let times = regular(rate, 500);
        let (samples, read) = timed(&rendition, Some(0), &times);
        for (index, sample) in samples.iter().enumerate() {
            assert_eq!(sample.begin, index as u64 * frame, "{rate:?}");
            assert_eq!((sample.duration, sample.offset), (frame, 0), "{rate:?}");
        }
        assert_eq!(read, times, "{rate:?}: as before");
    }
}

#[test]
fn audio_packets_lie_end_to_end_at_the_sample_rate() {
    for (rate, samples) in [(44_100, 1024), (48_000, 1024)] {
        let mut rendition = audio(AAC { profile: 2 }, Some(Bytes::from_static(ASC)));
        if let Rendition::Audio(config) = &mut rendition {
            config.sample_rate = rate;
            config.description = Some(aac_config(rate));
        }
        // From a start that is between two samples.
        let times = regular((rate.into(), samples), 500);
        let times: Vec<u64> = times.iter().map(|time| time + 1_234_567).collect();
        let (packets, read) = timed(&rendition, Some(0), &times);
        for (pair, index) in packets.windows(2).zip(1..) {
            assert_eq!(pair[1].begin, pair[0].end(), "{rate} Hz");
            assert_eq!((pair[1].duration, pair[1].offset), (samples, 0));
            assert!(read[index].abs_diff(times[index]) <= 23, "within a sample");
        }
    }
}

/// AAC-LC of two channels.
fn aac_config(rate: u32) -> Bytes {
    match rate {
        44_100 => Bytes::from_static(&[0x12, 0x10]),
        _ => Bytes::from_static(ASC),
    }
}

#[test]
fn opus_packets_last_as_long_as_they_say() {
    let head = opus::Config::new(48_000, 2).with_pre_skip(312);
    let rendition = audio(AudioCodec::Opus, Some(head.encode().expect("an OpusHead")));
    for (packet, samples) in [(&[0xe0u8, 0][..], 120), (&[0xf8, 0], 960)] {
        let mut fragments = Fragments::of(&rendition, Some(0));
        let mut end = 0;
        for index in 0..100 {
            let time = index * samples * 1000 / 48;
            let wrong = Some(gst::ClockTime::from_mseconds(1));
            let sample = Timed::read(&fragments.wrap(time, wrong, true, packet));
            assert_eq!((sample.begin, sample.duration), (end, samples));
            assert_eq!(sample.offset, 0);
            end = sample.end();
        }
    }
}

#[test]
fn a_rate_that_nobody_states_is_that_of_the_buffers_or_of_the_steps() {
    for stated in [true, false] {
        let rendition = video_at(None);
        let mut fragments = Fragments::of(&rendition, Some(0));
        let duration = Some(gst::ClockTime::from_mseconds(40)).filter(|_| stated);
        let samples: Vec<Timed> = (0..50)
            .map(|frame| Timed::read(&fragments.wrap(frame * 40_000, duration, true, b"frame")))
            .collect();
        let known = if stated { 0 } else { 3 };
        for sample in &samples[known..] {
            assert_eq!(sample.duration, 3600);
        }
        for pair in samples.windows(2) {
            assert_eq!(pair[1].begin, pair[0].end());
        }
    }
}

#[test]
fn reordered_pictures_keep_their_times_and_decode_times_rise() {
    // I P B B P B B, 40 ms each.
    let shown = [0, 3, 1, 2, 6, 4, 5].map(|frame| frame * 40_000);
    for depth in [None, Some(1), Some(2)] {
        let (samples, read) = timed(&video_at(Some(25.0)), depth, &shown);
        assert_eq!(read, shown);
        let decoded = samples.iter().map(|sample| sample.begin * 40);
        let decoded: Vec<u64> = decoded.collect();
        if depth.is_some() {
            for (decoded, shown) in decoded.iter().zip(shown) {
                assert!(*decoded <= shown, "no picture is shown before");
            }
        }
        assert!(decoded.is_sorted_by(|one, next| one < next), "{decoded:?}");
        assert!(
            samples
                .windows(2)
                .all(|pair| pair[1].begin == pair[0].end())
        );
    }
}

#[test]
fn a_pause_of_video_is_bridged_and_one_of_audio_is_a_gap() {
    let mut times = regular((30, 1), 30);
    times.extend(regular((30, 1), 30).iter().map(|time| time + 4_000_000));
    let (samples, read) = timed(&video_at(Some(30.0)), Some(0), &times);
    assert_eq!(read, times);
    for pair in samples.windows(2) {
        assert_eq!(
            pair[1].begin,
            pair[0].end(),
            "players drop what comes after a gap"
        );
    }
    let (last, first) = (samples[59], samples[31]);
    assert_eq!((last.begin, last.offset), (120_000 + 29_000, 0));
    assert_eq!((first.begin, first.offset), (121_000, 0), "at once");

    let rendition = audio(AAC { profile: 2 }, Some(Bytes::from_static(ASC)));
    let mut times = regular((48_000, 1024), 30);
    times.extend(times.clone().iter().map(|time| time + 4_000_000));
    let (packets, _) = timed(&rendition, Some(0), &times);
    assert_eq!(packets[30].begin, 4 * 48_000);
    assert_eq!(packets[29].end(), 30 * 1024);
}

#[test]
fn what_does_not_continue_the_video_before_is_a_gap() {
    let mut fragments = Fragments::of(&video_at(Some(30.0)), Some(0));
    fragments.wrap(0, None, true, b"frame");
    fragments.restart();
    let sample = Timed::read(&fragments.wrap(5_000_000, None, true, b"frame"));
    assert_eq!((sample.begin, sample.duration), (150_000, 1000));
}

#[test]
fn jitter_of_capture_stays_off_the_decode_timeline() {
    let jitter = [0, 3000, 6000, 2000, 0, 5000, 1000].iter().cycle();
    let times = regular((30, 1), 100);
    let times: Vec<u64> = times
        .iter()
        .zip(jitter)
        .map(|(time, off)| time + off)
        .collect();
    let (samples, read) = timed(&video_at(Some(30.0)), Some(0), &times);
    for (index, sample) in samples.iter().enumerate() {
        assert_eq!((sample.begin, sample.duration), (index as u64 * 1000, 1000));
        assert!(read[index].abs_diff(times[index]) <= 50);
    }
}

#[test]
fn a_rate_that_is_not_quite_the_stated_one_is_followed() {
    for percent in [99, 101, 50, 200] {
        let times = regular((30, 1), 2000);
        let times: Vec<u64> = times.iter().map(|time| time * percent / 100).collect();
        let (samples, _) = timed(&video_at(Some(30.0)), Some(0), &times);
        for (sample, time) in samples.iter().zip(&times) {
            let apart = (sample.begin * 1_000_000 / 30_000).abs_diff(*time);
            assert!(apart <= 34_000, "{percent}%: {apart} us, less than a frame");
        }
    }
}

#[test]
fn a_gap_of_an_hour_keeps_times() {
    let times = [0, 3_600_000_000, 3_600_040_000, 7_300_000_000];
    let (_, read) = timed(&video_at(None), Some(2), &times);
    assert_eq!(read, times);
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
fn a_panic_of_a_library_is_contained() {
    let stub = || -> Moov { panic!("numbers that do not fit together") };
    assert_eq!(
        guarded(stub).err(),
        Some("the CMAF init segment is damaged".into())
    );
    assert_eq!(guarded(|| 1), Ok(1));
}

#[test]
fn what_is_no_init_segment_is_refused_before_it_is_read() {
    let init = init(&renditions()[0]).expect("an init segment");
    let boxed = |kind: &[u8; 4], length: usize| {
        let size = u32::try_from(8 + length).expect("a box");
        [&size.to_be_bytes()[..], kind, &vec![0; length]].concat()
    };
    // What is no moov box is passed over, whatever is in it.
    let with_others = [&boxed(b"free", 100)[..], &boxed(b"meta", 8), &init].concat();
    assert!(Init::parse(&with_others).is_ok());
    for (input, reason) in [
        (
            [&init[..], &boxed(b"free", MAX_INIT)].concat(),
            "the CMAF init segment is larger than 256 KiB",
        ),
        (boxed(b"free", 100), "the CMAF init segment has no moov box"),
        (
            boxed(b"free", 100)[..50].to_vec(),
            "the CMAF init segment ends within a box",
        ),
        (
            init[..init.len() - 1].to_vec(),
            "the CMAF init segment ends within a box",
        ),
    ] {
        assert_eq!(Init::parse(&input).err(), Some(reason.into()));
    }
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
            let _ = crate::media::format::caps::from_rendition(&entry);
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
    fn samples_never_overlap_and_keep_their_times(
        which in 0usize..3,
        rate in prop::option::of(prop::sample::select(vec![25.0, 30.0, 30_000.0 / 1001.0])),
        depth in prop::option::of(0u32..4),
        start in 0u64..10_000_000_000,
        // From one frame to the next, mostly by a little, also back.
        steps in prop::collection::vec(
            (prop_oneof![8 => 1_000i64..80_000, 2 => -200_000i64..200_000, 1 => 0i64..20_000_000], 0u8..30),
            1..120,
        ),
        duration in prop::option::of(0u64..100),
    ) {
        gst::init().expect("GStreamer initializes");
        let renditions = renditions();
        let rendition = match which {
            0 => video_at(rate),
            1 => renditions[4].clone(),
            _ => renditions[5].clone(),
        };
        let init = init(&rendition).expect("an init segment");
        let init = Init::parse(&init).expect("it is read back");
        let mut fragments = Fragments::of(&rendition, depth);
        let (mut time, mut end) = (start, 0);
        for (step, cut) in steps {
            time = time.saturating_add_signed(step);
            if cut == 0 {
                fragments.restart();
            }
            let buffer = duration.map(gst::ClockTime::from_mseconds);
            let fragment = fragments.wrap(time, buffer, true, &[0xf8, 0]);
            let sample = Timed::read(&fragment);
            prop_assert!(sample.begin >= end, "{} begins before {end}", sample.begin);
            prop_assert!(sample.duration > 0);
            end = sample.end();
            let frames = init.frames(&fragment).expect("a fragment");
            let read = u64::try_from(frames[0].timestamp.as_micros()).expect("a time");
            // Rounded to ticks of video; audio to the grid too, which is off by a quarter of a packet
            // at most.
            let most = if which == 0 { 101 } else { 1024 * 1000 / 48 / 4 + 25 };
            prop_assert!(read.abs_diff(time) <= most, "{read} for {time}");
        }
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
