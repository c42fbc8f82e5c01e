// SPDX-License-Identifier: MIT
//! The encoders whose bit rate can be set, as data: one row for all that are driven alike.
//!
//! A row with `tested` is proven by a test with the real encoder. The others are from the sources of
//! GStreamer 1.22 to 1.28 and of gst-plugins-rs; those of NVIDIA's Jetson (`nvv4l2*`) and of i.MX
//! (`vpuenc_*`) from webrtcsink, which drives them. `docs/encoders.md` has the same table.

/// How the bit rate of an encoder is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rate {
    /// A numeric property in bits per second.
    Bits(&'static str),
    /// A numeric property in kilobits per second.
    Kilobits(&'static str),
    /// A field in bits per second of the structure that the property `extra-controls` has.
    Control(&'static str),
}

impl Rate {
    pub(super) fn property(self) -> &'static str {
        match self {
            Self::Bits(property) | Self::Kilobits(property) => property,
            Self::Control(_) => "extra-controls",
        }
    }

    /// Bits per second in one step of the property.
    pub(super) fn unit(self) -> u64 {
        match self {
            Self::Kilobits(_) => 1000,
            Self::Bits(_) | Self::Control(_) => 1,
        }
    }
}

/// What an encoder does when its bit rate is set in PLAYING.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// It follows within some frames.
    Follows,
    /// It begins anew, with a keyframe.
    Restarts,
    /// It goes on as before.
    Ignores,
}

/// A size in kilobits that is set along with the bit rate.
#[derive(Clone, Copy, Debug)]
pub(super) struct Buffer {
    pub(super) property: &'static str,
    /// How long the bit rate takes to fill it.
    pub(super) ms: u64,
}

impl Buffer {
    /// Its size in kilobits at this bit rate.
    pub(super) fn size(&self, bits_per_second: u64) -> u64 {
        bits_per_second.saturating_mul(self.ms) / 1_000_000
    }
}

/// Encoders that are driven alike.
#[derive(Debug)]
pub(super) struct Row {
    /// Names of factories; a `*` stands for any text.
    pub(super) names: &'static [&'static str],
    /// A property that tells apart versions of the same name: without it the row does not apply.
    pub(super) with: Option<&'static str>,
    pub(super) rate: Rate,
    pub(super) change: Change,
    /// A property and a value of it without which the encoder keeps to no bit rate, and which it takes only
    /// before it starts. At the default it does not follow.
    pub(super) needs: Option<(&'static str, &'static str)>,
    /// What makes the encoder keep to its bit rate over a short time: properties with their values, in the
    /// order in which they are set.
    pub(super) setup: &'static [(&'static str, &'static str)],
    pub(super) buffer: Option<Buffer>,
    #[cfg_attr(not(test), expect(dead_code, reason = "tests go by it"))]
    pub(super) tested: bool,
}

impl Row {
    /// What the encoders below have in common: no more than a bit rate, which they follow.
    const PLAIN: Self = Self {
        names: &[],
        with: None,
        rate: Rate::Bits("bitrate"),
        change: Change::Follows,
        needs: None,
        setup: &[],
        buffer: None,
        tested: false,
    };

    pub(super) fn is_for(&self, factory: &str) -> bool {
        self.names.iter().any(|name| matches(name, factory))
    }
}

/// The buffer of x264enc in ms: the most that a keyframe takes, and what comes too much after a step down.
/// With less the encoder leaves more than a tenth of its bit rate unused.
const X264: &[(&str, &str)] = &[("vbv-buf-capacity", "150")];

/// The same for vp8enc and vp9enc, and a keyframe is at most 2.5 times as large as the mean.
const VPX: &[(&str, &str)] = &[
    ("buffer-initial-size", "100"),
    ("buffer-optimal-size", "120"),
    ("buffer-size", "150"),
    ("max-intra-bitrate", "250"),
    ("end-usage", "cbr"),
];

