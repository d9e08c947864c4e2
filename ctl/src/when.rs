//! Times and durations as people write and read them. Only this module uses local time; the wire has UTC seconds.

use std::fmt;

use chrono::{DateTime, Days, Local, LocalResult, NaiveDate, NaiveDateTime, NaiveTime, TimeZone};
use jit_core::clock::duration::{self, InvalidDuration, Seconds};

pub(crate) use jit_core::clock::duration::spell;

/// Why a text is not a time or a duration; `Display` is a sentence fragment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum WhenError {
    /// Not a duration.
    Duration(InvalidDuration),
    /// A duration of zero.
    Nothing,
    /// Not in a format of times.
    Time,
    /// Not in a format of past times.
    PastTime,
    /// In the past.
    Past,
    /// Skipped by a change of the clock.
    Skipped,
}

impl fmt::Display for WhenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Duration(invalid) => return invalid.fmt(f),
            Self::Nothing => "a duration is at least 1s",
            Self::Time => {
                "write a time such as \"14:30\", \"tomorrow 09:00\", \"2026-07-01 09:00\", \"+2h\" or RFC 3339"
            }
            Self::PastTime => {
                "write a time such as \"2h\" (ago), \"14:30\", \"yesterday 09:00\", \"2026-07-01\" or RFC 3339"
            }
            Self::Past => "this time is over",
            Self::Skipped => "this local time does not exist, the clock is put forward over it",
        })
    }
}

impl std::error::Error for WhenError {}

/// Whole seconds since 1970.
pub(crate) fn now() -> i64 {
    Local::now().timestamp()
}

/// Returns the day, as `2026-11-28`.
pub(crate) fn today() -> String {
    Local::now().format("%Y-%m-%d").to_string()
}

/// Parses `1h30m` and the like, as the policy does; a duration of zero is an error.
pub(crate) fn parse_duration(text: &str) -> Result<Seconds, WhenError> {
    match duration::seconds(text).map_err(WhenError::Duration)? {
        Seconds::ZERO => Err(WhenError::Nothing),
        seconds => Ok(seconds),
    }
}

/// Parses a time as for `--at`, in the user's time zone, into seconds since 1970.
pub(crate) fn parse_start(text: &str) -> Result<i64, WhenError> {
    start_from(text, &Local::now())
}

/// Parses the same relative to any moment and zone. A plain time of day is the next one; of an hour that the clock
/// repeats, it is the first.
fn start_from<Z: TimeZone>(text: &str, now: &DateTime<Z>) -> Result<i64, WhenError> {
    if let Some(duration) = text.strip_prefix('+') {
        let later = parse_duration(duration)?;
        return Ok(now.timestamp().saturating_add_unsigned(later.0));
    }
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return not_past(time.timestamp(), now);
    }
    let today = now.naive_local().date();
    let zone = now.timezone();
    if let Some(time) = time_of_day(text) {
        return match not_past(at(&zone, today, time)?, now) {
            Err(WhenError::Past) => at(&zone, day_after(today)?, time),
            start => start,
        };
    }
    let (day, time) = text.rsplit_once([' ', 'T']).ok_or(WhenError::Time)?;
    let day = match day.trim_end() {
        "today" => today,
        "tomorrow" => day_after(today)?,
        date => NaiveDate::parse_from_str(date, "%Y-%m-%d").map_err(|_| WhenError::Time)?,
    };
    not_past(at(&zone, day, time_of_day(time).ok_or(WhenError::Time)?)?, now)
}

/// Parses a time as for `--since`, in the user's time zone, into seconds since 1970.
pub(crate) fn parse_past(text: &str) -> Result<i64, WhenError> {
    past_from(text, &Local::now())
}

