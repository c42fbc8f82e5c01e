// SPDX-License-Identifier: MIT
//! Desired against active renditions: what to take over, add and end.

use super::name::stem;

/// One step of a plan; indices are those of the two lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The pad goes on with its track, whose description may have changed, or with another one.
    Take { active: usize, desired: usize },
    /// A new pad is needed.
    Add { desired: usize },
    /// The pad's track is gone.
    End { active: usize },
}

/// What tells one rendition from another.
pub trait Rendition {
    /// Only renditions of one kind can take each other's place.
    type Kind: PartialEq;
    /// The track's name.
    fn name(&self) -> &str;
    /// What the track carries.
    fn kind(&self) -> Self::Kind;
    /// What all tracks have in common that follow each other, as far as the publisher says so: the
    /// name of the first of them.
    fn lineage(&self) -> &str {
        self.name()
    }
}

/// The plan that turns `active` into `desired`, in the order of `desired`.
///
/// A pad keeps the track of its name. What is new takes the place of what is gone, kind by kind,
/// because a publisher that changes its format does so under a fresh name: in the place of its
/// lineage, else of the name that it looks made of, else in order.
pub fn plan<A: Rendition<Kind = D::Kind>, D: Rendition>(active: &[A], desired: &[D]) -> Vec<Step> {
    let rules: [fn(&A, &D) -> bool; 5] = [
        |a, d| a.name() == d.name(),
        |a, d| a.lineage() == d.lineage(),
        |a, d| a.name() == stem(d.name()),
        |a, d| stem(a.name()) == stem(d.name()),
        |_, _| true,
    ];
    let mut free = vec![true; active.len()];
    let mut places: Vec<Option<usize>> = vec![None; desired.len()];
    for rule in rules {
        for (place, d) in places.iter_mut().zip(desired) {
            if place.is_none() {
                let mut pads = active.iter().zip(&free);
                *place = pads.position(|(a, free)| *free && a.kind() == d.kind() && rule(a, d));
                if let Some(a) = *place {
                    free[a] = false;
                }
            }
        }
    }
    let steps = places.iter().enumerate().map(|(d, place)| match *place {
        Some(a) => Step::Take {
            active: a,
            desired: d,
        },
        None => Step::Add { desired: d },
    });
    let gone = free.iter().enumerate().filter(|(_, free)| **free);
    let ends = gone.map(|(active, _)| Step::End { active });
    steps.chain(ends).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::catalog::name::Names;

    impl Rendition for (char, &str) {
        type Kind = char;
        fn name(&self) -> &str {
            self.1
        }
        fn kind(&self) -> char {
            self.0
        }
    }

    fn take(active: usize, desired: usize) -> Step {
        Step::Take { active, desired }
    }

    #[test]
    fn a_first_catalog_adds_in_order() {
        let none: [(char, &str); 0] = [];
        let steps = plan(&none, &[('v', "a"), ('v', "b")]);
        assert_eq!(steps, [Step::Add { desired: 0 }, Step::Add { desired: 1 }]);
    }

    #[test]
    fn a_name_keeps_its_pad() {
        let steps = plan(&[('v', "a"), ('a', "b")], &[('a', "b"), ('v', "a")]);
        assert_eq!(steps, [take(1, 0), take(0, 1)]);
    }

    #[test]
    fn a_fresh_name_takes_the_place_of_a_gone_one_of_its_kind() {
        let steps = plan(&[('v', "a"), ('a', "b")], &[('v', "a-2"), ('a', "b")]);
        assert_eq!(steps, [take(0, 0), take(1, 1)]);
    }

    #[test]
    fn what_is_gone_ends() {
        let steps = plan(&[('v', "a"), ('a', "b")], &[('v', "a")]);
        assert_eq!(steps, [take(0, 0), Step::End { active: 1 }]);
    }

    #[test]
    fn another_kind_never_takes_the_place() {
        let steps = plan(&[('v', "a")], &[('a', "a")]);
        assert_eq!(steps, [Step::Add { desired: 0 }, Step::End { active: 0 }]);
    }

    /// A track as a publisher lists it, with the lineage that it tells, if it does.
    #[derive(Clone, Debug)]
    struct Listed {
        name: String,
        lineage: Option<&'static str>,
    }

    impl Rendition for Listed {
        type Kind = ();
        fn name(&self) -> &str {
            &self.name
        }
        fn kind(&self) {}
        fn lineage(&self) -> &str {
            self.lineage.unwrap_or(&self.name)
        }
    }

    /// Publishes tracks of these bases, each listed by name as catalogs do.
    struct Publisher {
        names: Names,
        tracks: Vec<(&'static str, String)>,
        tells: bool,
    }

    impl Publisher {
        fn new(bases: [&'static str; 4], tells: bool) -> Self {
            let mut names = Names::default();
            let tracks = bases.map(|base| (base, names.take(base))).to_vec();
            Self {
                names,
                tracks,
                tells,
            }
        }

        fn change(&mut self, track: usize) {
            let (base, name) = &mut self.tracks[track];
            *name = self.names.take(base);
        }

        fn list(&self) -> Vec<Listed> {
            let mut listed: Vec<Listed> = (self.tracks.iter())
                .map(|(base, name)| Listed {
                    name: name.clone(),
                    lineage: self.tells.then_some(*base),
                })
                .collect();
            listed.sort_by(|a, b| a.name.cmp(&b.name));
            listed
        }

        /// Claims that each pad gives the track that follows its first one.
        fn check(&self, pads: &[Listed], first: &[Listed], claim: &str) {
            for (pad, first) in pads.iter().zip(first) {
                let track = self.tracks.iter().find(|(_, name)| *name == pad.name);
                let base = track.map(|(base, _)| *base);
                assert_eq!(
                    base,
                    Some(&*first.name),
                    "{claim}: {pads:?} after {first:?}"
                );
            }
        }
    }

    /// Every order of every subset of four tracks.
    fn orders() -> Vec<Vec<usize>> {
        let mut orders = vec![vec![]];
        let mut next = 0;
        while next < orders.len() {
            let order: Vec<usize> = orders[next].clone();
            let more = (0..4).filter(|track| !order.contains(track));
            let longer: Vec<Vec<usize>> = more
                .map(|track| order.iter().copied().chain([track]).collect())
                .collect();
            orders.extend(longer);
            next += 1;
        }
        orders
    }

    /// Four tracks change in each order, and in each order once more; only then catalogs are read.
    fn tracks_keep_their_pads(bases: [&'static str; 4], tells: bool) {
        let orders = orders();
        assert_eq!(orders.len(), 65);
        for once in &orders {
            for again in &orders {
                let mut publisher = Publisher::new(bases, tells);
                let first = publisher.list();
                let mut pads = first.clone();
                for order in [once, again] {
                    order.iter().for_each(|track| publisher.change(*track));
                    let desired = publisher.list();
                    let steps = plan(&pads, &desired);
                    assert_eq!(steps.len(), 4, "{steps:?}");
                    for step in steps {
                        let Step::Take { active, desired: d } = step else {
                            panic!("{step:?}")
                        };
                        pads[active] = desired[d].clone();
                    }
                    let claim = format!("{once:?}, then {again:?}");
                    publisher.check(&pads, &first, &claim);
                }
            }
        }
    }

    #[test]
    fn tracks_that_tell_their_lineage_keep_their_pads_in_whatever_order_they_change() {
        tracks_keep_their_pads(["video", "video-2", "video-3", "video-4"], true);
        tracks_keep_their_pads(["camera", "camera-2", "front", "a-b"], true);
    }

    #[test]
    fn tracks_of_others_keep_their_pads_by_the_stems_of_their_names() {
        tracks_keep_their_pads(["d", "c", "b", "a"], false);
        tracks_keep_their_pads(["cam", "cam 1", "cam+", "front"], false);
    }
}
