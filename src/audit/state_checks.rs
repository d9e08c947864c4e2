//! Checks of clock, database and host: a clock that was changed, a database that is older than its anchor, a host whose identity
//! has changed. Each is recorded once, as an alert.
//! May not: read a clock or a file; both come in as arguments.

use std::fmt;

use rusqlite::{Connection, OptionalExtension, Transaction, params};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::error::JournalError;
use super::forks::{behind_sinks, has, holds};
use super::history::{Last, history, last, last_with};
use super::journal::{Journal, Written};
use super::sent::Sent;
use crate::database::Durability;
use jit_core::clock::duration::{Seconds, spell};
use jit_core::clock::{BootTime, Moment, TOLERANCE_US, Timestamp};
use jit_core::evidence::acceptance::ACCEPTED;
use jit_core::evidence::record::{Alert, Event};
use jit_core::evidence::{Digest, Mark};
use jit_core::grant::HostDescriptor;

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
    fn code(self) -> &'static str {
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
struct ClockReading {
    time: i64,
    boot: i64,
    boot_id: String,
    prev: Digest,
}

/// Names in `journal_meta`.
const RESTORED: &str = "restored";
const HOST: &str = "host";

impl Journal<'_> {
    /// Compares the clocks with those of the last record, and the journal with its anchor, which the caller read before
    /// anything of the database; `None` if it is missing. Records what is new; marks an older database as such until root
    /// accepts it.
    pub fn notice(&self, moment: &Moment, anchor: Option<Mark>) -> Result<Vec<Written>, JournalError> {
        let sent = self.sent();
        let faults = |connection: &Connection| faults(connection, moment, anchor, &sent);
        if faults(self.database.connection())?.is_empty() {
            return Ok(Vec::new());
        }
        self.database.write(Durability::Synced, |tx| {
            let mut written = Vec::new();
            // Checked again inside the transaction: another process may have recorded the fault meanwhile.
            let faults = faults(tx)?;
            if let Some(fault) = faults.iter().find(|fault| fault.is_loss()) {
                written.push(self.fork(tx, moment, anchor, fault)?);
            }
            for fault in faults {
                match fault {
                    // It lost what was not synced, as any power failure does.
                    Fault::Unsynced(..) => {}
                    fault if fault.is_loss() => written.push(self.record_loss(tx, moment, &fault)?),
                    fault => written.push(self.append(tx, moment, fault.alert())?),
                }
            }
            Ok(written)
        })
    }

    /// Records that the database lacks records, and marks it as such until root accepts it.
    pub(super) fn record_loss(
        &self,
        tx: &Transaction<'_>,
        moment: &Moment,
        fault: &Fault,
    ) -> Result<Written, JournalError> {
        set_meta(tx, RESTORED, fault.to_string().as_bytes())?;
        self.append(tx, moment, fault.alert())
    }

    /// Returns the anchor of this database in its initial state.
    pub fn origin(&self) -> Result<Mark, JournalError> {
        Ok(begun(self.database.connection())?)
    }

    /// Returns why the database is not trusted for grants, if it is not.
    pub fn restored(&self) -> Result<Option<String>, JournalError> {
        older(self.database.connection()).map_err(JournalError::from)
    }

    /// Marks the database as an older one and records that, unless it is marked already.
    pub fn distrust(&self, moment: &Moment, how: &str) -> Result<Vec<Written>, JournalError> {
        self.database.write(Durability::Synced, |tx| {
            if meta(tx, RESTORED)?.is_some() {
                return Ok(Vec::new());
            }
            set_meta(tx, RESTORED, how.as_bytes())?;
            Ok(vec![self.append(tx, moment, alert("database-older", how))?])
        })
    }

    /// Records that a verification has found the journal not intact.
    pub fn tell_altered(&self, moment: &Moment, sentence: &str) -> Result<Written, JournalError> {
        self.database.write(Durability::Synced, |tx| self.append(tx, moment, alert("journal-not-intact", sentence)))
    }

    /// Stores the identity of the host, and records when it has changed.
    pub fn notice_host(&self, moment: &Moment, host: &HostDescriptor) -> Result<Vec<Written>, JournalError> {
        let id = host.id.as_bytes();
        if meta(self.database.connection(), HOST)?.as_deref() == Some(id) {
            return Ok(Vec::new());
        }
        self.database.write(Durability::Synced, |tx| {
            let before = match meta(tx, HOST)? {
                Some(before) => Some(before),
                None => told(tx)?.map(String::into_bytes),
            };
            set_meta(tx, HOST, id)?;
            match before {
                Some(before) if before != id => {
                    Ok(vec![self.append(tx, moment, Fault::OtherHost(host.clone()).alert())?])
                }
                _ => Ok(Vec::new()),
            }
        })
    }
}

