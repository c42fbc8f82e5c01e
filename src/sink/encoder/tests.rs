// SPDX-License-Identifier: MIT
//! Encoders are found, and do what the table says, each with the real one.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use super::*;
use crate::{element::sync::lock, sink::MoqSink};

fn pipeline(description: &str) -> gst::Pipeline {
    gst::init().expect("GStreamer initializes");
    let parsed = gst::parse::launch(description).expect("a pipeline");
    parsed.downcast().unwrap_or_else(|single| {
        let pipeline = gst::Pipeline::new();
        pipeline.add(&single).expect("a single element");
        pipeline
    })
}

fn element(bin: &gst::Bin, name: &str) -> gst::Element {
    bin.by_name(name).expect("an element of this name")
}

fn find(pipeline: &gst::Pipeline) -> Result<Encoder, NoEncoder> {
    let out = element(pipeline.upcast_ref(), "out");
    Encoder::find(&out.static_pad("sink").expect("a pad"))
}

/// The name of the encoder upstream of the element `out`.
fn found(description: &str) -> Result<String, NoEncoder> {
    let pipeline = pipeline(description);
    find(&pipeline).map(|encoder| encoder.element().expect("it is there").name().into())
}

/// Elements in the place of encoders that this machine lacks.
mod fakes {
    use std::sync::LazyLock;

    use gst::{glib, prelude::*, subclass::prelude::*};

    /// An element with one pad of each direction and these properties, under the name of an encoder.
    macro_rules! fake {
        ($module:ident, $type:literal, $factory:literal, $properties:expr) => {
            pub(super) mod $module {
                use super::*;

                static PROPERTIES: LazyLock<Vec<glib::ParamSpec>> = LazyLock::new(|| $properties);

                #[derive(Default)]
                pub struct Fake {
                    values: std::sync::Mutex<std::collections::BTreeMap<String, glib::GString>>,
                }

                glib::wrapper! {
                    pub struct FakeElement(ObjectSubclass<Fake>) @extends gst::Element, gst::Object;
                }

                #[glib::object_subclass]
                impl ObjectSubclass for Fake {
                    const NAME: &'static str = $type;
                    type Type = FakeElement;
                    type ParentType = gst::Element;
                }

                impl ObjectImpl for Fake {
                    fn properties() -> &'static [glib::ParamSpec] {
                        &PROPERTIES
                    }

                    fn set_property(&self, _: usize, value: &glib::Value, spec: &glib::ParamSpec) {
                        let mut values = self.values.lock().expect("no panic");
                        let value = value.serialize().expect("text");
                        values.insert(spec.name().to_owned(), value);
                    }

                    fn property(&self, _: usize, spec: &glib::ParamSpec) -> glib::Value {
                        let values = self.values.lock().expect("no panic");
                        let set = values.get(spec.name()).map(|text| {
                            glib::Value::deserialize_with_pspec(text, spec).expect("a value")
                        });
                        set.unwrap_or_else(|| spec.default_value().clone())
                    }

                    fn constructed(&self) {
                        self.parent_constructed();
                        let pad = gst::Pad::builder(gst::PadDirection::Src)
                            .name("src")
                            .build();
                        self.obj().add_pad(&pad).expect("a first pad");
                    }
                }

                impl GstObjectImpl for Fake {}
                impl ElementImpl for Fake {
                    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
                        static METADATA: LazyLock<gst::subclass::ElementMetadata> =
                            LazyLock::new(|| {
                                gst::subclass::ElementMetadata::new(
                                    $factory, "Test", "A test", "A test",
                                )
                            });
                        Some(&METADATA)
                    }
                }

                /// One of it, before a sink that asks for its encoder.
                pub(in super::super) fn linked() -> (gst::Pipeline, gst::Element) {
                    gst::init().expect("GStreamer initializes");
                    let type_ = FakeElement::static_type();
                    gst::Element::register(None, $factory, gst::Rank::NONE, type_)
                        .expect("a factory");
                    let fake = gst::ElementFactory::make($factory).build().expect("a fake");
                    let out = gst::ElementFactory::make("fakesink")
                        .name("out")
                        .build()
                        .expect("a sink");
                    let pipeline = gst::Pipeline::new();
                    pipeline.add_many([&fake, &out]).expect("two elements");
                    fake.link(&out).expect("they link");
                    (pipeline, fake)
                }
            }
        };
    }

    fake!(
        va,
        "GstMoqTestVa",
        "vatesth264enc",
        vec![
            glib::ParamSpecUInt::builder("bitrate")
                .maximum(2_048_000)
                .build(),
            glib::ParamSpecUInt::builder("cpb-size")
                .maximum(2_048_000)
                .build(),
        ]
    );
    fake!(
        v4l2,
        "GstMoqTestV4l2",
        "v4l2testh264enc",
        vec![glib::ParamSpecBoxed::builder::<gst::Structure>("extra-controls").build(),]
    );
    fake!(
        wide,
        "GstMoqTestWide",
        "avenc_test",
        vec![
            glib::ParamSpecInt64::builder("bitrate")
                .minimum(-1)
                .maximum(500_000)
                .build(),
        ]
    );
    fake!(
        without,
        "GstMoqTestWithout",
        "nvh264test1enc",
        vec![glib::ParamSpecString::builder("bitrate").build(),]
    );
}

