// SPDX-License-Identifier: MIT

use bytes::Bytes;
use hang::catalog::{AudioCodec, AudioConfig, VideoCodec, VideoConfig};

use super::*;
use crate::element::budget::Budget;

const MAX_STUCK: usize = 1000;
/// Nothing was given up.
const NONE: GivenUp = GivenUp {
    groups: 0,
    frames: 0,
};

/// A track of a broadcast that is not announced, with what it needs to live.
struct Fixture {
    track: PublishedTrack,
    subscriber: track::Subscriber,
    tasks: DeliveryTasks,
    _broadcast: moq_net::broadcast::Producer,
}

impl Fixture {
    fn video() -> Self {
        Self::new(Rendition::Video(VideoConfig::new(VideoCodec::VP8)))
    }

    fn audio() -> Self {
        let config = AudioConfig::new(AudioCodec::Opus, 48_000, 2);
        Self::new(Rendition::Audio(config))
    }

    fn new(rendition: Rendition) -> Self {
        let origin = moq_tokio::origin::spawn();
        let broadcast = origin.create_broadcast("test").expect("a broadcast");
        let info = hang::container::track_info(rendition.kind().priority());
        let producer = broadcast.create_track("track", info).expect("a track");
        let subscriber = producer.subscribe(None);
        Self {
            track: PublishedTrack::new(producer, &rendition, Duration::MAX, Some(MAX_STUCK)),
            subscriber,
            tasks: DeliveryTasks::default(),
            _broadcast: broadcast,
        }
    }

    /// Writes frames at these times in ms; which of them begin a group.
    fn begin_groups(&mut self, times: [u64; 5]) -> [bool; 5] {
        times.map(|time| {
            let begin = self.track.newest_begin;
            self.write(time * 1000, true, 1).expect("a frame");
            self.track.newest_begin != begin
        })
    }

    /// Writes a frame, and returns what was given up before it.
    fn write(&mut self, timestamp: u64, keyframe: bool, bytes: usize) -> Result<GivenUp, Refused> {
        let frame = Frame {
            timestamp,
            duration: None,
            keyframe,
            payload: Bytes::from(vec![0; bytes]),
            ends_cue: true,
            live: true,
            transit: None,
            _charge: Budget::new(0, gst::ClockTime::ZERO).charge(bytes, gst::ClockTime::ZERO),
        };
        let written = self.track.write(frame, &mut self.tasks)?;
        Ok(written.given_up)
    }

    /// What is given up once `timestamp` is written.
    fn give_up(&mut self, timestamp: u64) -> GivenUp {
        let PublishedTrack {
            delivery, producer, ..
        } = &mut self.track;
        delivery.give_up(timestamp, producer)
    }

    fn groups(&self) -> u64 {
        self.track.producer.latest().map_or(0, |latest| latest + 1)
    }
}

#[tokio::test]
async fn video_groups_begin_with_keyframes() {
    let mut video = Fixture::video();
    assert!(matches!(
        video.write(0, false, 10),
        Err(Refused::NoKeyframe)
    ));
    for (timestamp, key) in [(0, true), (40, false), (80, true), (60, false)] {
        video.write(timestamp, key, 10).expect("written");
    }
    assert_eq!(video.groups(), 2);
    assert!(matches!(video.write(79, true, 10), Err(Refused::Rewinds)));
    assert!(matches!(
        video.write(100, false, 10),
        Err(Refused::NoKeyframe)
    ));
}

#[tokio::test]
async fn sound_is_grouped_by_time() {
    let mut audio = Fixture::audio();
    for packet in 0..50 {
        audio.write(packet * 20_000, true, 10).expect("written");
    }
    assert_eq!(audio.groups(), 10);
}

#[tokio::test]
async fn a_group_ends_before_the_library_would_destroy_it() {
    let mut video = Fixture::video();
    video.write(0, true, 1).expect("written");
    let mut written = 1;
    let refused = loop {
        match video.write(written, false, 1) {
            Ok(_) => written += 1,
            Err(refused) => break refused,
        }
    };
    assert!(matches!(refused, Refused::GroupFull));
    assert_eq!(written as usize, MAX_GROUP_FRAMES);
    video.write(written, true, 1).expect("the next keyframe");
    assert!(matches!(
        video.write(written, false, MAX_FRAME_BYTES + 1),
        Err(Refused::TooLarge)
    ));
    video.write(written, true, 1).expect("it goes on");

    let mut audio = Fixture::audio();
    for _ in 0..3 {
        audio
            .write(0, true, MAX_GROUP_BYTES / 2 + 1)
            .expect("written");
    }
    assert_eq!(audio.groups(), 3);
}

#[tokio::test]
async fn what_a_reader_holds_is_not_delivered() {
    let mut video = Fixture::video();
    video.write(0, true, 10).expect("written");
    assert!(!video.track.is_delivered(), "a reader has not got it yet");
    let group = video.subscriber.recv_group().await.expect("open");
    tokio::task::yield_now().await;
    video.track.cut();
    assert!(!video.track.is_delivered(), "it is on its way");
    drop(group);
    video.tasks.next().await;
    assert!(video.track.is_delivered());

    // The connection is lost: the newest group counts again.
    video.track.redeliver(&mut video.tasks);
    assert!(!video.track.is_delivered());
    drop(video.subscriber);
    assert!(video.track.is_delivered(), "nobody wants it any more");
}

