// SPDX-License-Identifier: MIT
//! WebVTT, as far as live cues need it: timings and texts.
//!
//! What comes from the network is hostile: what does not parse is left out, and no more is read than
//! one segment can sensibly hold.

use gst::ClockTime;

/// The largest segment that is read, in bytes; a cue has some hundred.
const MAX_SEGMENT: usize = 1 << 20;
/// The most cues of one segment that are read.
const MAX_CUES: usize = 256;

/// One cue of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cue {
    /// When it begins, on the clock of the segment.
    pub begin: ClockTime,
    /// When it ends; after `begin`.
    pub end: ClockTime,
    /// Position and alignment, as they are written after the times.
    pub settings: String,
    /// Its lines with WebVTT's own markup.
    pub text: String,
}

/// The cues of a segment, without those that do not parse; the header may be missing.
pub fn parse(segment: &str) -> Vec<Cue> {
    if segment.len() > MAX_SEGMENT {
        return Vec::new();
    }
    let segment = segment.replace("\r\n", "\n").replace('\r', "\n");
    let mut lines = segment.lines().peekable();
    let mut cues = Vec::new();
    while cues.len() < MAX_CUES
        && let Some(line) = lines.next()
    {
        let Some((begin, end, settings)) = timing(line) else {
            continue;
        };
        let text =
            std::iter::from_fn(|| lines.next_if(|line| !line.is_empty() && !line.contains("-->")));
        let text = text.collect::<Vec<_>>().join("\n");
        if end > begin {
            let settings = settings.to_owned();
            cues.push(Cue {
                begin,
                end,
                settings,
                text,
            });
        }
    }
    cues
}

/// Whether a text is part of a WebVTT file rather than the text of a cue alone.
pub fn is_segment(text: &str) -> bool {
    let text = text.trim_start_matches('\u{feff}');
    let blocks = ["WEBVTT", "NOTE", "STYLE", "REGION"];
    text.contains("-->") || blocks.iter().any(|block| text.starts_with(block))
}

/// A segment that stands by itself.
pub fn write(cues: &[Cue]) -> String {
    let mut segment = "WEBVTT\n".to_owned();
    for cue in cues {
        let (begin, end) = (timestamp(cue.begin), timestamp(cue.end));
        let settings = Some(cue.settings.as_str()).filter(|settings| !settings.is_empty());
        let space = settings.map_or("", |_| " ");
        let settings = settings.unwrap_or_default();
        segment += &format!("\n{begin} --> {end}{space}{settings}\n{}\n", cue.text);
    }
    segment
}

fn timing(line: &str) -> Option<(ClockTime, ClockTime, &str)> {
    let (begin, rest) = line.split_once("-->")?;
    let rest = rest.trim();
    let (end, settings) = rest.split_once([' ', '\t']).unwrap_or((rest, ""));
    Some((time(begin.trim())?, time(end)?, settings.trim()))
}

/// A WebVTT timestamp (section 4.3): hours, which may be missing, minutes, seconds, milliseconds.
fn time(text: &str) -> Option<ClockTime> {
    let number = |text: &str, digits: std::ops::RangeInclusive<usize>| {
        let fits = digits.contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
        text.parse::<u64>().ok().filter(|_| fits)
    };
    let (clock, millis) = text.split_once('.')?;
    let mut parts = clock.rsplit(':');
    let seconds = number(parts.next()?, 2..=2).filter(|seconds| *seconds < 60)?;
    let minutes = number(parts.next()?, 2..=2).filter(|minutes| *minutes < 60)?;
    let hours = parts.next().map_or(Some(0), |hours| number(hours, 2..=5))?;
    if parts.next().is_some() {
        return None;
    }
    let seconds = (hours * 60 + minutes) * 60 + seconds;
    Some(ClockTime::from_mseconds(
        seconds * 1000 + number(millis, 3..=3)?,
    ))
}

fn timestamp(time: ClockTime) -> String {
    let millis = time.mseconds();
    let (seconds, millis) = (millis / 1000, millis % 1000);
    let (minutes, seconds) = (seconds / 60, seconds % 60);
    let (hours, minutes) = (minutes / 60, minutes % 60);
    format!("{hours:02}:{minutes:02}:{seconds:02}.{millis:03}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn ms(ms: u64) -> ClockTime {
        ClockTime::from_mseconds(ms)
    }

    fn cue(begin: u64, end: u64, settings: &str, text: &str) -> Cue {
        Cue {
            begin: ms(begin),
            end: ms(end),
            settings: settings.into(),
            text: text.into(),
        }
    }

    #[test]
    fn a_segment_of_one_cue_reads_as_players_expect() {
        let segment = write(&[cue(3_601_500, 3_603_000, "", "a\nb")]);
        assert_eq!(segment, "WEBVTT\n\n01:00:01.500 --> 01:00:03.000\na\nb\n");
    }

    #[test]
    fn headers_notes_and_bad_cues_are_left_out() {
        let segment = "\u{feff}WEBVTT x\r\nX-TIMESTAMP-MAP=LOCAL:00:00:00.000\r\n\r\nNOTE one\r\n\r\n\
            STYLE\r\n::cue {}\r\n\r\nid\r\n00:01.000 --> 00:02.000 align:start line:0\r\na\r\nb\r\n\r\n\
            00:02.000 --> 00:01.000\r\nbackwards\r\n\r\n00:61.000 --> 00:62.000\r\nno time\r\n\r\n\
            99999999:00:00.000 --> 00:62.000\r\nlong\r\n\r\n00:03.000-->00:04.000\r\nc";
        let expected = [
            cue(1000, 2000, "align:start line:0", "a\nb"),
            cue(3000, 4000, "", "c"),
        ];
        assert_eq!(parse(segment), expected);
    }

    #[test]
    fn a_segment_of_absurd_size_is_not_read() {
        let many = write(&vec![cue(0, 1, "", "a"); 1000]);
        assert_eq!(parse(&many).len(), MAX_CUES);
        let large = write(&[cue(0, 1, "", &"a".repeat(MAX_SEGMENT))]);
        assert_eq!(parse(&large), []);
    }

    proptest! {
        #[test]
        fn cues_survive_a_segment(
            begin in 0..300_000_000_u64,
            length in 1..100_000_u64,
            text in "[a-z<>&;]{1,20}(\n[a-z]{1,9}){0,2}",
        ) {
            prop_assume!(!text.contains("-->"));
            let cues = [cue(begin, begin + length, "line:1", &text)];
            prop_assert_eq!(&parse(&write(&cues))[..], &cues[..]);
        }

        #[test]
        fn hostile_segments_give_sane_cues(text in "(([0-9:. \n\r]|-->|WEBVTT|\\PC){0,60}|\
            ([0-9]{1,6}:)?[0-9]{2}:[0-9]{2}\\.[0-9]{3} *--> *[0-9]{2}:[0-9]{2}\\.[0-9]{3}\\PC{0,20})") {
            for cue in parse(&text) {
                prop_assert!(cue.end > cue.begin);
                prop_assert!(!cue.text.contains("-->"));
            }
        }
    }
}
