// SPDX-License-Identifier: MIT

use super::*;
use crate::net::config::{Role, Settings, Timeouts};

/// Runs `test` with a connection that has dialled nothing yet.
fn with_connection(test: impl FnOnce(&mut RelayConnection)) {
    let settings = Settings {
        url: Some("https://relay.invalid/".into()),
        broadcast: Some("x".into()),
        tls_disable_verify: true,
        ..Settings::new(Role::Subscriber)
    };
    let target = settings.target().expect("valid settings");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let _context = runtime.enter();
    test(&mut RelayConnection::new(target, |client| client).expect("a socket"));
}

#[test]
fn a_socket_that_cannot_be_made_is_a_try_that_failed() {
    with_connection(|connection| {
        let dialled = connection.take(Step::Due);
        assert!(matches!(
            dialled,
            Ok(Some(Event::Connecting { first: true, .. }))
        ));
        // No socket is made with that.
        connection.target.timeouts.idle_timeout = Duration::MAX;
        for _ in 0..2 {
            let lost = connection
                .take(Step::Due)
                .expect("no error that ends the run");
            assert!(matches!(lost, Some(Event::Lost { .. })), "{lost:?}");
            assert!(matches!(connection.state, State::Waiting(_)));
        }
        connection.target.timeouts.idle_timeout = Duration::from_secs(1);
        let dialled = connection.take(Step::Due);
        assert!(matches!(dialled, Ok(Some(Event::Connecting { .. }))));
    });
}

/// Until when the connection waits for its next dial.
fn pause(connection: &RelayConnection) -> Duration {
    match connection.state {
        State::Waiting(due) => due.saturating_duration_since(Instant::now()),
        _ => panic!("the next dial is waited for"),
    }
}

#[test]
fn a_relay_that_hands_over_again_and_again_is_dialled_after_pauses() {
    with_connection(|connection| {
        let Timeouts {
            min_delay,
            max_delay,
            ..
        } = connection.target.timeouts;
        let mut hand_over = |age: Duration| {
            let since = Instant::now().checked_sub(age).expect("a clock that runs");
            let left = connection.take(Step::Ended(since, End::Handover(Goaway::new())));
            assert!(matches!(left, Ok(Some(Event::Goaway))));
            pause(connection)
        };
        assert_eq!(hand_over(max_delay * 2), Duration::ZERO);
        let mut least = min_delay / 2;
        for _ in 0..4 {
            let pause = hand_over(PROBE_TIMEOUT);
            // Some of it has passed since.
            assert!(pause > least.mul_f64(0.8), "{pause:?} of {least:?}");
            least *= 2;
        }
        assert_eq!(hand_over(max_delay * 2), Duration::ZERO);
    });
}

#[test]
fn pauses_double_up_to_the_longest_and_half_of_each_is_random() {
    with_connection(|connection| {
        let Timeouts {
            min_delay,
            max_delay,
            ..
        } = connection.target.timeouts;
        let mut longest = min_delay;
        for _ in 0..20 {
            let mut drawn = Vec::new();
            let backoff = connection.backoff.clone();
            for _ in 0..50 {
                connection.backoff = backoff.clone();
                drawn.push(connection.next_pause());
            }
            let within = longest / 2..=longest;
            assert!(
                drawn.iter().all(|pause| within.contains(pause)),
                "{drawn:?}"
            );
            assert!(drawn.iter().any(|pause| *pause < longest.mul_f64(0.7)));
            assert!(drawn.iter().any(|pause| *pause > longest.mul_f64(0.8)));
            longest = (longest * 2).min(max_delay);
            assert_eq!(connection.backoff.upcoming(), longest);
        }
    });
}
