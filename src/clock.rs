//! Time as an argument: a [`Moment`] is read once at the border and passed down. Wall time is UTC, so `TZ` is never read.

pub mod duration;

use std::fmt;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};

/// Wall time in microseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// From whole seconds since 1970.
    pub fn from_seconds(seconds: i64) -> Self {
        Self(seconds.saturating_mul(1_000_000))
    }

    /// Whole seconds since 1970, rounded down.
    pub fn seconds(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    /// `seconds` later.
    pub fn plus_seconds(self, seconds: i64) -> Self {
        Self(self.0.saturating_add(seconds.saturating_mul(1_000_000)))
    }

    /// RFC 3339 in UTC without a fraction, for sentences.
    pub fn to_the_second(self) -> String {
        match DateTime::<Utc>::from_timestamp_micros(self.0) {
            Some(time) => time.to_rfc3339_opts(SecondsFormat::Secs, true),
            None => format!("@{}s", self.seconds()),
        }
    }
}

/// RFC 3339 in UTC with microseconds.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match DateTime::<Utc>::from_timestamp_micros(self.0) {
            Some(time) => f.write_str(&time.to_rfc3339_opts(SecondsFormat::Micros, true)),
            None => write!(f, "@{}us", self.0),
        }
    }
}

/// Microseconds since the kernel booted, sleep included (CLOCK_BOOTTIME).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BootTime(pub i64);

/// One reading of all clocks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moment {
    /// The wall clock, which root or NTP may set.
    pub wall: Timestamp,
    /// The boot clock, which nobody can set.
    pub boot: BootTime,
    /// `/proc/sys/kernel/random/boot_id`: the boot clock means something only within one boot.
    pub boot_id: String,
}

/// Where moments come from: the system, or a test.
pub trait Clock {
    /// Reads all clocks now.
    fn now(&self) -> std::io::Result<Moment>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_read_as_rfc_3339() {
        assert_eq!(Timestamp::from_seconds(0).to_string(), "1970-01-01T00:00:00.000000Z");
        assert_eq!(Timestamp(-1).seconds(), -1);
        assert_eq!(Timestamp(i64::MAX).to_string(), "@9223372036854775807us");
    }
}
