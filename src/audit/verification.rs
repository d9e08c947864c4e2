//! The verification of the journal in the database: every record in one pass over a snapshot, with its columns, its checkpoints
//! and the heads that were kept elsewhere; then every row of the tables that give permission.
//! May not: write.

use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior};

use super::altered::{Altered, damaged_or};
use super::checkpoint::checkpoints;
use super::columns::sql_bound;
use super::epochs::{certificates, misnamed};
use super::error::JournalError;
use super::indexes::damaged;
use super::journal::Journal;
use super::prune::pruned;
use super::rows::each_row;
use super::tables;
use super::tree;
use super::verified_records::follow;
use jit_core::clock::Timestamp;
use jit_core::evidence::Mark;
use jit_core::evidence::chain::{Begin, Cause, Chain, FirstBad, Row, Verified, role_digest};
use jit_core::evidence::policy_history::PolicyHistory;
use jit_core::evidence::power::Power;
use jit_core::evidence::proof::{Proof, Proven, Signers};
use jit_core::evidence::{Elsewhere, Inconsistencies};
use jit_core::policy::SourceFile;

/// How many of the newest records may lack a checkpoint: one is made every thousand records, but not by each of many processes
/// that run at once.
const TAIL: u64 = 5_000;

/// Facts from outside the database.
#[derive(Debug, Clone)]
pub struct Known {
    /// The accepted signers of checkpoints and documents.
    pub signers: Signers,
    /// Heads that were kept elsewhere.
    pub anchor: Vec<Mark>,
    /// What else was kept elsewhere.
    pub elsewhere: Elsewhere,
    /// Fingerprints of sealing keys that were kept elsewhere: the journal must have them.
    pub sealing_keys: Vec<String>,
    /// The policy files on the disk, where the compiled policy counts as theirs.
    pub files: Option<Vec<SourceFile>>,
    /// The current time.
    pub now: Timestamp,
}

impl Journal<'_> {
    /// Verifies records and tables, as far as possible.
    pub fn prove(&self, known: Known) -> Result<Result<Proven, FirstBad>, JournalError> {
        let Known { signers, anchor, elsewhere, sealing_keys, files, now } = known;
        let snapshot = Transaction::new_unchecked(self.database.connection(), TransactionBehavior::Deferred)?;
        let asked = Asked { signers, anchor, elsewhere, sealing_keys, now: Some(now) };
        // Only an intact chain allows conclusions about the tables; a record with invalid contents does not hide the others.
        let (mut proven, mut power, mut inconsistencies) = match records(&snapshot, asked)? {
            Ok(proven) => proven,
            Err(bad) => return Ok(Err(bad)),
        };
        // An index that lacks a row hides it from everything that searches, and from the comparison of the tables.
        if inconsistencies.records.is_empty()
            && let Some(line) = damaged(&snapshot)?
        {
            return Ok(Err(FirstBad { seq: proven.last.seq, cause: Cause::Damaged(line) }));
        }
        power.files(files);
        tables::compare(&snapshot, &mut power)?;
        let compared = power.end();
        if let Some(first) = inconsistencies.records.first() {
            let seq = first.seq;
            inconsistencies.rows = compared.err().unwrap_or_default();
            return Ok(Err(FirstBad { seq, cause: Cause::Inconsistencies(Box::new(inconsistencies)) }));
        }
        Ok(match compared {
            Ok(compared) => {
                proven.compared = Some(compared);
                Ok(proven)
            }
            Err(differences) => Err(FirstBad { seq: proven.last.seq, cause: Cause::Rows(differences) }),
        })
    }

    /// Does the same for the records alone, for tests whose records have no rows.
    #[cfg(test)]
    pub(super) fn prove_records(&self, signers: Signers) -> Result<Result<Proven, FirstBad>, JournalError> {
        let (anchor, elsewhere, sealing_keys) = Default::default();
        let asked = Asked { signers, anchor, elsewhere, sealing_keys, now: None };
        let done = chained(self.database.connection(), asked, |_, _| Ok(()))?;
        Ok(done.and_then(|(proven, told)| told.inconsistencies.records.into_iter().next().map_or(Ok(proven), Err)))
    }

    /// Returns the first record since root last accepted the state of the host that is not as it was written: its bytes
    /// or columns are others, or it stands in another place. Such a record may hide a grant, and so may a damaged index.
    ///
    /// # Errors
    /// Fails when the database fails.
    pub fn altered(&self) -> Result<Option<Altered>, JournalError> {
        let snapshot = Transaction::new_unchecked(self.database.connection(), TransactionBehavior::Deferred)?;
        let begin = begin(&snapshot)?;
        if let Err(bad) = leftovers(&snapshot, begin)? {
            return Ok(Some(Altered::Record(bad.seq)));
        }
        damaged_or(&snapshot, follow(&snapshot, Chain::new(begin), &mut |_| None)?.0)
    }

    /// Verifies the chain alone, from the first record to the last.
    pub fn verify_all(&self) -> Result<Result<Verified, FirstBad>, JournalError> {
        let snapshot = Transaction::new_unchecked(self.database.connection(), TransactionBehavior::Deferred)?;
        let begin = begin(&snapshot)?;
        if let Err(bad) = leftovers(&snapshot, begin)? {
            return Ok(Err(bad));
        }
        let mut chain = Chain::new(begin);
        let first = chain.last().seq;
        Ok(each_row(&snapshot, first, u64::MAX, |row| chain.feed(row).map(drop))?.and_then(|()| chain.end()))
    }
}

