//! What a pad's thread is told.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use gst::ClockTime;

use crate::element::{budget::Charge, pipeline_clock::PipelineClock};

/// What a pad has to do, in this order.
pub(crate) enum Message {
    /// The element plays; times are of this clock.
    Play(PipelineClock),
    /// The element no longer plays: silence is no gap.
    Pause,
    /// The streams of the element have changed.
    Collection(Arc<Newest<gst::StreamCollection>>),
    /// The format changes, or the pad's stream begins anew after its end.
    Caps {
        caps: gst::Caps,
        revived: bool,
    },
    /// The catalog describes the track in other words.
    Tags(Arc<Newest<gst::TagList>>),
    Frame(Frame),
    /// An event of the application.
    Event(AppEvent),
    /// Text that stays is over at this time.
    Clear(ClockTime, Charge),
    /// The stream has ended; `None` takes a new seqnum.
    Eos(Option<gst::Seqnum>),
}

impl Message {
    /// Whether `earlier` says nothing any more once this one was said.
    pub(crate) fn replaces(&self, earlier: &Self) -> bool {
        let playing = |message: &Self| matches!(message, Self::Play(_) | Self::Pause);
        if let (Self::Event(event), Self::Event(earlier)) = (self, earlier) {
            return event.event.type_() == earlier.event.type_();
        }
        std::mem::discriminant(self) == std::mem::discriminant(earlier)
            || (playing(self) && playing(earlier))
    }
}

/// An event that an application sent to the element, on its way to the pads.
#[derive(Debug, Clone)]
pub(crate) struct AppEvent {
    event: gst::Event,
    /// Held as long as it waits.
    _place: Arc<()>,
}

impl AppEvent {
    /// How many copies for pads may wait at once.
    const MAX: usize = 4096;

    /// Takes in an event that shares its limit with all of the same `place`; refused when too many
    /// wait already.
    pub(crate) fn new(event: gst::Event, place: &Arc<()>) -> Option<Self> {
        (Arc::strong_count(place) <= Self::MAX).then(|| Self {
            event,
            _place: place.clone(),
        })
    }

    /// Whether a pad keeps it for whoever is linked later.
    pub(crate) fn is_sticky(&self) -> bool {
        self.event.is_sticky()
    }

    pub(crate) fn into_inner(self) -> gst::Event {
        self.event
    }
}

/// What waits once, as it is now, however often it changes while downstream blocks.
pub(crate) struct Newest<T>(Mutex<Option<T>>);

impl<T> Default for Newest<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T> Newest<T> {
    /// Takes the place of what waits; whether nothing did.
    pub(crate) fn replace(&self, value: T) -> bool {
        self.value().replace(value).is_none()
    }

    pub(crate) fn take(&self) -> Option<T> {
        self.value().take()
    }

    fn value(&self) -> MutexGuard<'_, Option<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One frame, stamped.
pub(crate) struct Frame {
    pub(crate) payload: Bytes,
    pub(crate) pts: ClockTime,
    pub(crate) dts: Option<ClockTime>,
    pub(crate) duration: Option<ClockTime>,
    pub(crate) discont: bool,
    pub(crate) delta: bool,
    /// Text that is shown until something follows it.
    pub(crate) stays: bool,
    pub(crate) charge: Charge,
}
