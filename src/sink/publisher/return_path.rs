// SPDX-License-Identifier: MIT
//! What receivers ask for, who publish it beneath the broadcast's name.

use std::{collections::HashMap, time::Duration};

use moq_net::{PathOwned, Pattern, Patterns, group, origin, track};
use tokio::{
    sync::mpsc,
    task::{AbortHandle, JoinSet},
    time::{Instant, sleep, timeout},
};

use crate::{
    media::catalog::return_path::{MAX_REQUEST_BYTES, Request, TRACK, prefix},
    net::{backoff::Backoff, config::Cache},
};

/// So many receivers are listened to.
const MAX_PEERS: usize = 256;
/// How often one of them may ask.
const REQUEST_INTERVAL: Duration = Duration::from_millis(100);
/// How long a request may take from its first byte to its last.
const READ_TIMEOUT: Duration = Duration::from_secs(1);
/// The pauses after a receiver that cannot be read.
const MIN_RETRY_INTERVAL: Duration = Duration::from_millis(100);
const MAX_RETRY_INTERVAL: Duration = Duration::from_secs(10);
/// Requests that wait; what comes on top is left out.
const MAX_WAITING: usize = 64;
/// Above all media: it is little.
const PRIORITY: u8 = 200;

/// Listens to the receivers of a broadcast.
pub(super) struct ReturnPath {
    origin: origin::Consumer,
    announced: moq_net::announce::Consumer,
    /// Those that are listened to, until they go.
    peers: HashMap<PathOwned, AbortHandle>,
    tasks: JoinSet<()>,
    sender: mpsc::Sender<String>,
    requests: mpsc::Receiver<String>,
}

impl ReturnPath {
    /// For the receivers of `broadcast`, and where sessions put what these publish; none if the name is
    /// no pattern. Needs the runtime's context.
    pub(super) fn new(broadcast: &str) -> Option<(Self, origin::Producer)> {
        let beneath: Patterns = [Pattern::subtree(&prefix(broadcast))]
            .into_iter()
            .collect::<Result<_, _>>()
            .ok()?;
        let origin = Cache::REQUESTS.origin().scope("", &beneath).ok()?;
        let (sender, requests) = mpsc::channel(MAX_WAITING);
        let consumer = origin.consume().with_hidden(true);
        let path = Self {
            announced: consumer.announced(),
            origin: consumer,
            peers: HashMap::new(),
            tasks: JoinSet::new(),
            sender,
            requests,
        };
        Some((path, origin))
    }

    /// The name of the next track of which somebody wants a keyframe. Cancel safe.
    pub(super) async fn next(&mut self) -> String {
        loop {
            tokio::select! {
                Some(track) = self.requests.recv() => return track,
                Some(update) = self.announced.next() => self.follow(update),
                Some(_) = self.tasks.join_next() => {}
            }
        }
    }

    fn follow(&mut self, update: moq_net::announce::Update) {
        if !update.kind.is_active() {
            if let Some(task) = self.peers.remove(&update.prefix) {
                task.abort();
            }
            return;
        }
        if self.peers.contains_key(&update.prefix) || self.peers.len() >= MAX_PEERS {
            return;
        }
        let (origin, path) = (self.origin.clone(), update.prefix.clone());
        let sender = self.sender.clone();
        let task = self.tasks.spawn(async move {
            let mut backoff = Backoff::new(MIN_RETRY_INTERVAL, MAX_RETRY_INTERVAL);
            loop {
                let begun = Instant::now();
                // Whatever is wrong with one receiver is no trouble of the stream.
                let _ = listen(&origin, &path, &sender).await;
                backoff.reset_if_lasted(begun.elapsed());
                sleep(backoff.next_pause()).await;
            }
        });
        self.peers.insert(update.prefix, task);
    }
}

/// Takes the requests of one receiver.
async fn listen(
    origin: &origin::Consumer,
    path: &PathOwned,
    sender: &mpsc::Sender<String>,
) -> Result<(), moq_net::Error> {
    let broadcast = origin.request_broadcast(path).await?;
    // The newest one alone: what was asked for before is asked for by it, too.
    let subscription = track::Subscription::default().with_priority(PRIORITY);
    let subscriber = broadcast.track(TRACK)?.subscribe(subscription).await?;
    let mut groups = subscriber.ordered();
    while let Some(group) = groups.next_group().await? {
        if let Ok(Some(request)) = timeout(READ_TIMEOUT, read(group)).await {
            // Too many wait: one more would say nothing new.
            let _ = sender.try_send(request.keyframe);
        }
        sleep(REQUEST_INTERVAL).await;
    }
    Ok(())
}

async fn read(mut group: group::Consumer) -> Option<Request> {
    let mut frame = group.next_frame().await.ok()??;
    if frame.size > MAX_REQUEST_BYTES as u64 {
        return None;
    }
    Request::from_json(&frame.read_all().await.ok()?)
}
