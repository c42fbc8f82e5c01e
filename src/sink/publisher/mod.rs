// SPDX-License-Identifier: MIT
//! The session task of a run: one connection, one broadcast, and the messages of the pads.

mod broadcast;
mod catalog;
mod delivery;
mod demand;
mod drain;
mod frame_writer;
mod published_pad;
mod rate;
mod return_path;
mod track;

use std::{sync::Arc, time::Duration};

use gst::{glib, prelude::*, subclass::prelude::*};
use moq_net::Version;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

pub(crate) use self::rate::Bitrates;
use self::{broadcast::PublishedBroadcast, drain::Drain, rate::Rates, return_path::ReturnPath};
use super::{CAT, MoqSink, bus, message::Message, rate_control::RateSettings, run::Run};
use crate::{
    element::{session_request, status::ConnectionStatus},
    net::{
        config::Cache,
        connection::Event,
        endpoint::{Attachment, Endpoint, Prepared},
        error::Error,
    },
};

/// How many messages are taken in at once, before the network gets its turn.
const MAX_BATCH: usize = 64;
/// How long subscribers have to ask for tracks after a new connection or announcement.
const SUBSCRIBE_TIMEOUT: Duration = Duration::from_millis(300);

/// What the properties of an element say to its publisher.
pub(crate) struct Settings {
    pub(crate) broadcast: String,
    pub(crate) cache: Cache,
    /// How long the end of all streams waits for the delivery of what came before.
    pub(crate) drain_timeout: Duration,
    /// How late a group of live video may be.
    pub(crate) max_age: Duration,
    pub(crate) rate: RateSettings,
    /// Whether receivers are listened to.
    pub(crate) return_path: bool,
}

/// Publishes what the pads send, for the length of a run.
pub(crate) struct Publisher {
    settings: Settings,
    /// Until the run begins.
    endpoint: Option<Prepared>,
    run: Arc<Run>,
    messages: mpsc::UnboundedReceiver<Message>,
    status: Arc<ConnectionStatus>,
    element: glib::WeakRef<gst::Element>,
    session: SessionState,
    drain: Drain,
    rates: Rates,
    return_path: Option<ReturnPath>,
}

/// The session with the relay, or those with whoever comes.
#[derive(Clone, Copy)]
enum SessionState {
    /// None was up yet, and no try has failed.
    Connecting,
    /// `cuts_off` says that closing it cuts off what was not sent, as IETF versions do.
    Up { since: Instant, cuts_off: bool },
    /// It has ended, or a try has failed.
    Lost,
    /// There are so many `peers`, the newest `since` then; `cuts_off` as above, of any.
    Serving {
        peers: usize,
        since: Instant,
        cuts_off: bool,
    },
}

impl Publisher {
    /// For `element`; `messages` are those that are sent by way of `run`.
    pub(crate) fn new(
        settings: Settings,
        endpoint: Prepared,
        run: Arc<Run>,
        messages: mpsc::UnboundedReceiver<Message>,
        status: Arc<ConnectionStatus>,
        element: &gst::Element,
    ) -> Self {
        Self {
            rates: Rates::new(settings.rate),
            settings,
            endpoint: Some(endpoint),
            run,
            messages,
            status,
            element: element.downgrade(),
            session: SessionState::Connecting,
            drain: Drain::default(),
            return_path: None,
        }
    }

    /// Publishes until `cancel` says stop, or until no other try to connect can help.
    pub(crate) async fn run(mut self, cancel: CancellationToken) -> Result<(), Error> {
        let Some(endpoint) = self.endpoint.take() else {
            return Ok(());
        };
        let ask = session_request::ask(self.run.app_queue());
        let mut broadcast =
            PublishedBroadcast::new(&self.settings, endpoint.listens(), self.run.clone());
        let mut attachment = Attachment {
            publishes: Some(broadcast.consume()),
            subscribes: None,
        };
        if self.settings.return_path
            && let Some((return_path, origin)) = ReturnPath::new(&self.settings.broadcast)
        {
            self.return_path = Some(return_path);
            attachment.subscribes = Some(origin);
            broadcast.list_return_path();
        }
        let mut endpoint = endpoint.open(attachment, ask).await?;
        broadcast.count_by(endpoint.subscriptions());
        let result = tokio::select! {
            () = cancel.cancelled() => Ok(()),
            result = self.publish(&mut endpoint, &mut broadcast) => result,
        };
        broadcast.abort();
        endpoint.close().await;
        result
    }

    async fn publish(
        &mut self,
        endpoint: &mut Endpoint,
        broadcast: &mut PublishedBroadcast,
    ) -> Result<(), Error> {
        let mut batch = Vec::with_capacity(MAX_BATCH);
        loop {
            // One reading of the clock, so that no time passes between a look and its wake-up.
            let now = Instant::now();
            broadcast.advance(now)?;
            let settled_at = self.session.settled_at(broadcast);
            let settled = settled_at.is_some_and(|at| now >= at);
            self.drain(now, settled, broadcast);
            self.control_rates(now, broadcast);
            let wake = [
                self.drain.wake(),
                settled_at,
                broadcast.wake(),
                self.rates.wake(),
            ]
            .into_iter()
            .flatten()
            .filter(|due| *due > now)
            .min();
            tokio::select! {
                event = endpoint.next() => self.connection_changed(event?, broadcast),
                count = self.messages.recv_many(&mut batch, MAX_BATCH) => {
                    if count == 0 {
                        return Ok(());
                    }
                    batch.drain(..).try_for_each(|message| match message {
                        Message::Rate(settings) => {
                            self.rates.set(settings);
                            broadcast.set_crowded_out(self.rates.crowded_out());
                            Ok(())
                        }
                        message => broadcast.apply(message),
                    })?;
                }
                () = broadcast.changed() => {}
                track = requested(self.return_path.as_mut()) => broadcast.request_keyframe(&track),
                () = wait(wake) => {}
            }
        }
    }

