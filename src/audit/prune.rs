//! Retention: removes whole segments between checkpoints from the old end of the journal. What remains of them is the signed
//! checkpoint of the last removed record, and a `prune` record in the chain that names it; a journal that lacks its beginning is
//! not accepted without that record.

use rusqlite::{Connection, params};

use serde::Deserialize;

use super::checkpoint::{may_sign, seal_in};
use super::columns::{digest, sql_bound};
use super::decided;
use super::epochs;
use super::error::JournalError;
use super::history::{HISTORY, history};
use super::journal::{Journal, Written};
use super::retention::CutOff;
use super::state_checks::{meta, set_meta};
use super::tree;
use crate::database::Durability;
use jit_core::clock::{Moment, Timestamp};
use jit_core::evidence::Mark;
use jit_core::evidence::checkpoint::{Checkpoint, Statement};
use jit_core::evidence::record::{Digest, Event, Prune};
use jit_core::grant::{HostDescriptor, HostId, HostKey};

/// The name in `journal_meta`.
const PRUNED: &str = "pruned";

/// How many policies whose records are removed are remembered.
const POLICIES: usize = 256;

/// How many records are deleted in one transaction, so that runs do not have to wait.
const BATCH: u32 = 1000;

/// Returns the last removed record, as it is remembered; the proof is in the chain.
pub(super) fn pruned(connection: &Connection) -> Result<Option<Mark>, JournalError> {
    let Some(text) = meta(connection, PRUNED)? else { return Ok(None) };
    Mark::parse(&text).map(Some).ok_or(JournalError::Damaged("the mark of the last pruning"))
}

/// What a pruning keeps from the removed `policy` records.
#[derive(Debug, Default)]
struct Remembered {
    policies: Vec<Digest>,
    roles_sha256: Option<Digest>,
    settings_sha256: Option<Digest>,
}

/// Returns the latest policies that records up to `through` name, as far back as the previous pruning remembers them. A run may
/// be recorded long after one of them judged it; [`POLICIES`] later ones are not expected by then.
fn policies(connection: &Connection, through: u64) -> Result<Remembered, JournalError> {
    #[derive(Deserialize)]
    struct Named {
        policy: Option<Digest>,
        #[serde(default)]
        policies: Vec<Digest>,
        roles_sha256: Option<Digest>,
        settings_sha256: Option<Digest>,
    }
    let told = history!(
        "SELECT body FROM history WHERE kind = 'policy' AND kind NOT IN ('start', 'end') AND seq <= ?1 \
                ORDER BY seq DESC"
    );
    let remembered = history!(
        "SELECT body FROM history WHERE kind = 'prune' AND kind NOT IN ('start', 'end') AND ?1 > 0 \
                      ORDER BY seq DESC LIMIT 1"
    );
    let mut found = Remembered::default();
    for query in [told, remembered] {
        let mut statement = connection.prepare(query)?;
        let mut rows = statement.query([sql_bound(through)])?;
        while let Some(row) = rows.next()? {
            // Ignores a record that cannot be decoded, which a verification reports.
            let Ok(named) = serde_json::from_slice::<Named>(&row.get::<_, Vec<u8>>(0)?) else { continue };
            if found.policies.is_empty() {
                (found.roles_sha256, found.settings_sha256) = (named.roles_sha256, named.settings_sha256);
            }
            for policy in named.policy.into_iter().chain(named.policies) {
                if found.policies.len() >= POLICIES {
                    return Ok(found);
                }
                if !found.policies.contains(&policy) {
                    found.policies.push(policy);
                }
            }
        }
    }
    Ok(found)
}

/// Returns the greatest time of a record up to `last`, including those that were removed before.
fn latest(connection: &Connection, last: Mark) -> Result<Option<Timestamp>, JournalError> {
    #[derive(Deserialize)]
    struct Before {
        latest: Option<Timestamp>,
    }
    let query = history!("SELECT max(at) FROM history WHERE seq <= ?1");
    let now: Option<i64> = connection.query_row(query, [sql_bound(last.seq)], |row| row.get(0))?;
    let before = each_of(connection, "prune", u64::MAX, |body| serde_json::from_slice::<Before>(body).ok()?.latest)?;
    Ok(before.into_iter().chain(now.map(Timestamp)).max())
}

