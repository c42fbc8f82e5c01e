// SPDX-License-Identifier: MIT
//! The subscriber, which is the session task of `moqsrc`: connection, broadcast, and the tracks of its
//! pads.

mod announcements;
mod broadcast;
mod change;
mod config;
mod external;
mod health;
mod ladder;
mod outbox;
mod pads;
mod readers;
mod return_path;
mod rewind;
mod subscription;
mod warnings;
mod watchdog;

use std::sync::Arc;

use tokio::sync::mpsc::UnboundedReceiver;
use tokio_util::sync::CancellationToken;

use self::{
    broadcast::{BroadcastFollower, Event},
    external::ExternalBroadcasts,
    pads::Pads,
    return_path::ReturnPath,
    subscription::Subscription,
    warnings::Warnings,
};
use super::{message::Control, playback};
use crate::{
    media::catalog::name,
    net::{
        endpoint::{Attachment, Endpoint, Prepared},
        error::Error,
        listen::Ask,
    },
};

pub(crate) use self::config::{AskRendition, Config};

/// Runs one session until `cancel` says that it ends, or until it fails for good.
pub(crate) async fn run(
    config: Config,
    endpoint: Prepared,
    ask: Ask,
    commands: UnboundedReceiver<Control>,
    cancel: CancellationToken,
) -> Result<(), Error> {
    let mut subscriber = Subscriber::new(config, endpoint, ask, commands).await?;
    let result = tokio::select! {
        biased;
        () = cancel.cancelled() => Ok(()),
        result = subscriber.run() => result,
    };
    // The threads of the pads end when nobody is left who could send to them.
    subscriber.pads.close().await;
    tokio::join!(subscriber.endpoint.close(), subscriber.external.close());
    result
}

struct Subscriber {
    config: Arc<Config>,
    commands: UnboundedReceiver<Control>,
    endpoint: Endpoint,
    broadcast: BroadcastFollower,
    external: ExternalBroadcasts,
    pads: Pads,
    warnings: Warnings,
    return_path: Option<ReturnPath>,
}

impl Subscriber {
    async fn new(
        config: Config,
        endpoint: Prepared,
        ask: Ask,
        commands: UnboundedReceiver<Control>,
    ) -> Result<Self, Error> {
        let config = Arc::new(config);
        let origin = config.endpoint.cache().origin();
        let name = config.endpoint.broadcast();
        let own = external::scope(&origin, [name::prefix(name).unwrap_or(name)]);
        let listens = config.return_path.clone();
        let return_path = listens.map(ReturnPath::new);
        let attachment = Attachment {
            publishes: return_path.as_ref().map(ReturnPath::consume),
            subscribes: Some(own),
        };
        let endpoint = endpoint.open(attachment, ask).await?;
        Ok(Self {
            commands,
            endpoint,
            broadcast: BroadcastFollower::new(config.clone(), &origin),
            external: ExternalBroadcasts::new(config.clone(), origin),
            pads: Pads::new(config.clone()),
            warnings: Warnings::new(config.app_queue.clone()),
            return_path,
            config,
        })
    }

    async fn run(&mut self) -> Result<(), Error> {
        loop {
            let has_pads = !self.pads.is_empty();
            tokio::select! {
                biased;
                event = self.endpoint.next() => {
                    let event = event?;
                    self.broadcast.on_connection(&event);
                    self.config.connection.apply(event, &self.config.app_queue);
                }
                never = self.external.run() => match never {},
                Some(control) = self.commands.recv() => self.on_control(control),
                event = self.broadcast.next(has_pads) => self.on_broadcast(event),
                happened = self.pads.next() => {
                    if let Some(ended) = happened {
                        let reachable = self.is_reachable();
                        let pad = self.pads.get(ended.index);
                        pad.on_end(ended, reachable, &mut self.warnings);
                    }
                }
            }
            self.pads.resume(self.broadcast.listed());
        }
    }

    /// Whether the broadcast and the way to it are there.
    fn is_reachable(&self) -> bool {
        self.broadcast.is_found() && self.config.connection.is_connected()
    }

