// SPDX-License-Identifier: MIT
//! The encoder upstream of a pad: found, set up for a short delay, and given its bit rate.
//!
//! All of it sets properties of elements of the application: it belongs on the thread of an
//! [`AppQueue`](crate::element::app_queue::AppQueue).

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use gst::{glib, prelude::*};

use self::table::{Change, Rate, Row, TABLE};
use super::CAT;

mod find;
pub(super) mod signals;
mod table;
#[cfg(test)]
mod tests;

/// How much the bit rate has to change at least for an encoder that begins anew each time, as a part of it.
const RESTART_CHANGE: f64 = 0.15;

/// A smaller change waits that long after the last one.
const RESTART_INTERVAL: Duration = Duration::from_secs(2);

/// Fewer bits per second are none to encoders whose property is in kilobits.
const LEAST_BITRATE: u64 = 1000;

/// Why there is no encoder to set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoEncoder {
    #[error("no encoder is upstream")]
    None,
    /// This version of it or its kind is not in the table.
    #[error("the bit rate of the encoder {element} ({factory}) cannot be set")]
    Unknown { element: String, factory: String },
}

/// An encoder upstream, which the application may remove at any time.
#[derive(Debug)]
pub(crate) struct Encoder {
    element: glib::WeakRef<gst::Element>,
    row: &'static Row,
    /// Its buffer follows the bit rate.
    sizes_buffer: AtomicBool,
}

impl Encoder {
    /// The encoder whose stream comes to `pad`.
    pub(crate) fn find(pad: &gst::Pad) -> Result<Self, NoEncoder> {
        let element = find::upstream(pad).ok_or(NoEncoder::None)?;
        let factory = element.factory().ok_or(NoEncoder::None)?.name();
        let row = TABLE
            .iter()
            .find(|row| row.is_for(&factory) && applies(row, &element));
        match row {
            Some(row) => Ok(Self {
                element: element.downgrade(),
                row,
                sizes_buffer: AtomicBool::new(false),
            }),
            None => Err(NoEncoder::Unknown {
                element: element.name().into(),
                factory: factory.into(),
            }),
        }
    }

    /// The encoder, unless it is gone.
    pub(crate) fn element(&self) -> Option<gst::Element> {
        self.element.upgrade()
    }

    /// Whether it begins anew with a keyframe when its bit rate is set in PLAYING.
    pub(crate) fn restarts_with_keyframe(&self) -> bool {
        self.row.change == Change::Restarts
    }

    /// Whether it takes another bit rate in PLAYING, as it is set up now.
    pub(crate) fn follows_while_playing(&self) -> bool {
        let prepared = self.row.needs.is_none_or(|(property, _)| {
            let element = self.element();
            element.is_some_and(|element| {
                let spec = element.find_property(property);
                spec.is_none_or(|spec| !is_default(&element, &spec))
            })
        });
        prepared && self.row.change != Change::Ignores
    }

    /// By how much of it the bit rate has to change for the change to be made before
    /// [`Encoder::least_interval`] is over.
    pub(crate) fn least_change(&self) -> f64 {
        if self.restarts_with_keyframe() {
            RESTART_CHANGE
        } else {
            0.
        }
    }

    /// How far apart changes should be that are less than [`Encoder::least_change`].
    pub(crate) fn least_interval(&self) -> Duration {
        if self.restarts_with_keyframe() {
            RESTART_INTERVAL
        } else {
            Duration::ZERO
        }
    }

    /// Makes it keep to its bit rate over a short time, so that keyframes do not come as bursts. What the
    /// application has set to other than its default stays as it is. The earlier, the better: an encoder may
    /// need what it takes only before it has caps; see [`Encoder::follows_while_playing`].
    pub(crate) fn set_up(&self) {
        let Some(element) = self.element() else {
            return;
        };
        let started = |pad: &gst::Pad| pad.has_current_caps();
        let needs = self
            .row
            .needs
            .filter(|_| !element.sink_pads().iter().any(started));
        for (property, value) in needs.iter().chain(self.row.setup) {
            set_if_default(&element, property, value);
        }
        let Some(buffer) = self.row.buffer else {
            return;
        };
        let bitrate = self.bitrate();
        let owned = writable(&element, buffer.property).is_some_and(|spec| {
            let size = number(&element.property_value(buffer.property));
            // Found anew, it may have what was set here before.
            let ours = bitrate.is_some_and(|bitrate| size == Some(buffer.size(bitrate)));
            is_number(&spec) && (ours || is_default(&element, &spec))
        });
        self.sizes_buffer.store(owned, Ordering::Relaxed);
        if let Some(bitrate) = bitrate {
            self.size_buffer(&element, bitrate);
        }
    }

    /// Sets its bit rate in bits per second, and the buffer beside it; what was set, as its property takes
    /// it.
    pub(crate) fn set_bitrate(&self, bits_per_second: u64) -> Option<u64> {
        let element = self.element()?;
        let bitrate = bits_per_second.max(LEAST_BITRATE);
        // First, because it takes effect with the bit rate.
        self.size_buffer(&element, bitrate);
        let set = match self.row.rate {
            Rate::Control(field) => set_control(&element, self.row.rate.property(), field, bitrate),
            Rate::Bits(property) | Rate::Kilobits(property) => {
                let unit = self.row.rate.unit();
                set_number(&element, property, bitrate / unit).map(|set| set * unit)
            }
        };
        gst::debug!(
            CAT,
            obj = element,
            "Wanted {bits_per_second} bit/s, set {set:?}"
        );
        set
    }

