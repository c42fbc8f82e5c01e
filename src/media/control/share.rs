// SPDX-License-Identifier: MIT
//! How the rates of several sessions become one, and how that one is shared out among tracks.

/// Which of several sessions' rates all tracks get; an even number has two in the middle, of which the
/// smaller one counts.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Policy {
    Slowest,
    #[default]
    Median,
    Fastest,
}

impl Policy {
    /// The rate that counts, if there is any.
    pub(crate) fn pick(self, mut rates: Vec<u64>) -> Option<u64> {
        rates.sort_unstable();
        let last = rates.len().checked_sub(1)?;
        let index = match self {
            Self::Slowest => 0,
            Self::Median => last / 2,
            Self::Fastest => last,
        };
        rates.get(index).copied()
    }
}

/// What of `total` each track gets that has a share, once `fixed` is taken off for the others; equal
/// parts where the shares sum to nothing.
pub(crate) fn split(total: u64, fixed: u64, shares: &[f64]) -> Vec<u64> {
    let rest = total.saturating_sub(fixed) as f64;
    let sum: f64 = shares.iter().sum();
    let part = |share: &f64| match sum > 0.0 {
        true => share / sum,
        false => 1.0 / shares.len() as f64,
    };
    shares
        .iter()
        .map(|share| (rest * part(share)) as u64)
        .collect()
}

/// A rendition of a picture of which there are several.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Rung {
    /// What it gets where there is enough for all.
    pub(crate) full: u64,
    /// It had too little, and makes nothing.
    pub(crate) rests: bool,
}

/// What part of its full rate a rendition needs to go on, and to begin again.
const GOES_ON: f64 = 0.5;
const BEGINS: f64 = 0.75;

/// What of `total` each rendition of a picture gets, the smallest picture first, and `None` if it is to
/// rest: the small ones get all that they can use before a larger one gets anything. The first never rests.
pub(crate) fn climb(total: u64, rungs: &[Rung]) -> Vec<Option<u64>> {
    let mut left = total;
    let mut enough = true;
    let rate = |(index, rung): (usize, &Rung)| {
        let need = if rung.rests { BEGINS } else { GOES_ON };
        enough &= index == 0 || left as f64 >= need * rung.full as f64;
        let rate = left.min(rung.full);
        enough.then(|| {
            left -= rate;
            rate
        })
    };
    rungs.iter().enumerate().map(rate).collect()
}

/// With how much the next rendition begins that rests; `None` if none does.
pub(crate) fn next_rung(rungs: &[Rung]) -> Option<u64> {
    let index = rungs.iter().position(|rung| rung.rests)?;
    let smaller: u64 = rungs[..index].iter().map(|rung| rung.full).sum();
    Some(smaller + (BEGINS * rungs[index].full as f64).ceil() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_rendition_rests_first_and_begins_again_with_some_room() {
        let rungs = |rests: [bool; 3]| {
            let full = [300, 1000, 2700];
            std::iter::zip(full, rests)
                .map(|(full, rests)| Rung { full, rests })
                .collect::<Vec<_>>()
        };
        let all = rungs([false; 3]);
        assert_eq!(climb(5000, &all), [Some(300), Some(1000), Some(2700)]);
        assert_eq!(climb(2700, &all), [Some(300), Some(1000), Some(1400)]);
        assert_eq!(climb(2600, &all), [Some(300), Some(1000), None]);
        assert_eq!(climb(700, &all), [Some(300), None, None]);
        assert_eq!(climb(100, &all), [Some(100), None, None]);
        let lowest = rungs([false, true, true]);
        assert_eq!(climb(1000, &lowest), [Some(300), None, None]);
        assert_eq!(climb(1050, &lowest), [Some(300), Some(750), None]);
        assert_eq!(climb(3300, &lowest), [Some(300), Some(1000), None]);
        assert_eq!(next_rung(&lowest), Some(1050));
        assert_eq!(next_rung(&all), None);
    }

    #[test]
    fn a_policy_picks_one_of_the_rates() {
        let pick = |policy: Policy, rates: &[u64]| policy.pick(rates.to_vec());
        let rates = [5, 1, 9, 2];
        assert_eq!(pick(Policy::Slowest, &rates), Some(1));
        assert_eq!(pick(Policy::Median, &rates), Some(2));
        assert_eq!(pick(Policy::Median, &rates[..3]), Some(5));
        assert_eq!(pick(Policy::Fastest, &rates), Some(9));
        assert_eq!(pick(Policy::Median, &[]), None);
    }

    #[test]
    fn video_gets_what_audio_leaves_by_its_shares() {
        assert_eq!(split(1000, 100, &[2.0, 1.0]), [600, 300]);
        assert_eq!(split(1000, 100, &[0.0, 0.0]), [450, 450]);
        assert_eq!(split(50, 100, &[1.0]), [0]);
        assert!(split(1000, 0, &[]).is_empty());
    }
}
