// SPDX-License-Identifier: MIT
//! The end of all streams, while it takes time.

use std::time::Duration;

use tokio::time::Instant;

/// How long the end of the broadcast has to leave where closing a session cuts off what was not sent.
const LINGER_TIMEOUT: Duration = Duration::from_millis(300);

/// How far the end of all streams is, between the EOS of the last pad and the EOS message.
#[derive(Debug, Default, PartialEq)]
pub(super) enum Drain {
    /// Not every pad has ended.
    #[default]
    Idle,
    /// The groups have until then to be delivered.
    Delivering { deadline: Instant },
    /// The broadcast has ended, and its end has until then to leave.
    Lingering { until: Instant },
}

impl Drain {
    /// Every pad has ended: whether the broadcast is to end now, because everything was delivered or
    /// the `timeout` has passed.
    pub(super) fn ends_broadcast(
        &mut self,
        now: Instant,
        timeout: Duration,
        delivered: bool,
    ) -> bool {
        if *self == Self::Idle {
            *self = Self::Delivering {
                deadline: now + timeout,
            };
        }
        match self {
            Self::Delivering { deadline } => delivered || now >= *deadline,
            Self::Idle | Self::Lingering { .. } => false,
        }
    }

    /// The broadcast has ended; its end lingers if closing the session would cut it off, but not
    /// beyond the deadline.
    pub(super) fn linger(&mut self, now: Instant, cuts_off: bool) {
        let until = match self {
            Self::Delivering { deadline } if cuts_off => (now + LINGER_TIMEOUT).min(*deadline),
            _ => now,
        };
        *self = Self::Lingering { until };
    }

    /// Whether EOS may be posted.
    pub(super) fn is_complete(&self, now: Instant) -> bool {
        matches!(self, Self::Lingering { until } if now >= *until)
    }

    /// When it goes on by itself.
    pub(super) fn wake(&self) -> Option<Instant> {
        match self {
            Self::Idle => None,
            Self::Delivering { deadline: at } | Self::Lingering { until: at } => Some(*at),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(5);

    #[test]
    fn what_is_not_delivered_has_until_the_deadline() {
        let (mut drain, start) = (Drain::default(), Instant::now());
        assert_eq!(drain.wake(), None);
        assert!(!drain.ends_broadcast(start, TIMEOUT, false));
        assert_eq!(drain.wake(), Some(start + TIMEOUT));
        let later = start + TIMEOUT / 2;
        assert!(!drain.ends_broadcast(later, TIMEOUT, false));
        assert!(drain.ends_broadcast(later, TIMEOUT, true));
        assert!(drain.ends_broadcast(start + TIMEOUT, TIMEOUT, false));
        drain.linger(start + TIMEOUT, true);
        assert!(drain.is_complete(start + TIMEOUT), "no time is left");
    }

    #[test]
    fn the_end_lingers_where_closing_would_cut_it_off() {
        for (cuts_off, linger) in [(false, Duration::ZERO), (true, LINGER_TIMEOUT)] {
            let (mut drain, start) = (Drain::default(), Instant::now());
            assert!(drain.ends_broadcast(start, TIMEOUT, true));
            assert!(!drain.is_complete(start), "the broadcast is to end first");
            drain.linger(start, cuts_off);
            assert!(!drain.ends_broadcast(start, TIMEOUT, true), "it has ended");
            assert_eq!(drain.wake(), Some(start + linger));
            assert_eq!(drain.is_complete(start), !cuts_off);
            assert!(drain.is_complete(start + linger));
        }
    }
}