    /// Has the pads told of their bit rates where these have changed.
    fn control_rates(&mut self, now: Instant, broadcast: &mut PublishedBroadcast) {
        if self.rates.wake().is_none_or(|due| now < due) {
            return;
        }
        let pads = broadcast.rated_pads();
        let rates = &mut self.rates;
        let changed = self
            .status
            .with_sessions(|sessions| rates.update(now, sessions, pads));
        broadcast.set_crowded_out(self.rates.crowded_out());
        if self.rates.take_cut(now, self.settings.max_age) {
            broadcast.restart_video();
        }
        if let Some(bitrates) = changed {
            let queue = self.run.app_queue();
            queue.send_newest("bitrates".into(), move |element| {
                if let Some(sink) = element.downcast_ref::<MoqSink>() {
                    sink.imp().apply_bitrates(bitrates);
                }
            });
        }
    }

    fn connection_changed(&mut self, event: Event, broadcast: &mut PublishedBroadcast) {
        if let Some(element) = self.element.upgrade() {
            gst::debug!(CAT, obj = &element, "{event:?}");
        }
        match &event {
            Event::Connected { version, .. } => {
                if matches!(self.session, SessionState::Lost) {
                    broadcast.reconnected();
                }
                let version: Result<Version, _> = version.parse();
                self.session = SessionState::Up {
                    since: Instant::now(),
                    cuts_off: version.is_ok_and(|version| version.is_ietf()),
                };
            }
            Event::Connecting { .. }
            | Event::Goaway
            | Event::NotAdvertised { .. }
            | Event::Lost { serving: true, .. } => {}
            Event::Lost { serving: false, .. } => {
                broadcast.redeliver();
                self.session = SessionState::Lost;
            }
            Event::Listening { .. } | Event::Certificate { .. } => self.peers_changed(0, false),
            Event::SessionAdded(peer) => self.peers_changed(1, peer.version().is_ietf()),
            Event::SessionRemoved { .. } => self.peers_changed(-1, false),
        }
        self.status.apply(event, self.run.app_queue());
    }

    fn peers_changed(&mut self, by: isize, ietf: bool) {
        let now = Instant::now();
        let (peers, since, cuts_off) = match self.session {
            SessionState::Serving {
                peers,
                since,
                cuts_off,
            } => (peers, since, cuts_off),
            _ => (0, now, false),
        };
        let peers = peers.saturating_add_signed(by);
        self.session = SessionState::Serving {
            peers,
            since: if by > 0 { now } else { since },
            cuts_off: peers > 0 && (cuts_off || ietf),
        };
    }

    /// Begins, gives up, or completes the end of all streams.
    fn drain(&mut self, now: Instant, settled: bool, broadcast: &mut PublishedBroadcast) {
        if settled {
            broadcast.finish_delivered();
        }
        let Some(seqnum) = broadcast.eos() else {
            self.drain = Drain::Idle;
            return;
        };
        let delivered = settled && broadcast.is_delivered();
        let timeout = self.settings.drain_timeout;
        if self.drain.ends_broadcast(now, timeout, delivered) {
            broadcast.finish();
            let cuts_off = matches!(
                self.session,
                SessionState::Up { cuts_off: true, .. }
                    | SessionState::Serving { cuts_off: true, .. }
            );
            self.drain.linger(now, cuts_off);
        }
        if !self.drain.is_complete(now) {
            return;
        }
        self.drain = Drain::Idle;
        broadcast.forget_eos();
        let run = self.run.clone();
        self.run.app_queue().send(move |element| {
            if run.ended(seqnum) {
                bus::post_eos(element, seqnum);
            }
        });
    }
}

impl SessionState {
    /// When whoever wants tracks has asked for them, as far as one can know.
    fn settled_at(self, broadcast: &PublishedBroadcast) -> Option<Instant> {
        let since = match self {
            Self::Up { since, .. } => since,
            Self::Serving {
                peers: 0, since, ..
            } => return Some(since),
            Self::Serving { since, .. } => since,
            Self::Connecting | Self::Lost => return None,
        };
        let announced = broadcast.announced().unwrap_or(since);
        Some(since.max(announced) + SUBSCRIBE_TIMEOUT)
    }
}

/// The next request of a receiver.
async fn requested(return_path: Option<&mut ReturnPath>) -> String {
    match return_path {
        Some(return_path) => return_path.next().await,
        None => std::future::pending().await,
    }
}

async fn wait(until: Option<Instant>) {
    match until {
        Some(until) => sleep_until(until).await,
        None => std::future::pending().await,
    }
}
