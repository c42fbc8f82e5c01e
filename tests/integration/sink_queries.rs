// SPDX-License-Identifier: MIT
//! What a sink of GStreamer owes its pipeline: pacing, queries, messages.

use std::{
    path::Path,
    sync::mpsc,
    time::{Duration, Instant},
};

use gst::prelude::*;

use crate::common::{
    Feeder, Packets, Relay, Running, Viewer, init, media,
    pipeline::{DEADLINE, describe, latency, wait_message_that, wait_property},
    unique_broadcast, wait_message,
};

const MS: gst::ClockTime = gst::ClockTime::MSECOND;

fn clip_video(relay: &Relay, broadcast: &str) -> Running {
    Running::launch(&format!(
        "filesrc location=\"{}\" ! qtdemux ! h264parse ! moq.sink_0 {}",
        media::clip().display(),
        media::moqsink(&relay.url(), broadcast)
    ))
}

#[test]
fn a_file_is_paced_by_the_clock_and_nothing_else() {
    init();
    let relay = Relay::start().expect("a relay");
    let publisher = clip_video(&relay, &unique_broadcast("paced"));
    let clock = gst_check::TestClock::new();
    publisher.use_clock(Some(&clock));
    let pad = publisher
        .element("moq")
        .static_pad("sink_0")
        .expect("a pad");
    let passed = Packets::of(&pad);
    publisher.start();
    for frame in 0..20 {
        let id = clock.wait_for_next_pending_id();
        assert_eq!(id.time(), 40 * MS * frame);
        // The frame that waits has reached the pad, the next one has not.
        assert_eq!(passed.count() as u64, frame + 1);
        if let Some(before) = frame.checked_sub(1) {
            let position = publisher.element("moq").query_position::<gst::ClockTime>();
            assert_eq!(position, Some(40 * MS * before));
        }
        assert!(clock.crank());
    }
}

#[test]
fn latency_is_that_of_live_input_and_none_of_a_file() {
    init();
    let relay = Relay::start().expect("a relay");
    let file = clip_video(&relay, &unique_broadcast("file"));
    file.start();
    wait_message(&file.bus(), &[gst::MessageType::StreamStart], DEADLINE);
    assert_eq!(latency(&file), (false, gst::ClockTime::ZERO, None));

    let broadcast = unique_broadcast("live");
    let live = Running::play(&format!(
        "{} ! moq.sink_0 {} ! moq.sink_1 {}",
        media::Video::default().live(),
        media::live_opus(),
        media::moqsink(&relay.url(), &broadcast)
    ));
    let viewer = Viewer::start(&relay.url(), &broadcast);
    viewer.wait("both tracks", DEADLINE, |seen| {
        !seen.frames("video").is_empty() && !seen.frames("audio").is_empty()
    });
    let (is_live, min, _) = latency(&live);
    assert!(is_live);
    assert!(min >= 20 * MS, "{min}");
}

#[test]
fn a_segment_seek_ends_in_segment_done() {
    init();
    let relay = Relay::start().expect("a relay");
    let publisher = clip_video(&relay, &unique_broadcast("segment"));
    assert!(publisher.set_state(gst::State::Paused).is_ok());
    wait_message(&publisher.bus(), &[gst::MessageType::StreamStart], DEADLINE);
    publisher
        .seek(
            1.0,
            gst::SeekFlags::FLUSH | gst::SeekFlags::SEGMENT,
            gst::SeekType::Set,
            gst::ClockTime::ZERO,
            gst::SeekType::Set,
            500 * MS,
        )
        .expect("a file seeks");
    publisher.start();
    let done = wait_message(&publisher.bus(), &[gst::MessageType::SegmentDone], DEADLINE);
    let gst::MessageView::SegmentDone(done) = done.view() else {
        unreachable!("only that was asked for")
    };
    assert_eq!(done.get().format(), gst::Format::Time);
}

/// Where the film is sought to.
const PLACE: gst::ClockTime = gst::ClockTime::from_seconds(4);

/// 6 s of video with a keyframe each second, and of audio.
fn film() -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let video = media::Video {
        fps: 25,
        gop: 25,
        ..media::Video::default()
    };
    let writer = Running::play(&format!(
        "{} ! mux. {} ! mux. mp4mux name=mux ! filesink location=\"{}\"",
        video.finite(150),
        media::finite_aac(280),
        file.path().display()
    ));
    writer.wait_eos();
    file
}

/// A film's tracks, or its video twice from two files, in PAUSED.
fn paused(film: &Path, relay: &Relay, broadcast: &str, files: usize) -> Running {
    let film = film.display();
    let sink = media::moqsink(&relay.url(), broadcast);
    let publisher = Running::launch(&match files {
        1 => format!(
            "filesrc location=\"{film}\" ! qtdemux name=demux \
             demux.video_0 ! queue ! h264parse ! moq.sink_0 \
             demux.audio_0 ! queue ! aacparse ! moq.sink_1 {sink}"
        ),
        _ => format!(
            "filesrc location=\"{film}\" ! qtdemux ! h264parse ! moq.sink_0 \
             filesrc location=\"{film}\" ! qtdemux ! h264parse ! moq.sink_1 {sink}"
        ),
    });
    assert!(publisher.set_state(gst::State::Paused).is_ok());
    publisher
}

