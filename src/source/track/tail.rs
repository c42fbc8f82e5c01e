// SPDX-License-Identifier: MIT
//! The end of a track that the catalog no longer lists.

use std::{future::Future, time::Duration};

use tokio_util::sync::CancellationToken;

/// How long the tail of a track may be silent, and may last.
const SILENCE_TIMEOUT: Duration = Duration::from_millis(500);
const MAX_DURATION: Duration = Duration::from_secs(10);

/// The tail of a track: what is still read of it once it is retired.
#[derive(Debug, Clone)]
pub(crate) struct Tail(CancellationToken);

impl Tail {
    /// The tail that begins when `retired` is cancelled.
    pub(crate) fn of(retired: CancellationToken) -> Self {
        Self(retired)
    }

    pub(super) fn has_begun(&self) -> bool {
        self.0.is_cancelled()
    }

    pub(super) async fn begins(&self) {
        self.0.cancelled().await;
    }

    /// What `future` comes to; in the tail `None` after a while of silence.
    pub(super) async fn before_silence<T>(&self, future: impl Future<Output = T>) -> Option<T> {
        self.limit(future, SILENCE_TIMEOUT).await
    }

    /// What `future` comes to; `None` once the tail has lasted for too long.
    pub(super) async fn before_over<T>(&self, future: impl Future<Output = T>) -> Option<T> {
        self.limit(future, MAX_DURATION).await
    }

    async fn limit<T>(&self, future: impl Future<Output = T>, timeout: Duration) -> Option<T> {
        let over = async {
            self.begins().await;
            tokio::time::sleep(timeout).await;
        };
        tokio::select! {
            biased;
            result = future => Some(result),
            () = over => None,
        }
    }
}