/// The first row that applies counts.
pub(super) const TABLE: &[Row] = &[
    Row {
        names: &["x264enc"],
        rate: Rate::Kilobits("bitrate"),
        setup: X264,
        tested: true,
        ..Row::PLAIN
    },
    Row {
        names: &["x265enc"],
        rate: Rate::Kilobits("bitrate"),
        change: Change::Restarts,
        tested: true,
        ..Row::PLAIN
    },
    Row {
        names: &["openh264enc"],
        change: Change::Restarts,
        tested: true,
        ..Row::PLAIN
    },
    // With end-usage=vbr, the default, vp8enc makes twice as much as it should.
    Row {
        names: &["vp8enc", "vp9enc"],
        rate: Rate::Bits("target-bitrate"),
        setup: VPX,
        tested: true,
        ..Row::PLAIN
    },
    // With max-quantizer=0, the default, it makes the best quality; with end-usage=cbr twice as much as it
    // should.
    Row {
        names: &["av1enc"],
        rate: Rate::Kilobits("target-bitrate"),
        needs: Some(("max-quantizer", "63")),
        tested: true,
        ..Row::PLAIN
    },
    Row {
        names: &["svtav1enc"],
        rate: Rate::Kilobits("target-bitrate"),
        change: Change::Ignores,
        ..Row::PLAIN
    },
    Row {
        names: &["rav1enc"],
        change: Change::Ignores,
        ..Row::PLAIN
    },
    Row {
        names: &["opusenc"],
        tested: true,
        ..Row::PLAIN
    },
    Row {
        names: &["avenc_*", "voaacenc"],
        change: Change::Ignores,
        tested: true,
        ..Row::PLAIN
    },
    Row {
        names: &["lamemp3enc", "twolamemp2enc"],
        rate: Rate::Kilobits("bitrate"),
        change: Change::Ignores,
        tested: true,
        ..Row::PLAIN
    },
    Row {
        names: &["fdkaacenc"],
        change: Change::Ignores,
        ..Row::PLAIN
    },
    Row {
        names: &[
            "nvv4l2h264enc",
            "nvv4l2h265enc",
            "nvv4l2vp8enc",
            "nvv4l2vp9enc",
            "nvv4l2av1enc",
        ],
        ..Row::PLAIN
    },
    // Their `vbv-buffer-size` would begin a new sequence with a keyframe at each change.
    Row {
        names: &[
            "nvcudah264*enc",
            "nvcudah265*enc",
            "nvd3d11h264*enc",
            "nvd3d11h265*enc",
            "nvd3d11av1*enc",
            "nvautogpuh264enc",
            "nvautogpuh265enc",
            "nvautogpuav1enc",
            "nvav1*enc",
        ],
        rate: Rate::Kilobits("bitrate"),
        ..Row::PLAIN
    },
    // Since GStreamer 1.26 these are what was nvcudah264enc before.
    Row {
        names: &["nvh264*enc", "nvh265*enc"],
        with: Some("multi-pass"),
        rate: Rate::Kilobits("bitrate"),
        ..Row::PLAIN
    },
    Row {
        names: &["nvh264*enc", "nvh265*enc"],
        rate: Rate::Kilobits("bitrate"),
        change: Change::Restarts,
        ..Row::PLAIN
    },
    Row {
        names: &["vaapih264enc", "vaapih265enc", "vaapivp8enc", "vaapivp9enc"],
        rate: Rate::Kilobits("bitrate"),
        change: Change::Restarts,
        ..Row::PLAIN
    },
    Row {
        names: &[
            "va*h264enc",
            "va*h264lpenc",
            "va*h265enc",
            "va*h265lpenc",
            "va*vp8enc",
            "va*vp8lpenc",
            "va*vp9enc",
            "va*vp9lpenc",
            "va*av1enc",
            "va*av1lpenc",
        ],
        rate: Rate::Kilobits("bitrate"),
        change: Change::Restarts,
        // Without it the buffer is of 2 s.
        buffer: Some(Buffer {
            property: "cpb-size",
            ms: 500,
        }),
        ..Row::PLAIN
    },
    // Some drivers go on without a keyframe.
    Row {
        names: &["qsvh264*enc", "qsvh265*enc", "qsvav1*enc", "qsvvp9*enc"],
        rate: Rate::Kilobits("bitrate"),
        change: Change::Restarts,
        ..Row::PLAIN
    },
    Row {
        names: &[
            "amfh264*enc",
            "amfh265*enc",
            "amfav1*enc",
            "mfh264*enc",
            "mfh265*enc",
            "mfvp9*enc",
            "msdkh264enc",
            "msdkh265enc",
            "msdkvp9enc",
            "msdkav1enc",
        ],
        rate: Rate::Kilobits("bitrate"),
        change: Change::Restarts,
        ..Row::PLAIN
    },
    Row {
        names: &[
            "vtenc_h264*",
            "vtenc_h265*",
            "vpuenc_h264",
            "vpuenc_hevc",
            "d3d12h264*enc",
        ],
        rate: Rate::Kilobits("bitrate"),
        ..Row::PLAIN
    },
    Row {
        names: &["amcvidenc-*"],
        ..Row::PLAIN
    },
    Row {
        names: &["v4l2*h264enc", "v4l2*h265enc", "v4l2*vp8enc", "v4l2*vp9enc"],
        rate: Rate::Control("video_bitrate"),
        ..Row::PLAIN
    },
];

