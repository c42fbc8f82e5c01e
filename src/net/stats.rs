// SPDX-License-Identifier: MIT
//! Statistics of the connection, for the properties of both elements.

use std::fmt;

use moq_tokio::connection::Monitor;

/// Reads the transport's counters for as long as the session lives.
#[derive(Clone)]
pub(crate) struct SessionMonitor(pub(crate) Monitor);

impl fmt::Debug for SessionMonitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionMonitor")
    }
}

/// What is known of the connection and of those before it in the same run.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    /// Of the live session.
    monitor: Option<SessionMonitor>,
    started: u64,
    ended: u64,
}

impl Sessions {
    pub(crate) fn begin(&mut self, monitor: SessionMonitor) {
        // A relay that hands over leaves no time without a session.
        self.end();
        self.monitor = Some(monitor);
        self.started += 1;
    }

    pub(crate) fn end(&mut self) {
        if self.monitor.take().is_some() {
            self.ended += 1;
        }
    }

    /// The structure `moq-stats`; what is unknown is left out.
    ///
    /// `rtt-ms` is a double, all others are guint64: rates in bits per second, and what was sent,
    /// received and lost by the live session, with its retransmissions and overhead.
    pub(crate) fn structure(&self) -> gst::Structure {
        let stats = self.live().unwrap_or_default();
        let bits = |rate: Option<moq_net::bandwidth::Rate>| rate.map(|rate| rate.as_bps());
        gst::Structure::builder("moq-stats")
            .field("sessions-started", self.started)
            .field("sessions-ended", self.ended)
            .field_if_some("rtt-ms", stats.rtt.map(|rtt| rtt.as_secs_f64() * 1e3))
            .field_if_some("estimated-send-rate", bits(stats.estimated_send_rate))
            .field_if_some("estimated-recv-rate", bits(stats.estimated_recv_rate))
            .field_if_some("bytes-sent", stats.bytes_sent)
            .field_if_some("bytes-received", stats.bytes_received)
            .field_if_some("bytes-lost", stats.bytes_lost)
            .field_if_some("packets-sent", stats.packets_sent)
            .field_if_some("packets-received", stats.packets_received)
            .field_if_some("packets-lost", stats.packets_lost)
            .build()
    }

    fn live(&self) -> Option<moq_net::session::Stats> {
        self.monitor.as_ref()?.0.stats()
    }
}