    /// Its bit rate in bits per second; none where it chooses that itself.
    pub(crate) fn bitrate(&self) -> Option<u64> {
        let element = self.element()?;
        let property = self.row.rate.property();
        let bitrate = match self.row.rate {
            Rate::Control(field) => {
                let controls = element.property_value(property);
                let controls = controls.get::<Option<gst::Structure>>().ok()??;
                u64::try_from(controls.get::<i32>(field).ok()?).ok()?
            }
            Rate::Bits(_) | Rate::Kilobits(_) => {
                number(&element.property_value(property))?.saturating_mul(self.row.rate.unit())
            }
        };
        (bitrate > 0).then_some(bitrate)
    }

    fn size_buffer(&self, element: &gst::Element, bitrate: u64) {
        let owned = self.sizes_buffer.load(Ordering::Relaxed);
        if let Some(buffer) = self.row.buffer.filter(|_| owned) {
            set_number(element, buffer.property, buffer.size(bitrate));
        }
    }
}

/// Whether the encoder has the properties of the row, of the types that can be set.
fn applies(row: &Row, element: &gst::Element) -> bool {
    if row
        .with
        .is_some_and(|property| !element.has_property(property))
    {
        return false;
    }
    let Some(spec) = writable(element, row.rate.property()) else {
        return false;
    };
    match row.rate {
        Rate::Control(_) => spec.value_type() == gst::Structure::static_type(),
        Rate::Bits(_) | Rate::Kilobits(_) => is_number(&spec),
    }
}

fn writable(element: &gst::Element, property: &str) -> Option<glib::ParamSpec> {
    let spec = element.find_property(property)?;
    spec.flags()
        .contains(glib::ParamFlags::READWRITE)
        .then_some(spec)
}

fn is_number(spec: &glib::ParamSpec) -> bool {
    range(spec).is_some()
}

/// What a numeric property takes; 0 is left out, which is no rate but lets the encoder choose.
fn range(spec: &glib::ParamSpec) -> Option<(u64, u64)> {
    let (min, max) = if let Some(spec) = spec.downcast_ref::<glib::ParamSpecUInt>() {
        (spec.minimum().into(), spec.maximum().into())
    } else if let Some(spec) = spec.downcast_ref::<glib::ParamSpecInt>() {
        (
            i64::from(spec.minimum()).max(0).cast_unsigned(),
            i64::from(spec.maximum()).max(0).cast_unsigned(),
        )
    } else if let Some(spec) = spec.downcast_ref::<glib::ParamSpecUInt64>() {
        (spec.minimum(), spec.maximum())
    } else if let Some(spec) = spec.downcast_ref::<glib::ParamSpecInt64>() {
        (
            spec.minimum().max(0).cast_unsigned(),
            spec.maximum().max(0).cast_unsigned(),
        )
    } else {
        return None;
    };
    let min = min.max(1);
    (min <= max).then_some((min, max))
}

fn number(value: &glib::Value) -> Option<u64> {
    let signed = value
        .get::<i32>()
        .map(i64::from)
        .or_else(|_| value.get::<i64>());
    let unsigned = value
        .get::<u32>()
        .map(u64::from)
        .or_else(|_| value.get::<u64>());
    unsigned.ok().or_else(|| u64::try_from(signed.ok()?).ok())
}

/// Sets a numeric property to what it takes of `value`; what was set.
fn set_number(element: &gst::Element, property: &str, value: u64) -> Option<u64> {
    let spec = writable(element, property)?;
    let (min, max) = range(&spec)?;
    let value = value.clamp(min, max);
    // Some begin anew for the same value too.
    if number(&element.property_value(property)) == Some(value) {
        return Some(value);
    }
    let typed = match spec.value_type() {
        glib::Type::U32 => u32::try_from(value).ok()?.to_value(),
        glib::Type::I32 => i32::try_from(value).ok()?.to_value(),
        glib::Type::U64 => value.to_value(),
        glib::Type::I64 => i64::try_from(value).ok()?.to_value(),
        _ => return None,
    };
    element.set_property_from_value(property, &typed);
    Some(value)
}

/// Sets one field of the structure that `property` has.
fn set_control(element: &gst::Element, property: &str, field: &str, value: u64) -> Option<u64> {
    let value = i32::try_from(value).unwrap_or(i32::MAX);
    writable(element, property)?;
    let controls = element.property_value(property);
    let controls = controls.get::<Option<gst::Structure>>().ok()?;
    let mut controls = controls.unwrap_or_else(|| gst::Structure::new_empty("controls"));
    if controls.get(field) != Ok(value) {
        controls.set(field, value);
        element.set_property(property, controls);
    }
    u64::try_from(value).ok()
}

/// Sets a property that this version of the encoder may not have, to a value that it may not know.
fn set_if_default(element: &gst::Element, property: &str, value: &str) {
    let Some(spec) = writable(element, property).filter(|spec| is_default(element, spec)) else {
        gst::debug!(CAT, obj = element, "{property} is left as it is");
        return;
    };
    match glib::Value::deserialize_with_pspec(value, &spec) {
        Ok(value) => element.set_property_from_value(property, &value),
        Err(error) => gst::debug!(CAT, obj = element, "{property}={value}: {error}"),
    }
}

fn is_default(element: &gst::Element, spec: &glib::ParamSpec) -> bool {
    let text = |value: &glib::Value| value.serialize().ok();
    text(&element.property_value(spec.name())) == text(spec.default_value())
}
