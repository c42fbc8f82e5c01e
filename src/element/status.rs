// SPDX-License-Identifier: MIT
//! What the user can see of the connection: properties, progress and element messages.

use std::sync::{Arc, Mutex, MutexGuard};

use gst::{glib, prelude::*};

use super::{app_queue::AppQueue, bus, sync::lock};
use crate::net::{connection::Event, endpoint::EndpointConfig, error::Error, stats::Sessions};

/// State of the connection to the relay.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, glib::Enum)]
#[repr(u32)]
#[enum_type(name = "GstMoqStatus")]
pub enum Status {
    /// No connection, and none is being tried.
    #[default]
    #[enum_value(name = "Not connected", nick = "disconnected")]
    Disconnected,
    /// A connection is being tried, or the next try is waited for.
    #[enum_value(
        name = "Connecting, or waiting for the next attempt",
        nick = "connecting"
    )]
    Connecting,
    /// The session with the relay is up.
    #[enum_value(name = "Connected", nick = "connected")]
    Connected,
    /// The port is open, and nobody has come.
    #[enum_value(name = "Listening, without a session", nick = "listening")]
    Listening,
}

/// The state behind the properties `status`, `connected` and `moq-version`.
#[derive(Debug, Default)]
pub(crate) struct ConnectionStatus(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    status: Status,
    version: Option<String>,
    /// Of the certificate that is served.
    fingerprint: Option<String>,
    sessions: Sessions,
    /// A PROGRESS START was posted and not yet ended.
    in_progress: bool,
}

/// The code of the PROGRESS messages.
const PROGRESS: &str = "connect";

impl ConnectionStatus {
    pub(crate) fn status(&self) -> Status {
        self.state().status
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.status() == Status::Connected
    }

    /// The negotiated MoQ version of the live session.
    pub(crate) fn version(&self) -> Option<String> {
        self.state().version.clone()
    }

    /// The fingerprint of the certificate that is served.
    pub(crate) fn fingerprint(&self) -> Option<String> {
        self.state().fingerprint.clone()
    }

    /// How many sessions there are.
    pub(crate) fn sessions(&self) -> u32 {
        u32::try_from(self.state().sessions.count()).unwrap_or(u32::MAX)
    }

    /// What the property `stats` says.
    pub(crate) fn stats(&self) -> gst::Structure {
        self.state().sessions.structure()
    }

    /// Does `work` with the sessions that are up.
    pub(crate) fn with_sessions<T>(&self, work: impl FnOnce(&Sessions) -> T) -> T {
        work(&self.state().sessions)
    }

    /// A rate of the live session in bits per second, or 0 while it is unknown.
    pub(crate) fn rate(&self, field: &str) -> u64 {
        self.state()
            .sessions
            .structure()
            .get(field)
            .unwrap_or_default()
    }

    /// Takes in a change of the connection and has the application notified of it.
    pub(crate) fn apply(self: &Arc<Self>, event: Event, queue: &Arc<AppQueue>) {
        match event {
            Event::Connecting { first, serving } => {
                if first {
                    self.begin(queue);
                }
                if !serving {
                    self.set(Status::Connecting, None, queue);
                }
            }
            Event::Goaway => queue.post("moq-goaway", |s| {
                s.field("reason", "the relay asks to connect anew")
            }),
            Event::Connected { version, monitor } => {
                self.state().sessions.begin(monitor);
                self.set(Status::Connected, Some(version.clone()), queue);
                self.end(queue, gst::ProgressType::Complete, "Connected");
                queue.post("moq-connected", move |s| s.field("version", version));
            }
            Event::Lost {
                cause,
                reason,
                retry,
                serving,
            } => {
                if !serving {
                    self.state().sessions.end();
                    self.set(Status::Connecting, None, queue);
                    let text = format!("{reason}; the next try is in {} ms", retry.as_millis());
                    self.end(queue, gst::ProgressType::Error, &text);
                }
                let cause = cause.nick();
                let retry = retry.as_millis() as u64;
                queue.post("moq-disconnected", move |s| {
                    let s = s.field("cause", cause).field("reason", reason);
                    s.field("retry-in-ms", retry).field("serving", serving)
                });
            }
            event => self.apply_peers(event, queue),
        }
    }

