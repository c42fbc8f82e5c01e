//! The one Tokio runtime of the process, and the bounded life of a session task on it.

use std::{
    future::Future,
    sync::{LazyLock, mpsc},
    time::Duration,
};

use tokio::{
    runtime::{Builder, Handle, Runtime},
    task::AbortHandle,
};
use tokio_util::sync::CancellationToken;

use super::error::Error;

/// How long a state change waits for a session task to end, on a dead network too.
pub(crate) const STOP_BOUND: Duration = Duration::from_secs(1);

/// One worker: a QUIC connection is driven by one task, so a second worker only adds wake-ups
/// between threads; media is pushed from the pads' own threads.
const WORKERS: usize = 1;

/// Made when the first element runs; `Err` says why the system refused it.
static RUNTIME: LazyLock<std::io::Result<Runtime>> = LazyLock::new(|| {
    Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .thread_name("moq")
        .enable_all()
        .build()
});

/// A running session task; dropping it ends the task without waiting.
pub(crate) struct Task {
    cancel: CancellationToken,
    abort: AbortHandle,
    ended: mpsc::Receiver<()>,
    runtime: Handle,
}

impl Task {
    /// Starts the future that `session` makes; its token tells it to end.
    pub(crate) fn spawn<F>(session: impl FnOnce(CancellationToken) -> F) -> Result<Self, Error>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let runtime = RUNTIME
            .as_ref()
            .map_err(|err| Error::Internal(err.to_string()))?
            .handle()
            .clone();
        let cancel = CancellationToken::new();
        let (alive, ended) = mpsc::channel();
        let future = session(cancel.clone());
        let task = runtime.spawn(async move {
            let _alive: mpsc::Sender<()> = alive;
            future.await;
        });
        Ok(Self {
            cancel,
            abort: task.abort_handle(),
            ended,
            runtime,
        })
    }

    /// Asks the task to end and waits for it, at most [`STOP_BOUND`]; then it is aborted.
    pub(crate) fn stop(self) {
        self.cancel.cancel();
        let on_runtime = Handle::try_current().is_ok_and(|here| here.id() == self.runtime.id());
        // Nothing is ever sent: the channel closes when the task is gone.
        if !on_runtime
            && self.ended.recv_timeout(STOP_BOUND) == Err(mpsc::RecvTimeoutError::Timeout)
        {
            self.abort.abort();
        }
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn stopping_waits_for_the_task_to_clean_up() {
        let (tx, rx) = mpsc::channel();
        let task = Task::spawn(|cancel| async move {
            cancel.cancelled().await;
            tx.send(()).expect("the test listens");
        })
        .expect("a runtime");
        task.stop();
        rx.try_recv().expect("the task ended before stop returned");
    }

    #[test]
    fn a_task_that_ignores_its_token_is_aborted_after_the_bound() {
        let task = Task::spawn(|_| std::future::pending()).expect("a runtime");
        let begun = Instant::now();
        task.stop();
        assert!(begun.elapsed() >= STOP_BOUND);
    }
}
