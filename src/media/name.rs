//! Names of tracks within a broadcast.

use std::collections::HashMap;

/// Hands out track names, each once: viewers never see a finished name come back to life.
#[derive(Debug, Default)]
pub struct Names {
    /// Up to which number each base name was handed out.
    asked: HashMap<String, u32>,
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
        let numbered = || {
            let (base, number) = name.rsplit_once('-')?;
            // Not "camera-01", which nobody counts up to.
            let counted = number
                .parse()
                .ok()
                .filter(|n: &u32| n.to_string() == number);
            let last = self.asked.get(base)?;
            Some((2..=*last).contains(&counted?))
        };
        self.asked.contains_key(name) || numbered() == Some(true)
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
}
