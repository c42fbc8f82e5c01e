use super::*;
use crate::session::settings::Settings;

/// Runs `test` with a link that has dialled nothing yet.
fn with_link(test: impl FnOnce(&mut Link)) {
    let settings = Settings {
        url: Some("https://relay.invalid/".into()),
        broadcast: Some("x".into()),
        tls_disable_verify: true,
        ..Settings::default()
    };
    let target = settings.target().expect("valid settings");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let _context = runtime.enter();
    test(&mut Link::new(target, |client| client).expect("a socket"));
}

#[test]
fn a_socket_that_cannot_be_made_is_a_try_that_failed() {
    with_link(|link| {
        let dialled = link.take(Step::Due);
        assert!(matches!(
            dialled,
            Ok(Some(Event::Connecting { first: true, .. }))
        ));
        // No socket is made with that.
        link.target.patience.idle_timeout = Duration::MAX;
        for _ in 0..2 {
            let lost = link.take(Step::Due).expect("no error that ends the run");
            assert!(matches!(lost, Some(Event::Lost { .. })), "{lost:?}");
            assert!(matches!(link.state, State::Waiting(_)));
        }
        link.target.patience.idle_timeout = Duration::from_secs(1);
        let dialled = link.take(Step::Due);
        assert!(matches!(dialled, Ok(Some(Event::Connecting { .. }))));
    });
}