#[test]
fn an_encoder_is_found_through_what_passes_its_stream_on() {
    for description in [
        "x264enc name=e ! fakesink name=out",
        "x264enc name=e ! h264parse ! video/x-h264,alignment=au ! queue ! identity ! valve ! fakesink name=out",
        "opusenc name=e ! tee name=tee ! fakesink  tee. ! queue ! fakesink name=out",
        "vp8enc name=e ! mq.sink_1  identity ! mq.sink_2  multiqueue name=mq  mq.src_1 ! fakesink name=out",
        "vp9enc name=e ! input-selector ! fakesink name=out",
        "x264enc name=e ! rtph264pay ! rtph264depay ! fakesink name=out",
    ] {
        assert_eq!(found(description), Ok("e".to_owned()), "{description}");
    }
}

/// A bin of these elements with ghost pads for the first and the last.
fn bin(description: &str) -> gst::Element {
    let bin = gst::parse::bin_from_description(description, true);
    bin.expect("a bin").upcast()
}

#[test]
fn an_encoder_is_found_in_a_bin_behind_a_tee_and_out_of_bins() {
    gst::init().expect("GStreamer initializes");
    let inner = bin("videoconvert ! x264enc name=e ! h264parse");
    let outer = gst::Bin::new();
    outer.add(&inner).expect("an element");
    for name in ["sink", "src"] {
        let target = inner.static_pad(name).expect("a ghost pad");
        let ghost = gst::GhostPad::with_target(&target).expect("a ghost pad of it");
        outer.add_pad(&ghost).expect("a first pad");
    }
    let tee = gst::ElementFactory::make("tee").build().expect("a tee");
    let other = gst::ElementFactory::make("fakesink")
        .build()
        .expect("a sink");
    let after = bin("queue ! capsfilter ! identity");
    let last = bin("valve ! fakesink name=out");
    let pipeline = gst::Pipeline::new();
    let chain = [outer.upcast_ref(), &tee, &after, &last];
    pipeline.add_many(chain).expect("elements");
    pipeline.add(&other).expect("an element");
    gst::Element::link_many(chain).expect("they link");
    tee.link(&other).expect("they link");
    let encoder = find(&pipeline).expect("an encoder");
    assert_eq!(encoder.element().expect("it is there").name(), "e");
    // The bin itself is what the application may give a sink outside.
    let encoder = Encoder::find(&last.static_pad("sink").expect("a pad"));
    assert_eq!(encoder.expect("the same").row.names, ["x264enc"]);
    drop(pipeline);
}

#[test]
fn without_one_encoder_upstream_none_is_found() {
    for description in [
        "fakesink name=out",
        "appsrc caps=video/x-h264,stream-format=byte-stream,alignment=au ! h264parse ! fakesink name=out",
        "identity ! fakesink name=out",
        "opusenc ! opusdec ! fakesink name=out",
        "x264enc ! mpegtsmux ! fakesink name=out",
        "opusenc ! f.  opusenc ! f.  funnel name=f ! fakesink name=out",
        // In a circle.
        "tee name=tee ! identity name=a  a. ! identity name=b  tee. ! fakesink name=out",
    ] {
        let pipeline = pipeline(description);
        if let (Some(tee), Some(last)) = (pipeline.by_name("tee"), pipeline.by_name("b")) {
            last.link(&tee).expect("a circle");
        }
        assert_eq!(
            find(&pipeline).err(),
            Some(NoEncoder::None),
            "{description}"
        );
    }
}

