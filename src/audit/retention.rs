//! The age of records as far as it can be proven: by the boot clock, by records that confirm the clock, and by root's acceptance
//! of the clock. The wall clock alone proves nothing: it may be wrong after any boot.
//! May not: remove anything, or read a clock.

use rusqlite::{Connection, params};
use serde::Deserialize;

use super::clock_checks::ClockDoubt;
use super::error::JournalError;
use super::history::history;
use super::journal::{Journal, Written};
use crate::database::Durability;
use jit_core::clock::duration::Seconds;
use jit_core::clock::{Moment, Timestamp};
use jit_core::evidence::acceptance::accepts;
use jit_core::evidence::clock_event::CLOCK;
use jit_core::evidence::record::{ClockConfirmed, Confirmation, Event};

/// Which records are old enough to be removed: both must hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CutOff {
    /// The latest time up to the record is before this.
    pub before: Timestamp,
    /// The record has this number or a lower one.
    pub through: u64,
}

impl CutOff {
    /// Returns the cut-off by recorded times alone.
    pub fn by_time(before: Timestamp) -> Self {
        Self { before, through: u64::MAX }
    }
}

/// What a record says about the clocks.
#[derive(Deserialize)]
struct Reading {
    boot: i64,
    boot_id: String,
    code: Option<String>,
}

/// A walk from the present back through the records. All ages are lower bounds.
struct Walk {
    /// The age of the record reached, µs.
    age: i64,
    boot: i64,
    boot_id: String,
    /// The time of the latest record that confirms the clock, time plus age: the present; and the boot of that record.
    present: Option<(i64, String)>,
    /// Root has accepted the clock in this boot: the recorded times of earlier boots count.
    accepted: Option<String>,
}

impl Walk {
    fn begin(now: &Moment) -> Self {
        Self { age: 0, boot: now.boot.0, boot_id: now.boot_id.clone(), present: None, accepted: None }
    }

    /// Goes on to the record before. `time` and `high`: its time, and the latest time up to it.
    fn back(&mut self, kind: &str, (time, high, later): (i64, i64, i64), reading: Reading) {
        if reading.boot_id == self.boot_id {
            self.age = self.age.saturating_add(self.boot.saturating_sub(reading.boot).max(0));
            self.boot = self.boot.min(reading.boot);
        } else {
            // The later boot lasted so long up to its first record. How long the host was off is not known from here.
            let passed = self.boot.min(later.saturating_sub(time)).max(0);
            self.age = self.age.saturating_add(passed);
            (self.boot, self.boot_id) = (reading.boot, reading.boot_id);
        }
        let is_accepted = accepts(kind, reading.code.as_deref());
        match &self.present {
            None if is_accepted || kind == CLOCK => {
                self.present = Some((time.saturating_add(self.age), self.boot_id.clone()));
            }
            Some((present, boot_id)) if *boot_id != self.boot_id => {
                let vouched = self.accepted.as_ref().is_some_and(|boot_id| *boot_id != self.boot_id);
                if vouched {
                    self.age = self.age.max(present.saturating_sub(high));
                } else if is_accepted || kind == CLOCK {
                    self.age = self.age.max(present.saturating_sub(time));
                }
            }
            _ => {}
        }
        if is_accepted && self.accepted.is_none() {
            self.accepted = Some(self.boot_id.clone());
        }
    }
}

impl Journal<'_> {
    /// Returns which records are provably older than `keep`.
    pub fn cut_off(&self, keep: Seconds, now: &Moment) -> Result<CutOff, JournalError> {
        let keep_us = keep.signed().saturating_mul(1_000_000);
        let mut walk = Walk::begin(now);
        let mut later = now.wall.0;
        let query = history!("SELECT seq, kind, at, high, body FROM history ORDER BY seq DESC");
        let mut statement = self.database.connection().prepare(query)?;
        let mut rows = statement.query([])?;
        let mut through = 0;
        while let Some(row) = rows.next()? {
            // A record that cannot be decoded proves nothing, and a verification reports it.
            let Ok(reading) = serde_json::from_slice(row.get_ref(4)?.as_bytes().unwrap_or_default()) else { continue };
            let time: i64 = row.get(2)?;
            walk.back(row.get_ref(1)?.as_str().unwrap_or_default(), (time, row.get(3)?, later), reading);
            if walk.age >= keep_us {
                through = row.get::<_, i64>(0)?.unsigned_abs();
                break;
            }
            later = time;
        }
        let present = walk.present.map_or(now.wall.0, |(present, _)| present.min(now.wall.0));
        Ok(CutOff { before: Timestamp(present.saturating_sub(keep_us)), through })
    }

    /// Returns how many records behind number `after` are older than `keep` by the wall clock, which does not prove it.
    pub fn held_back(&self, keep: Seconds, after: u64, now: &Moment) -> Result<u64, JournalError> {
        let old = CutOff::by_time(now.wall.plus_seconds(keep.signed().saturating_neg()));
        let through = self.prunable(old, now)?.map_or(0, |mark| mark.seq);
        self.count(after, through)
    }

    /// Records, once in each boot, that the clock is confirmed. A change of the clock after that is not confirmed by it.
    pub fn confirm_clock(&self, now: &Moment, by: Confirmation) -> Result<Option<Written>, JournalError> {
        if matches!(self.clock_in_doubt(now)?, Some(ClockDoubt::Behind(_))) {
            return Ok(None);
        }
        self.database.write(Durability::Synced, |tx| {
            if is_confirmed(tx, &now.boot_id)? {
                return Ok(None);
            }
            self.append(tx, now, Event::Clock(ClockConfirmed { confirmed_by: by })).map(Some)
        })
    }
}

