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
