//! Time as the caller brings it.

use std::ops::Add;
use std::time::Duration;

use serde::{Serialize, Serializer};

/// Nanoseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The time this many nanoseconds after 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// The time this many milliseconds after 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis.saturating_mul(1_000_000))
    }

    /// Nanoseconds since 1970-01-01T00:00:00Z, the unit of OTLP.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Whole milliseconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn as_millis(self) -> u64 {
        self.0 / 1_000_000
    }

    /// The time since `earlier`; zero when `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// ISO 8601 in UTC with milliseconds, the form Langfuse reads for times in attributes.
    #[must_use]
    pub fn to_iso8601(self) -> String {
        let millis = self.as_millis();
        let (days, in_day) = (millis / 86_400_000, millis % 86_400_000);
        let (year, month, day) = civil_date(days);
        let (seconds, millis) = (in_day / 1000, in_day % 1000);
        let mut text = String::with_capacity(24);
        for (value, width, end) in [
            (year, 4, '-'),
            (month, 2, '-'),
            (day, 2, 'T'),
            (seconds / 3600, 2, ':'),
            (seconds / 60 % 60, 2, ':'),
            (seconds % 60, 2, '.'),
            (millis, 3, 'Z'),
        ] {
            for place in (0..width).rev() {
                text.push(char::from(b'0' + (value / 10_u64.pow(place) % 10) as u8));
            }
            text.push(end);
        }
        text
    }
}

/// As [`to_iso8601`](Timestamp::to_iso8601) says.
impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.to_iso8601())
    }
}

impl Add<Duration> for Timestamp {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(nanos(duration)))
    }
}

/// Nanoseconds in 64 bits: 128-bit arithmetic is a library of its own in wasm.
fn nanos(duration: Duration) -> u64 {
    duration.as_secs().saturating_mul(1_000_000_000).saturating_add(u64::from(duration.subsec_nanos()))
}

/// Year, month and day of a day counted from 1970-01-01, by the 400-year cycle of the Gregorian calendar
/// with the year beginning in March, so that the leap day comes last.
fn civil_date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

/// A clock that never runs backwards or leaps, over one that may.
///
/// Hosts hand in wall-clock time. A time server or a user can set it back, and leases and deadlines made before such a
/// step would then wait for hours. It can leap forward, too: on Workers it shows 1970 outside of requests, and what was
/// recorded there must not be decades old when the first request comes. Both kinds of step are remembered and made up for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SteadyClock {
    last: Timestamp,
    /// Nanoseconds, as is `leapt`.
    set_back: u64,
    leapt: u64,
}

/// Longer than any lease, deadline or pause, so that those are over after a long sleep.
const LONGEST_STEP: u64 = 900 * 1_000_000_000;

impl SteadyClock {
    /// The steady time for the host's `now`.
    pub(crate) fn advance(&mut self, now: Timestamp) -> Timestamp {
        let last = self.last.0;
        let steady = now.0.saturating_add(self.set_back).saturating_sub(self.leapt);
        self.set_back = self.set_back.saturating_add(last.saturating_sub(steady));
        // 1970 itself is a time, too: what comes after it is a leap.
        let steady = steady.max(last).max(1);
        let latest = if last == 0 { u64::MAX } else { last.saturating_add(LONGEST_STEP) };
        self.leapt += steady.saturating_sub(latest);
        self.last = Timestamp(steady.min(latest));
        self.last
    }

    /// The host's time at which the steady clock will show `steady`.
    pub(crate) fn host_time(&self, steady: Timestamp) -> Timestamp {
        Timestamp(steady.0.saturating_add(self.leapt).saturating_sub(self.set_back))
    }
}