#[tokio::test]
async fn groups_from_before_the_subscriber_are_not_waited_for() {
    let mut audio = Fixture::audio();
    for packet in 0..10 {
        audio.write(packet * 100_000, true, 10).expect("written");
    }
    // As a session does for a subscriber that joins late: it takes the newest group alone.
    let newest = audio.subscriber.recv_group().await.expect("open");
    let newest = newest.expect("one");
    assert_eq!(newest.sequence, 9);
    tokio::task::yield_now().await;
    audio.track.cut();
    assert!(!audio.track.is_delivered(), "it is on its way");
    drop(newest);
    audio.tasks.next().await;
    for _ in 0..2 {
        assert!(audio.track.is_delivered(), "however often it is asked");
    }
}

#[tokio::test]
async fn a_group_that_is_under_way_for_too_long_is_given_up_once() {
    let mut video = Fixture::video();
    let budget = track::Subscription::default().with_max_age(Duration::from_millis(100));
    video.subscriber.update(budget).expect("a subscription");
    for timestamp in [0, 40_000] {
        video.write(timestamp, timestamp == 0, 10).expect("written");
    }
    let slow = video.subscriber.recv_group().await.expect("open");
    tokio::task::yield_now().await;
    assert_eq!(video.give_up(10_000_000), NONE, "it is the newest");
    video.write(80_000, true, 10).expect("written");
    assert_eq!(video.give_up(179_999), NONE, "it is in time");
    let lost = GivenUp {
        groups: 1,
        frames: 2,
    };
    assert_eq!(video.give_up(180_000), lost);
    assert_eq!(video.give_up(10_000_000), NONE, "it was counted");
    drop(slow);
}

#[tokio::test]
async fn behind_a_group_that_is_stuck_the_next_ones_are_taken_back() {
    let mut video = Fixture::video();
    video.write(0, true, 10).expect("written");
    let stuck = video.subscriber.recv_group().await.expect("open");
    tokio::task::yield_now().await;
    let given_up = video.write(1_000_000, true, 10).expect("written");
    let mut next = video
        .subscriber
        .recv_group()
        .await
        .expect("open")
        .expect("one");
    assert_eq!(given_up.groups, 1);
    next.read_frame().await.expect("whole").expect("a frame");

    let given_up = video.write(2_000_000, true, 10).expect("written");
    let end = next.read_frame().await;
    assert!(matches!(end, Err(moq_net::Error::Old)), "{end:?}");
    let lost = GivenUp {
        groups: 1,
        frames: 1,
    };
    assert_eq!(given_up, lost);

    drop(stuck);
    video.tasks.next().await;
    let mut last = video
        .subscriber
        .recv_group()
        .await
        .expect("open")
        .expect("one");
    video.write(3_000_000, true, 10).expect("written");
    last.read_frame().await.expect("whole").expect("a frame");
    let end = last.read_frame().await.expect("a clean end");
    assert!(end.is_none(), "the network carries everything again");
}

#[tokio::test]
async fn nothing_is_put_beside_too_much_that_is_stuck() {
    let mut video = Fixture::video();
    video.write(0, true, MAX_STUCK + 1).expect("written");
    let stuck = video.subscriber.recv_group().await.expect("open");
    tokio::task::yield_now().await;
    let given_up = video.write(1_000_000, true, 10).expect("written");
    assert_eq!(given_up.groups, 1);
    let refused = video.write(2_000_000, true, 10);
    assert!(matches!(refused, Err(Refused::Congested)), "{refused:?}");
    assert!(matches!(
        video.write(2_040_000, false, 10),
        Err(Refused::NoKeyframe)
    ));
    drop(stuck);
    while video.track.delivery.is_congested() {
        video.tasks.next().await;
    }
    video.write(3_000_000, true, 10).expect("there is room");
}

#[tokio::test]
async fn sound_is_taken_back_only_when_much_of_it_is_stuck() {
    for (bytes, taken_back) in [(MAX_STUCK / 10, 0), (MAX_STUCK / 4, 1)] {
        let mut audio = Fixture::audio();
        audio.write(0, true, bytes).expect("written");
        let stuck = audio.subscriber.recv_group().await.expect("open");
        tokio::task::yield_now().await;
        let given_up = audio.write(1_000_000, true, 10).expect("written");
        assert_eq!(given_up.groups, 1);
        let given_up = audio.write(3_000_000, true, 10).expect("written");
        assert_eq!(given_up.groups, taken_back, "with {bytes} bytes stuck");
        drop(stuck);
    }
}

#[tokio::test]
async fn a_group_of_audio_is_as_long_as_its_pad_says() {
    let mut fixture = Fixture::audio();
    assert_eq!(
        fixture.begin_groups([20, 40, 100, 120, 140]),
        [true, false, false, true, false]
    );
    fixture.track.set_audio_group(Duration::from_millis(40));
    assert_eq!(
        fixture.begin_groups([150, 160, 180, 200, 220]),
        [false, true, false, true, false]
    );
    fixture.track.set_audio_group(Duration::ZERO);
    assert_eq!(fixture.begin_groups([221, 222, 223, 224, 225]), [true; 5]);
}
