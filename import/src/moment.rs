//! Times of `NOTBEFORE` and `NOTAFTER` (sudoers(5), "Date_Spec"): `yyyymmddHH[MM[SS]][.f][Z|+hh[mm]|-hh[mm]]`, without
//! a zone in local time. As in sudo, values that are too large count on into the next month, day or hour.

use chrono::{DateTime, Days, Local, Months, NaiveDate, NaiveDateTime, TimeDelta, TimeZone, Utc};

/// The moments that a text may mean: two where a clock was set back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moments {
    pub(super) earliest: DateTime<Utc>,
    pub(super) latest: DateTime<Utc>,
}

/// Parses a time; `None` if sudo rejects it.
pub(super) fn parse(text: &str) -> Option<Moments> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (time, rest) = text.split_at_checked(digits)?;
    let (time, rest) = match rest.strip_prefix('.') {
        Some(rest) => {
            let fraction = rest.get(..1).filter(|digit| digit.bytes().all(|byte| byte.is_ascii_digit()))?;
            (with_tenths(read(time)?, digits, fraction.parse().ok()?), rest.get(1..)?)
        }
        None => (read(time)?, rest),
    };
    if rest.is_empty() {
        let local = Local.from_local_datetime(&time);
        let (earliest, latest) = (local.earliest(), local.latest());
        // A time that a clock skipped.
        let skipped = || time.and_utc();
        return Some(Moments {
            earliest: earliest.map_or_else(skipped, |time| time.to_utc()),
            latest: latest.map_or_else(skipped, |time| time.to_utc()),
        });
    }
    let time = time.checked_sub_signed(zone(rest)?)?.and_utc();
    Some(Moments { earliest: time, latest: time })
}

fn read(digits: &str) -> Option<NaiveDateTime> {
    if !matches!(digits.len(), 10 | 12 | 14) {
        return None;
    }
    let number = |from: usize, to: usize| digits.get(from..to).map_or(Some(0), |text| text.parse::<u32>().ok());
    let year = i32::try_from(number(0, 4)?).ok()?;
    let before = NaiveDate::from_ymd_opt(year, 1, 1)?.checked_sub_months(Months::new(1))?;
    let month = before.checked_add_months(Months::new(number(4, 6)?))?;
    let day = month.checked_sub_days(Days::new(1))?.checked_add_days(Days::new(number(6, 8)?.into()))?;
    let seconds = (i64::from(number(8, 10)?) * 60 + i64::from(number(10, 12)?)) * 60 + i64::from(number(12, 14)?);
    day.and_hms_opt(0, 0, 0)?.checked_add_signed(TimeDelta::seconds(seconds))
}

/// Adds tenths of the last unit that is written; those of a second do not count.
fn with_tenths(time: NaiveDateTime, digits: usize, tenths: i64) -> NaiveDateTime {
    match digits {
        10 => time + TimeDelta::minutes(tenths * 6),
        12 => time + TimeDelta::seconds(tenths * 6),
        _ => time,
    }
}

fn zone(text: &str) -> Option<TimeDelta> {
    if text == "Z" {
        return Some(TimeDelta::zero());
    }
    let (sign, digits) = match text.split_at_checked(1)? {
        ("+", digits) => (1, digits),
        ("-", digits) => (-1, digits),
        _ => return None,
    };
    if !matches!(digits.len(), 2 | 4) || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number = |from, to| digits.get(from..to).map_or(Some(0), |text| text.parse::<i64>().ok());
    Some(TimeDelta::minutes(sign * (number(0, 2)? * 60 + number(2, 4)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `cvtsudoers -f json` of sudo 1.9.13 prints for each.
    #[test]
    fn every_form_means_what_sudo_takes_it_for() {
        for (text, said) in [
            ("2030010112Z", "20300101120000"),
            ("203001011230Z", "20300101123000"),
            ("20300101123015Z", "20300101123015"),
            ("20300101123015.5Z", "20300101123015"),
            ("203001011230.5Z", "20300101123030"),
            ("2030010112.2Z", "20300101121200"),
            ("20300101123015+0200", "20300101103015"),
            ("20300101123015+02", "20300101103015"),
            ("2030010112-0530", "20300101173000"),
            ("20300101123015+9999", "20291228075115"),
            ("20301301000000Z", "20310101000000"),
            ("20300101256000Z", "20300102020000"),
            ("20300100123015Z", "20291231123015"),
            ("20300001123015Z", "20291201123015"),
            ("20300101123099Z", "20300101123139"),
        ] {
            let told = parse(text).map(|moments| moments.latest.format("%Y%m%d%H%M%S").to_string());
            assert_eq!(told.as_deref(), Some(said), "{text}");
        }
        for text in [
            "",
            "20300101Z",
            "20300101",
            "2030010112300",
            "20300101123015z",
            "20300101123015.Z",
            "203001011230.25Z",
            "20300101123015+2",
            "2030010112+020",
            "20300101123015,5Z",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_time_without_a_zone_is_local() {
        let noon = NaiveDate::from_ymd_opt(2030, 7, 1).unwrap().and_hms_opt(12, 0, 0).unwrap();
        let local = Local.from_local_datetime(&noon).earliest().unwrap().to_utc();
        assert_eq!(parse("2030070112"), Some(Moments { earliest: local, latest: local }));
    }
}
