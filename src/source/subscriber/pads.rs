// SPDX-License-Identifier: MIT
//! The subscriber's pads: one for each rendition, with a reader while it is wanted.

use std::sync::Arc;

use gst::{ClockTime, prelude::*};
use tokio::task::JoinSet;

use super::{
    broadcast::at,
    config::Config,
    subscription::{ReaderEnd, Subscription},
};
use crate::{
    element::{app_queue::AppQueue, bus, pipeline_clock::PipelineClock},
    media::{
        catalog::reconcile::{self, Step},
        format::codec::Kind,
    },
    source::{
        MoqSrcPad,
        catalog::{Broadcast, Entry},
        message::PadIndex,
        pad::{self, stop_all, template_name},
        playback::{self, Playback},
    },
};

/// All pads of a run, in the order in which they came.
pub(super) struct Pads {
    config: Arc<Config>,
    list: Vec<Subscription>,
    readers: JoinSet<ReaderEnd>,
    /// While the element plays.
    playback: Option<Arc<Playback>>,
    latency: ClockTime,
    /// The last stream collection; none before the first catalog.
    streams: Option<Vec<gst::Stream>>,
    /// How many pads of each kind there are.
    counts: [usize; Kind::ALL.len()],
    group: gst::GroupId,
}

impl Pads {
    pub(super) fn new(config: Arc<Config>) -> Self {
        Self {
            latency: config.latency,
            config,
            list: Vec::new(),
            readers: JoinSet::new(),
            playback: None,
            streams: None,
            counts: [0; Kind::ALL.len()],
            group: gst::GroupId::next(),
        }
    }

