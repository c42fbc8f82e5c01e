// SPDX-License-Identifier: MIT
//! Times that may lie before zero: nanoseconds with a sign, whose arithmetic saturates.

use gst::ClockTime;

/// A time in ns; what is beyond 2^63 ns, 292 years, counts as that.
pub fn nanos(time: ClockTime) -> i64 {
    i64::try_from(time.nseconds()).unwrap_or(i64::MAX)
}

/// The time; what lies before zero counts as zero.
pub fn clock_time(nanos: i64) -> ClockTime {
    ClockTime::from_nseconds(nanos.max(0).cast_unsigned())
}

/// A time or a difference of times in ns, wide enough for any sum of a few [`ClockTime`]s.
pub(super) type Nanos = i128;

/// The time, for sums and differences that need no care.
pub(super) fn wide(time: ClockTime) -> Nanos {
    time.nseconds().into()
}

/// The nearest time that there is.
pub(super) fn nearest(nanos: Nanos) -> ClockTime {
    let nanos = nanos.clamp(0, wide(ClockTime::MAX));
    ClockTime::from_nseconds(u64::try_from(nanos).unwrap_or(0))
}
