//! Checks of the clock: whether it was changed since the last record, and whether it determines the age of records.
//! May not: read a clock; the time comes in as a `Moment`.

use std::fmt;

use rusqlite::Connection;
use serde::Deserialize;

use super::error::JournalError;
use super::history::{history, last};
use super::journal::Journal;
use jit_core::clock::duration::{Seconds, spell};
use jit_core::clock::{BootTime, Moment, TOLERANCE_US, Timestamp};
use jit_core::evidence::Digest;
use jit_core::evidence::acceptance::ACCEPTED;

/// A fault of the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ClockFault {
    /// Since the last record it advanced by this many microseconds more than the boot clock.
    SetForward(i64),
    /// Since the last record it advanced by this many microseconds less than the boot clock (a negative number).
    SetBack(i64),
    /// After a boot it is this many microseconds before the latest record.
    BehindAfterBoot(i64),
}

impl ClockFault {
    pub(super) fn code(self) -> &'static str {
        match self {
            Self::SetForward(_) => "clock-set-forward",
            Self::SetBack(_) => "clock-set-back",
            Self::BehindAfterBoot(_) => "clock-behind-after-boot",
        }
    }
}

impl fmt::Display for ClockFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let span = |us: i64| spell(Seconds(us.unsigned_abs() / 1_000_000));
        match *self {
            Self::SetForward(us) => write!(f, "the clock was set forward by {}", span(us)),
            Self::SetBack(us) => write!(f, "the clock was set back by {}", span(us)),
            Self::BehindAfterBoot(us) => {
                write!(f, "after a boot the clock stands {} before the latest record", span(us))
            }
        }
    }
}

/// The reason why the age of records is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClockDoubt {
    /// The clock is this many microseconds before the latest record.
    Behind(i64),
    /// The clock was set forward by this many microseconds, and not back.
    Ahead(i64),
}

impl ClockDoubt {
    /// Returns what the administrator does about it.
    pub fn cure(self) -> &'static str {
        match self {
            Self::Behind(_) => "set the clock, or if it is right: jitctl key accept --reason 'WHY'",
            Self::Ahead(_) => "set the clock if it is wrong, and when it is right: jitctl key accept --reason 'WHY'",
        }
    }
}

impl fmt::Display for ClockDoubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let span = |us: i64| spell(Seconds(us.unsigned_abs() / 1_000_000));
        match *self {
            Self::Behind(us) => write!(f, "the clock stands {} before the latest record", span(us)),
            Self::Ahead(us) => write!(f, "the clock was set forward by {} and not back", span(us)),
        }
    }
}

/// The clock readings of a record, and the hash of the record before it; its other keys are not decoded.
#[derive(Deserialize)]
pub(super) struct ClockReading {
    time: i64,
    boot: i64,
    pub(super) boot_id: String,
    pub(super) prev: Digest,
}

impl Journal<'_> {
    /// Returns the reason why the clock does not determine the age of records, if it does not: it was set forward and not back
    /// since root last accepted the state of the host, or it is before the latest record.
    pub fn clock_in_doubt(&self, moment: &Moment) -> Result<Option<ClockDoubt>, JournalError> {
        let connection = self.database.connection();
        let high = last(connection)?.map_or(i64::MIN, |last| last.high.0);
        let behind = high.saturating_sub(moment.wall.0);
        if behind > TOLERANCE_US {
            return Ok(Some(ClockDoubt::Behind(behind)));
        }
        let ahead = ahead(&changes(connection)?);
        Ok((ahead > TOLERANCE_US).then_some(ClockDoubt::Ahead(ahead)))
    }
}

/// A recorded change of the clock.
struct Change {
    fault: ClockFault,
    /// The boot in which it happened.
    boot_id: String,
    /// How far the clock would be before the latest record of that time without the change, µs.
    behind: i64,
}

/// The amount of a forward change that is expected, in the boot where it was recorded and in no other.
#[derive(Default)]
struct ExpectedJump<'c> {
    boot_id: &'c str,
    /// The boot began with a clock that was behind. The true time is unknown, so a forward change counts as a correction, but not
    /// once the clock has passed the latest record.
    began_behind: bool,
    /// How far the clock was set back, µs, except from ahead: setting it forward by as much undoes that.
    back: i64,
}