#[test]
fn an_encoder_that_cannot_be_set_is_named() {
    let expected = NoEncoder::Unknown {
        element: "e".into(),
        factory: "flacenc".into(),
    };
    assert_eq!(
        found("flacenc name=e ! flacparse ! fakesink name=out"),
        Err(expected)
    );
    // Its bit rate is of another type than that of any version that is known.
    let (pipeline, fake) = fakes::without::linked();
    let error = find(&pipeline).expect_err("no encoder");
    let factory = "nvh264test1enc".to_owned();
    let element = fake.name().into();
    assert_eq!(error, NoEncoder::Unknown { element, factory });
}

#[test]
fn the_bit_rate_is_what_the_property_takes() {
    for (description, wanted, set) in [
        ("x264enc", 1_234_567, 1_234_000),
        ("x264enc", 0, 1000),
        ("x264enc", u64::MAX, 2_048_000_000),
        ("openh264enc", u64::MAX, u64::from(u32::MAX)),
        ("vp8enc", 1_234_567, 1_234_567),
        ("vp8enc", 10, 1000),
        ("opusenc", 1, 4000),
        ("opusenc", 900_000, 650_000),
        ("lamemp3enc", 64_999, 64_000),
    ] {
        let pipeline = pipeline(&format!("{description} name=e ! fakesink name=out"));
        let encoder = find(&pipeline).expect("an encoder");
        assert_eq!(encoder.set_bitrate(wanted), Some(set), "{description}");
        // vp8enc has kilobits inside.
        let read = encoder.bitrate().expect("a bit rate");
        assert!(set.abs_diff(read) < 1000, "{description}: {read}");
    }
    let (pipeline, _) = fakes::wide::linked();
    let encoder = find(&pipeline).expect("an encoder");
    assert_eq!(encoder.bitrate(), None);
    assert_eq!(encoder.set_bitrate(900_000), Some(500_000));
    assert_eq!(encoder.bitrate(), Some(500_000));
}

#[test]
fn an_encoder_that_begins_anew_is_asked_rarely() {
    for (name, restarts, change, seconds) in [("x264enc", false, 0., 0), ("x265enc", true, 0.15, 2)]
    {
        let pipeline = pipeline(&format!("{name} ! fakesink name=out"));
        let encoder = find(&pipeline).expect("an encoder");
        assert_eq!(encoder.restarts_with_keyframe(), restarts, "{name}");
        let least = (encoder.least_change(), encoder.least_interval().as_secs());
        assert_eq!(least, (change, seconds), "{name}");
    }
}

#[test]
fn an_encoder_that_is_gone_is_not_set() {
    let pipeline = pipeline("x264enc ! fakesink name=out");
    let encoder = find(&pipeline).expect("an encoder");
    drop(pipeline);
    assert!(encoder.element().is_none());
    encoder.set_up();
    assert_eq!(
        (encoder.set_bitrate(1_000_000), encoder.bitrate()),
        (None, None)
    );
}

#[test]
fn a_buffer_in_kilobits_follows_the_bit_rate_unless_it_was_set() {
    let (pipeline, fake) = fakes::va::linked();
    let encoder = find(&pipeline).expect("an encoder");
    encoder.set_bitrate(1_000_000);
    assert_eq!(
        fake.property::<u32>("cpb-size"),
        0,
        "not before it is set up"
    );
    encoder.set_up();
    assert_eq!(fake.property::<u32>("cpb-size"), 500);
    assert_eq!(encoder.set_bitrate(4_000_000), Some(4_000_000));
    assert_eq!(fake.property::<u32>("cpb-size"), 2000);
    // It is the same after it was found anew.
    let encoder = find(&pipeline).expect("an encoder");
    encoder.set_up();
    encoder.set_up();
    encoder.set_bitrate(2_000_000);
    assert_eq!(fake.property::<u32>("cpb-size"), 1000);

    let (pipeline, fake) = fakes::va::linked();
    fake.set_property("cpb-size", 7u32);
    let encoder = find(&pipeline).expect("an encoder");
    encoder.set_up();
    encoder.set_bitrate(4_000_000);
    assert_eq!(fake.property::<u32>("cpb-size"), 7);
}

#[test]
fn the_same_bit_rate_is_not_set_again() {
    let fakes = [
        (fakes::va::linked(), "bitrate"),
        (fakes::v4l2::linked(), "extra-controls"),
    ];
    for ((pipeline, fake), property) in fakes {
        let count = Arc::new(AtomicUsize::new(0));
        let counted = count.clone();
        fake.connect_notify(Some(property), move |_, _| {
            counted.fetch_add(1, Ordering::Relaxed);
        });
        let encoder = find(&pipeline).expect("an encoder");
        for bitrate in [1_000_000, 1_000_000, 2_000_000] {
            assert_eq!(encoder.set_bitrate(bitrate), Some(bitrate), "{property}");
        }
        assert_eq!(count.load(Ordering::Relaxed), 2, "{property}");
    }
}

