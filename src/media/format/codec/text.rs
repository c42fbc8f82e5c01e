// SPDX-License-Identifier: MIT
//! Cues: WebVTT or plain text, and TTML documents.
//!
//! WebVTT segments carry the times of their cues on the broadcast's own clock, so they are written
//! once the MoQ time of a buffer is known.

use bytes::Bytes;
use gst::ClockTime;
use hang::catalog::{TextConfig, TextFormat};

use crate::media::{
    format::{
        input::{InputFormat, Span, TextSettings},
        rendition::{CapsError, FrameError, Rendition},
    },
    text::{
        Markup,
        vtt::{self, Cue},
    },
};

/// How long a WebVTT cue lasts whose buffer does not say it: players keep a cue until the end that
/// it states, and nothing sent later can end it.
const DEFAULT_DURATION: ClockTime = ClockTime::from_seconds(5);

/// How much later than its frame a cue may begin: one that is far ahead would silence its pad for as
/// long.
const MAX_AHEAD: ClockTime = ClockTime::from_seconds(60);

/// One cue for a pad of moqsrc.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimedText {
    /// How much later than the frame's timestamp it begins.
    pub after: ClockTime,
    /// `None` when only what follows ends it.
    pub duration: Option<ClockTime>,
    /// The payload of the buffer.
    pub text: Bytes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Input {
    Utf8,
    Pango,
    Vtt,
    Ttml,
}

#[derive(Debug)]
struct Text {
    input: Input,
    config: TextConfig,
    rendition: Rendition,
}

pub(super) fn matches_caps(structure: &gst::StructureRef) -> bool {
    variant(structure).is_some_and(|input| input != Input::Ttml)
}

pub(super) fn matches_caps_ttml(structure: &gst::StructureRef) -> bool {
    variant(structure) == Some(Input::Ttml)
}

pub(super) fn matches_rendition(rendition: &Rendition) -> bool {
    matches!(format(rendition), Some(TextFormat::Vtt | TextFormat::Utf8))
}

pub(super) fn matches_rendition_ttml(rendition: &Rendition) -> bool {
    format(rendition) == Some(&TextFormat::Ttml)
}

pub(super) fn input(structure: &gst::StructureRef) -> Result<Box<dyn InputFormat>, CapsError> {
    let input = variant(structure)
        .ok_or_else(|| CapsError::unsupported("Text has to be utf8 or pango-markup."))?;
    let config = TextConfig::new(match input {
        Input::Ttml => TextFormat::Ttml,
        _ => TextFormat::Vtt,
    });
    Ok(Box::new(Text {
        input,
        rendition: Rendition::Text(config.clone()),
        config,
    }))
}

pub(super) fn caps(rendition: &Rendition) -> Result<gst::Caps, CapsError> {
    let raw = |format: &str| {
        gst::Caps::builder("text/x-raw")
            .field("format", format)
            .build()
    };
    match format(rendition) {
        Some(TextFormat::Vtt) => Ok(raw("pango-markup")),
        Some(TextFormat::Utf8) => Ok(raw("utf8")),
        Some(TextFormat::Ttml) => Ok(gst::Caps::builder("application/ttml+xml").build()),
        _ => Err(CapsError::broken("The entry is not a text entry.")),
    }
}

/// Whether an empty frame of the track clears the text before it.
pub fn clears(rendition: &Rendition) -> bool {
    format(rendition) == Some(&TextFormat::Utf8)
}

