use super::*;

/// A track of a broadcast that nobody hears of, with what it needs to live.
struct Fixture {
    track: Track,
    reader: track::Subscriber,
    watchers: JoinSet<()>,
    _broadcast: moq_net::broadcast::Producer,
}

impl Fixture {
    fn new(kind: Kind) -> Self {
        let origin = moq_tokio::origin::spawn();
        let broadcast = origin.create_broadcast("test").expect("a broadcast");
        let info = hang::container::track_info(kind.priority());
        let producer = broadcast.create_track("track", info).expect("a track");
        let reader = producer.subscribe(None);
        Self {
            track: Track::new(producer, kind, Container::legacy(kind)),
            reader,
            watchers: JoinSet::new(),
            _broadcast: broadcast,
        }
    }

    fn write(&mut self, timestamp: u64, key: bool, bytes: usize) -> Result<(), Refused> {
        let payload = Bytes::from(vec![0; bytes]);
        self.track
            .write(timestamp, key, payload, &mut self.watchers)
            .map(drop)
    }

    fn groups(&self) -> u64 {
        self.track.producer.latest().map_or(0, |latest| latest + 1)
    }
}

#[tokio::test]
async fn video_groups_begin_with_key_frames() {
    let mut video = Fixture::new(Kind::Video);
    assert!(matches!(
        video.write(0, false, 10),
        Err(Refused::NoKeyFrame)
    ));
    for (timestamp, key) in [(0, true), (40, false), (80, true), (60, false)] {
        video.write(timestamp, key, 10).expect("written");
    }
    assert_eq!(video.groups(), 2);
    assert!(matches!(video.write(79, true, 10), Err(Refused::Rewinds)));
    assert!(matches!(
        video.write(100, false, 10),
        Err(Refused::NoKeyFrame)
    ));
}

#[tokio::test]
async fn sound_is_grouped_by_time() {
    let mut audio = Fixture::new(Kind::Audio);
    for packet in 0..50 {
        audio.write(packet * 20_000, true, 10).expect("written");
    }
    assert_eq!(audio.groups(), 10);
}

#[tokio::test]
async fn a_group_ends_before_the_library_would_destroy_it() {
    let mut video = Fixture::new(Kind::Video);
    video.write(0, true, 1).expect("written");
    let mut written = 1;
    let refused = loop {
        match video.write(written, false, 1) {
            Ok(()) => written += 1,
            Err(refused) => break refused,
        }
    };
    assert!(matches!(refused, Refused::GroupFull));
    assert_eq!(written as usize, MAX_FRAMES);
    video.write(written, true, 1).expect("the next key frame");
    assert!(matches!(
        video.write(written, false, MAX_FRAME + 1),
        Err(Refused::TooLarge)
    ));
    video.write(written, true, 1).expect("it goes on");

    let mut audio = Fixture::new(Kind::Audio);
    for _ in 0..3 {
        audio.write(0, true, MAX_BYTES / 2 + 1).expect("written");
    }
    assert_eq!(audio.groups(), 3);
}

#[tokio::test]
async fn what_a_reader_holds_is_not_delivered() {
    let mut video = Fixture::new(Kind::Video);
    video.write(0, true, 10).expect("written");
    assert!(!video.track.is_delivered(), "a reader has not got it yet");
    let group = video.reader.recv_group().await.expect("open");
    tokio::task::yield_now().await;
    video.track.cut();
    assert!(!video.track.is_delivered(), "it is on its way");
    drop(group);
    video.watchers.join_next().await;
    assert!(video.track.is_delivered());

    // The connection is lost: the newest group counts again.
    video.track.redeliver(&mut video.watchers);
    assert!(!video.track.is_delivered());
    drop(video.reader);
    assert!(video.track.is_delivered(), "nobody wants it any more");
}

#[tokio::test]
async fn a_group_that_is_under_way_for_too_long_is_given_up_once() {
    let mut video = Fixture::new(Kind::Video);
    let budget = track::Subscription::default().with_max_age(Duration::from_millis(100));
    video.reader.update(budget).expect("a subscription");
    for timestamp in [0, 40_000] {
        video.write(timestamp, timestamp == 0, 10).expect("written");
    }
    let slow = video.reader.recv_group().await.expect("open");
    tokio::task::yield_now().await;
    assert_eq!(video.track.give_up(10_000_000), (0, 0), "it is the newest");
    video.write(80_000, true, 10).expect("written");
    assert_eq!(video.track.give_up(179_999), (0, 0), "it is in time");
    assert_eq!(video.track.give_up(180_000), (1, 2));
    assert_eq!(video.track.give_up(10_000_000), (0, 0), "it was counted");
    drop(slow);
}