/// Whether a record of this boot confirms the clock.
fn is_confirmed(connection: &Connection, boot_id: &str) -> Result<bool, JournalError> {
    let query = history!(
        "SELECT kind, body FROM history WHERE kind IN ('alert', 'clock') AND kind NOT IN ('start', 'end') \
         AND instr(body, CAST(?1 AS BLOB)) > 0"
    );
    let mut statement = connection.prepare(query)?;
    let mut rows = statement.query(params![boot_id])?;
    while let Some(row) = rows.next()? {
        let Ok(reading) = serde_json::from_slice::<Reading>(row.get_ref(1)?.as_bytes().unwrap_or_default()) else {
            continue;
        };
        let kind = row.get_ref(0)?.as_str().unwrap_or_default();
        if reading.boot_id == boot_id && (kind == CLOCK || accepts(kind, reading.code.as_deref())) {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::fault::alert;
    use crate::audit::{SCHEMA, sample};
    use crate::database::Database;
    use crate::database::tests::Scratch;
    use jit_core::clock::BootTime;
    use jit_core::evidence::acceptance::ACCEPTED;

    const DAY: i64 = 86_400_000_000;
    const KEEP: Seconds = Seconds(400 * 86_400);

    /// Days of the wall clock, days since the boot, the boot.
    type Time = (i64, i64, &'static str);

    fn moment((wall, boot, id): Time) -> Moment {
        let start = sample::moment(0).wall.0;
        Moment { wall: Timestamp(start + wall * DAY), boot: BootTime(boot * DAY), boot_id: id.to_owned() }
    }

    #[derive(Clone, Copy)]
    enum Step {
        Record(Time),
        /// What the sweep does on a host with a time service.
        Confirm(Time),
        Accept(Time),
    }
    use Step::{Accept, Confirm, Record};

    /// Returns the number of the last record that is old enough at `now`, and whether the clock is in doubt.
    fn old(name: &str, steps: &[Step], now: Time) -> (u64, bool) {
        let scratch = Scratch::new(&format!("retention-{name}"));
        let database = Database::create(&scratch.path(), &[SCHEMA]).unwrap();
        let journal = Journal::new(&database, "web1", Vec::new());
        let append = |moment: &Moment, event: Event| {
            let _ = journal.notice(moment, None).unwrap();
            database.write(Durability::Ordered, |tx| journal.append(tx, moment, event)).unwrap().seq
        };
        for step in steps {
            match *step {
                Record(time) => drop(append(&moment(time), sample::events().remove(2))),
                Confirm(time) => {
                    let _ = journal.notice(&moment(time), None).unwrap();
                    let _ = journal.confirm_clock(&moment(time), Confirmation::Synchronised).unwrap();
                }
                Accept(time) => drop(append(&moment(time), alert(ACCEPTED, "it is right"))),
            }
        }
        let now = moment(now);
        let _ = journal.notice(&now, None).unwrap();
        let through = journal.cut_off(KEEP, &now).unwrap().through;
        assert!(journal.verify_all().unwrap().is_ok());
        (through, journal.clock_in_doubt(&now).unwrap().is_some())
    }

    #[test]
    fn a_clock_that_is_ahead_makes_no_record_old() {
        let ahead = |name, steps: &[Step], now| assert_eq!(old(name, steps, now).0, 0, "{name}");
        ahead("same-boot", &[Record((0, 1, "a"))], (1095, 1, "a"));
        ahead("after-boot", &[Record((0, 1, "a"))], (1095, 0, "b"));
        ahead("after-boot-recorded", &[Record((0, 1, "a")), Record((1095, 0, "b"))], (1096, 1, "b"));
        ahead("confirmed-before", &[Confirm((0, 1, "a"))], (1095, 0, "b"));
        // Root accepts a clock that was set: the boot clock still says how old the records of this boot are.
        ahead("accepted", &[Record((0, 1, "a")), Accept((1095, 1, "a"))], (1096, 2, "a"));
        // A daemon sets the clock after a boot with a clock that was late: the record of that boot is a day old.
        let late = [Confirm((900, 1, "a")), Record((901, 0, "b")), Confirm((1500, 1, "b"))];
        assert_eq!(old("late", &late, (1501, 2, "b")).0, 1);
    }

    #[test]
    fn the_boot_clock_alone_proves_an_age() {
        assert_eq!(old("boot", &[Record((0, 1, "a"))], (400, 401, "a")), (1, false));
        assert_eq!(old("boot-less", &[Record((0, 1, "a"))], (399, 400, "a")), (0, false));
        // Reboots that take minutes each, on a host without a time service.
        let reboots = [Record((0, 0, "a")), Record((150, 150, "a")), Record((150, 0, "b")), Record((300, 150, "b"))];
        assert_eq!(old("reboots", &reboots, (420, 120, "c")), (1, false));
        assert_eq!(old("reboots-less", &reboots, (399, 99, "c")), (0, false));
    }

    #[test]
    fn the_time_while_the_host_was_off_counts_once_the_clock_is_confirmed_or_accepted() {
        let off = [Record((0, 1, "a")), Record((1, 2, "a"))];
        assert_eq!(old("off", &off, (500, 0, "b")), (0, false));
        // A time service in both boots.
        assert_eq!(
            old("synchronised", &[off[0], Confirm((1, 2, "a")), Confirm((500, 0, "b"))], (501, 1, "b")),
            (2, false)
        );
        // In the later one alone: the time of the earlier records is not known. They count from then on.
        let later = [off[0], off[1], Confirm((500, 0, "b"))];
        assert_eq!(old("later", &later, (501, 1, "b")), (0, false));
        let again = [later[0], later[1], later[2], Confirm((950, 0, "c"))];
        assert_eq!(old("again", &again, (951, 1, "c")), (3, false));
        // Root accepts the clock: no time service is needed.
        assert_eq!(old("accepted-off", &[off[0], off[1], Accept((500, 0, "b"))], (501, 1, "b")), (2, false));
        let twice = [off[0], off[1], Accept((500, 0, "b")), Record((900, 0, "c"))];
        assert_eq!(old("not-accepted-again", &twice, (1200, 0, "d")), (2, false));
    }

    #[test]
    fn a_host_without_a_hardware_clock_needs_no_administrator() {
        // It boots with the time of its last shutdown, and a daemon sets the clock.
        let steps = [
            Record((0, 0, "a")),
            Confirm((1, 1, "a")),
            Record((1, 0, "b")),
            Confirm((200, 0, "b")),
            Record((200, 0, "c")),
            Confirm((600, 0, "c")),
        ];
        // All records of the second boot are as old as the one that confirmed its clock.
        assert_eq!(old("no-rtc", &steps, (601, 1, "c")), (5, false));
        // It boots in 1970.
        let steps = [Confirm((600, 0, "a")), Record((-9000, 0, "b")), Confirm((700, 0, "b"))];
        assert_eq!(old("1970", &steps, (1001, 301, "b")), (1, false));
    }

    #[test]
    fn a_change_of_the_clock_after_it_was_confirmed_needs_root() {
        let doubt = |name, steps: &[Step], now| old(name, steps, now).1;
        assert!(!doubt("before", &[Record((0, 0, "a")), Confirm((9, 0, "a"))], (10, 1, "a")));
        assert!(doubt(
            "behind",
            &[Record((0, 0, "a")), Confirm((9, 0, "a")), Record((99, 0, "a")), Confirm((99, 0, "a"))],
            (99, 0, "a")
        ));
        let accepted = [Record((0, 0, "a")), Confirm((9, 0, "a")), Record((99, 0, "a")), Accept((99, 0, "a"))];
        assert!(!doubt("accepted-later", &accepted, (99, 0, "a")));
    }

    #[test]
    fn a_boot_clock_of_another_time_namespace_makes_no_record_old() {
        let ahead = [Record((0, 1, "a")), Record((0, 1000, "a")), Record((0, 1, "a"))];
        assert_eq!(old("namespace", &ahead, (1, 2, "a")).0, 0);
        assert_eq!(old("namespace-boot", &[Record((0, 1, "a")), Record((1, 1000, "b"))], (2, 1, "b")).0, 0);
    }
}