    /// The same where peers come to us.
    fn apply_peers(self: &Arc<Self>, event: Event, queue: &Arc<AppQueue>) {
        match event {
            Event::Listening {
                address,
                fingerprint,
            } => {
                self.set_fingerprint(&fingerprint, queue);
                self.set(Status::Listening, None, queue);
                queue.post("moq-listening", move |s| {
                    let s = s.field("address", address.ip().to_string());
                    s.field("port", u32::from(address.port()))
                        .field("certificate-fingerprint", fingerprint)
                });
            }
            Event::Certificate { fingerprint } => self.set_fingerprint(&fingerprint, queue),
            Event::NotAdvertised { reason } => queue.send(move |element| {
                gst::element_warning!(
                    element,
                    gst::ResourceError::Failed,
                    ("The broadcast is not advertised on the local network: {reason}")
                );
            }),
            Event::SessionAdded(peer) => {
                let version = peer.version().to_string();
                let message = peer.describe(gst::Structure::builder("moq-session-added"));
                self.state().sessions.add(*peer);
                self.set(Status::Connected, Some(version), queue);
                self.post_session(message.build(), queue);
            }
            Event::SessionRemoved { id, reason } => {
                let removed = self.state().sessions.remove(id);
                // That of the newest which is left.
                let version = self.state().sessions.version();
                let status = match version {
                    Some(_) => Status::Connected,
                    None => Status::Listening,
                };
                self.set(status, version, queue);
                if let Some(peer) = removed {
                    let message = peer.describe(gst::Structure::builder("moq-session-removed"));
                    let message = message.field("reason", reason.to_string());
                    self.post_session(message.build(), queue);
                }
            }
            // Those of a relay.
            Event::Connecting { .. }
            | Event::Connected { .. }
            | Event::Goaway
            | Event::Lost { .. } => {}
        }
    }

    fn post_session(&self, message: gst::Structure, queue: &Arc<AppQueue>) {
        // Peers that come and go by the thousand must not fill the queue of a handler that blocks.
        queue.offer(move |element| {
            element.notify("sessions");
            bus::post(
                element,
                gst::message::Element::builder(message).src(element).build(),
            );
        });
    }

    fn set_fingerprint(&self, fingerprint: &str, queue: &Arc<AppQueue>) {
        self.state().fingerprint = Some(fingerprint.to_owned());
        queue.send(|element| element.notify("certificate-fingerprint"));
    }

    /// The run has failed: no try will follow. The one place that reports a session's error.
    pub(crate) fn fail(
        self: &Arc<Self>,
        error: Error,
        config: EndpointConfig,
        queue: &Arc<AppQueue>,
    ) {
        self.state().sessions.end();
        let reason = config.redact(&error.to_string());
        self.end(queue, gst::ProgressType::Error, &reason);
        self.set(Status::Disconnected, None, queue);
        queue.send(move |element| error.post(element, |text| config.redact(text)));
    }

    /// The run has ended on purpose; called from the state change, which notifies by itself.
    pub(crate) fn reset(&self, element: &gst::Element) {
        let mut state = self.state();
        let in_progress = std::mem::take(&mut state.in_progress);
        let changed = std::mem::take(&mut state.status) != Status::Disconnected;
        state.version = None;
        state.fingerprint = None;
        let sessions = std::mem::take(&mut state.sessions);
        drop(state);
        drop(sessions);
        if in_progress {
            bus::post_progress(element, gst::ProgressType::Canceled, PROGRESS, "Stopped");
        }
        if changed {
            notify(element);
        }
    }

    fn begin(self: &Arc<Self>, queue: &Arc<AppQueue>) {
        let this = self.clone();
        // Noted where it is posted: what a stop drops was not begun.
        queue.send(move |element| {
            this.state().in_progress = true;
            bus::post_progress(element, gst::ProgressType::Start, PROGRESS, "Connecting");
        });
    }

    fn end(self: &Arc<Self>, queue: &Arc<AppQueue>, kind: gst::ProgressType, text: &str) {
        let (this, text) = (self.clone(), text.to_owned());
        queue.send(move |element| {
            if std::mem::take(&mut this.state().in_progress) {
                bus::post_progress(element, kind, PROGRESS, &text);
            }
        });
    }

    fn set(&self, status: Status, version: Option<String>, queue: &Arc<AppQueue>) {
        let mut state = self.state();
        let changed = state.status != status || state.version != version;
        state.status = status;
        state.version = version;
        drop(state);
        if changed {
            queue.send(notify);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.0)
    }
}

fn notify(element: &gst::Element) {
    for property in ["status", "connected", "moq-version"] {
        element.notify(property);
    }
}
