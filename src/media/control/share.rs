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

#[cfg(test)]
mod tests {
    use super::*;

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