/// Returns the anchor of a new database with this redaction key, which no other database has.
pub fn origin(redaction_key: &[u8]) -> Mark {
    let digest = Sha256::new_with_prefix(b"jit-sudo anchor\0").chain_update(redaction_key).finalize();
    Mark { seq: 0, hash: Digest(digest.into()) }
}

fn begun(connection: &Connection) -> rusqlite::Result<Mark> {
    Ok(origin(&meta(connection, "redaction_key")?.unwrap_or_default()))
}

/// Returns the former identity of the host if its row is missing: from the latest record that contains it, or else from
/// the newest request. Ignores what cannot be decoded, which a verification reports.
fn told(tx: &Transaction<'_>) -> rusqlite::Result<Option<String>> {
    // Alerts come before prune records, which repeat the identity of pruned ones.
    let records = history!(
        "SELECT body FROM history WHERE kind IN ('alert', 'prune') AND kind NOT IN ('start', 'end') \
                   ORDER BY kind, seq DESC"
    );
    for (query, key) in [(records, "identity"), ("SELECT body FROM request ORDER BY rowid DESC", "host")] {
        let mut statement = tx.prepare(query)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let body: serde_json::Value =
                serde_json::from_slice(row.get_ref(0)?.as_bytes().unwrap_or_default()).unwrap_or_default();
            if let Some(id) = body.get(key).and_then(|host| host.get("id")?.as_str()) {
                return Ok(Some(id.to_owned()));
            }
        }
    }
    Ok(None)
}

/// Returns the reason why the database is not trusted for grants, if it is not.
pub(super) fn older(connection: &Connection) -> rusqlite::Result<Option<String>> {
    let text = meta(connection, RESTORED)?;
    Ok(text.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
}

/// Returns the identity of the host that the journal knows.
pub fn host(connection: &Connection) -> rusqlite::Result<Option<Vec<u8>>> {
    meta(connection, HOST)
}

/// Removes the mark of a restored database, inside the transaction that records the acceptance.
pub fn accept(tx: &Transaction<'_>) -> rusqlite::Result<()> {
    tx.execute("DELETE FROM journal_meta WHERE name IN (?1, 'unsealed')", [RESTORED])?;
    Ok(())
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

/// A fault to be recorded.
pub(super) enum Fault {
    Clock(ClockFault),
    /// The record that the anchor names and the database lacks.
    Older(Mark),
    /// The log sink that has this record, which the database lacks.
    BehindSink(String, Mark),
    /// The same, where it is one of the last that were not synced, after a boot.
    Unsynced(String, Mark),
    /// The database was missing, and a new one was made; the record that the anchor names.
    Lost(Option<Mark>),
    /// The anchor is that of another database, which had no record when the anchor was written.
    OtherDatabase,
    /// The database has a record of a request, a grant or a run, and its anchor is missing.
    NoAnchor,
    /// The new identity.
    OtherHost(HostDescriptor),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Clock(fault) => fault.fmt(f),
            Self::Older(Mark { seq: u64::MAX, .. }) => f.write_str("the anchor of the database is damaged"),
            Self::OtherDatabase => {
                f.write_str("the database is older than its anchor: that was made for a new database")
            }
            Self::NoAnchor => f.write_str("the database may be an older copy: its anchor is missing"),
            Self::Older(Mark { seq, hash }) => {
                write!(
                    f,
                    "the database is older than its anchor: record {seq} with the hash {hash} is missing or another"
                )
            }
            Self::BehindSink(sink, Mark { seq, hash }) => {
                write!(f, "the database is older than what {sink} got: record {seq} with the hash {hash} is missing")
            }
            Self::Unsynced(sink, Mark { seq, .. }) => {
                write!(f, "the last records before the boot were not synced and are lost: {sink} got record {seq}")
            }
            Self::Lost(Some(Mark { seq, hash })) => {
                write!(f, "the database was lost and is a new one: the last known record is {seq} with the hash {hash}")
            }
            Self::Lost(None) => f.write_str("the database was lost and is a new one, and no anchor says what it had"),
            Self::OtherHost(_) => f.write_str(
                "the identity of this host has changed: a new key or machine-id, or a copy of another host; grants of \
                 another identity are not valid here",
            ),
        }
    }
}