/// Returns by how much the clock was set forward in all, µs.
fn ahead(changes: &[Change]) -> i64 {
    let (mut ahead, mut expected_jump) = (0_i64, ExpectedJump::default());
    for change in changes {
        if expected_jump.boot_id != change.boot_id {
            expected_jump = ExpectedJump { boot_id: &change.boot_id, ..ExpectedJump::default() };
        }
        match change.fault {
            ClockFault::SetForward(_) if expected_jump.began_behind && change.behind > TOLERANCE_US => {}
            ClockFault::SetForward(us) => {
                let answered = us.min(expected_jump.back);
                expected_jump.back = expected_jump.back.saturating_sub(answered);
                ahead = ahead.saturating_add(us.saturating_sub(answered));
            }
            ClockFault::SetBack(us) => {
                let stands = ahead.saturating_add(us);
                ahead = stands.max(0);
                expected_jump.back = expected_jump.back.saturating_sub(stands.min(0));
            }
            ClockFault::BehindAfterBoot(_) => expected_jump.began_behind = true,
        }
    }
    ahead
}

/// Returns the changes of the clock that were recorded since it was last accepted or confirmed, in their order: each from
/// an alert and the record before it.
fn changes(connection: &Connection) -> Result<Vec<Change>, JournalError> {
    #[derive(Deserialize)]
    struct Alerted {
        code: String,
        #[serde(flatten)]
        reading: ClockReading,
    }
    let query = history!(
        "SELECT a.body, b.body, b.high FROM history a LEFT JOIN history b ON b.seq = \
                 (SELECT max(c.seq) FROM history c WHERE c.seq < a.seq AND c.kind <> 'fork') \
                 WHERE a.kind = 'alert' AND a.kind NOT IN ('start', 'end') AND a.seq > coalesce((SELECT max(d.seq) \
                 FROM history d WHERE d.kind = 'clock' AND d.kind NOT IN ('start', 'end')), 0) ORDER BY a.seq DESC"
    );
    let mut statement = connection.prepare(query)?;
    let mut rows = statement.query([])?;
    let mut changes = Vec::new();
    while let Some(row) = rows.next()? {
        // Ignores what cannot be decoded, which a verification reports.
        let Ok(alert) = serde_json::from_slice::<Alerted>(row.get_ref(0)?.as_bytes().unwrap_or_default()) else {
            continue;
        };
        match alert.code.as_str() {
            ACCEPTED => break,
            "clock-set-forward" | "clock-set-back" | "clock-behind-after-boot" => {
                let before = row.get_ref(1)?.as_bytes_or_null().unwrap_or_default().unwrap_or_default();
                let high = Timestamp(row.get::<_, Option<i64>>(2)?.unwrap_or(i64::MIN));
                // If the record before it was pruned, the size of the change is unknown; the clock was not in doubt at the time
                // of a pruning.
                let last = serde_json::from_slice::<ClockReading>(before).ok();
                changes.extend(last.and_then(|last| change(&last, high, alert.reading)));
            }
            _ => {}
        }
    }
    changes.reverse();
    Ok(changes)
}

/// Returns the change between two readings, if there is one.
fn change(last: &ClockReading, high: Timestamp, now: ClockReading) -> Option<Change> {
    let now = Moment { wall: Timestamp(now.time), boot: BootTime(now.boot), boot_id: now.boot_id };
    let fault = compare(last, high, &now)?;
    let unchanged = last.time.saturating_add(now.boot.0.saturating_sub(last.boot));
    Some(Change { fault, boot_id: now.boot_id, behind: high.0.saturating_sub(unchanged) })
}