/// The SEEK and FLUSH_STOP events that pass both pads of the sink from now on.
fn watch(publisher: &Running) -> [mpsc::Receiver<(gst::EventType, gst::Seqnum)>; 2] {
    ["sink_0", "sink_1"].map(|name| {
        let pad = publisher.element("moq").static_pad(name).expect("a pad");
        let (passed, passes) = mpsc::channel();
        let types = gst::PadProbeType::EVENT_UPSTREAM | gst::PadProbeType::EVENT_FLUSH;
        pad.add_probe(types, move |_, info| {
            let wanted = [gst::EventType::Seek, gst::EventType::FlushStop];
            if let Some(event) = info.event()
                && wanted.contains(&event.type_())
            {
                // After the test nobody listens any more.
                let _ = passed.send((event.type_(), event.seqnum()));
            }
            gst::PadProbeReturn::Ok
        });
        passes
    })
}

fn seek_to_the_place(publisher: &Running) -> gst::Seqnum {
    let seek = gst::event::Seek::new(
        1.0,
        gst::SeekFlags::FLUSH | gst::SeekFlags::KEY_UNIT,
        gst::SeekType::Set,
        PLACE,
        gst::SeekType::None,
        gst::ClockTime::NONE,
    );
    let seqnum = seek.seqnum();
    assert!(publisher.send_event(seek), "the seek is taken");
    seqnum
}

#[test]
fn a_file_that_is_sought_in_paused_begins_there() {
    init();
    let relay = Relay::start().expect("a relay");
    let film = film();
    for (files, asked) in [(1, false), (1, true), (2, false), (2, true)] {
        let broadcast = unique_broadcast("sought");
        let viewer = Viewer::start(&relay.url(), &broadcast);
        let publisher = paused(film.path(), &relay, &broadcast, files);
        // At once, when no demuxer has read its file; or after it had to be read for the answer.
        if asked {
            let duration = publisher.query_duration::<gst::ClockTime>();
            assert!(duration > Some(5900 * MS), "{duration:?}");
        }
        seek_to_the_place(&publisher);
        publisher.start();
        publisher.wait_eos();
        let seen = viewer.wait("the broadcast ends", DEADLINE, |seen| {
            seen.broadcasts_ended == 1
        });
        let second = if files == 1 { "audio" } else { "video-2" };
        for track in ["video", second] {
            let frames = seen.frames(track);
            let (first, last) = (frames.first(), frames.last());
            let span = last.map_or(0, |last| last.timestamp) - first.map_or(0, |f| f.timestamp);
            let span = gst::ClockTime::from_useconds(span);
            let claim = format!("{files} files, asked {asked}: {track} lasts {span}");
            // Its 6 s less the first 4 s.
            assert!(span > 1500 * MS && span < 2500 * MS, "{claim}");
        }
    }
}

#[test]
fn a_seek_reaches_each_file_once() {
    init();
    let relay = Relay::start().expect("a relay");
    let film = film();
    for files in [1, 2] {
        let publisher = paused(film.path(), &relay, &unique_broadcast("seeks"), files);
        wait_message(&publisher.bus(), &[gst::MessageType::StreamStart], DEADLINE);
        let duration = publisher.query_duration::<gst::ClockTime>();
        assert!(duration.is_some());
        let watched = watch(&publisher);
        let seqnum = seek_to_the_place(&publisher);
        publisher.start();
        publisher.wait_eos();
        for (index, passes) in watched.iter().enumerate() {
            let passed: Vec<_> = passes.try_iter().collect();
            let seek = (gst::EventType::Seek, seqnum);
            let flush = (gst::EventType::FlushStop, seqnum);
            let expected: &[_] = if index < files {
                &[seek, flush]
            } else {
                &[flush]
            };
            assert_eq!(passed, expected, "{files} files, pad {index}");
        }
    }
}

#[test]
fn a_seek_of_live_input_without_another_place_is_refused() {
    init();
    let nowhere = Relay::url_at(Relay::free_port().expect("a free port"));
    let live = Running::launch(&format!(
        "appsrc is-live=true format=time ! moq.sink_0 {}",
        media::moqsink(&nowhere, "live")
    ));
    assert!(live.set_state(gst::State::Paused).is_ok());
    let seek = live.seek_simple(gst::SeekFlags::FLUSH, PLACE);
    assert!(seek.is_err(), "nothing of it is kept");
}

