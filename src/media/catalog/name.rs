// SPDX-License-Identifier: MIT
//! Names of broadcasts, and of tracks within one.

use std::collections::HashMap;

/// Why `name` cannot name a broadcast or a track, if so: the same for who publishes and who
/// subscribes.
pub fn fault(name: &str) -> Option<&'static str> {
    if name.is_empty() {
        return Some("is empty");
    }
    (name.chars().any(char::is_control)).then_some("has control characters")
}

/// The prefix for which a receiver's `name` stands, if it does: `room` for `room/*`, which is every broadcast
/// beneath it, and nothing for `*`, which is every one.
pub fn prefix(name: &str) -> Option<&str> {
    let prefix = name.strip_suffix('*')?;
    (prefix.is_empty() || prefix.ends_with('/')).then(|| prefix.trim_end_matches('/'))
}

/// What [`Names::take`] made a name of, if it looks so: `camera` for `camera-2`, else the name itself.
pub fn stem(name: &str) -> &str {
    numbered(name).map_or(name, |(base, _)| base)
}

/// The base and the number of a name such as `camera-2`; not `camera-02`, which nobody counts up to.
fn numbered(name: &str) -> Option<(&str, u32)> {
    let (base, number) = name.rsplit_once('-')?;
    let counted = number.parse().ok()?;
    (counted >= 2 && u32::to_string(&counted) == number).then_some((base, counted))
}

/// Hands out track names, each once: subscribers never see a finished name come back to life.
#[derive(Debug, Default)]
pub struct Names {
    /// Up to which number each base name was handed out.
    asked: HashMap<String, u32>,
}

impl Names {
    /// Names that the catalogs have.
    const RESERVED: [&str; 3] = ["catalog.json", "catalog.json.z", "catalog"];

    /// Why `base` cannot name a track of media, if so.
    pub fn refuse(base: &str) -> Option<&'static str> {
        if let Some(fault) = fault(base) {
            return Some(fault);
        }
        if Self::RESERVED.contains(&base) {
            return Some("is the name of a catalog");
        }
        None
    }

    /// The next free name of `base`: `camera`, then `camera-2`, ...
    pub fn take(&mut self, base: &str) -> String {
        let mut number = self.asked.get(base).copied().unwrap_or_default();
        loop {
            number = number.saturating_add(1);
            let name = match number {
                1 => base.to_owned(),
                number => format!("{base}-{number}"),
            };
            if !self.is_given(&name) {
                self.asked.insert(base.to_owned(), number);
                return name;
            }
        }
    }

    /// Whether `name` was handed out, be it as a base: somebody may have chosen "camera-2" as one.
    fn is_given(&self, name: &str) -> bool {
        let counted = numbered(name).is_some_and(|(base, number)| {
            let last = self.asked.get(base);
            last.is_some_and(|last| number <= *last)
        });
        self.asked.contains_key(name) || counted
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
        assert_eq!(names.take("camera-1"), "camera-1");
        assert_eq!(names.take("camera-02"), "camera-02");
    }

    #[test]
    fn a_year_of_changes_leaves_nothing_behind() {
        let mut names = Names::default();
        let mut given = std::collections::HashSet::new();
        for _ in 0..1000 {
            for base in ["camera", "camera-7", "camera-7-7", "a-b", "camera-1"] {
                let name = names.take(base);
                assert!(given.insert(name.clone()), "{name}");
            }
        }
        assert_eq!(names.asked.len(), 5);
    }

    #[test]
    fn catalogs_keep_their_names() {
        assert!(Names::refuse("catalog.json").is_some());
        assert!(Names::refuse("").is_some());
        assert!(Names::refuse("camera").is_none());
    }

    #[test]
    fn control_characters_are_in_no_name() {
        for name in ["", "a\nb", "\u{7f}", "a\0", "\u{85}"] {
            assert!(fault(name).is_some(), "{name:?}");
            assert!(Names::refuse(name).is_some(), "{name:?}");
        }
        for name in ["camera", "a b", "ca/me-ra", "\u{1f3a5}", "\"", "caf\u{e9}"] {
            assert_eq!(fault(name), None, "{name:?}");
        }
    }

    #[test]
    fn an_asterisk_for_a_last_part_stands_for_all_beneath() {
        for (name, expected) in [
            ("room/*", Some("room")),
            ("a/b//*", Some("a/b")),
            ("*", Some("")),
            ("room", None),
            ("room*", None),
            ("*/room", None),
            ("", None),
        ] {
            assert_eq!(prefix(name), expected, "{name}");
        }
    }

    #[test]
    fn a_stem_is_what_a_number_was_added_to() {
        for (name, expected) in [
            ("camera", "camera"),
            ("camera-2", "camera"),
            ("camera-2-2", "camera-2"),
            ("camera-1", "camera-1"),
            ("camera-02", "camera-02"),
            ("camera-x", "camera-x"),
            ("-2", ""),
        ] {
            assert_eq!(stem(name), expected);
        }
    }
}