/// Returns the identity of the host from the records up to `last`, or from what the last pruning remembers.
fn identity(connection: &Connection, last: Mark) -> Result<Option<HostDescriptor>, JournalError> {
    #[derive(Deserialize)]
    struct IdentityKey {
        identity: Option<HostDescriptor>,
    }
    #[derive(Deserialize)]
    struct Place {
        seq: u64,
    }
    let told = |body: &[u8]| serde_json::from_slice::<IdentityKey>(body).ok()?.identity;
    let named = |body: &[u8]| Some((serde_json::from_slice::<Place>(body).ok()?.seq, told(body)?));
    let alert = each_of(connection, "alert", last.seq, named)?.into_iter().next();
    let rotation = each_of(connection, "rotation", last.seq, named)?.into_iter().next();
    let latest = alert.into_iter().chain(rotation).max_by_key(|(seq, _)| *seq).map(|(_, host)| host);
    let prunes = each_of(connection, "prune", u64::MAX, told)?;
    Ok(latest.or_else(|| prunes.into_iter().next()))
}

/// Returns what `read` finds in the records of a kind up to number `through`, the latest first. Ignores what cannot be decoded,
/// which a verification reports.
fn each_of<T>(
    connection: &Connection,
    kind: &str,
    through: u64,
    read: impl Fn(&[u8]) -> Option<T>,
) -> Result<Vec<T>, JournalError> {
    let query = history!(
        "SELECT body FROM history WHERE kind = ?1 AND kind NOT IN ('start', 'end') AND seq <= ?2 ORDER BY seq DESC"
    );
    let mut statement = connection.prepare(query)?;
    let mut rows = statement.query(params![kind, sql_bound(through)])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.extend(row.get_ref(0)?.as_bytes().ok().and_then(&read));
    }
    Ok(found)
}

/// Returns how many rows of `table` have no record of `kind` after `last`. The caller has verified that each had one.
fn unrecorded(connection: &Connection, table: &str, kind: &str, last: Mark) -> Result<u64, JournalError> {
    let records = "SELECT count(*) FROM history WHERE kind = ?1 AND kind NOT IN ('start', 'end') AND seq > ?2";
    let query = format!("{HISTORY} SELECT (SELECT count(*) FROM {table}) - ({records})");
    let count: i64 = connection.query_row(&query, params![kind, sql_bound(last.seq)], |row| row.get(0))?;
    Ok(u64::try_from(count).unwrap_or(0))
}

fn count(connection: &Connection, after: u64, through: u64) -> Result<u64, JournalError> {
    let query = history!("SELECT count(*) FROM history WHERE seq > ?1 AND seq <= ?2");
    let count: i64 = connection.query_row(query, params![sql_bound(after), sql_bound(through)], |row| row.get(0))?;
    Ok(count.unsigned_abs())
}