impl Fault {
    /// Returns the new identity of the host, if it has changed.
    fn identity(&self) -> Option<HostDescriptor> {
        match self {
            Self::OtherHost(identity) => Some(identity.clone()),
            _ => None,
        }
    }

    /// Whether the database lacks records.
    fn is_loss(&self) -> bool {
        !matches!(self, Self::Clock(_) | Self::OtherHost(_))
    }

    fn alert(&self) -> Event {
        let code = match self {
            Self::Clock(fault) => fault.code(),
            Self::OtherHost(_) => "host-changed",
            _ => "database-older",
        };
        let alert = Alert::new(code, self.to_string().as_str());
        Event::Alert(Box::new(Alert { identity: self.identity(), ..alert }))
    }
}

/// Returns an alert about the host that names no user.
pub(super) fn alert(code: &str, sentence: &str) -> Event {
    Event::Alert(Box::new(Alert::new(code, sentence)))
}

fn faults(
    connection: &Connection,
    moment: &Moment,
    anchor: Option<Mark>,
    sent: &[Sent],
) -> Result<Vec<Fault>, JournalError> {
    // Ignores a record that is invalid or cannot be decoded, which a verification reports.
    let last = match last_with(connection, |body| serde_json::from_slice::<ClockReading>(body).ok()) {
        Err(JournalError::Damaged(_)) => None,
        last => last?,
    };
    let mut faults = Vec::new();
    if let Some((Last { high, .. }, Some(reading))) = &last {
        faults.extend(compare(reading, *high, moment).map(Fault::Clock));
    }
    let is_anchored = match (&last, anchor) {
        (Some((last, reading)), Some(anchor)) => is_anchored(connection, last, reading.as_ref(), anchor)?,
        _ => false,
    };
    if !is_anchored && meta(connection, RESTORED)?.is_none() {
        faults.extend(unanchored(connection, anchor)?);
    }
    // The anchor may be an older copy too.
    if let Some((last, reading)) = last
        && !faults.iter().any(Fault::is_loss)
    {
        let is_new_boot = reading.is_some_and(|reading| reading.boot_id != moment.boot_id);
        faults.extend(behind_sinks(connection, (last.mark, is_new_boot), sent)?);
    }
    Ok(faults)
}

/// Whether the anchor names the last record or the one before it, as it does unless other processes are at work or one has been
/// interrupted: the end of a run moves no anchor. The last record does not prove that the one before it is still there.
fn is_anchored(
    connection: &Connection,
    last: &Last,
    reading: Option<&ClockReading>,
    anchor: Mark,
) -> rusqlite::Result<bool> {
    let precedes = |last: &ClockReading| last.prev == anchor.hash;
    if last.mark.seq.checked_sub(1) != Some(anchor.seq) {
        return Ok(last.mark == anchor);
    }
    Ok(reading.is_some_and(precedes) && holds(connection, anchor)?)
}

