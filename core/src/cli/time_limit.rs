//! Parses the argument of -T, with sudo's grammar (sudoers(5), "Timeout_Spec"): `7d8h30m10s`, where the last number may
//! be bare seconds.

use std::ffi::OsStr;

use super::error::UsageError;
use crate::clock::duration::Seconds;
use crate::escape::escape;
use std::os::unix::ffi::OsStrExt;

/// The units in seconds, in their required order.
const UNITS: [(u8, u64); 4] = [(b'd', 86_400), (b'h', 3600), (b'm', 60), (b's', 1)];

/// The maximum that sudo accepts.
const MOST: u64 = i32::MAX as u64;

/// Parses the limit to seconds; 0 is no limit.
pub(super) fn read(typed: &OsStr) -> Result<Seconds, UsageError> {
    let refuse = |cause: &str| UsageError::Value(format!("{}: {cause}", escape(typed.as_bytes())));
    let invalid = || refuse("invalid timeout value");
    let mut rest = typed.as_bytes();
    let mut units = UNITS.as_slice();
    let mut total: u64 = 0;
    loop {
        let length = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (digits, after) = rest.split_at_checked(length).ok_or_else(invalid)?;
        if digits.is_empty() {
            return Err(invalid());
        }
        let number = digits
            .iter()
            .fold(0_u64, |sum, digit| sum.saturating_mul(10).saturating_add(u64::from(digit.saturating_sub(b'0'))));
        let scale = match after.first() {
            None => 1,
            Some(unit) => {
                let at = units.iter().position(|(name, _)| *name == unit.to_ascii_lowercase()).ok_or_else(invalid)?;
                let (_, scale) = units.get(at).ok_or_else(invalid)?;
                units = units.get(at + 1..).unwrap_or_default();
                *scale
            }
        };
        total = total.saturating_add(number.saturating_mul(scale));
        if total > MOST {
            return Err(refuse("timeout value too large"));
        }
        rest = after.get(1..).unwrap_or_default();
        if rest.is_empty() {
            return Ok(Seconds(total));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_limits_are_parsed_as_by_sudo() {
        for (text, seconds) in
            [("0", 0), ("5", 5), ("5s", 5), ("1M", 60), ("1d2h3m4", 93_784), ("2h10", 7210), ("2147483647", MOST)]
        {
            assert_eq!(read(OsStr::new(text)).ok(), Some(Seconds(seconds)), "{text}");
        }
        for text in ["", "5x", "m", "1m1h", "1m1m", "-1", " 5", "5 ", "1.5", "99999999999999999999", "24856d", "\u{ff}"]
        {
            assert!(read(OsStr::new(text)).is_err(), "{text}");
        }
    }
}