fn matches(pattern: &str, name: &str) -> bool {
    let Some((start, end)) = pattern.split_once('*') else {
        return pattern == name;
    };
    let rest = name.strip_prefix(start);
    rest.is_some_and(|rest| rest.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The row of this name, whatever its versions.
    fn row(factory: &str) -> Option<&'static Row> {
        TABLE.iter().find(|row| row.is_for(factory))
    }

    #[test]
    fn names_with_a_star_stand_for_all_of_their_kind() {
        for (factory, rate) in [
            ("vah264enc", Rate::Kilobits("bitrate")),
            ("varenderD129h264lpenc", Rate::Kilobits("bitrate")),
            ("nvv4l2h264enc", Rate::Bits("bitrate")),
            ("nvh264device1enc", Rate::Kilobits("bitrate")),
            ("v4l2video11h264enc", Rate::Control("video_bitrate")),
            ("avenc_aac", Rate::Bits("bitrate")),
        ] {
            assert_eq!(row(factory).map(|row| row.rate), Some(rate), "{factory}");
        }
        assert!(row("vaapih264enc").is_some_and(|row| row.buffer.is_none()));
        for factory in ["vah264dec", "nvjpegenc", "x264", "h264enc", "x264enc2"] {
            assert!(row(factory).is_none(), "{factory}");
        }
    }

    /// A row as the page has it.
    fn documented(row: &Row) -> String {
        let code = |text: &str| format!("`{text}`");
        let names: Vec<_> = row.names.iter().map(|name| code(name)).collect();
        let with = row
            .with
            .map_or_else(String::new, |property| format!(" that have `{property}`"));
        let rate = match row.rate {
            Rate::Bits(property) => format!("`{property}`, bit/s"),
            Rate::Kilobits(property) => format!("`{property}`, kbit/s"),
            Rate::Control(field) => format!("`{field}` in `extra-controls`, bit/s"),
        };
        let change = match row.change {
            Change::Follows => "follows",
            Change::Restarts => "follows, begins anew with a keyframe",
            Change::Ignores => "nothing",
        };
        let setup = row
            .setup
            .iter()
            .map(|(property, value)| format!("`{property}={value}`"));
        let buffer = row
            .buffer
            .map(|buffer| format!("`{}`: {} ms of the bit rate", buffer.property, buffer.ms));
        let needs = row
            .needs
            .map(|(property, value)| format!("`{property}={value}`, before it starts"));
        let set: Vec<_> = needs.into_iter().chain(setup).chain(buffer).collect();
        let tested = if row.tested { "yes" } else { "" };
        let (names, set) = (names.join(", "), set.join(", "));
        format!("| {names}{with} | {rate} | {change} | {set} | {tested} |")
    }

    #[test]
    fn docs_have_the_table_as_it_is() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/encoders.md");
        let page = std::fs::read_to_string(path).expect("the page");
        let expected: Vec<_> = TABLE.iter().map(documented).collect();
        let (_, after) = page.split_once("| encoder |").expect("a table");
        let rows = after.lines().skip(2);
        let found: Vec<_> = rows.take_while(|line| line.starts_with('|')).collect();
        assert_eq!(found, expected, "\n{}\n", expected.join("\n"));
    }
}
