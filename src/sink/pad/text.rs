// SPDX-License-Identifier: MIT
//! What the user can say about a text track.

use gst::glib;

/// What raw text is published as.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, glib::Enum)]
#[repr(u32)]
#[enum_type(name = "GstMoqTextFormat")]
pub enum TextFormat {
    /// WebVTT segments of one cue each, which say when the cue ends; 5 s when its buffer has no
    /// duration. Bold, italic and underlined text is kept.
    #[default]
    #[enum_value(name = "WebVTT, with styles and times", nick = "vtt")]
    Vtt,
    /// Text alone. A cue lasts until the next one, or until its end when its buffer has a duration.
    #[enum_value(name = "Plain text, each cue until the next", nick = "utf8")]
    Utf8,
}

/// What a text track is for.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, glib::Enum)]
#[repr(u32)]
#[enum_type(name = "GstMoqTextRole")]
pub enum TextRole {
    /// What is spoken, perhaps translated.
    #[default]
    #[enum_value(name = "What is spoken", nick = "subtitle")]
    Subtitle,
    /// All that is heard, for those who cannot hear it.
    #[enum_value(name = "All that is heard", nick = "caption")]
    Caption,
}
