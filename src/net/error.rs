// SPDX-License-Identifier: MIT
//! One error enum and its one mapping to GStreamer's error domains.

use gst::prelude::*;

use super::failure::{Cause, REFUSED, chain};

/// Why a session ended.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum Error {
    /// A property is missing or wrong; the text says which and what to set.
    #[error("{0}")]
    Settings(String),

    /// Another process has the port; the text says which and what to set.
    #[error("{0}")]
    Busy(String),

    /// The relay refused the token, or the lack of one.
    #[error("{REFUSED}")]
    NotAuthorized(#[source] moq_tokio::Error),

    /// The relay answered with an HTTP status that a retry cannot change.
    #[error("The relay answered with HTTP status {status}: check the property \"url\"")]
    Status {
        status: u16,
        #[source]
        source: moq_tokio::Error,
    },

    /// No try has succeeded for as long as the user wants to wait.
    #[error(
        "No connection to the relay within {within:?} (property \"reconnect-timeout\"): {reason}"
    )]
    GivenUp {
        /// What `reconnect-timeout` says.
        within: std::time::Duration,
        cause: Cause,
        /// Why the last try failed, without secrets.
        reason: String,
    },

    /// The local end of the connection could not be set up.
    #[error("Could not set up the network connection")]
    Setup(#[source] moq_tokio::Error),

    /// The broadcast could not be published under its name.
    #[error("Could not publish the broadcast")]
    Publish(#[source] moq_net::Error),

    /// The catalog could not be written.
    #[error("Could not write the catalog")]
    Catalog(#[source] moq_mux::Error),

    /// The session task ended without saying why.
    #[error("The session ended unexpectedly, which is an error of this plugin")]
    Internal(String),
}

impl Error {
    pub(crate) fn settings(text: impl Into<String>) -> Self {
        Self::Settings(text.into())
    }

    /// The verdict on a failed dial: `Ok` says that another try may succeed.
    pub(crate) fn terminal(error: moq_tokio::Error) -> Result<moq_tokio::Error, Self> {
        if error.is_auth() {
            return Err(Self::NotAuthorized(error));
        }
        match error.status() {
            Some(status) if !may_pass(status) => Err(Self::Status {
                status,
                source: error,
            }),
            _ => Ok(error),
        }
    }

    /// Posts the error on `element`'s bus, `redact`ing what the causes say.
    pub(crate) fn post(&self, element: &gst::Element, redact: impl Fn(&str) -> String) {
        let text = redact(&self.to_string());
        let debug = redact(&chain(self));
        let publishes = element.element_flags().contains(gst::ElementFlags::SINK);
        let message = match self {
            Self::Settings(_) => message(gst::ResourceError::Settings, &text, &debug),
            Self::Busy(_) => message(gst::ResourceError::Busy, &text, &debug),
            Self::NotAuthorized(_) => message(gst::ResourceError::NotAuthorized, &text, &debug),
            Self::Status { status: 404, .. } => {
                message(gst::ResourceError::NotFound, &text, &debug)
            }
            Self::GivenUp {
                cause: Cause::Name, ..
            } => message(gst::ResourceError::NotFound, &text, &debug),
            Self::GivenUp {
                cause: Cause::NotAuthorized,
                ..
            } => message(gst::ResourceError::NotAuthorized, &text, &debug),
            Self::GivenUp {
                cause: Cause::Version,
                ..
            } => message(gst::StreamError::WrongType, &text, &debug),
            Self::GivenUp {
                cause: Cause::Protocol,
                ..
            } => message(gst::StreamError::Failed, &text, &debug),
            Self::Internal(_) => message(gst::CoreError::Failed, &text, &debug),
            Self::Status { .. }
            | Self::GivenUp { .. }
            | Self::Setup(_)
            | Self::Publish(_)
            | Self::Catalog(_) => {
                let code = match publishes {
                    true => gst::ResourceError::OpenWrite,
                    false => gst::ResourceError::OpenRead,
                };
                message(code, &text, &debug)
            }
        };
        element.post_error_message(message);
    }
}

/// Whether an HTTP status may be another one at the next try (RFC 9110, section 15; RFC 6585):
/// Request Timeout, Too Many Requests, and trouble of the server, unless it says that it does not
/// know the method (501) or the version (505).
fn may_pass(status: u16) -> bool {
    matches!(status, 408 | 429 | 500 | 502..=504 | 506..=599)
}

fn message(code: impl MessageErrorDomain, text: &str, debug: &str) -> gst::ErrorMessage {
    gst::ErrorMessage::new(
        &code,
        Some(text),
        Some(debug),
        file!(),
        module_path!(),
        line!(),
    )
}
