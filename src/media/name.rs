//! Names of tracks within a broadcast.

use std::collections::{HashMap, HashSet};

/// Hands out track names, each once: viewers never see a finished name come back to life.
#[derive(Debug, Default)]
pub struct Names {
    /// How often each base name was asked for.
    asked: HashMap<String, u32>,
    given: HashSet<String>,
}

impl Names {
    /// Names that the catalogs have.
    const RESERVED: [&str; 3] = ["catalog.json", "catalog.json.z", "catalog"];

    /// Why `base` cannot name a track, if so.
    pub fn refuse(base: &str) -> Option<&'static str> {
        if base.is_empty() {
            return Some("is empty");
        }
        if Self::RESERVED.contains(&base) {
            return Some("is the name of a catalog");
        }
        None
    }

    /// The next free name of `base`: `camera`, then `camera-2`, ...
    pub fn take(&mut self, base: &str) -> String {
        loop {
            let count = self.asked.entry(base.to_owned()).or_default();
            *count += 1;
            let name = match *count {
                1 => base.to_owned(),
                count => format!("{base}-{count}"),
            };
            // Somebody may have chosen "camera-2" as a base of its own.
            if self.given.insert(name.clone()) {
                return name;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_is_handed_out_twice() {
        let mut names = Names::default();
        assert_eq!(names.take("camera"), "camera");
        assert_eq!(names.take("camera-3"), "camera-3");
        assert_eq!(names.take("camera"), "camera-2");
        assert_eq!(names.take("camera"), "camera-4");
        assert_eq!(names.take("camera-2"), "camera-2-2");
    }

    #[test]
    fn catalogs_keep_their_names() {
        assert!(Names::refuse("catalog.json").is_some());
        assert!(Names::refuse("").is_some());
        assert!(Names::refuse("camera").is_none());
    }
}