/// Returns what the records prove, and what they say about the tables.
fn records(
    snapshot: &Connection,
    asked: Asked,
) -> Result<Result<(Proven, Power, Inconsistencies), FirstBad>, JournalError> {
    let mut power = Power::new(pruned(snapshot)?.map(|mark| mark.seq));
    let done = chained(snapshot, asked, |row, role| {
        let named = role.map_or(Ok(()), |role| power.names_role(row.seq, role));
        named.and(row.copies.as_ref().map_or(Ok(()), |copies| power.record(row.seq, copies, row.body)))
    })?;
    Ok(done.map(|(proven, known)| {
        power.policies(known.policies);
        power.keys(known.present_keys, known.accepted_keys, known.accepted);
        (proven, power, known.inconsistencies)
    }))
}

/// What a verification of the records is asked for; see [`Known`].
struct Asked {
    signers: Signers,
    anchor: Vec<Mark>,
    elsewhere: Elsewhere,
    sealing_keys: Vec<String>,
    now: Option<Timestamp>,
}

/// The state at the end of the chain.
struct ChainEnd {
    inconsistencies: Inconsistencies,
    policies: Option<PolicyHistory>,
    accepted: u64,
    accepted_keys: u64,
    present_keys: Signers,
}

/// Verifies the chain and its checkpoints; `feed` gets each good record, and the digest of the role that it names.
fn chained(
    snapshot: &Connection,
    Asked { signers, anchor, elsewhere, sealing_keys, now }: Asked,
    mut feed: impl FnMut(&Row<'_>, Option<&str>) -> Result<(), FirstBad>,
) -> Result<Result<(Proven, ChainEnd), FirstBad>, JournalError> {
    let begin = begin(snapshot)?;
    if let Err(bad) = leftovers(snapshot, begin)? {
        return Ok(Err(bad));
    }
    let mut proof = Proof::new(begin, signers, anchor).with_sealing_keys(begin, sealing_keys);
    if let Begin::Pruned(mark) = begin {
        let Some(removed) = tree::removed(snapshot)? else {
            let cause = Cause::Tree("has no tree of the removed records".to_owned());
            return Ok(Err(FirstBad { seq: mark.seq, cause }));
        };
        proof = proof.after(removed);
    }
    proof = proof.with(elsewhere);
    if let Some(seq) = misnamed(snapshot, first_of(begin))? {
        let why = "is kept under a name that is not that of its record".to_owned();
        return Ok(Err(FirstBad { seq, cause: Cause::Epoch(why) }));
    }
    for (_, body) in certificates(snapshot, 0, first_of(begin), u32::MAX)? {
        if let Err(bad) = proof.certificate(&body) {
            return Ok(Err(bad));
        }
    }
    if let Some(seq) = unnumbered(snapshot)? {
        let what = format!("has the number {seq}, which no record has");
        return Ok(Err(FirstBad { seq: 0, cause: Cause::Checkpoint(what) }));
    }
    let stored = checkpoints(snapshot, 0, u64::MAX)?;
    let sealed = stored.last().map_or(0, |checkpoint| checkpoint.seq);
    let mut stored = stored.iter().peekable();
    // The checkpoint of the last pruned record comes before any record.
    let mut check = |proof: &mut Proof, seq: u64| {
        while let Some(checkpoint) = stored.next_if(|checkpoint| checkpoint.seq <= seq) {
            proof.checkpoint(checkpoint)?;
        }
        Ok(())
    };
    let first = first_of(begin).saturating_sub(1);
    if let Err(bad) = check(&mut proof, first) {
        return Ok(Err(bad));
    }
    let mut inconsistencies = Inconsistencies::default();
    let done = each_row(snapshot, first, u64::MAX, |row| {
        let told = proof.record(row);
        // A record that lacks a key is not compared further.
        let is_whole = !told.as_ref().is_err_and(|bad| matches!(bad.cause, Cause::Lacks(_)));
        let role = inconsistencies.pass(told)?.unwrap_or_else(|| role_digest(row.body));
        if is_whole && let Err(bad) = feed(row, role) {
            inconsistencies.push(bad);
        }
        check(&mut proof, row.seq)
    })?;
    let (accepted, accepted_keys) = (proof.accepted(), proof.accepted_keys());
    let (policies, present_keys) = (proof.policies().cloned(), proof.present_keys());
    let told = ChainEnd { policies, accepted, accepted_keys, present_keys, inconsistencies };
    let done = match done.and_then(|()| check(&mut proof, u64::MAX)) {
        Ok(()) => tree::differs(snapshot, proof.stored(), sealed)?
            .map_or(Ok(()), |(seq, what)| Err(FirstBad { seq, cause: Cause::Tree(what.to_owned()) })),
        Err(bad) => Err(bad),
    };
    let done = done.and_then(|()| proof.end(TAIL, now));
    Ok(done.map(|proven| (proven, told)))
}

/// Returns the number of the first record that is there.
fn first_of(begin: Begin) -> u64 {
    match begin {
        Begin::Pruned(mark) => mark.seq.saturating_add(1),
        Begin::First | Begin::Part(_) => 1,
    }
}

/// Returns the number of a checkpoint that cannot belong to a record.
fn unnumbered(connection: &Connection) -> Result<Option<i64>, JournalError> {
    let query = "SELECT seq FROM checkpoint WHERE seq <= 0 ORDER BY seq LIMIT 1";
    Ok(connection.query_row(query, [], |row| row.get(0)).optional()?)
}

fn begin(connection: &Connection) -> Result<Begin, JournalError> {
    Ok(pruned(connection)?.map_or(Begin::First, Begin::Pruned))
}

/// What stands before the last pruned record has to be what an interrupted pruning leaves: the last of the records that were pruned.
fn leftovers(connection: &Connection, begin: Begin) -> Result<Result<(), FirstBad>, JournalError> {
    let Begin::Pruned(last) = begin else { return Ok(Ok(())) };
    let query = "SELECT seq FROM record WHERE seq > 0 AND seq <= ?1 ORDER BY seq LIMIT 1";
    let first: Option<i64> = connection.query_row(query, [sql_bound(last.seq)], |row| row.get(0)).optional()?;
    let Some(first) = first.map(i64::unsigned_abs) else { return Ok(Ok(())) };
    let mut chain = Chain::new(Begin::Part(first));
    let done = each_row(connection, first.saturating_sub(1), last.seq, |row| match chain.feed(row) {
        Err(bad) if !bad.cause.is_of_the_replay() => Err(bad),
        _ => Ok(()),
    })?;
    let leads = done.is_ok() && chain.last() == last;
    Ok(if leads { Ok(()) } else { Err(FirstBad { seq: first, cause: Cause::BeforePruned(last.seq) }) })
}