#[test]
fn other_controls_of_a_device_stay() {
    let (pipeline, fake) = fakes::v4l2::linked();
    let encoder = find(&pipeline).expect("an encoder");
    assert_eq!(encoder.bitrate(), None);
    assert_eq!(encoder.set_bitrate(1_500_000), Some(1_500_000));
    assert_eq!(encoder.bitrate(), Some(1_500_000));
    let controls = gst::Structure::builder("c").field("h264_profile", 4i32);
    fake.set_property("extra-controls", controls.build());
    encoder.set_bitrate(2_000_000);
    let controls = fake.property::<gst::Structure>("extra-controls");
    let field = |name: &str| controls.get::<i32>(name).ok();
    assert_eq!(
        (field("h264_profile"), field("video_bitrate")),
        (Some(4), Some(2_000_000))
    );
}

#[test]
fn what_the_application_has_set_stays() {
    let pipeline = pipeline("vp9enc name=e buffer-size=400 end-usage=cq ! fakesink name=out");
    find(&pipeline).expect("an encoder").set_up();
    let encoder = element(pipeline.upcast_ref(), "e");
    let value = |name: &str| {
        let value = encoder.property_value(name);
        value.serialize().expect("text").to_string()
    };
    let values = ["buffer-size", "end-usage", "buffer-initial-size"].map(value);
    assert_eq!(values, ["400", "cq", "100"]);
}

/// A third of the frames of a stream whose bit rate is set twice.
const THIRD: usize = 80;

/// What an encoder made: the sizes of frames, and which are keyframes.
struct Encoded {
    sizes: Vec<usize>,
    keyframes: Vec<usize>,
}

impl Encoded {
    /// Mean bytes of a frame of the second half of a third. Audio has frames of other lengths than its input.
    fn settled(&self, third: usize) -> f64 {
        let length = self.sizes.len() / 3;
        let sizes = &self.sizes[third * length + length / 2..(third + 1) * length];
        let sum: usize = sizes.iter().sum();
        sum as f64 / sizes.len() as f64
    }

    /// The most that had to wait after the step down for a path of `bits_per_second`, as time of that path.
    fn excess(&self, bits_per_second: f64) -> f64 {
        let (mut excess, mut most) = (0f64, 0f64);
        for size in &self.sizes[THIRD..2 * THIRD] {
            excess = (excess + *size as f64 * 8. - bits_per_second / 30.).max(0.);
            most = most.max(excess);
        }
        most / bits_per_second
    }
}

/// When the encoder is set up.
#[derive(Clone, Copy, PartialEq)]
enum SetUp {
    Never,
    Before,
    /// As when it is found while it runs.
    Playing,
}

const VIDEO: &str = "videotestsrc pattern=zone-plate kx2=20 ky2=20 kt=1 num-buffers=240 \
    ! video/x-raw,format=I420,framerate=30/1,width=160,height=120";
const AUDIO: &str = "audiotestsrc wave=pink-noise num-buffers=240 samplesperbuffer=1152 \
    ! audio/x-raw,rate=48000,channels=2";

/// Encodes a test signal in PLAYING at `high` bits per second, then a quarter of it, then `high` again.
fn encode(source: &str, description: &str, high: u64, set_up: SetUp) -> Encoded {
    let pipeline = pipeline(&format!(
        "{source} ! {description} name=e ! appsink name=out sync=false"
    ));
    let encoder = find(&pipeline).expect("an encoder");
    encoder.set_bitrate(high).expect("a bit rate");
    if set_up == SetUp::Before {
        encoder.set_up();
    }
    let came = AtomicUsize::new(0);
    let input = encoder.element().expect("it is there").static_pad("sink");
    let probe = move |_: &gst::Pad, _: &mut gst::PadProbeInfo| {
        match came.fetch_add(1, Ordering::Relaxed) {
            0 if set_up == SetUp::Playing => encoder.set_up(),
            THIRD => assert_eq!(encoder.set_bitrate(high / 4), Some(high / 4)),
            count if count == 2 * THIRD => assert_eq!(encoder.set_bitrate(high), Some(high)),
            _ => {}
        }
        gst::PadProbeReturn::Ok
    };
    input
        .expect("a pad")
        .add_probe(gst::PadProbeType::BUFFER, probe);
    let out = element(pipeline.upcast_ref(), "out");
    pipeline.set_state(gst::State::Playing).expect("it plays");
    let mut encoded = Encoded {
        sizes: Vec::new(),
        keyframes: Vec::new(),
    };
    let wait = gst::ClockTime::from_seconds(30).nseconds();
    while let Some(sample) = out.emit_by_name::<Option<gst::Sample>>("try-pull-sample", &[&wait]) {
        let buffer = sample.buffer().expect("a buffer");
        if !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT) {
            encoded.keyframes.push(encoded.sizes.len());
        }
        encoded.sizes.push(buffer.size());
    }
    let errors = pipeline
        .bus()
        .expect("a bus")
        .pop_filtered(&[gst::MessageType::Error]);
    pipeline.set_state(gst::State::Null).expect("it stops");
    assert!(errors.is_none(), "{description}: {errors:?}");
    encoded
}

