// SPDX-License-Identifier: MIT
//! The one Tokio runtime of the process, and the bounded life of a session task on it.

use std::{
    future::{Future, poll_fn},
    panic::{self, AssertUnwindSafe},
    pin::pin,
    sync::{LazyLock, mpsc},
    task::Poll,
    time::{Duration, Instant},
};

use tokio::{
    runtime::{Builder, Handle, Runtime},
    task::{AbortHandle, JoinSet},
};
use tokio_util::sync::CancellationToken;

use crate::net::error::Error;

/// How long a state change waits at most for all that it ends, on a dead network too.
pub(crate) const STOP_TIMEOUT: Duration = Duration::from_secs(1);

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

/// Does `work` in the context of the runtime, for what spawns tasks or opens sockets.
pub(crate) fn enter<T>(work: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    let _context = handle()?.enter();
    work()
}

fn handle() -> Result<Handle, Error> {
    let runtime = RUNTIME.as_ref();
    let runtime = runtime.map_err(|err| Error::Internal(err.to_string()))?;
    Ok(runtime.handle().clone())
}

/// A running session task; dropping it ends the task without waiting.
pub(crate) struct Task {
    cancel: CancellationToken,
    abort: AbortHandle,
    ended: mpsc::Receiver<()>,
    runtime: Handle,
}

impl Task {
    /// Starts the future that `session` makes, whose token tells it to end; what it fails with, a
    /// panic too, is handed to `report`.
    pub(crate) fn spawn<F>(
        session: impl FnOnce(CancellationToken) -> F,
        report: impl FnOnce(Error) + Send + 'static,
    ) -> Result<Self, Error>
    where
        F: Future<Output = Result<(), Error>> + Send + 'static,
    {
        let runtime = handle()?;
        let cancel = CancellationToken::new();
        let (alive, ended) = mpsc::channel();
        let future = session(cancel.clone());
        let task = runtime.spawn(async move {
            let _alive: mpsc::Sender<()> = alive;
            // A task of its own, so that a panic ends in a value; it goes with its set.
            let mut session = JoinSet::new();
            session.spawn(future);
            match session.join_next().await {
                Some(Ok(Err(error))) => report(error),
                Some(Err(error)) => report(Error::Internal(error.to_string())),
                Some(Ok(Ok(()))) | None => {}
            }
        });
        Ok(Self {
            cancel,
            abort: task.abort_handle(),
            ended,
            runtime,
        })
    }

    /// Asks the task to end and waits for it until `deadline`; then it is aborted.
    pub(crate) fn stop(self, deadline: Instant) {
        self.cancel.cancel();
        let on_runtime = Handle::try_current().is_ok_and(|here| here.id() == self.runtime.id());
        // Nothing is ever sent: the channel closes when the task is gone.
        if !on_runtime
            && self
                .ended
                .recv_timeout(deadline.saturating_duration_since(Instant::now()))
                == Err(mpsc::RecvTimeoutError::Timeout)
        {
            self.abort.abort();
        }
    }
}

/// What `future` comes to, or nothing if it panics: what one part of a session is fed from outside
/// must not end the others.
pub(crate) async fn contained<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    let polled = poll_fn(|context| {
        // After a panic it is not polled again, so nobody sees what it left half done.
        let poll = AssertUnwindSafe(|| future.as_mut().poll(context));
        match panic::catch_unwind(poll) {
            Ok(poll) => poll.map(Some),
            Err(_) => Poll::Ready(None),
        }
    });
    polled.await
}

impl Drop for Task {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stopping_waits_for_the_task_to_clean_up() {
        let (tx, rx) = mpsc::channel();
        let session = |cancel: CancellationToken| async move {
            cancel.cancelled().await;
            tx.send(()).expect("the test listens");
            Ok(())
        };
        let task = Task::spawn(session, drop).expect("a runtime");
        task.stop(Instant::now() + STOP_TIMEOUT);
        rx.try_recv().expect("the task ended before stop returned");
    }

    #[test]
    fn a_task_that_ignores_its_token_is_aborted_after_the_bound() {
        let task = Task::spawn(|_| std::future::pending(), drop).expect("a runtime");
        let begun = Instant::now();
        task.stop(begun + STOP_TIMEOUT);
        assert!(begun.elapsed() >= STOP_TIMEOUT);
    }

    #[test]
    fn a_panic_is_reported_as_an_error() {
        let (tx, rx) = mpsc::channel();
        let report = move |error: Error| tx.send(error.to_string()).expect("the test listens");
        let session = |_| async { panic!("for the test") };
        let _task = Task::spawn(session, report).expect("a runtime");
        let text = rx.recv().expect("a report");
        assert!(text.contains("error of this plugin"), "{text}");
    }

    #[tokio::test]
    async fn a_panic_is_contained_and_everything_else_goes_through() {
        let later = async {
            tokio::task::yield_now().await;
            7
        };
        assert_eq!(contained(later).await, Some(7));
        let panicking = async {
            tokio::task::yield_now().await;
            panic!("for the test")
        };
        assert_eq!(contained(panicking).await, None::<()>);
    }
}