    /// Ends the readers, and the threads of the pads when these have taken what was sent.
    pub(super) async fn close(mut self) {
        self.readers.shutdown().await;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub(super) fn is_any_linked(&self) -> bool {
        self.list.iter().any(Subscription::is_linked)
    }

    pub(super) fn for_each(&mut self, action: impl FnMut(&mut Subscription)) {
        self.list.iter_mut().for_each(action);
    }

    pub(super) fn get(&mut self, index: PadIndex) -> &mut Subscription {
        &mut self.list[index]
    }

    /// The end of a reader; none when a track is to be read again, or a reader was given up. Cancel safe.
    pub(super) async fn next(&mut self) -> Option<ReaderEnd> {
        let retry_at = self.list.iter().filter_map(Subscription::retry_at).min();
        tokio::select! {
            biased;
            Some(ended) = self.readers.join_next() => ended.ok(),
            () = at(retry_at) => None,
        }
    }

    pub(super) fn play(&mut self, clock: PipelineClock) {
        self.playback = Some(Playback::new(
            clock.clone(),
            self.latency,
            self.config.join,
            self.config.answer.clone(),
            self.config.app_queue.clone(),
        ));
        self.for_each(|pad| pad.play(clock.clone()));
    }

    pub(super) fn pause(&mut self) {
        self.playback = None;
        self.for_each(Subscription::pause);
    }

    pub(super) fn set_latency(&mut self, latency: ClockTime) {
        self.latency = latency;
        match &self.playback {
            Some(playback) => playback.update(|timeline| timeline.set_latency(latency)),
            None if self.config.answer.set(latency) => {
                playback::post_latency(&self.config.app_queue);
            }
            None => {}
        }
    }

    /// Another broadcast has come, which may have other timestamps, and other tracks of the same names.
    pub(super) fn restart(&mut self) {
        self.for_each(Subscription::restart);
        if let Some(playback) = &self.playback {
            playback.update(|timeline| timeline.restart());
        }
    }

    /// Whether the element plays at the live edge.
    pub(super) fn is_live(&self) -> bool {
        let playback = self.playback.as_ref();
        playback.is_some_and(|playback| playback.timeline().is_live(playback.clock.running_time()))
    }

    /// Reads each track of `broadcast` that is wanted, and no other.
    pub(super) fn resume(&mut self, broadcast: Option<&Broadcast>) {
        let source = broadcast.zip(self.playback.as_ref());
        for pad in &mut self.list {
            pad.resume(source, &mut self.readers);
        }
    }

    /// Brings the pads in line with the catalog.
    pub(super) fn reconcile(&mut self, entries: &[Entry]) {
        let listed = self.list.iter().map(Subscription::listed_entry);
        let active: Vec<Entry> = listed.cloned().collect();
        let mut added = Vec::new();
        for step in reconcile::plan(&active, entries) {
            match step {
                Step::Take { active, desired } => {
                    self.list[active].update(entries[desired].clone());
                }
                Step::Add { desired } => added.push(self.add(entries[desired].clone())),
                Step::End { active } => self.list[active].delist(),
            }
        }
        let listed = self.list.iter().filter_map(Subscription::listed_stream);
        let streams: Vec<gst::Stream> = listed.cloned().collect();
        if self.streams.as_ref() == Some(&streams) {
            return;
        }
        let collection = gst::StreamCollection::builder(None)
            .streams(streams.iter().cloned())
            .build();
        let first = self.streams.replace(streams).is_none();
        let known = self.list.len() - added.len();
        for pad in &mut self.list[..known] {
            pad.send_collection(collection.clone());
        }
        let queue = self.config.app_queue.clone();
        self.config
            .app_queue
            .send(move |element| expose(element, added, &collection, first, &queue));
    }

    /// Makes the subscriber's side of a new pad, and what its other side is made of.
    fn add(&mut self, entry: Entry) -> pad::Config {
        let kind = entry.rendition.kind();
        let count = &mut self.counts[kind as usize];
        let name = format!("{}_{count}", kind.name());
        *count += 1;
        let endpoint = &self.config.endpoint;
        let id = format!("{}/{}/{name}", endpoint.address(), endpoint.broadcast());
        let flags = match kind.is_sparse() {
            true => gst::StreamFlags::SPARSE,
            false => gst::StreamFlags::empty(),
        };
        let stream = gst::Stream::new(Some(&id), Some(&entry.caps), stream_type(kind), flags);
        stream.set_tags(Some(&entry.tags));
        let (config, index) = (self.config.clone(), self.list.len());
        let (mut subscription, pad) =
            Subscription::new(config, index, name, entry, stream, self.group);
        if let Some(playback) = &self.playback {
            subscription.play(playback.clock.clone());
        }
        self.list.push(subscription);
        pad
    }
}

fn stream_type(kind: Kind) -> gst::StreamType {
    match kind {
        Kind::Video => gst::StreamType::VIDEO,
        Kind::Audio => gst::StreamType::AUDIO,
        Kind::Text => gst::StreamType::TEXT,
        Kind::Data => gst::StreamType::UNKNOWN,
    }
}

/// Adds the pads of new renditions to the element, and announces all its streams; called by the queue
/// of the run, which may have ended.
fn expose(
    element: &gst::Element,
    added: Vec<pad::Config>,
    collection: &gst::StreamCollection,
    first: bool,
    queue: &AppQueue,
) {
    for config in added {
        let template = template_name(config.kind);
        let Some(template) = element.pad_template(&template) else {
            continue;
        };
        let pad = MoqSrcPad::new(&template, config, collection);
        if queue.is_closed() || element.add_pad(&pad).is_err() {
            continue;
        }
        // The run may have ended while the pad was added: it goes with its run, if it has not yet.
        if queue.is_closed() {
            stop_all(std::slice::from_ref(&pad));
            if pad.parent_element().as_ref() == Some(element) {
                let _ = element.remove_pad(&pad);
            }
        }
    }
    if queue.is_closed() {
        return;
    }
    let message = gst::message::StreamCollection::builder(collection).src(element);
    bus::post(element, message.build());
    if first {
        element.no_more_pads();
    }
}