impl Journal<'_> {
    /// Returns how many records have a number greater than `after` and not greater than `through`.
    pub fn count(&self, after: u64, through: u64) -> Result<u64, JournalError> {
        count(self.database.connection(), after, through)
    }

    /// Returns the policy that the last `policy` record names.
    pub fn last_policy(&self) -> Result<Option<Digest>, JournalError> {
        let last = self.database.connection().query_row(history!("SELECT max(seq) FROM history"), [], |row| row.get(0));
        let last = last.map(|seq: Option<i64>| seq.unwrap_or(0).unsigned_abs())?;
        Ok(policies(self.database.connection(), last)?.policies.first().copied())
    }

    /// Returns the last record that was removed.
    pub fn pruned(&self) -> Result<Option<Mark>, JournalError> {
        pruned(self.database.connection())
    }

    /// Returns the last record that may be removed: it has a checkpoint, which was signed before the cut-off; it and all records before it are old enough; no open run,
    /// valid grant or pending request began with one of them.
    pub fn prunable(&self, old: CutOff, now: &Moment) -> Result<Option<Mark>, JournalError> {
        // By their records and not by rows alone, which root can change. Where an earlier version pruned those, nothing may go yet.
        let living = "SELECT min(coalesce((SELECT min(seq) FROM history WHERE grant_id = id), 0)) FROM \
                      (SELECT id FROM request WHERE state = 'pending' AND deadline > ?2 \
                       UNION ALL SELECT id FROM granted WHERE ended IS NULL AND expires > ?2)";
        let open = "SELECT min(start) FROM open_run WHERE ended = 0";
        let query = format!(
            "{HISTORY} SELECT r.seq, r.hash, c.body FROM checkpoint c JOIN history r ON r.seq = c.seq WHERE r.high < ?1 \
             AND r.seq < coalesce(({open}), r.seq + 1) AND r.seq < coalesce(({living}), r.seq + 1) \
             AND r.seq < (SELECT max(seq) FROM history) AND r.seq <= ?3 ORDER BY c.seq DESC"
        );
        let by = params![old.before.0, now.wall.seconds(), sql_bound(old.through)];
        let mut statement = self.database.connection().prepare(&query)?;
        let mut rows = statement.query(by)?;
        while let Some(row) = rows.next()? {
            // The signature is what proves the age of the removed records later.
            let signed = Statement::decode(row.get_ref(2)?.as_bytes().unwrap_or_default());
            if signed.is_some_and(|signed| Timestamp::from_seconds(signed.at) <= old.before) {
                let mark = Mark { seq: row.get::<_, i64>(0)?.unsigned_abs(), hash: digest(row, 1)? };
                // What remains of an epoch is its record, which must not say that it began later.
                if epochs::latest_until(self.database.connection(), mark.seq)?
                    .is_some_and(|latest| latest >= old.before)
                {
                    continue;
                }
                return Ok(Some(mark).filter(|mark| mark.seq > 0));
            }
        }
        Ok(None)
    }

    /// Records that everything up to `last` is removed. Once the record is on the disk, the following [`Journal::sweep`] may be
    /// interrupted: the remaining records do not count, and the next sweep deletes them. The same transaction signs the record, so that
    /// its time is proved. Returns `None` if another epoch has begun, or another host key has taken the place of this one; then nothing
    /// was done.
    pub fn prune(
        &self,
        moment: &Moment,
        last: Mark,
        (uid, user): (u32, &str),
        before: Timestamp,
        sealing: &HostKey,
        host: (&HostKey, &HostId),
    ) -> Result<Option<(Written, Checkpoint)>, JournalError> {
        self.database.write(Durability::Synced, |tx| {
            if !may_sign(tx, u64::MAX, moment, sealing, host.0)? {
                return Ok(None);
            }
            let gone = pruned(tx)?.map_or(0, |mark| mark.seq);
            let count = count(tx, gone, last.seq)?;
            let remembered = policies(tx, last.seq)?;
            let removed = tree::cut(tx, last)?;
            let rows = decided::remove(tx, last, moment)?;
            epochs::keep(tx, last)?;
            let row = |row: i64| u64::try_from(row).ok().filter(|row| *row > 0);
            let prune = Prune {
                uid,
                user: user.into(),
                before,
                latest: latest(tx, last)?,
                identity: identity(tx, last)?,
                through: last.seq,
                head: last.hash,
                records: count,
                size: removed.size(),
                tree: removed.hashes().to_vec(),
                policies: remembered.policies,
                roles_sha256: remembered.roles_sha256,
                settings_sha256: remembered.settings_sha256,
                requests_gone: row(rows.requests),
                grants_gone: row(rows.grants),
                requests: Some(unrecorded(tx, "request", "request", last)?),
                grants: Some(unrecorded(tx, "granted", "grant", last)?),
            };
            set_meta(tx, PRUNED, format!("{last}\n").as_bytes())?;
            tx.execute("DELETE FROM checkpoint WHERE seq < ?1", [sql_bound(last.seq)])?;
            let written = self.append(tx, moment, Event::Prune(Box::new(prune)))?;
            let mark = Mark { seq: written.seq, hash: written.hash };
            let checkpoint = seal_in(tx, mark, moment, sealing, host)?;
            Ok(Some((written, checkpoint)))
        })
    }

    /// Deletes the pruned records, the oldest first. Calls `discard` with each run that ended among them, before its records are
    /// deleted.
    pub fn sweep<E: From<JournalError>>(&self, mut discard: impl FnMut(&str) -> Result<(), E>) -> Result<(), E> {
        let Some(last) = self.pruned()? else { return Ok(()) };
        while let Some(batch) = self.batch(last.seq)? {
            for run in &self.ended(batch)? {
                discard(run)?;
            }
            self.database.write(Durability::Ordered, |tx| {
                tx.execute("DELETE FROM record WHERE seq <= ?1", [sql_bound(batch)]).map_err(JournalError::from)
            })?;
            self.database.tidy();
        }
        Ok(())
    }

    /// Returns the last of the records up to `through` to be deleted next; `None` when all are deleted.
    fn batch(&self, through: u64) -> Result<Option<u64>, JournalError> {
        let query = "SELECT max(seq) FROM (SELECT seq FROM record WHERE seq <= ?1 ORDER BY seq LIMIT ?2)";
        let last: Option<i64> =
            self.database.connection().query_row(query, params![sql_bound(through), BATCH], |row| row.get(0))?;
        Ok(last.map(i64::unsigned_abs))
    }

    /// Returns the runs whose `end` is one of the records up to `last`.
    fn ended(&self, last: u64) -> Result<Vec<String>, JournalError> {
        let query = "SELECT run FROM record WHERE seq <= ?1 AND kind = 'end' AND run IS NOT NULL";
        let mut statement = self.database.connection().prepare(query)?;
        let runs = statement.query_map([sql_bound(last)], |row| row.get(0))?;
        Ok(runs.collect::<Result<_, rusqlite::Error>>()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{Between, Filter, Order, SCHEMA, sample};
    use crate::database::Database;
    use crate::database::tests::Scratch;
    use crate::store;
    use jit_core::evidence::chain::Cause;
    use jit_core::evidence::proof::Signers;
    use jit_core::evidence::record::{PolicyRecord, Record, Start};

    const ALL: [&str; 5] = [SCHEMA, store::SCHEMA, store::REVIEW_SCHEMA, store::ROLE_SCHEMA, store::STATEMENT_SCHEMA];

    fn signers() -> Signers {
        Signers::These(vec![HostKey::from_seed([sample::HOST_SEED; 32]).public_key()])
    }

    use jit_core::evidence::prunings::KEEP_LEAST as DAY;

    /// Prunes a day after this second, and returns the record, the last removed record and the runs that were discarded.
    fn pruned_with(journal: &Journal<'_>, second: i64, before: Timestamp) -> (Written, Mark, Vec<String>) {
        let last = journal.prunable(CutOff::by_time(before), &sample::moment(second)).unwrap().unwrap();
        let written = sample::prune(journal, DAY + second, last, before);
        let mut runs = Vec::new();
        let noted = journal.sweep(|run| {
            runs.push(run.to_owned());
            Ok::<_, JournalError>(())
        });
        noted.unwrap();
        (written, last, runs)
    }

    /// Returns a journal with 3,010 records of second 1 and checkpoints at 1000, 2000 and 3010.
    fn filled(database: &Database) -> Journal<'_> {
        let journal = Journal::new(database, "web1", Vec::new());
        for count in [1000, 1000, 1010] {
            sample::fill(&journal, count);
            sample::seal(&journal, 1);
        }
        journal
    }

    #[test]
    fn whole_segments_are_removed_and_the_rest_still_verifies() {
        let scratch = Scratch::new("prune");
        let database = Database::create(&scratch.path(), &ALL).unwrap();
        let journal = filled(&database);
        assert_eq!(
            journal.prunable(CutOff::by_time(sample::moment(1).wall), &sample::moment(1)).unwrap(),
            None,
            "nothing is old enough"
        );
        let before = sample::moment(2).wall;
        let (written, last, _) = pruned_with(&journal, 9, before);
        assert_eq!(last.seq, 2000, "the last record stays, so its segment does");
        assert_eq!(written.seq, 3011);
        assert_eq!(journal.first_since(Timestamp(0)).unwrap(), 2001);
        let proven = journal.prove_records(signers()).unwrap().unwrap();
        assert_eq!((proven.before, proven.records, proven.last.seq), (2000, 1011, 3011));
        assert_eq!(journal.verify_all().unwrap().unwrap().records, 1011);
        sample::fill(&journal, 10);
        sample::seal(&journal, DAY + 9);
        sample::fill(&journal, 1);
        let (_, again, _) = pruned_with(&journal, DAY + 10, sample::moment(DAY + 10).wall);
        assert_eq!(journal.prove_records(signers()).unwrap().unwrap().before, again.seq);
    }

    #[test]
    fn the_policies_of_removed_records_are_remembered_for_those_that_stay() {
        let scratch = Scratch::new("prune-policies");
        let database = Database::create(&scratch.path(), &ALL).unwrap();
        let journal = Journal::new(&database, "web1", Vec::new());
        let write = |event: Event| {
            let append = |tx: &rusqlite::Transaction<'_>| journal.append(tx, &sample::moment(1), event);
            let _ = database.write(Durability::Ordered, append).unwrap();
        };
        let policy = |byte| {
            write(Event::Policy(Box::new(PolicyRecord {
                policy: Digest([byte; 32]),
                added: Vec::new(),
                added_count: 0,
                ..sample::policy()
            })))
        };
        let start = |byte| {
            let policy = Some(Digest([byte; 32]));
            write(Event::Start(Box::new(Start { policy, ..sample::start("run000000001") })));
        };
        let remembered = |written: &Written| match Record::decode(&written.body).unwrap().event {
            Event::Prune(prune) => prune.policies,
            other => panic!("{other:?}"),
        };
        policy(1);
        start(1);
        policy(2);
        sample::seal(&journal, 1);
        for byte in [2, 2, 2] {
            start(byte);
        }
        policy(3);
        start(3);
        let (written, last, _) = pruned_with(&journal, 9, sample::moment(2).wall);
        assert_eq!((last.seq, remembered(&written)), (3, vec![Digest([2; 32]), Digest([1; 32])]));
        assert_eq!(journal.prove_records(signers()).unwrap().unwrap().records, 6);
        start(3);
        sample::seal(&journal, DAY + 9);
        start(3);
        let (written, _, _) = pruned_with(&journal, DAY + 10, sample::moment(DAY + 10).wall);
        assert_eq!(remembered(&written), [Digest([3; 32]), Digest([2; 32]), Digest([1; 32])], "and once more");
        start(3);
        sample::seal(&journal, 2 * DAY + 10);
        assert!(journal.prove_records(signers()).unwrap().is_ok());
        start(9);
        let bad = journal.prove_records(signers()).unwrap().unwrap_err();
        assert_eq!(bad.cause, Cause::UnknownPolicy(Digest([9; 32]).to_string()));
    }

    #[test]
    fn records_that_were_removed_by_hand_are_detected() {
        let scratch = Scratch::new("prune-by-hand");
        let database = Database::create(&scratch.path(), &ALL).unwrap();
        let journal = filled(&database);
        let head = journal.by_seq(1000).unwrap().unwrap().hash;
        database.connection().execute("DELETE FROM record WHERE seq <= 1000", []).unwrap();
        let bad = journal.prove_records(signers()).unwrap().unwrap_err();
        assert_eq!((bad.seq, bad.cause), (1, Cause::Gap { found: 1001 }));
        let forged =
            format!("INSERT INTO journal_meta VALUES ('pruned', CAST('{:020} {head}' || char(10) AS BLOB))", 1000);
        database.connection().execute(&forged, []).unwrap();
        let bad = journal.prove_records(signers()).unwrap().unwrap_err();
        assert!(
            bad.seq == 1000 && matches!(bad.cause, Cause::Checkpoint(_)),
            "{bad}: it states the tree of 1000 records"
        );
        database.connection().execute_batch("DELETE FROM checkpoint; DELETE FROM tree").unwrap();
        let bad = journal.prove_records(signers()).unwrap().unwrap_err();
        assert_eq!((bad.seq, bad.cause), (1000, Cause::NotPruned));
    }

    #[test]
    fn the_latest_time_of_all_removed_records_is_remembered() {
        let scratch = Scratch::new("prune-latest");
        let database = Database::create(&scratch.path(), &ALL).unwrap();
        let journal = Journal::new(&database, "web1", Vec::new());
        let write = |second, event: Event| {
            let append = |tx: &rusqlite::Transaction<'_>| journal.append(tx, &sample::moment(second), event);
            let _ = database.write(Durability::Ordered, append).unwrap();
        };
        let latest = |written: &Written| match Record::decode(&written.body).unwrap().event {
            Event::Prune(prune) => (prune.before, prune.latest),
            other => panic!("{other:?}"),
        };
        sample::fill(&journal, 1);
        // A clock that was ahead and has been corrected.
        write(9_000_000, crate::audit::state_checks::alert("x", "x"));
        write(2, crate::audit::state_checks::alert(jit_core::evidence::acceptance::ACCEPTED, "x"));
        sample::seal(&journal, 2);
        sample::fill(&journal, 1);
        let before = sample::moment(3).wall;
        let (written, ..) = pruned_with(&journal, 4, before);
        assert_eq!(latest(&written), (before, Some(sample::moment(9_000_000).wall)));
        sample::fill(&journal, 1);
        let before = sample::moment(DAY + 6).wall;
        let (written, ..) = pruned_with(&journal, DAY + 7, before);
        assert_eq!(latest(&written), (before, Some(sample::moment(9_000_000).wall)), "also when that record has gone");
    }

    #[test]
    fn an_open_run_keeps_its_start() {
        let scratch = Scratch::new("prune-open");
        let database = Database::create(&scratch.path(), &ALL).unwrap();
        let journal = Journal::new(&database, "web1", Vec::new());
        sample::fill(&journal, 5);
        sample::seal(&journal, 1);
        let open = sample::started(&journal, "run000000001", 1);
        sample::seal(&journal, 1);
        sample::fill(&journal, 1);
        sample::seal(&journal, 1);
        assert_eq!(
            journal.prunable(CutOff::by_time(sample::moment(2).wall), &sample::moment(2)).unwrap().unwrap().seq,
            5
        );
        let _ = journal.end(&open, &sample::moment(2), sample::ending()).unwrap();
        assert_ne!(
            journal.prunable(CutOff::by_time(sample::moment(2).wall), &sample::moment(2)).unwrap().unwrap().seq,
            5
        );
    }

    #[test]
    fn records_of_valid_grants_and_pending_requests_are_kept() {
        let scratch = Scratch::new("prune-living");
        let database = Database::create(&scratch.path(), &ALL).unwrap();
        let journal = filled(&database);
        let (asked, long) = (sample::moment(1).wall.seconds() + 90, sample::moment(1).wall.seconds() + 900);
        let sql = |sql: &str| database.connection().execute_batch(sql).unwrap();
        let prunable = |second| {
            let mark = journal.prunable(CutOff::by_time(sample::moment(2).wall), &sample::moment(second)).unwrap();
            mark.map_or(0, |mark| mark.seq)
        };
        sql("UPDATE record SET grant_id = NULL");
        assert_eq!(prunable(60), 2000);
        sql(&format!(
            "UPDATE record SET grant_id = 'r', kind = 'request' WHERE seq = 1500; \
             UPDATE record SET grant_id = 'g', kind = 'request' WHERE seq = 1000; \
             INSERT INTO request VALUES ('r', 7, 'web', 'pending', 1, {asked}, 2, x'', NULL, NULL, NULL, NULL); \
             INSERT INTO granted VALUES ('g', 7, 'web', 1, {long}, x'', x'', NULL, NULL, NULL, NULL, NULL)"
        ));
        assert_eq!(prunable(60), 0, "the grant was asked for in record 1000");
        sql("UPDATE granted SET ended = 'revoked'");
        assert_eq!(prunable(60), 1000);
        assert_eq!(prunable(100), 2000, "the request is past its deadline");
        sql("UPDATE granted SET ended = NULL, id = 'h'");
        assert_eq!(prunable(100), 0, "an earlier version pruned the record of its request");
    }

    #[test]
    fn each_ended_run_is_reported_before_its_records_are_removed() {
        let scratch = Scratch::new("prune-runs");
        let database = Database::create(&scratch.path(), &ALL).unwrap();
        let journal = Journal::new(&database, "web1", Vec::new());
        let open = sample::started(&journal, "run000000001", 1);
        let _ = journal.end(&open, &sample::moment(1), sample::ending()).unwrap();
        sample::seal(&journal, 1);
        sample::fill(&journal, 1);
        let last = journal.prunable(CutOff::by_time(sample::moment(2).wall), &sample::moment(2)).unwrap().unwrap();
        let _ = sample::prune(&journal, 3, last, sample::moment(2).wall);
        let refused = journal.sweep(|_| Err(JournalError::Damaged("a shelf")));
        let there = || {
            database.connection().query_row(
                "SELECT count(*) FROM record WHERE seq = ?1",
                [last.seq.cast_signed()],
                |row| row.get(0),
            )
        };
        assert!(refused.is_err() && there() == Ok(1), "the records outlive what they vouch for");
        let mut runs = Vec::new();
        let noted = journal.sweep(|run| {
            runs.push(run.to_owned());
            Ok::<_, JournalError>(())
        });
        noted.unwrap();
        assert_eq!((runs.as_slice(), there()), (&["run000000001".to_owned()][..], Ok(0)));
    }

    #[test]
    fn an_interrupted_pruning_is_finished_by_the_next_and_nothing_else_stands_before_it() {
        let scratch = Scratch::new("prune-interrupted");
        let database = Database::create(&scratch.path(), &ALL).unwrap();
        let journal = filled(&database);
        database.connection().execute_batch("CREATE TEMP TABLE kept AS SELECT * FROM record").unwrap();
        let before = sample::moment(2).wall;
        let _ = pruned_with(&journal, 9, before);
        let put = |rows: &str| database.connection().execute_batch(&format!("INSERT INTO record {rows}")).unwrap();
        let refused = |what: &str| {
            let bad = journal.prove_records(signers()).unwrap().unwrap_err();
            assert!(matches!(bad.cause, Cause::BeforePruned(2000)), "{what}: {bad}");
            assert!(journal.verify_all().unwrap().is_err(), "{what}");
            assert_eq!(journal.by_seq(3).unwrap(), None, "{what}");
            assert!(journal.by_run("planted").unwrap().records.is_empty(), "{what}");
            assert!(
                journal.list(Between::after(0), 1, Order::Oldest, &Filter::default()).unwrap().records[0].seq > 2000
            );
            database.connection().execute("DELETE FROM record WHERE seq <= 2000", []).unwrap();
        };
        put("SELECT 3, 'start', 1, 'planted', NULL, 1, 1, zeroblob(32), x'7b7d'");
        refused("out of thin air");
        put("SELECT 1999, kind, uid, run, grant_id, at, high, hash, body FROM temp.kept WHERE seq = 1998");
        refused("elsewhere");
        put("SELECT * FROM temp.kept WHERE seq = 3");
        refused("a gap behind it");
        put("SELECT * FROM temp.kept WHERE seq BETWEEN 1500 AND 2000 AND seq <> 1700");
        refused("a gap among them");
        put(
            "SELECT seq, kind, uid, 'planted', grant_id, at, high, hash, body FROM temp.kept WHERE seq BETWEEN 1990 AND 2000",
        );
        refused("other columns");

        put("SELECT * FROM temp.kept WHERE seq BETWEEN 1500 AND 2000");
        let _ = journal.prove_records(signers()).unwrap().unwrap();
        assert!(journal.verify_all().unwrap().is_ok());
        assert_eq!(journal.by_seq(1600).unwrap(), None);
        journal.sweep(|_| Ok::<_, JournalError>(())).unwrap();
        let left = "SELECT count(*) FROM record WHERE seq <= 2000";
        assert_eq!(database.connection().query_row(left, [], |row| row.get(0)), Ok(0));
    }
}