/// Parses the same relative to any moment and zone. A duration counts back from now, a plain time of day is the last one,
/// a plain day begins at midnight.
fn past_from<Z: TimeZone>(text: &str, now: &DateTime<Z>) -> Result<i64, WhenError> {
    if let Ok(ago) = parse_duration(text) {
        return Ok(now.timestamp().saturating_sub_unsigned(ago.0));
    }
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Ok(time.timestamp());
    }
    let today = now.naive_local().date();
    let yesterday = today.checked_sub_days(Days::new(1)).ok_or(WhenError::PastTime)?;
    let zone = now.timezone();
    if let Some(time) = time_of_day(text) {
        let start = at(&zone, today, time)?;
        return if start > now.timestamp() { at(&zone, yesterday, time) } else { Ok(start) };
    }
    let day = |text: &str| match text {
        "today" => Ok(today),
        "yesterday" => Ok(yesterday),
        date => NaiveDate::parse_from_str(date, "%Y-%m-%d").map_err(|_| WhenError::PastTime),
    };
    if let Ok(day) = day(text) {
        return at(&zone, day, NaiveTime::MIN);
    }
    let (date, time) = text.rsplit_once([' ', 'T']).ok_or(WhenError::PastTime)?;
    at(&zone, day(date.trim_end())?, time_of_day(time).ok_or(WhenError::PastTime)?)
}

fn time_of_day(text: &str) -> Option<NaiveTime> {
    NaiveTime::parse_from_str(text, "%H:%M").or_else(|_| NaiveTime::parse_from_str(text, "%H:%M:%S")).ok()
}

fn day_after(day: NaiveDate) -> Result<NaiveDate, WhenError> {
    day.checked_add_days(Days::new(1)).ok_or(WhenError::Time)
}

fn at<Z: TimeZone>(zone: &Z, day: NaiveDate, time: NaiveTime) -> Result<i64, WhenError> {
    match zone.from_local_datetime(&NaiveDateTime::new(day, time)) {
        LocalResult::Single(time) | LocalResult::Ambiguous(time, _) => Ok(time.timestamp()),
        LocalResult::None => Err(WhenError::Skipped),
    }
}

fn not_past<Z: TimeZone>(start: i64, now: &DateTime<Z>) -> Result<i64, WhenError> {
    if start < now.timestamp() { Err(WhenError::Past) } else { Ok(start) }
}

/// Formats microseconds as `1.204s`.
pub(crate) fn duration_of_micros(micros: u64) -> String {
    let (seconds, milli) = (micros / 1_000_000, micros % 1_000_000 / 1000);
    if seconds < 60 { format!("{seconds}.{milli:03}s") } else { spell(Seconds(seconds)) }
}

/// Formats `in 42m`, `3m ago`, `now`, rounded for reading.
pub(crate) fn relative(time: i64, now: i64) -> String {
    let distance = time.abs_diff(now);
    let rounded = match distance {
        0..600 => distance,
        600..86_400 => distance - distance % 60,
        _ => distance - distance % 3600,
    };
    match time {
        _ if distance == 0 => "now".to_owned(),
        _ if time > now => format!("in {}", spell(Seconds(rounded))),
        _ => format!("{} ago", spell(Seconds(rounded))),
    }
}

/// Formats for tables: the time of day, with the date if it is another day.
pub(crate) fn short(time: i64, now: i64) -> String {
    match (local(time), local(now)) {
        (Some(time), Some(today)) if time.date_naive() == today.date_naive() => time.format("%H:%M:%S").to_string(),
        (Some(time), _) => time.format("%Y-%m-%d %H:%M").to_string(),
        (None, _) => format!("@{time}"),
    }
}

/// Formats for tables: the time and the distance from now.
pub(crate) fn short_relative(time: i64, now: i64) -> String {
    format!("{} ({})", short(time, now), relative(time, now))
}

/// Formats for details: date, time, zone and the distance from now.
pub(crate) fn long(time: i64, now: i64) -> String {
    match local(time) {
        Some(date) => format!("{} ({})", date.format("%Y-%m-%d %H:%M:%S %:z"), relative(time, now)),
        None => format!("@{time}"),
    }
}

fn local(time: i64) -> Option<DateTime<Local>> {
    Local.timestamp_opt(time, 0).single()
}