    fn on_control(&mut self, control: Control) {
        match control {
            Control::Play(clock) => self.pads.play(clock),
            Control::Pause => self.pads.pause(),
            Control::Linked(index, wish) => self.pads.get(index).link(wish),
            Control::Unlinked(index) => self.pads.get(index).unlink(),
            Control::Wanted(index, wish) => self.pads.get(index).want(wish),
            Control::Unwanted(index, wish) => self.pads.get(index).refuse(wish),
            Control::Finished(index) => self.pads.get(index).close(),
            Control::Switched(index, number) => self.pads.get(index).on_switched(number),
            Control::SelectStreams(ids) => {
                let warnings = self.pads.select(&ids);
                self.warnings.post_all(warnings);
            }
            Control::Wish(wishes) => {
                let warnings = self.pads.wish(wishes);
                self.warnings.post_all(warnings);
            }
            Control::Keyframe(index) => {
                let track = self.pads.get(index).own_track();
                if let Some((return_path, track)) = self.return_path.as_ref().zip(track) {
                    return_path.request_keyframe(track);
                }
            }
            Control::Seek(seqnum, position) => self.pads.seek(seqnum, position),
            Control::Measure => self.pads.measure(),
            Control::Latency(latency) => self.pads.set_latency(latency),
            Control::Flowing => {
                playback::post_latency(&self.config.app_queue);
                self.pads.on_flowing();
            }
            Control::Eos(seqnum) => self.on_eos(seqnum),
            Control::Problem(index, generation, problem) => {
                let (reachable, live) = (self.is_reachable(), self.pads.is_live());
                let pad = self.pads.get(index);
                pad.on_problem(generation, &problem, reachable, live, &mut self.warnings);
            }
            Control::Event(event) => self.pads.for_each(|pad| pad.send_event(event.clone())),
        }
    }

    fn on_eos(&mut self, seqnum: gst::Seqnum) {
        self.broadcast.end();
        self.pads.close_all(seqnum);
        if self.pads.is_any_linked() {
            return;
        }
        // Nobody else could end the pipeline.
        let text = match self.pads.is_empty() {
            true => "The broadcast was not found before the stream was ended",
            false => "No pad of the broadcast was linked before the stream was ended",
        };
        self.config.app_queue.send(move |element| {
            gst::element_error!(element, gst::ResourceError::NotFound, ("{text}"));
        });
    }

    /// Whether the publisher takes requests has become known.
    fn set_listening(&mut self, listens: bool) {
        if let Some(return_path) = &mut self.return_path {
            let broadcast = self.broadcast.name();
            return_path.set_publisher(broadcast.filter(|_| listens));
        }
    }

    fn on_broadcast(&mut self, event: Event) {
        match event {
            Event::Found => {
                if let Some(name) = self.broadcast.name() {
                    let (discovery, queue) = (&self.config.discovery, &self.config.app_queue);
                    let is_choice = name != self.config.endpoint.broadcast();
                    discovery.set_active(name, is_choice, queue);
                }
                self.pads.restart();
            }
            Event::Renditions {
                entries,
                warnings,
                returns,
                ended,
            } => {
                self.set_listening(returns && !ended);
                self.warnings.post_all(warnings);
                self.external.follow(&entries);
                let warnings = self.pads.reconcile(&entries);
                self.warnings.post_all(warnings);
                if ended {
                    self.pads.record();
                }
            }
            Event::Warnings(warnings) => self.warnings.post_all(warnings),
            Event::Lost => {
                self.set_listening(false);
                self.pads.for_each(Subscription::retire);
            }
            Event::Ended => {
                self.set_listening(false);
                let served = self.broadcast.listed();
                let served = served.is_some_and(|served| !served.consumer().is_closed());
                self.pads.end(served);
            }
            Event::Missing => {
                let broadcast = self.config.endpoint.broadcast().to_owned();
                let queue = &self.config.app_queue;
                queue.post("moq-broadcast-missing", |s| s.field("broadcast", broadcast));
            }
        }
    }
}
