// SPDX-License-Identifier: MIT
//! What a subscriber is made of.

use std::{
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use gst::{ClockTime, glib};
use tokio::sync::{mpsc::UnboundedSender, oneshot};

use crate::{
    element::{app_queue::AppQueue, status::ConnectionStatus},
    media::{control::rendition::Reason, time::playout::Join},
    net::endpoint::EndpointConfig,
    source::{
        catalog::CatalogFormat,
        discovery::Discovery,
        message::Control,
        playback::LatencyAnswer,
        reach::Reach,
        selection::{RenditionPolicy, Wishes},
    },
};

/// A change to another rendition that the network suggests: the name of the pad, and those of tracks.
pub(crate) struct SuggestedChange {
    pub(crate) pad: String,
    pub(crate) current: String,
    pub(crate) proposed: String,
    pub(crate) reason: Reason,
}

/// Asks the application for the track to give, where it has something to say: nothing is the proposed one.
pub(crate) type AskRendition =
    Arc<dyn Fn(SuggestedChange) -> Option<oneshot::Receiver<Option<String>>> + Send + Sync>;

/// The element's settings for one run, and what the run shares with the element.
pub(crate) struct Config {
    /// The element's name, for the log.
    pub(crate) name: glib::GString,
    pub(crate) endpoint: EndpointConfig,
    pub(crate) catalog_format: CatalogFormat,
    pub(crate) latency: ClockTime,
    pub(crate) join: Join,
    /// How much before the live edge it begins.
    pub(crate) start_offset: ClockTime,
    /// How long a late group of video is waited for, and of any other kind.
    pub(crate) video_max_age: Duration,
    pub(crate) audio_max_age: Duration,
    /// Which renditions are given.
    pub(crate) policy: RenditionPolicy,
    pub(crate) wishes: Wishes,
    /// How long the broadcast may be gone; `None` is for ever.
    pub(crate) eos_timeout: Option<Duration>,
    /// Where a return path says whether the publisher listens; `None` without one.
    pub(crate) return_path: Option<Arc<AtomicBool>>,
    pub(crate) answer: Arc<LatencyAnswer>,
    /// What the application is told of broadcasts.
    pub(crate) discovery: Arc<Discovery>,
    pub(crate) reach: Arc<Reach>,
    pub(crate) connection: Arc<ConnectionStatus>,
    pub(crate) ask_rendition: AskRendition,
    pub(crate) app_queue: Arc<AppQueue>,
    /// Where pads and readers send to.
    pub(crate) control: UnboundedSender<Control>,
}

#[cfg(test)]
impl Config {
    /// Settings of no element, without a run.
    pub(super) fn for_test() -> Self {
        use crate::net::config::{Role, Settings};

        let mut settings = Settings::new(Role::Subscriber);
        settings.url = Some("http://127.0.0.1:9/".into());
        settings.broadcast = Some("room/camera".into());
        Self {
            name: "test".into(),
            endpoint: EndpointConfig::new(&settings).expect("the settings are complete"),
            catalog_format: CatalogFormat::default(),
            latency: ClockTime::ZERO,
            join: Join::Live,
            start_offset: ClockTime::ZERO,
            video_max_age: Duration::ZERO,
            audio_max_age: Duration::ZERO,
            policy: RenditionPolicy::All,
            wishes: Wishes::default(),
            eos_timeout: None,
            return_path: None,
            answer: Arc::default(),
            discovery: Arc::default(),
            reach: Arc::default(),
            connection: Arc::default(),
            ask_rendition: Arc::new(|_| None),
            app_queue: AppQueue::new(&gst::Bin::new().into()),
            control: tokio::sync::mpsc::unbounded_channel().0,
        }
    }
}