#[test]
fn a_question_waits_once_for_a_stream_that_does_not_begin() {
    init();
    let nowhere = Relay::url_at(Relay::free_port().expect("a free port"));
    let silent = Running::launch(&format!(
        "appsrc name=src format=time ! moq.sink_0 {}",
        media::moqsink(&nowhere, "silent")
    ));
    assert!(silent.set_state(gst::State::Paused).is_ok());
    let sink = silent.element("moq");
    let begun = Instant::now();
    for _ in 0..100 {
        assert_eq!(sink.query_duration::<gst::ClockTime>(), None);
    }
    assert!(begun.elapsed() < DEADLINE, "it took {:?}", begun.elapsed());
}

#[test]
fn progress_and_connection_are_told() {
    init();
    let relay = Relay::start().expect("a relay");
    let publisher = clip_video(&relay, &unique_broadcast("progress"));
    publisher.start();
    let complete = wait_message_that(&publisher.bus(), DEADLINE, |message| {
        matches!(message.view(), gst::MessageView::Progress(progress)
            if progress.get().0 == gst::ProgressType::Complete)
    });
    assert!(complete.is_some());
    let sink = publisher.element("moq");
    assert!(sink.property::<bool>("connected"));
    assert!(sink.property::<Option<String>>("moq-version").is_some());
}

#[test]
fn a_later_encoder_is_stated_in_the_catalog() {
    init();
    let relay = Relay::start().expect("a relay");
    let broadcast = unique_broadcast("delay");
    let viewer = Viewer::start(&relay.url(), &broadcast);
    let _publisher = Running::play(&format!(
        "{} ! identity sync=true ts-offset=200000000 ! moq.sink_0 {} ! moq.sink_1 {}",
        media::Video::default().live(),
        media::live_opus(),
        media::moqsink(&relay.url(), &broadcast)
    ));
    let seen = viewer.wait("the delay is stated", DEADLINE, |seen| {
        let catalog = seen.catalog();
        let video = catalog.video.renditions.get("video");
        video.is_some_and(|video| video.delay.is_some())
    });
    let catalog = seen.catalog();
    let delay = catalog.video.renditions["video"].delay.expect("a delay");
    assert!(delay >= Duration::from_millis(100), "{delay:?}");
    assert!(delay <= Duration::from_millis(400), "{delay:?}");
    assert_eq!(catalog.audio.renditions["audio"].delay, None);
}

#[test]
fn live_input_begins_with_a_keyframe_again_after_a_pause() {
    init();
    let relay = Relay::start().expect("a relay");
    let broadcast = unique_broadcast("pause");
    let viewer = Viewer::start(&relay.url(), &broadcast);
    let publisher = Running::play(&format!(
        "{} ! moq.sink_0 {}",
        media::Video::default().live(),
        media::moqsink(&relay.url(), &broadcast)
    ));
    let before = viewer.wait("frames", DEADLINE, |seen| seen.frames("video").len() > 5);
    assert!(publisher.set_state(gst::State::Paused).is_ok());
    let groups = before.tracks["video"].len();
    publisher.start();
    let seen = viewer.wait("another group", DEADLINE, |seen| {
        seen.tracks["video"].len() > groups
    });
    // The encoder was asked for a keyframe: it comes long before its own next one.
    let frames = seen.frames("video");
    let times: Vec<u64> = frames.iter().map(|frame| frame.timestamp).collect();
    assert!(times.is_sorted(), "{times:?}");
    assert!(frames.len() < 50, "{} frames", frames.len());
}

#[test]
fn caps_that_are_wrong_again_and_again_are_warned_of_once_a_second() {
    init();
    let nowhere = Relay::url_at(Relay::free_port().expect("a free port"));
    let feeder = Feeder::start(&nowhere, "x", true);
    feeder.sink.set_property("mime", "no type");
    for (caps, hint) in [
        (
            [
                "video/x-h264, stream-format=avc, alignment=au, codec_data=(buffer)00",
                "video/x-h264, stream-format=avc, alignment=au, codec_data=(buffer)0000",
            ],
            "codec_data",
        ),
        (
            ["application/octet-stream", "meta/x-klv, parsed=true"],
            "mime",
        ),
    ] {
        let begun = Instant::now();
        for caps in caps.iter().cycle().take(50) {
            feeder.caps(caps);
        }
        // What follows is reported after the last of them.
        feeder.caps("video/x-h264, stream-format=avc, alignment=au, codec_data=(buffer)01");
        wait_property(
            &feeder.sink,
            "track-error",
            DEADLINE,
            |error: &Option<String>| error.as_ref().is_some_and(|error| !error.is_empty()),
        );
        feeder.caps("audio/x-raw, format=F32LE, layout=interleaved, rate=8000, channels=1");
        wait_property(
            &feeder.sink,
            "track-error",
            DEADLINE,
            |error: &Option<String>| error.is_none(),
        );
        let most = 1 + begun.elapsed().as_secs() as usize;
        let mut warnings = Vec::new();
        while let Some(message) = feeder
            .running
            .bus()
            .pop_filtered(&[gst::MessageType::Warning])
        {
            warnings.push(describe(&message));
        }
        let count = warnings.iter().filter(|text| text.contains(hint)).count();
        assert!((1..=most).contains(&count), "{count} of {hint}, not {most}");
    }
}