/// Compares the database with its anchor.
fn unanchored(connection: &Connection, anchor: Option<Mark>) -> rusqlite::Result<Option<Fault>> {
    let Some(mark) = anchor else {
        // A new database has its anchor before its first record. Earlier versions created it with the first synced record, as each
        // record about a request or grant is, and each start.
        let powers = history!("SELECT EXISTS (SELECT 1 FROM history WHERE grant_id IS NOT NULL OR kind = 'start')");
        let has_given = super::prune::pruned(connection).ok().flatten().is_some()
            || connection.query_row(powers, [], |row| row.get(0))?;
        return Ok(has_given.then_some(Fault::NoAnchor));
    };
    if mark.seq == 0 {
        return Ok((mark != begun(connection)?).then_some(Fault::OtherDatabase));
    }
    Ok((!has(connection, mark)?).then_some(Fault::Older(mark)))
}

/// Within one boot both clocks advance equally; after a boot only a clock that is behind can be noticed. A clock that was
/// set forward while the host was off cannot be distinguished from elapsed time.
fn compare(last: &ClockReading, high: Timestamp, now: &Moment) -> Option<ClockFault> {
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

pub(super) fn meta(connection: &Connection, name: &str) -> rusqlite::Result<Option<Vec<u8>>> {
    let mut statement = connection.prepare_cached("SELECT value FROM journal_meta WHERE name = ?1")?;
    statement.query_row([name], |row| row.get(0)).optional()
}

pub(super) fn set_meta(connection: &Connection, name: &str, value: &[u8]) -> rusqlite::Result<()> {
    connection.execute("INSERT OR REPLACE INTO journal_meta (name, value) VALUES (?1, ?2)", params![name, value])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{SCHEMA, sample};
    use crate::database::Database;
    use crate::database::tests::Scratch;
    use crate::store;
    use jit_core::evidence::Record;

    const HOUR: i64 = 3_600_000_000;

    fn moment(wall: i64, boot: i64, boot_id: &str) -> Moment {
        let start = sample::moment(0).wall.0;
        Moment { wall: Timestamp(start + wall), boot: BootTime(boot), boot_id: boot_id.to_owned() }
    }

    fn codes(written: &[Written]) -> Vec<String> {
        let code = |written: &Written| match Record::decode(&written.body).unwrap().event {
            Event::Alert(alert) => alert.code,
            Event::Fork(_) => "fork".to_owned(),
            other => panic!("{other:?}"),
        };
        written.iter().map(code).collect()
    }

    #[test]
    fn each_change_of_the_clock_is_recorded_once() {
        let scratch = Scratch::new("checks-clock");
        let database = Database::create(&scratch.path(), &[SCHEMA]).unwrap();
        let journal = Journal::new(&database, "web1", Vec::new());
        let seen = |wall, boot, id: &str| codes(&journal.notice(&moment(wall, boot, id), None).unwrap());
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

    #[test]
    fn a_database_without_the_anchored_record_is_distrusted_until_it_is_accepted() {
        let scratch = Scratch::new("checks-anchor");
        let database = Database::create(&scratch.path(), &[SCHEMA]).unwrap();
        let journal = Journal::new(&database, "web1", Vec::new());
        let started = sample::started(&journal, "run000000001", 1);
        let good = Mark { seq: 1, hash: started.written().hash };
        let now = sample::moment(2);
        for anchor in [journal.origin().unwrap(), good] {
            assert!(journal.notice(&now, Some(anchor)).unwrap().is_empty());
        }
        assert_eq!(journal.restored().unwrap(), None);
        let ahead = Mark { seq: 9, ..good };
        assert_eq!(codes(&journal.notice(&now, Some(ahead)).unwrap()), ["fork", "database-older"]);
        assert!(journal.notice(&now, Some(ahead)).unwrap().is_empty(), "once");
        assert!(journal.restored().unwrap().unwrap().contains("record 9"));
        database.write(Durability::Synced, |tx| accept(tx).map_err(JournalError::from)).unwrap();
        assert_eq!(journal.restored().unwrap(), None);
        let other = Mark { seq: 1, hash: Digest([1; 32]) };
        let another_database = origin(&[7; 32]);
        for anchor in [None, Some(other), Some(another_database)] {
            assert_eq!(codes(&journal.notice(&now, anchor).unwrap()), ["fork", "database-older"], "{anchor:?}");
            assert!(journal.notice(&now, anchor).unwrap().is_empty(), "once");
            database.write(Durability::Synced, |tx| accept(tx).map_err(JournalError::from)).unwrap();
        }
    }

    #[test]
    fn a_record_that_follows_the_anchor_does_not_replace_the_anchored_record() {
        let scratch = Scratch::new("checks-anchor-before");
        let database = Database::create(&scratch.path(), &[SCHEMA]).unwrap();
        let journal = Journal::new(&database, "web1", Vec::new());
        let started = sample::started(&journal, "run000000001", 1);
        let anchor = Mark { seq: 1, hash: started.written().hash };
        let _ = journal.end(&started, &sample::moment(2), sample::ending()).unwrap();
        let now = sample::moment(3);
        assert!(journal.notice(&now, Some(anchor)).unwrap().is_empty());
        database.connection().execute("DELETE FROM record WHERE seq = 1", []).unwrap();
        assert_eq!(codes(&journal.notice(&now, Some(anchor)).unwrap()), ["fork", "database-older"]);
        assert!(journal.restored().unwrap().is_some());
    }

    #[test]
    fn an_anchor_that_lags_behind_a_pruning_or_was_never_needed_is_no_fault() {
        let scratch = Scratch::new("checks-no-anchor");
        let database =
            Database::create(&scratch.path(), &[SCHEMA, store::SCHEMA, store::REVIEW_SCHEMA, store::STATEMENT_SCHEMA])
                .unwrap();
        let journal = Journal::new(&database, "web1", Vec::new());
        let now = sample::moment(1);
        assert!(journal.notice(&now, None).unwrap().is_empty());
        let _ = database.write(Durability::Ordered, |tx| journal.append(tx, &now, alert("x", "no power"))).unwrap();
        assert!(journal.notice(&now, None).unwrap().is_empty(), "a host of an earlier version that gave no power yet");
        sample::fill(&journal, 10);
        sample::seal(&journal, 1);
        let head = |seq| Mark { seq, hash: journal.by_seq(seq).unwrap().unwrap().hash };
        let (third, last) = (head(3), head(11));
        sample::fill(&journal, 1);
        let later = sample::moment(9);
        let _ = journal.prune(&later, last, 0, "root", later.wall).unwrap();
        journal.sweep(|_| Ok::<_, JournalError>(())).unwrap();
        for anchor in [third, last, journal.origin().unwrap()] {
            assert!(journal.notice(&later, Some(anchor)).unwrap().is_empty(), "{anchor:?}");
        }
        let other = Mark { hash: Digest([1; 32]), ..last };
        assert_eq!(codes(&journal.notice(&later, Some(other)).unwrap()), ["fork", "database-older"]);
    }

    #[test]
    fn another_host_is_recorded_and_the_first_one_is_not() {
        let scratch = Scratch::new("checks-host");
        let database = Database::create(&scratch.path(), &[SCHEMA, store::SCHEMA]).unwrap();
        let journal = Journal::new(&database, "web1", Vec::new());
        let described = |id: &str| {
            let [key, machine, name] = ["k", "m", "web1"].map(str::to_owned);
            HostDescriptor { id: id.to_owned(), key, machine, name }
        };
        let seen = |id| codes(&journal.notice_host(&sample::moment(1), &described(id)).unwrap());
        assert!(seen("a").is_empty());
        assert!(seen("a").is_empty());
        assert_eq!(seen("b"), ["host-changed"]);
        assert!(seen("b").is_empty());
        // Without the row that stores it, the records are used.
        let forget = || {
            database
                .write(Durability::Ordered, |tx| {
                    tx.execute("DELETE FROM journal_meta WHERE name = 'host'", []).map_err(JournalError::from)
                })
                .unwrap()
        };
        forget();
        assert!(seen("b").is_empty());
        forget();
        assert_eq!(seen("c"), ["host-changed"]);
    }
}
