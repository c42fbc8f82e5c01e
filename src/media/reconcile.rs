//! Desired against active renditions: what to take over, add and end.

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
}

/// The plan that turns `active` into `desired`, in the order of `desired`.
///
/// A pad keeps the track of its name. What is new takes the place of what is gone, in order and kind
/// by kind, because a publisher that changes its format does so under a fresh name.
pub fn plan<A: Rendition<Kind = D::Kind>, D: Rendition>(active: &[A], desired: &[D]) -> Vec<Step> {
    let mut free: Vec<bool> = active
        .iter()
        .map(|a| !desired.iter().any(|d| same(a, d)))
        .collect();
    let mut steps = Vec::with_capacity(desired.len());
    for (d, rendition) in desired.iter().enumerate() {
        if let Some(a) = active.iter().position(|a| same(a, rendition)) {
            steps.push(Step::Take {
                active: a,
                desired: d,
            });
            continue;
        }
        let place = active
            .iter()
            .enumerate()
            .position(|(a, other)| free[a] && other.kind() == rendition.kind());
        match place {
            Some(a) => {
                free[a] = false;
                steps.push(Step::Take {
                    active: a,
                    desired: d,
                });
            }
            None => steps.push(Step::Add { desired: d }),
        }
    }
    let gone = free.iter().enumerate().filter(|(_, free)| **free);
    steps.extend(gone.map(|(active, _)| Step::End { active }));
    steps
}

fn same<A: Rendition<Kind = D::Kind>, D: Rendition>(a: &A, d: &D) -> bool {
    a.name() == d.name() && a.kind() == d.kind()
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
