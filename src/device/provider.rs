// SPDX-License-Identifier: MIT
//! The provider: it looks for senders while it is started, on a thread of its own.

use std::{
    collections::HashMap,
    sync::{
        Arc, LazyLock, Mutex,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread::{self, ThreadId},
    time::{Duration, Instant},
};

use gst::{glib, prelude::*, subclass::prelude::*};

use super::{CAT, MoqDevice};
use crate::{
    element::{runtime::STOP_TIMEOUT, sync::lock},
    net::mdns::{Browser, Change, Stopper},
};

/// How long a probe waits for answers, and a start for those of the senders that are there already: programs ask
/// for the list right after it. An answer may take 120 ms, and is left out if another one like it was given within
/// the last second; the question is asked again after a second (RFC 6762).
const PROBE_TIME: Duration = Duration::from_millis(1300);

/// See [`super::MoqDeviceProvider`].
#[derive(Default)]
pub struct MoqDeviceProvider(Mutex<Option<Watch>>);

#[glib::object_subclass]
impl ObjectSubclass for MoqDeviceProvider {
    const NAME: &'static str = "GstMoqDeviceProvider";
    type Type = super::MoqDeviceProvider;
    type ParentType = gst::DeviceProvider;
}

impl ObjectImpl for MoqDeviceProvider {}
impl GstObjectImpl for MoqDeviceProvider {}

impl DeviceProviderImpl for MoqDeviceProvider {
    fn metadata() -> Option<&'static gst::subclass::DeviceProviderMetadata> {
        static METADATA: LazyLock<gst::subclass::DeviceProviderMetadata> = LazyLock::new(|| {
            gst::subclass::DeviceProviderMetadata::new(
                "MoQ device provider",
                "Source/Network",
                "Lists the MoQ (Media over QUIC) senders on the local network",
                "the gst-plugin-moq authors",
            )
        });
        Some(&METADATA)
    }

    fn probe(&self) -> Vec<gst::Device> {
        let deadline = Instant::now() + PROBE_TIME;
        let mut browser = match Browser::new() {
            Ok(browser) => browser,
            Err(err) => {
                gst::warning!(CAT, imp = self, "Senders cannot be looked for: {err}");
                return Vec::new();
            }
        };
        let mut devices = HashMap::new();
        while let Some(change) = browser.next(Some(deadline)) {
            match change {
                Change::Found(sender) => {
                    devices.insert(sender.id().to_owned(), MoqDevice::new(sender));
                }
                Change::Lost(id) => drop(devices.remove(&id)),
            }
        }
        devices.into_values().map(Cast::upcast).collect()
    }

    fn start(&self) -> Result<(), gst::LoggableError> {
        let watch = Watch::new(&self.obj());
        let watch = watch.map_err(|err| {
            gst::loggable_error!(CAT, "Senders on the network cannot be looked for: {err}")
        })?;
        // Nothing is sent: it returns early only if the thread ends.
        let _ = watch.ended.recv_timeout(PROBE_TIME);
        *lock(&self.0) = Some(watch);
        Ok(())
    }

    fn stop(&self) {
        let watch = lock(&self.0).take();
        if let Some(watch) = watch {
            watch.stop();
        }
    }
}

/// A search that goes on until this is dropped.
struct Watch {
    stopper: Stopper,
    stopped: Arc<AtomicBool>,
    thread: ThreadId,
    ended: mpsc::Receiver<()>,
}

impl Watch {
    fn new(provider: &super::MoqDeviceProvider) -> Result<Self, Box<dyn std::error::Error>> {
        let mut browser = Browser::new()?;
        let stopper = browser.stopper();
        let stopped = Arc::new(AtomicBool::new(false));
        let (alive, ended) = mpsc::channel::<()>();
        let (provider, until) = (provider.downgrade(), stopped.clone());
        let thread = thread::Builder::new().name("moqdevices".to_owned());
        let thread = thread.spawn(move || {
            let _alive = alive;
            let mut devices = HashMap::new();
            while let Some(change) = browser.next(None) {
                let Some(provider) = provider.upgrade() else {
                    return;
                };
                apply(&provider, &mut devices, change, &until);
            }
        })?;
        Ok(Self {
            stopper,
            stopped,
            thread: thread.thread().id(),
            ended,
        })
    }

    /// Ends it, and waits until nothing is listed any more; bounded, as a handler of the application may block.
    fn stop(self) {
        self.stopped.store(true, Ordering::SeqCst);
        self.stopper.stop();
        if thread::current().id() != self.thread {
            // Nothing is ever sent: the channel closes when the thread ends.
            let _ = self.ended.recv_timeout(STOP_TIMEOUT);
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::SeqCst);
        self.stopper.stop();
    }
}

/// Lists what has changed, unless it was stopped.
fn apply(
    provider: &super::MoqDeviceProvider,
    devices: &mut HashMap<String, MoqDevice>,
    change: Change,
    stopped: &AtomicBool,
) {
    let (id, sender) = match change {
        Change::Found(sender) => (sender.id().to_owned(), Some(sender)),
        Change::Lost(id) => (id, None),
    };
    if stopped.load(Ordering::SeqCst) {
        return;
    }
    if let Some(device) = devices.remove(&id) {
        provider.device_remove(&device);
    }
    if let Some(sender) = sender {
        gst::debug!(CAT, obj = provider, "Found {sender:?}");
        let device = MoqDevice::new(sender);
        provider.device_add(&device);
        if stopped.load(Ordering::SeqCst) {
            // The stop has taken all others from the list.
            provider.device_remove(&device);
            return;
        }
        devices.insert(id, device);
    }
}