/// The cues of one frame, without those that cannot be read.
///
/// The first one begins with the frame, whatever clock its own times are on.
pub fn cues(rendition: &Rendition, payload: &Bytes) -> Vec<TimedText> {
    let whole = |text: Bytes| {
        vec![TimedText {
            after: ClockTime::ZERO,
            duration: None,
            text,
        }]
    };
    match (format(rendition), str::from_utf8(payload)) {
        (Some(TextFormat::Ttml), _) => whole(payload.clone()),
        (Some(TextFormat::Utf8), Ok(text)) => {
            let text = Markup::plain(text).to_plain();
            match text.trim().is_empty() {
                true => Vec::new(),
                false => whole(text.into()),
            }
        }
        (Some(TextFormat::Vtt), Ok(text)) => {
            let cues = shifted(vtt::parse(text), ClockTime::ZERO);
            let markup = |cue: &Cue| Some(Markup::parse(&cue.text)).filter(|text| !text.is_empty());
            let timed = |cue: &Cue| {
                Some(TimedText {
                    after: cue.begin,
                    duration: Some(cue.end - cue.begin),
                    text: markup(cue)?.to_markup().into(),
                })
            };
            let near = cues.iter().filter(|cue| cue.begin <= MAX_AHEAD);
            near.filter_map(timed).collect()
        }
        _ => Vec::new(),
    }
}

impl InputFormat for Text {
    fn rendition(&self) -> Option<&Rendition> {
        Some(&self.rendition)
    }

    fn prepare(&mut self, payload: Bytes, _keyframe: bool) -> Result<Bytes, FrameError> {
        Ok(payload)
    }

    fn prepare_at(
        &mut self,
        payload: Bytes,
        _keyframe: bool,
        span: Span,
    ) -> Result<Bytes, FrameError> {
        if self.input == Input::Ttml {
            return Ok(payload);
        }
        let text = str::from_utf8(&payload).map_err(|_| FrameError::NotText)?;
        let text = text.trim_end_matches('\0');
        if self.input == Input::Vtt && vtt::is_segment(text) {
            let cues = shifted(vtt::parse(text), span.begin);
            return Ok(match cues.is_empty() {
                true => Bytes::new(),
                false => vtt::write(&cues).into(),
            });
        }
        let markup = match self.input {
            Input::Utf8 => Markup::plain(text),
            _ => Markup::parse(text),
        };
        Ok(match self.config.format {
            _ if markup.is_empty() => Bytes::new(),
            TextFormat::Utf8 => markup.to_plain().into(),
            _ => {
                let text = match self.input {
                    Input::Vtt => text.trim().to_owned(),
                    _ => markup.to_markup(),
                };
                segment(text, span).into()
            }
        })
    }

    fn set_text(&mut self, settings: &TextSettings) {
        if matches!(self.input, Input::Utf8 | Input::Pango) {
            self.config.format = match settings.plain {
                true => TextFormat::Utf8,
                false => TextFormat::Vtt,
            };
        }
        self.config.role = settings.role.clone();
        self.rendition = Rendition::Text(self.config.clone());
    }

    fn clears(&self) -> bool {
        clears(&self.rendition)
    }
}

fn variant(structure: &gst::StructureRef) -> Option<Input> {
    match structure.name().as_str() {
        "text/x-raw" => match structure.get::<&str>("format") {
            Ok("utf8") => Some(Input::Utf8),
            Ok("pango-markup") => Some(Input::Pango),
            _ => None,
        },
        "application/x-subtitle-vtt" => Some(Input::Vtt),
        "application/ttml+xml" => Some(Input::Ttml),
        _ => None,
    }
}

fn format(rendition: &Rendition) -> Option<&TextFormat> {
    match rendition {
        Rendition::Text(config) => Some(&config.format),
        _ => None,
    }
}

/// The cues, moved so that the earliest one begins at `begin`.
fn shifted(mut cues: Vec<Cue>, begin: ClockTime) -> Vec<Cue> {
    let first = cues.iter().map(|cue| cue.begin).min().unwrap_or_default();
    for cue in &mut cues {
        cue.begin = cue.begin - first + begin;
        cue.end = cue.end - first + begin;
    }
    cues
}

fn segment(text: String, span: Span) -> String {
    let duration = span.duration.unwrap_or(DEFAULT_DURATION);
    let begin = span.begin;
    // The times of a segment are in milliseconds, and a cue without length is none.
    let end = begin
        .saturating_add(duration)
        .max(begin + ClockTime::MSECOND);
    vtt::write(&[Cue {
        begin,
        end,
        settings: String::new(),
        text,
    }])
}

#[cfg(test)]
mod tests;