#[cfg(test)]
mod tests {
    use chrono::FixedOffset;

    use super::*;

    /// Formats as 2026-07-01 12:00:00 +02:00.
    fn noon() -> DateTime<FixedOffset> {
        DateTime::parse_from_rfc3339("2026-07-01T12:00:00+02:00").unwrap()
    }

    fn start(text: &str) -> Result<String, WhenError> {
        let seconds = start_from(text, &noon())?;
        Ok(noon().timezone().timestamp_opt(seconds, 0).unwrap().format("%m-%d %H:%M:%S").to_string())
    }

    #[test]
    fn durations_are_written_as_in_the_policy_and_not_zero() {
        assert_eq!(parse_duration("1h30m"), Ok(Seconds(5400)));
        assert_eq!(parse_duration("0s"), Err(WhenError::Nothing));
        for text in ["", "0", "-1h", "+1h", "1.5h", "1 h", "30m1h", "500ms", "367d", "99999999999999999999d"] {
            assert!(matches!(parse_duration(text), Err(WhenError::Duration(_))), "{text}");
        }
    }

    #[test]
    fn times_are_local_and_a_time_of_day_is_the_next_one() {
        for (text, expected) in [
            ("14:30", "07-01 14:30:00"),
            ("12:00", "07-01 12:00:00"),
            ("11:59:59", "07-02 11:59:59"),
            ("tomorrow 09:00", "07-02 09:00:00"),
            ("today 23:00", "07-01 23:00:00"),
            ("2026-12-31 08:15", "12-31 08:15:00"),
            ("2026-12-31T08:15:10", "12-31 08:15:10"),
            ("2026-07-01T20:00:00Z", "07-01 22:00:00"),
            ("+2h", "07-01 14:00:00"),
        ] {
            assert_eq!(start(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn past_times_have_their_own_formats() {
        let past = |text: &str| past_from(text, &noon()).map(|time| noon().timestamp() - time);
        for (text, ago) in [
            ("2h", 7200),
            ("1d", 86_400),
            ("11:30", 1800),
            ("12:30", 86_400 - 1800),
            ("today", 43_200),
            ("yesterday 12:00", 86_400),
            ("2026-06-30", 86_400 + 43_200),
            ("2026-07-01 11:00:01", 3599),
            ("2026-07-01T09:59:59Z", 1),
            ("2026-07-01 13:00", -3600),
        ] {
            assert_eq!(past(text), Ok(ago), "{text}");
        }
        for text in ["", "soon", "25:00", "tomorrow 09:00", "2026-02-30", "-2h", "0s"] {
            assert_eq!(past(text), Err(WhenError::PastTime), "{text}");
        }
    }

    #[test]
    fn a_time_that_is_not_in_the_future_is_refused() {
        for text in [
            "",
            "soon",
            "25:00",
            "14:30 tomorrow",
            "tomorrow",
            "2026-02-30 10:00",
            "+",
            "+0s",
            "-2h",
            "99999-01-01 10:00",
        ] {
            assert!(start(text).is_err(), "{text}");
        }
        for text in ["today 11:00", "2025-01-01 10:00", "2026-07-01T09:59:59Z"] {
            assert_eq!(start(text), Err(WhenError::Past), "{text}");
        }
    }

    #[test]
    fn distances_are_as_exact_as_a_reader_needs() {
        for (time, text) in [
            (0, "now"),
            (45, "in 45s"),
            (-150, "2m30s ago"),
            (2537, "in 42m"),
            (5_430, "in 1h30m"),
            (-180_000, "2d2h ago"),
        ] {
            assert_eq!(relative(1_000_000 + time, 1_000_000), text);
        }
        assert_eq!(relative(i64::MAX, i64::MIN).get(..3), Some("in "));
    }

    #[test]
    fn impossible_times_are_still_shown() {
        assert_eq!(long(i64::MAX, 0), format!("@{}", i64::MAX));
        assert_eq!(short(i64::MIN, 0), format!("@{}", i64::MIN));
    }
}
