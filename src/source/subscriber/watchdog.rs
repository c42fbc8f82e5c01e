//! Tells of a broadcast that nobody publishes: `moqsrc` waits for it, and that has no other sign.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use crate::{element::app_queue::AppQueue, net::connection::Event};

/// How long a relay has to announce a broadcast that is published; a publisher that restarts is
/// mostly back before.
const PATIENCE: Duration = Duration::from_secs(5);

/// The time without the broadcast.
#[derive(Default)]
pub(crate) struct Absence {
    connected: bool,
    /// Since when there is a session and no broadcast.
    since: Option<Instant>,
    /// This absence was told.
    told: bool,
}

impl Absence {
    /// The connection has changed.
    pub(crate) fn follow(&mut self, event: &Event, now: Instant) {
        match event {
            Event::Connected { .. } => self.connected = true,
            Event::Lost { serving: false, .. } => self.connected = false,
            Event::Connecting { .. } | Event::Leaving | Event::Lost { .. } => return,
        }
        self.begin(now);
    }

    /// The broadcast is not there.
    pub(crate) fn begin(&mut self, now: Instant) {
        self.since = self.connected.then_some(now);
    }

    /// The broadcast is there.
    pub(crate) fn end(&mut self) {
        *self = Self {
            connected: self.connected,
            ..Self::default()
        };
    }

    /// When it is to be told.
    pub(crate) fn due(&self) -> Option<Instant> {
        let since = self.since.filter(|_| !self.told)?;
        Some(since + PATIENCE)
    }

    pub(crate) fn tell(&mut self, app_queue: &Arc<AppQueue>, broadcast: &str) {
        self.told = true;
        let broadcast = broadcast.to_owned();
        app_queue.post("moq-broadcast-missing", |s| s.field("broadcast", broadcast));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::failure::Cause;

    fn lost(serving: bool) -> Event {
        Event::Lost {
            cause: Cause::Other,
            reason: String::new(),
            retry: Duration::ZERO,
            serving,
        }
    }

    #[test]
    fn time_counts_with_a_session_and_without_the_broadcast() {
        let start = Instant::now();
        let mut absence = Absence::default();
        absence.begin(start);
        assert_eq!(absence.due(), None, "there is no session");
        absence.connected = true;
        absence.begin(start);
        assert_eq!(absence.due(), Some(start + PATIENCE));
        absence.follow(&lost(true), start + PATIENCE / 2);
        assert_eq!(absence.due(), Some(start + PATIENCE));
        absence.follow(&lost(false), start + PATIENCE / 2);
        assert_eq!(absence.due(), None);
    }

    #[test]
    fn each_absence_is_told_once() {
        let start = Instant::now();
        let mut absence = Absence {
            connected: true,
            ..Absence::default()
        };
        absence.begin(start);
        absence.told = true;
        absence.begin(start + PATIENCE);
        assert_eq!(absence.due(), None);
        absence.end();
        absence.begin(start + PATIENCE);
        assert_eq!(absence.due(), Some(start + PATIENCE * 2));
    }
}