/// Checks that the encoder does what its row says.
fn does_what_the_table_says(source: &str, description: &str, high: u64) {
    for set_up in [SetUp::Before, SetUp::Playing] {
        does_as_set_up(source, description, high, set_up);
    }
}

fn does_as_set_up(source: &str, description: &str, high: u64, set_up: SetUp) {
    let video = source == VIDEO;
    let encoded = encode(source, description, high, set_up);
    let factory = description.split(' ').next().unwrap_or_default();
    let row = TABLE.iter().find(|row| row.is_for(factory)).expect("a row");
    assert!(row.tested, "{factory}");
    let [first, low, last] = [0, 1, 2].map(|third| encoded.settled(third));
    let said = format!(
        "{description}: {first:.0}, {low:.0}, {last:.0} bytes, keyframes {:?}",
        encoded.keyframes
    );
    if row.change == Change::Ignores {
        assert!(low > 0.7 * first && last > 0.7 * first, "{said}");
    } else {
        assert!(low < 0.6 * first && last > 1.7 * low, "{said}");
    }
    let kept = first * 8. * 30. / high as f64;
    assert!(
        !video || (0.6..1.3).contains(&kept),
        "{kept:.2} of its bit rate, {said}"
    );
    if video {
        // openh264enc begins anew at some changes.
        let restarts = row.change == Change::Restarts;
        assert_eq!(encoded.keyframes.len() > 1, restarts, "{said}");
    }
}

#[test]
fn x264enc_follows() {
    does_what_the_table_says(
        VIDEO,
        "x264enc tune=zerolatency speed-preset=ultrafast key-int-max=1000",
        400_000,
    );
}

#[test]
fn x265enc_begins_anew() {
    does_what_the_table_says(
        VIDEO,
        "x265enc tune=zerolatency speed-preset=ultrafast key-int-max=1000",
        400_000,
    );
}

#[test]
fn openh264enc_begins_anew() {
    for mode in ["quality", "bitrate"] {
        let description = format!("openh264enc gop-size=1000 rate-control={mode}");
        does_what_the_table_says(VIDEO, &description, 400_000);
    }
}

#[test]
fn vp8enc_and_vp9enc_follow() {
    for name in ["vp8enc", "vp9enc"] {
        let description =
            format!("{name} deadline=1 cpu-used=8 lag-in-frames=0 keyframe-max-dist=1000");
        does_what_the_table_says(VIDEO, &description, 400_000);
    }
}

#[test]
fn av1enc_follows_if_it_was_set_up_before_it_starts() {
    let description =
        "av1enc cpu-used=8 usage-profile=realtime lag-in-frames=0 keyframe-max-dist=1000";
    does_as_set_up(VIDEO, description, 400_000, SetUp::Before);
    let encoded = encode(VIDEO, description, 400_000, SetUp::Playing);
    let [first, low] = [0, 1].map(|third| encoded.settled(third));
    assert!(low > 0.9 * first, "{first:.0}, {low:.0} bytes");

    let pipeline = pipeline(&format!("{VIDEO} ! av1enc ! fakesink name=out"));
    let encoder = find(&pipeline).expect("an encoder");
    assert!(!encoder.follows_while_playing());
    pipeline.set_state(gst::State::Paused).expect("it prerolls");
    let prerolled = pipeline.state(gst::ClockTime::from_seconds(60));
    assert_eq!(prerolled.0, Ok(gst::StateChangeSuccess::Success));
    encoder.set_up();
    assert!(!encoder.follows_while_playing());
    pipeline.set_state(gst::State::Null).expect("it stops");
    encoder.set_up();
    assert!(encoder.follows_while_playing());
}

