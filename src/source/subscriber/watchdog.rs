// SPDX-License-Identifier: MIT
//! Notices that nobody publishes the broadcast: `moqsrc` waits for it, and nothing else shows that.

use std::time::Duration;

use tokio::time::Instant;

use crate::net::connection::Event;

/// How long a relay has to announce a broadcast that is published; a publisher that restarts is
/// mostly back before.
const MISSING_TIMEOUT: Duration = Duration::from_secs(5);

/// When the absence of a broadcast is due to be reported.
#[derive(Default)]
pub(super) struct BroadcastWatchdog {
    connected: bool,
    /// Since when there is a session and no broadcast.
    since: Option<Instant>,
    /// This absence was reported.
    reported: bool,
}

impl BroadcastWatchdog {
    /// The connection has changed.
    pub(super) fn follow(&mut self, event: &Event, now: Instant) {
        match event {
            Event::Connected { .. } => self.connected = true,
            Event::Lost { serving: false, .. } => self.connected = false,
            // Who listens misses a broadcast from the start.
            Event::Listening { .. } => self.connected = true,
            Event::Connecting { .. }
            | Event::Goaway
            | Event::Lost { .. }
            | Event::Certificate { .. }
            | Event::NotAdvertised { .. }
            | Event::SessionAdded(_)
            | Event::SessionRemoved { .. } => return,
        }
        self.begin(now);
    }

    /// The broadcast is not there.
    pub(super) fn begin(&mut self, now: Instant) {
        self.since = self.connected.then_some(now);
    }

    /// The broadcast is there.
    pub(super) fn end(&mut self) {
        *self = Self {
            connected: self.connected,
            ..Self::default()
        };
    }

    /// When its absence is to be reported.
    pub(super) fn due(&self) -> Option<Instant> {
        let since = self.since.filter(|_| !self.reported)?;
        Some(since + MISSING_TIMEOUT)
    }

    /// Its absence was reported.
    pub(super) fn reported(&mut self) {
        self.reported = true;
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
        let mut absence = BroadcastWatchdog::default();
        absence.begin(start);
        assert_eq!(absence.due(), None, "there is no session");
        absence.connected = true;
        absence.begin(start);
        assert_eq!(absence.due(), Some(start + MISSING_TIMEOUT));
        absence.follow(&lost(true), start + MISSING_TIMEOUT / 2);
        assert_eq!(absence.due(), Some(start + MISSING_TIMEOUT));
        absence.follow(&lost(false), start + MISSING_TIMEOUT / 2);
        assert_eq!(absence.due(), None);
    }

    #[test]
    fn each_absence_is_reported_once() {
        let start = Instant::now();
        let mut absence = BroadcastWatchdog {
            connected: true,
            ..BroadcastWatchdog::default()
        };
        absence.begin(start);
        absence.reported = true;
        absence.begin(start + MISSING_TIMEOUT);
        assert_eq!(absence.due(), None);
        absence.end();
        absence.begin(start + MISSING_TIMEOUT);
        assert_eq!(absence.due(), Some(start + MISSING_TIMEOUT * 2));
    }
}
