//! Time spans in the form that users write: `30s`, `15m`, `1h30m`, `7d`. The policy, the command line and jitctl use
//! the same form; a bare number is an error.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A time span in whole seconds, unlike [`super::Timestamp`], which is a time in microseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seconds(pub u64);

impl Seconds {
    /// No time; in many places it means that there is no limit.
    pub const ZERO: Self = Self(0);

    /// Returns how long it takes from one time in seconds to another; zero if that is not later.
    pub fn between(from: i64, to: i64) -> Self {
        Self(u64::try_from(i128::from(to) - i128::from(from)).unwrap_or(0))
    }

    /// Rounds up, so that a countdown shows its last second as 1s.
    pub fn rounded_up(left: Duration) -> Self {
        Self(left.as_millis().div_ceil(1000).try_into().unwrap_or(u64::MAX))
    }

    /// Returns `None` for zero.
    pub fn positive(self) -> Option<Self> {
        (self > Self::ZERO).then_some(self)
    }

    /// Returns the number to add to a time in seconds.
    pub fn signed(self) -> i64 {
        i64::try_from(self.0).unwrap_or(i64::MAX)
    }
}

impl From<Seconds> for Duration {
    fn from(seconds: Seconds) -> Self {
        Self::from_secs(seconds.0)
    }
}

/// The maximum time span: 366 days.
pub const LONGEST: Seconds = Seconds(366 * 86_400);

/// Why a text is not a time span.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidDuration {
    text: String,
    cause: &'static str,
}

impl fmt::Display for InvalidDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown: String = self.text.chars().take(40).collect();
        write!(f, "'{}' {}", crate::escape::escape(shown.as_bytes()), self.cause)
    }
}

impl std::error::Error for InvalidDuration {}

/// Milliseconds in each unit, longest first. Only [`milliseconds`] accepts `ms`.
const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

/// Parses whole seconds, from `0s` to [`LONGEST`]. Units are `d`, `h`, `m` and `s`, each at most once, longest first.
pub fn seconds(text: &str) -> Result<Seconds, InvalidDuration> {
    let span = milliseconds(text)?;
    if text.contains("ms") {
        return Err(InvalidDuration { text: text.to_owned(), cause: "must be in whole seconds" });
    }
    Ok(Seconds(span / 1000))
}

/// Parses a number of days, such as `400d`, from one day to a hundred years, in seconds: a retention time.
pub fn days(text: &str) -> Result<Seconds, InvalidDuration> {
    let number = text.strip_suffix('d').filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
    match number.and_then(|digits| digits.parse().ok()) {
        Some(days @ 1..=36_500_u64) => Ok(Seconds(days * 86_400)),
        _ => Err(InvalidDuration { text: text.to_owned(), cause: "is not a number of days such as 400d" }),
    }
}

/// Parses milliseconds, from `0ms` to [`LONGEST`] seconds; the unit `ms` is also accepted.
pub fn milliseconds(text: &str) -> Result<u64, InvalidDuration> {
    let refuse = |cause| InvalidDuration { text: text.to_owned(), cause };
    let not_a_duration = "is not a duration such as 30s, 15m, 1h30m or 7d";
    let mut rest = text;
    let mut units = UNITS.as_slice();
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let (digits, after) = rest.split_at(leading(rest, |byte| byte.is_ascii_digit()));
        let (unit, after) = after.split_at(leading(after, |byte| byte.is_ascii_alphabetic()));
        if digits.is_empty() {
            return Err(refuse(not_a_duration));
        }
        if unit.is_empty() {
            return Err(refuse("has no unit: write 30s, 15m, 1h30m or 7d"));
        }
        let at = units.iter().position(|(name, _)| *name == unit).ok_or_else(|| refuse(not_a_duration))?;
        let (_, scale) = units.get(at).ok_or_else(|| refuse(not_a_duration))?;
        units = units.get(at + 1..).unwrap_or_default();
        let number: u64 = digits.parse().map_err(|_| refuse("is longer than 366 days"))?;
        total = number.checked_mul(*scale).and_then(|part| total.checked_add(part)).unwrap_or(u64::MAX);
        rest = after;
    }
    if text.is_empty() {
        Err(refuse(not_a_duration))
    } else if total > LONGEST.0 * 1000 {
        Err(refuse("is longer than 366 days"))
    } else {
        Ok(total)
    }
}

/// Formats seconds so that [`seconds`] parses them: `5400` is `1h30m`.
pub fn spell(seconds: Seconds) -> String {
    let mut text = String::new();
    let mut rest = seconds.0;
    for (unit, scale) in [("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)] {
        if rest >= scale {
            text.push_str(&format!("{}{unit}", rest / scale));
            rest %= scale;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

fn leading(text: &str, wanted: impl Fn(&u8) -> bool) -> usize {
    text.bytes().take_while(|byte| wanted(byte)).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_whole_and_bounded() {
        assert_eq!(days("400d"), Ok(Seconds(400 * 86_400)));
        for text in ["", "d", "0d", "36501d", "1h", "1.5d", "-1d", "+1d", "99999999999999999999d", "1d "] {
            assert!(days(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations_round_trip() {
        for (text, expected) in
            [("30s", 30), ("15m", 900), ("1h30m", 5400), ("7d", 604_800), ("366d", LONGEST.0), ("0s", 0)]
        {
            assert_eq!(seconds(text), Ok(Seconds(expected)), "{text}");
            assert_eq!(seconds(&spell(Seconds(expected))), Ok(Seconds(expected)));
        }
        assert_eq!(milliseconds("1s500ms"), Ok(1500));
        assert_eq!(milliseconds("500ms"), Ok(500));
    }

    #[test]
    fn ambiguous_durations_are_rejected() {
        for text in [
            "",
            "s",
            "30",
            "1h30",
            "30m1h",
            "1h1h",
            "-5m",
            "+5m",
            "1.5h",
            "1 h",
            " 1h",
            "1h ",
            "1H",
            "1w",
            "367d",
            "500ms",
            "99999999999999999999s",
            "18446744073709551615d",
            "٣s",
            "1m\n",
            "366d1s",
        ] {
            assert!(seconds(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn errors_show_the_input_without_control_characters() {
        assert_eq!(
            seconds("\x1b[2J").unwrap_err().to_string(),
            "'\\x1b[2J' is not a duration such as 30s, 15m, 1h30m or 7d"
        );
    }
}