#[test]
fn opusenc_follows() {
    does_what_the_table_says(AUDIO, "opusenc", 128_000);
}

#[test]
fn other_audio_encoders_go_on_as_before() {
    for (description, high) in [
        ("avenc_aac", 128_000),
        ("avenc_ac3", 256_000),
        ("voaacenc", 128_000),
        ("lamemp3enc target=bitrate", 128_000),
        ("twolamemp2enc", 256_000),
    ] {
        does_what_the_table_says(AUDIO, description, high);
    }
}

#[test]
fn an_encoder_that_is_set_up_is_down_at_once() {
    let source = VIDEO.replace("width=160,height=120", "width=320,height=240");
    for description in [
        "x264enc tune=zerolatency speed-preset=ultrafast key-int-max=1000",
        "vp9enc deadline=1 cpu-used=8 lag-in-frames=0 keyframe-max-dist=1000",
    ] {
        let [alone, set_up] = [SetUp::Never, SetUp::Playing].map(|set_up| {
            let encoded = encode(&source, description, 1_200_000, set_up);
            encoded.excess(300_000.)
        });
        let said = format!("{description}: {set_up:.3} s, {alone:.3} s without");
        assert!(set_up < 0.25 && alone > 1.5 * set_up, "{said}");
    }
}

/// A moqsink of its own, for signals.
fn moqsink() -> gst::Element {
    gst::init().expect("GStreamer initializes");
    glib::Object::new::<MoqSink>().upcast()
}

#[test]
fn encoder_setup_says_whether_a_handler_has_set_it_up() {
    let sink = moqsink();
    let encoder = gst::ElementFactory::make("x264enc")
        .build()
        .expect("an encoder");
    assert!(!signals::emit_setup(&sink, "sink_0", &encoder));
    let calls = Arc::new(Mutex::new(Vec::new()));
    for (number, answer) in [false, true, false].into_iter().enumerate() {
        let calls = calls.clone();
        sink.connect("encoder-setup", false, move |arguments| {
            let text = |index: usize| arguments[index].get::<String>().expect("text");
            let encoder = arguments[3].get::<gst::Element>().expect("an element");
            let factory = encoder.factory().expect("a factory").name().to_string();
            lock(&calls).push((number, text(1), text(2), factory));
            Some(answer.to_value())
        });
    }
    assert!(signals::emit_setup(&sink, "sink_0", &encoder));
    let call = |number| {
        (
            number,
            String::new(),
            "sink_0".to_owned(),
            "x264enc".to_owned(),
        )
    };
    assert_eq!(*lock(&calls), [call(0), call(1)]);
}

#[test]
fn define_encoder_bitrates_changes_the_split() {
    let shares = |shares: &[(&str, u64)]| -> Vec<(String, u64)> {
        let owned = shares
            .iter()
            .map(|(pad, share)| ((*pad).to_owned(), *share));
        owned.collect()
    };
    let default = shares(&[
        ("sink_0", 600_000),
        ("sink_1", 300_000),
        ("sink_2", 100_000),
    ]);
    let split = |defined: Option<&'static str>| {
        let sink = moqsink();
        if let Some(defined) = defined {
            sink.connect("define-encoder-bitrates", false, move |arguments| {
                assert_eq!(arguments[1].get(), Ok(""));
                assert_eq!(arguments[2].get(), Ok(1_000_000));
                let given = arguments[3].get::<gst::Structure>().expect("a structure");
                assert_eq!(given.get("sink_1"), Ok(300_000));
                let defined = defined.parse::<gst::Structure>().ok();
                Some(defined.to_value())
            });
        }
        signals::emit_bitrates(&sink, 1_000_000, default.clone())
    };
    assert_eq!(split(None), default);
    assert_eq!(split(Some("no structure,")), default);
    assert_eq!(
        split(Some("x, sink_0=-1, sink_1=0, sink_2=(string)much")),
        default
    );
    assert_eq!(
        split(Some("x, sink_0=400000, sink_1=500000, sink_9=1000")),
        shares(&[
            ("sink_0", 400_000),
            ("sink_1", 500_000),
            ("sink_2", 100_000)
        ])
    );
    // Half too much: all get two thirds.
    assert_eq!(
        split(Some("x, sink_0=900000, sink_1=450000, sink_2=150000")),
        default
    );
    assert_eq!(split(Some("x, sink_0=2000000")), default);
}