/// Within one boot both clocks advance equally; after a boot only a clock that is behind can be noticed. A clock that was
/// set forward while the host was off cannot be distinguished from elapsed time.
pub(super) fn compare(last: &ClockReading, high: Timestamp, now: &Moment) -> Option<ClockFault> {
    if last.boot_id != now.boot_id {
        let behind = high.0.saturating_sub(now.wall.0);
        return (behind > TOLERANCE_US).then_some(ClockFault::BehindAfterBoot(behind));
    }
    let drift = now.wall.0.saturating_sub(last.time).saturating_sub(now.boot.0.saturating_sub(last.boot));
    if drift > TOLERANCE_US {
        Some(ClockFault::SetForward(drift))
    } else if drift < -TOLERANCE_US {
        Some(ClockFault::SetBack(drift))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::fault::alert;
    use crate::audit::{SCHEMA, sample};
    use crate::database::tests::Scratch;
    use crate::database::{Database, Durability};
    use jit_core::evidence::record::Event;

    const HOUR: i64 = 3_600_000_000;

    fn moment(wall: i64, boot: i64, boot_id: &str) -> Moment {
        let start = sample::moment(0).wall.0;
        Moment { wall: Timestamp(start + wall), boot: BootTime(boot), boot_id: boot_id.to_owned() }
    }

    #[test]
    fn each_change_of_the_clock_is_recorded_once() {
        let scratch = Scratch::new("checks-clock");
        let database = Database::create(&scratch.path(), &[SCHEMA]).unwrap();
        let journal = Journal::new(&database, "web1", Vec::new());
        let seen = |wall, boot, id: &str| sample::codes(&journal.notice(&moment(wall, boot, id), None).unwrap());
        assert!(seen(0, 0, "a").is_empty(), "an empty journal knows no time");
        let record = |moment: &Moment| {
            let event = sample::events().remove(2);
            let _ = database.write(Durability::Ordered, |tx| journal.append(tx, moment, event)).unwrap();
        };
        record(&moment(0, 0, "a"));
        assert!(seen(HOUR, HOUR, "a").is_empty());
        assert!(seen(HOUR + 30_000_000, HOUR, "a").is_empty(), "half a minute is no change");
        assert_eq!(seen(10 * HOUR, HOUR, "a"), ["clock-set-forward"]);
        assert!(seen(10 * HOUR, HOUR, "a").is_empty());
        assert_eq!(seen(2 * HOUR, 2 * HOUR, "a"), ["clock-set-back"]);
        assert!(seen(3 * HOUR, 3 * HOUR, "a").is_empty());
        assert_eq!(seen(3 * HOUR, 0, "b"), ["clock-behind-after-boot"]);
        assert!(seen(3 * HOUR, 0, "b").is_empty());
        assert_eq!(seen(-450_000 * HOUR, HOUR, "b"), ["clock-set-back"], "1970");
        assert_eq!(seen(20 * HOUR, 2 * HOUR, "b"), ["clock-set-forward"]);
        assert!(seen(21 * HOUR, 0, "c").is_empty(), "a boot with time that passed");
        assert!(journal.verify_all().unwrap().is_ok());
    }

    #[test]
    fn a_clock_that_was_set_forward_is_in_doubt_until_it_is_set_back_or_accepted() {
        let scratch = Scratch::new("checks-doubt");
        let database = Database::create(&scratch.path(), &[SCHEMA]).unwrap();
        let journal = Journal::new(&database, "web1", Vec::new());
        let append = |moment: &Moment, event: Event| {
            let _ = database.write(Durability::Ordered, |tx| journal.append(tx, moment, event)).unwrap();
        };
        let at = |wall, boot, id: &str| {
            let moment = moment(wall, boot, id);
            let _ = journal.notice(&moment, None).unwrap();
            journal.clock_in_doubt(&moment).unwrap().map(|doubt| doubt.to_string())
        };
        append(&moment(0, 0, "a"), sample::events().remove(2));
        assert_eq!(at(HOUR, HOUR, "a"), None);
        let ahead = at(9_000 * HOUR, 2 * HOUR, "a").unwrap();
        assert!(ahead.starts_with("the clock was set forward by 374d") && ahead.ends_with("and not back"), "{ahead}");
        // The clock was corrected: the latest record is still in the future.
        let behind = at(3 * HOUR, 3 * HOUR, "a").unwrap();
        assert!(behind.contains("before the latest record"), "{behind}");
        append(&moment(3 * HOUR, 3 * HOUR, "a"), alert(ACCEPTED, "it is right now"));
        assert_eq!(at(4 * HOUR, 4 * HOUR, "a"), None);
        // A host without a hardware clock is behind after each boot, until its clock is set.
        assert!(at(2 * HOUR, 0, "b").is_some());
        let half = HOUR / 2;
        assert_eq!(at(9 * HOUR, half, "b"), None);
        // A change forward and back again cancels out.
        assert!(at(19 * HOUR, half, "b").is_some());
        assert!(at(9 * HOUR, half, "b").is_some(), "the latest record is of then");
        assert_eq!(at(20 * HOUR, 11 * HOUR + half, "b"), None);
    }

    /// Returns the doubt about the clock after these readings, each of them noticed: hours of the wall clock, hours since the
    /// boot, and the boot.
    fn doubt(name: &str, readings: &[(i64, i64, &str)]) -> Option<String> {
        let scratch = Scratch::new(name);
        let database = Database::create(&scratch.path(), &[SCHEMA]).unwrap();
        let journal = Journal::new(&database, "web1", Vec::new());
        let append = |moment: &Moment| {
            let event = sample::events().remove(2);
            let _ = database.write(Durability::Ordered, |tx| journal.append(tx, moment, event)).unwrap();
        };
        append(&moment(0, 0, "a"));
        let mut doubt = None;
        for (wall, boot, id) in readings {
            let moment = moment(wall * HOUR, boot * HOUR, id);
            let _ = journal.notice(&moment, None).unwrap();
            append(&moment);
            doubt = journal.clock_in_doubt(&moment).unwrap();
        }
        doubt.map(|doubt| doubt.to_string())
    }

    #[test]
    fn a_late_clock_does_not_hide_a_jump_in_a_later_boot_or_past_the_latest_record() {
        let forward = |name, readings: &[_]| {
            let doubt = doubt(name, readings).unwrap();
            assert!(doubt.contains("set forward by 41d"), "{doubt}");
        };
        forward("checks-next-boot", &[(9, 9, "a"), (8, 0, "b"), (10, 2, "b"), (11, 0, "c"), (1000, 1, "c")]);
        forward("checks-behind-next-boot", &[(9, 9, "a"), (8, 0, "b"), (11, 0, "c"), (1000, 1, "c")]);
        forward("checks-passed", &[(9, 9, "a"), (8, 0, "b"), (10, 2, "b"), (1000, 3, "b")]);
        // No record was written as the clock passed the latest one.
        forward("checks-passed-unseen", &[(9, 9, "a"), (8, 0, "b"), (1000, 2, "b")]);
        // Until then the clock may be corrected in two steps.
        assert_eq!(doubt("checks-steps", &[(900, 900, "a"), (0, 0, "b"), (500, 1, "b"), (1000, 2, "b")]), None);
    }

    #[test]
    fn a_clock_that_was_set_back_and_corrected_is_not_in_doubt() {
        assert_eq!(doubt("checks-mistake", &[(9, 9, "a"), (7, 9, "a"), (9, 9, "a")]), None);
        assert_eq!(doubt("checks-mistake-later", &[(9, 9, "a"), (7, 9, "a"), (11, 13, "a"), (14, 14, "a")]), None);
        assert_eq!(doubt("checks-mistakes", &[(9, 9, "a"), (7, 9, "a"), (5, 9, "a"), (8, 9, "a"), (9, 9, "a")]), None);
        let further = doubt("checks-further", &[(9, 9, "a"), (7, 9, "a"), (12, 9, "a")]).unwrap();
        assert!(further.contains("set forward by 3h"), "{further}");
        let again = doubt("checks-again", &[(9, 9, "a"), (7, 9, "a"), (9, 9, "a"), (11, 9, "a")]).unwrap();
        assert!(again.contains("set forward by 2h"), "{again}");
        // Setting a clock back that was ahead does not allow another change forward.
        let ahead = [(9, 9, "a"), (19, 9, "a"), (9, 9, "a"), (21, 21, "a"), (31, 21, "a")];
        assert!(doubt("checks-ahead", &ahead).unwrap().contains("set forward by 10h"));
        // After another boot it is unknown what a change forward corrects.
        let boot = doubt("checks-boot", &[(9, 9, "a"), (7, 9, "a"), (10, 0, "b"), (12, 0, "b")]).unwrap();
        assert!(boot.contains("set forward by 2h"), "{boot}");
    }
}
