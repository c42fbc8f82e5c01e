// SPDX-License-Identifier: MIT
//! What the properties of an element say about its bit rate.

use gst::glib;

use crate::media::control::{rate::Limits, share::Policy};

/// Bits per second, the defaults of the properties.
pub(crate) const MIN_BITRATE: u32 = 100_000;
pub(crate) const START_BITRATE: u32 = 2_000_000;
pub(crate) const MAX_BITRATE: u32 = 8_000_000;

/// What is done with the rate that fits the network.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, glib::Enum)]
#[repr(u32)]
#[enum_type(name = "GstMoqRateControl")]
pub enum RateControl {
    /// It is not estimated.
    #[default]
    #[enum_value(name = "No rate control", nick = "none")]
    None,
    /// The property `target-bitrate` of each pad says it.
    #[enum_value(name = "Tell it by target-bitrate of each pad", nick = "notify")]
    Notify,
    /// The encoder upstream of each pad is set to it, too.
    #[enum_value(name = "Set the encoders upstream to it", nick = "encoder")]
    Encoder,
}

/// Which of several subscribers' rates counts, in listen mode.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, glib::Enum)]
#[repr(u32)]
#[enum_type(name = "GstMoqRatePolicy")]
pub enum RatePolicy {
    /// All of them can follow.
    #[enum_value(name = "The least: all subscribers can follow", nick = "slowest")]
    Slowest,
    /// Half of them can.
    #[default]
    #[enum_value(
        name = "The median: half of the subscribers can follow",
        nick = "median"
    )]
    Median,
    /// One of them can.
    #[enum_value(name = "The largest: one subscriber can follow", nick = "fastest")]
    Fastest,
}

/// The settings of the rate control.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RateSettings {
    pub(crate) control: RateControl,
    pub(crate) policy: RatePolicy,
    pub(crate) min_bitrate: u32,
    pub(crate) start_bitrate: u32,
    pub(crate) max_bitrate: u32,
}

impl Default for RateSettings {
    fn default() -> Self {
        Self {
            control: RateControl::default(),
            policy: RatePolicy::default(),
            min_bitrate: MIN_BITRATE,
            start_bitrate: START_BITRATE,
            max_bitrate: MAX_BITRATE,
        }
    }
}

impl RateSettings {
    pub(crate) fn limits(&self) -> Limits {
        let [min, start, max] =
            [self.min_bitrate, self.start_bitrate, self.max_bitrate].map(u64::from);
        Limits::new(min, start, max)
    }

    /// What contradicts itself, if the rate is controlled at all.
    pub(crate) fn contradiction(&self) -> Option<String> {
        let Self {
            min_bitrate: min,
            max_bitrate: max,
            ..
        } = self;
        (self.control != RateControl::None && min > max).then(|| {
            format!("The property min-bitrate ({min}) is above max-bitrate ({max}), which holds: set it lower")
        })
    }
}

impl From<RatePolicy> for Policy {
    fn from(policy: RatePolicy) -> Self {
        match policy {
            RatePolicy::Slowest => Self::Slowest,
            RatePolicy::Median => Self::Median,
            RatePolicy::Fastest => Self::Fastest,
        }
    }
}
