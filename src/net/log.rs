// SPDX-License-Identifier: MIT
//! The MoQ libraries' log, routed into GStreamer's.

use std::sync::{LazyLock, Once};

use gst::glib;

use super::secrets;

/// Category of everything that the MoQ and QUIC libraries say.
static CATEGORY: LazyLock<gst::DebugCategory> = LazyLock::new(|| {
    gst::DebugCategory::new(
        "moqlib",
        gst::DebugColorFlags::empty(),
        Some("MoQ and QUIC libraries"),
    )
});

/// Crates that print whole requests, with their query, below the level Info.
const VERBOSE_CRATES: [&str; 4] = ["web_transport", "reqwest", "hyper", "tungstenite"];

/// Routes the libraries' log into the category `moqlib`, unless the host has a logger already.
pub(crate) fn init() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // Refused when the host logs by itself: its choice stands.
        if log::set_logger(&Logger).is_ok() {
            log::set_max_level(log::LevelFilter::Debug);
        }
    });
}

struct Logger;

impl log::Log for Logger {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        let discreet = metadata.level() <= log::Level::Info
            || !VERBOSE_CRATES
                .iter()
                .any(|name| metadata.target().starts_with(name));
        discreet && CATEGORY.threshold() >= level(metadata.level())
    }

    fn log(&self, record: &log::Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let file = glib::GString::from(record.file().unwrap_or("moqlib"));
        let text = format!("{}: {}", record.target(), record.args());
        let text = redact(&secrets::redact(&text, &[]));
        CATEGORY.log(
            None::<&glib::Object>,
            level(record.level()),
            file.as_gstr(),
            record.module_path().unwrap_or_default(),
            record.line().unwrap_or_default(),
            format_args!("{text}"),
        );
    }

    fn flush(&self) {}
}

fn level(level: log::Level) -> gst::DebugLevel {
    match level {
        log::Level::Error => gst::DebugLevel::Error,
        log::Level::Warn => gst::DebugLevel::Warning,
        log::Level::Info => gst::DebugLevel::Info,
        log::Level::Debug => gst::DebugLevel::Debug,
        log::Level::Trace => gst::DebugLevel::Trace,
    }
}

/// `text` without the values of URL queries.
fn redact(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut hidden = false;
    for char in text.chars() {
        if matches!(char, ' ' | '"' | '\'' | ')' | ',' | '\n') {
            hidden = false;
        }
        if !hidden {
            out.push(char);
        }
        if matches!(char, '?' | '=') && !hidden && text.contains("://") || out.ends_with("jwt=") {
            hidden = true;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_query_gets_through() {
        assert_eq!(
            redact("dial https://relay/demo?jwt=secret failed"),
            "dial https://relay/demo? failed"
        );
        assert_eq!(
            redact("path /demo?jwt=secret, next"),
            "path /demo?jwt=, next"
        );
        assert_eq!(redact("rate=3 loss=4"), "rate=3 loss=4");
    }
}
