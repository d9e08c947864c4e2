//! Time as an argument: a [`Moment`] is read once at the edge of the program and passed down. Wall time is UTC, so `TZ`
//! is never read.

pub mod duration;

use std::fmt;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};

/// Wall time in microseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// Converts whole seconds since 1970.
    pub fn from_seconds(seconds: i64) -> Self {
        Self(seconds.saturating_mul(1_000_000))
    }

    /// Returns whole seconds since 1970, rounded down.
    pub fn seconds(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    /// Returns the time `seconds` later.
    pub fn plus_seconds(self, seconds: i64) -> Self {
        Self(self.0.saturating_add(seconds.saturating_mul(1_000_000)))
    }

    /// Formats the time for messages: RFC 3339 in UTC without a fraction.
    pub fn to_the_second(self) -> String {
        match DateTime::<Utc>::from_timestamp_micros(self.0) {
            Some(time) => time.to_rfc3339_opts(SecondsFormat::Secs, true),
            None => format!("@{}s", self.seconds()),
        }
    }
}

/// Formats the time as RFC 3339 in UTC with microseconds.
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
    /// The boot clock, which no user can set.
    pub boot: BootTime,
    /// `/proc/sys/kernel/random/boot_id`: the boot clock is comparable only within one boot.
    pub boot_id: String,
}

impl Moment {
    /// Returns this moment. If the wall clock was set back since `before`, which was read in the same boot, the wall
    /// time is corrected by the boot clock.
    #[must_use]
    pub fn onward(self, before: &Self) -> Self {
        let passed = self.boot.0.saturating_sub(before.boot.0);
        let least = Timestamp(before.wall.0.saturating_add(passed));
        Self { wall: self.wall.max(least), ..self }
    }
}

/// The time that determines whether something has started or expired: a reading of all clocks, and the latest time in
/// the journal, so that setting the wall clock back revives nothing that has expired. Records contain the reading
/// itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Now {
    moment: Moment,
    latest: Timestamp,
}

impl Now {
    /// Combines a reading with the latest time in the journal, if any.
    pub fn of(moment: Moment, seen: Option<Timestamp>) -> Self {
        let latest = seen.map_or(moment.wall, |seen| seen.max(moment.wall));
        Self { moment, latest }
    }

    /// Returns the reading of the clocks.
    pub fn moment(&self) -> &Moment {
        &self.moment
    }

    /// Returns the wall clock, or the latest time in the journal if the clock is behind it.
    pub fn latest(&self) -> Timestamp {
        self.latest
    }

    /// Returns [`Self::latest`] in whole seconds since 1970.
    pub fn seconds(&self) -> i64 {
        self.latest.seconds()
    }

    /// Returns this time with the wall clock set to the latest time.
    #[must_use]
    pub fn caught_up(self) -> Self {
        Self { moment: Moment { wall: self.latest, ..self.moment }, ..self }
    }

    /// Returns how far the wall clock is behind the latest time in the journal, in µs.
    pub fn behind(&self) -> i64 {
        self.latest.0.saturating_sub(self.moment.wall.0)
    }
}

/// The tolerated error of a clock: time daemons step it, and records are written a little after their moment.
pub const TOLERANCE_US: i64 = 60_000_000;

/// A source of moments: the system, or a test.
pub trait Clock {
    /// Reads all clocks now.
    fn read(&self) -> std::io::Result<Moment>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn setting_the_clock_back_delays_nothing() {
        let read = |wall, boot| Moment { wall: Timestamp(wall), boot: BootTime(boot), boot_id: "this".to_owned() };
        let began = read(1_000, 10);
        assert_eq!(read(1_500, 510).onward(&began).wall, Timestamp(1_500));
        assert_eq!(read(200, 510).onward(&began).wall, Timestamp(1_500), "set back");
        assert_eq!(read(9_000, 510).onward(&began).wall, Timestamp(9_000), "set forward");
    }

    #[test]
    fn the_latest_time_in_the_journal_counts() {
        let read = |wall| Moment { wall: Timestamp::from_seconds(wall), boot: BootTime(0), boot_id: "this".to_owned() };
        let behind = Now::of(read(7), Some(Timestamp::from_seconds(9)));
        assert_eq!((behind.seconds(), behind.behind(), behind.moment()), (9, 2_000_000, &read(7)));
        assert_eq!(behind.caught_up(), Now::of(read(9), None));
        let ahead = Now::of(read(9), Some(Timestamp::from_seconds(7)));
        assert_eq!((ahead.seconds(), ahead.behind()), (9, 0));
    }

    #[test]
    fn timestamps_are_formatted_as_rfc_3339() {
        assert_eq!(Timestamp::from_seconds(0).to_string(), "1970-01-01T00:00:00.000000Z");
        assert_eq!(Timestamp(-1).seconds(), -1);
        assert_eq!(Timestamp(i64::MAX).to_string(), "@9223372036854775807us");
    }
}
