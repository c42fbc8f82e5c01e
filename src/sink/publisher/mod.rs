//! The session task: one connection, one publication, and the messages of the pads.

pub(crate) mod broadcast;
pub(crate) mod frame_writer;
pub(crate) mod published_pad;
pub(crate) mod track;

use std::{sync::Arc, time::Duration};

use gst::{glib, prelude::*};
use moq_net::Version;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use self::broadcast::Publication;
use super::{CAT, message::Message, run::Run};
use crate::{
    element::status::ConnectionStatus,
    net::{
        config::Target,
        connection::{Event, RelayConnection},
        error::Error,
    },
};

/// How many messages are taken in at once, before the network gets its turn.
const BATCH: usize = 64;
/// How long viewers have to ask for tracks after a new connection or announcement.
const SETTLE: Duration = Duration::from_millis(300);
/// How long the end of the broadcast has to leave where closing a session cuts off what was not sent.
const PARTING: Duration = Duration::from_millis(300);

/// Everything that a session needs, handed over at its start.
pub(crate) struct Session {
    pub(crate) target: Target,
    pub(crate) drain_timeout: Duration,
    pub(crate) max_age: Duration,
    pub(crate) run: Arc<Run>,
    pub(crate) connection: Arc<ConnectionStatus>,
    pub(crate) messages: mpsc::UnboundedReceiver<Message>,
    pub(crate) element: glib::WeakRef<gst::Element>,
}

/// Publishes until `cancel` says stop, or until nothing can mend it.
pub(crate) async fn run(mut session: Session, cancel: CancellationToken) -> Result<(), Error> {
    let cache = session.target.cache;
    let origin = cache.origin();
    let consumer = origin.consume();
    let mut connection = RelayConnection::new(session.target.clone(), move |client| {
        client.with_publisher(consumer.clone())
    })?;
    let name = session.target.broadcast.clone();
    let mut publication =
        Publication::new(name, origin, cache, session.max_age, session.run.clone());
    let result = tokio::select! {
        () = cancel.cancelled() => Ok(()),
        result = session.drive(&mut connection, &mut publication) => result,
    };
    publication.withdraw();
    connection.close().await;
    result
}

impl Session {
    async fn drive(
        &mut self,
        connection: &mut RelayConnection,
        publication: &mut Publication,
    ) -> Result<(), Error> {
        let mut batch = Vec::with_capacity(BATCH);
        let mut drain = Drain::default();
        let mut connected: Option<Instant> = None;
        let mut lost = false;
        loop {
            // One reading of the clock, so that no time passes between a look and its wake-up.
            let now = Instant::now();
            publication.announce(now)?;
            publication.list_described(now)?;
            self.drain(now, &mut drain, connected, publication);
            let settled = settling(connected, publication);
            let described = publication.description_due();
            let wake = [drain.wake(), settled, publication.deadline(), described]
                .into_iter()
                .flatten()
                .filter(|due| *due > now)
                .min();
            tokio::select! {
                event = connection.next() => {
                    let event = event?;
                    self.log(&event);
                    self.connection.apply(&event, self.run.app_queue());
                    connected = match event {
                        Event::Connected { version, .. } => {
                            let version: Result<Version, _> = version.parse();
                            drain.abrupt = version.is_ok_and(|version| version.is_ietf());
                            if std::mem::take(&mut lost) {
                                publication.reconnected();
                            }
                            Some(Instant::now())
                        }
                        Event::Connecting { .. } | Event::Leaving => connected,
                        Event::Lost { serving: true, .. } => connected,
                        Event::Lost { .. } => {
                            publication.redeliver();
                            lost = true;
                            None
                        }
                    };
                }
                count = self.messages.recv_many(&mut batch, BATCH) => {
                    if count == 0 {
                        return Ok(());
                    }
                    for message in batch.drain(..) {
                        publication.apply(message)?;
                    }
                }
                () = publication.delivery() => {}
                () = wait(wake) => {}
            }
        }
    }

    /// Begins, gives up, or completes the end of all streams.
    fn drain(
        &self,
        now: Instant,
        drain: &mut Drain,
        connected: Option<Instant>,
        publication: &mut Publication,
    ) {
        let settled = settling(connected, publication).is_some_and(|due| now >= due);
        if settled {
            publication.settle();
        }
        let Some(seqnum) = publication.ended() else {
            drain.reset();
            return;
        };
        let due = *drain.deadline.get_or_insert(now + self.drain_timeout);
        if drain.parting.is_none() {
            if now < due && !(settled && publication.is_delivered()) {
                return;
            }
            publication.finish();
        }
        let lingers = drain.abrupt && connected.is_some();
        let leave = if lingers { due.min(now + PARTING) } else { now };
        if now < *drain.parting.get_or_insert(leave) {
            return;
        }
        publication.told();
        drain.reset();
        let run = self.run.clone();
        self.run.app_queue().send(move |element| {
            if run.ended(seqnum) {
                post_eos(element, seqnum);
            }
        });
    }

    fn log(&self, event: &Event) {
        if let Some(element) = self.element.upgrade() {
            gst::debug!(CAT, obj = &element, "{event:?}");
        }
    }
}

/// The end of all streams, while it takes time.
#[derive(Default)]
struct Drain {
    /// Until when all has to be delivered.
    deadline: Option<Instant>,
    /// The broadcast was ended, and EOS is told then.
    parting: Option<Instant>,
    /// Closing the session cuts off what was not sent, as IETF versions do.
    abrupt: bool,
}

impl Drain {
    fn wake(&self) -> Option<Instant> {
        self.parting.or(self.deadline)
    }

    fn reset(&mut self) {
        self.deadline = None;
        self.parting = None;
    }
}

/// Posts the EOS message of the element.
pub(crate) fn post_eos(element: &gst::Element, seqnum: gst::Seqnum) {
    gst::info!(CAT, obj = element, "All streams have ended");
    let message = gst::message::Eos::builder()
        .src(element)
        .seqnum(seqnum)
        .build();
    // Refused only without a bus: then nobody asks.
    let _ = element.post_message(message);
}

/// When whoever wants tracks has asked for them, as far as one can know.
fn settling(connected: Option<Instant>, publication: &Publication) -> Option<Instant> {
    let announced = publication.announced();
    Some(connected?.max(announced.or(connected)?) + SETTLE)
}

async fn wait(until: Option<Instant>) {
    match until {
        Some(until) => sleep_until(until).await,
        None => std::future::pending().await,
    }
}
