// SPDX-License-Identifier: MIT
//! The readers of a pad's tracks: each a task, with a number of its own.

use std::sync::{Arc, mpsc};

use gst::glib;
use tokio::{
    task::{AbortHandle, JoinSet},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::{config::Config, external};
use crate::{
    element::{budget::Budget, runtime::contained},
    media::{control::rendition::Progress, format::codec::Kind},
    source::{
        catalog::{Broadcast, Entry},
        message::{Message, Opening, PadIndex, TrackEnd},
        playback::Playback,
        stats::Counters,
        track::{
            self, Handover, PadSender, Position, ProblemReporter, Reader, ReadingState, Tail,
            Urgency,
        },
    },
};

/// What the readers read, and by which clock.
pub(super) type ReaderSource<'a> = (&'a Broadcast, &'a Arc<Playback>);

/// What the task of a reader ends with.
pub(super) struct ReaderEnd {
    pub(super) index: PadIndex,
    pub(super) generation: u64,
    pub(super) end: TrackEnd,
}

/// What a reader is to read, and how.
pub(super) struct Order<'a> {
    pub(super) entry: &'a Entry,
    pub(super) opening: Opening,
    pub(super) urgency: Urgency,
    /// It continues another track: nothing of its beginning is left out.
    pub(super) from_start: bool,
}

/// Starts the readers of one pad.
pub(super) struct Readers {
    config: Arc<Config>,
    index: PadIndex,
    /// Name of the pad.
    name: String,
    messages: mpsc::Sender<Message>,
    budget: Arc<Budget>,
    counters: Arc<Counters>,
    /// Up to where frames were sent to the pad.
    position: Arc<Position>,
    handover: Arc<Handover>,
    /// How many there were.
    count: u64,
}

impl Readers {
    pub(super) fn new(
        config: Arc<Config>,
        index: PadIndex,
        name: String,
        messages: mpsc::Sender<Message>,
        budget: Arc<Budget>,
        counters: Arc<Counters>,
    ) -> Self {
        Self {
            config,
            index,
            name,
            messages,
            budget,
            counters,
            position: Arc::default(),
            handover: Arc::default(),
            count: 0,
        }
    }

    /// The number of the next one.
    pub(super) fn upcoming(&self) -> u64 {
        self.count + 1
    }

    /// Up to where frames were sent to the pad.
    pub(super) fn position(&self) -> &Position {
        &self.position
    }

    /// Who of them gives the frames.
    pub(super) fn handover(&self) -> &Handover {
        &self.handover
    }

    /// Starts the next one, whose task is one of `tasks`.
    pub(super) fn start(
        &mut self,
        order: Order<'_>,
        (broadcast, playback): ReaderSource<'_>,
        tasks: &mut JoinSet<ReaderEnd>,
    ) -> RunningReader {
        self.count += 1;
        let (index, config, generation) = (self.index, &self.config, self.count);
        let entry = order.entry;
        let kind = entry.rendition.kind();
        let state = Arc::new(ReadingState::new(order.urgency));
        let retired = CancellationToken::new();
        let reader = track::Config {
            name: entry.name.clone(),
            log: glib::gformat!("{}:{}", config.name, self.name),
            rendition: entry.rendition.clone(),
            frames: entry.frames.clone(),
            max_age: match kind {
                Kind::Video => config.video_max_age,
                Kind::Audio | Kind::Text | Kind::Data => config.audio_max_age,
            },
            priority: kind.priority(),
            from_start: order.from_start,
            pad: PadSender::new(
                self.messages.clone(),
                self.budget.clone(),
                self.counters.clone(),
                self.position.clone(),
            ),
            problems: ProblemReporter::new(config.control.clone(), index, generation),
            tail: Tail::of(retired.clone()),
            handover: self.handover.clone(),
            number: generation,
            opening: order.opening,
            state: state.clone(),
        };
        let reader = Reader::new(reader, playback.clone());
        let (consumer, origin) = (broadcast.consumer().clone(), broadcast.origin().clone());
        let (path, token) = (entry.external.clone(), retired.clone());
        let reading = contained(async move {
            match path {
                None => reader.run(consumer).await,
                Some(path) => external::read(reader, origin, path, token).await,
            }
        });
        let task = tasks.spawn(async move {
            ReaderEnd {
                index,
                generation,
                end: reading.await.unwrap_or(TrackEnd::Panicked),
            }
        });
        RunningReader {
            generation,
            started_at: Instant::now(),
            task,
            retired,
            state,
        }
    }
}

/// The task of a reader, which ends when this is dropped.
pub(super) struct RunningReader {
    /// Tells its end from those of the pad's earlier readers.
    generation: u64,
    started_at: Instant,
    task: AbortHandle,
    retired: CancellationToken,
    state: Arc<ReadingState>,
}

impl RunningReader {
    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    pub(super) fn started_at(&self) -> Instant {
        self.started_at
    }

    /// Only the tail of the track is still read.
    pub(super) fn retire(&self) {
        self.retired.cancel();
    }

    pub(super) fn set_urgency(&self, urgency: Urgency) {
        self.state.set_urgency(urgency);
    }

    /// See [`ReadingState::progress`].
    pub(super) fn progress(
        &self,
        epoch: Instant,
        playback: &Playback,
        least: &mut i64,
    ) -> Progress {
        self.state.progress(epoch, playback, least)
    }
}

impl Drop for RunningReader {
    fn drop(&mut self) {
        self.task.abort();
    }
}
