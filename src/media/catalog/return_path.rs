// SPDX-License-Identifier: MIT
//! What a receiver asks of the publisher of a broadcast: the names on the wire, and the requests.

use serde::{Deserialize, Serialize};

/// The field of [`super::data::Sections::returns`] in the catalog's JSON.
pub const RETURNS: &str = "gstReturn";
/// The one track of a broadcast of requests; each group of it is one request, in one frame.
pub const TRACK: &str = "requests";
/// No request is larger, in bytes.
pub const MAX_REQUEST_BYTES: usize = 1024;

/// Beneath this the receivers of `broadcast` publish what they ask for. The dot keeps it out of what
/// others discover.
pub fn prefix(broadcast: &str) -> String {
    format!("{broadcast}/.return")
}

/// Where the receiver `id` publishes.
pub fn path(broadcast: &str, id: u64) -> String {
    format!("{}/{id:016x}", prefix(broadcast))
}

/// One request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// A keyframe is wanted of the track of this name.
    pub keyframe: String,
}

impl Request {
    /// As it is sent, unless it is too large.
    pub fn to_json(&self) -> Option<Vec<u8>> {
        let json = serde_json::to_vec(self).ok()?;
        (json.len() <= MAX_REQUEST_BYTES).then_some(json)
    }

    /// Reads what came; other requests may be known later.
    pub fn from_json(json: &[u8]) -> Option<Self> {
        (json.len() <= MAX_REQUEST_BYTES)
            .then(|| serde_json::from_slice(json).ok())
            .flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_read_as_they_were_written() {
        let request = Request {
            keyframe: "video \"1\"".into(),
        };
        let json = request.to_json().expect("it is short");
        assert_eq!(Request::from_json(&json), Some(request));
        let more = br#"{"keyframe": "video", "future": [1]}"#;
        assert!(Request::from_json(more).is_some_and(|request| request.keyframe == "video"));
    }

    #[test]
    fn what_is_malformed_or_too_large_is_no_request() {
        for json in ["", "{}", "[]", "null", r#"{"keyframe": 5}"#, "\u{0}", "{"] {
            assert_eq!(Request::from_json(json.as_bytes()), None, "{json:?}");
        }
        assert_eq!(Request::from_json(&[0xff; 8]), None);
        let keyframe = "x".repeat(MAX_REQUEST_BYTES);
        let json = format!("{{\"keyframe\":\"{keyframe}\"}}");
        assert_eq!(Request::from_json(json.as_bytes()), None);
        assert_eq!(Request { keyframe }.to_json(), None);
    }

    #[test]
    fn a_receiver_publishes_beneath_the_broadcast() {
        assert_eq!(
            path("room/a.hang", 255),
            "room/a.hang/.return/00000000000000ff"
        );
    }
}
