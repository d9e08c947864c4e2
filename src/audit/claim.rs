//! Conditions that must hold when a record that gives permission is written. They are checked inside the transaction that writes
//! the record, so that a verification finds the same state in the journal.

use rusqlite::{Connection, Transaction};

use super::error::JournalError;
use super::history::last;
use super::state_checks;
use crate::store::{is_open, use_up};
use crate::verify::window;
use jit_core::clock::{Moment, Now};
use jit_core::grant::{GrantTerms, HostDescriptor, HostId};
use jit_core::names::GrantId;

/// Claims a grant for `run`, which starts at `moment`: the grant has not ended or expired and belongs to this host; a one-shot
/// grant is used up. Returns false where the grant is no longer valid.
///
/// # Errors
/// Fails when the database fails, or is an older copy that root has not accepted.
pub fn claim(tx: &Transaction<'_>, terms: &GrantTerms, run: &str, moment: &Moment) -> Result<bool, JournalError> {
    accepted(tx)?;
    // Other processes may have written records since the clock was read; a clock that is slightly behind them is no fault.
    let now = now(tx, moment.clone())?.caught_up();
    if window(terms, &now).is_err()
        || !asked_since_accepted(tx, &terms.id)?
        || state_checks::host(tx)?.is_some_and(|host| host != terms.host.as_bytes())
    {
        return Ok(false);
    }
    let stands =
        if terms.one_shot.is_set() { use_up(tx, terms, run, moment.wall.seconds())? } else { is_open(tx, &terms.id)? };
    Ok(stands)
}

/// Returns the clock reading together with the latest time in the journal. A decision inside a transaction must call this inside
/// it, because other processes may have written records meanwhile.
///
/// # Errors
/// Fails when the database fails.
pub fn now(connection: &Connection, moment: Moment) -> Result<Now, JournalError> {
    Ok(Now::of(moment, last(connection)?.map(|last| last.high)))
}

/// Rejects a permission for a request that names `asked` as its host, by the host with `identity`: while the database is an older
/// copy that root has not accepted, and where the two identities differ, or differ from the one in the journal.
///
/// # Errors
/// Fails in these cases, and when the database fails.
pub fn empowered(tx: &Transaction<'_>, asked: &HostDescriptor, identity: &HostId) -> Result<(), JournalError> {
    accepted(tx)?;
    if asked.id != identity.as_str() {
        return Err(JournalError::AskedElsewhere);
    }
    of_this_host(tx, &asked.id)
}

/// Refuses an approval or grant of what was asked for before root last accepted the state of the host, whatever its row says.
///
/// # Errors
/// It was, or the database failed.
pub fn asked_since(tx: &Transaction<'_>, id: &GrantId) -> Result<(), JournalError> {
    if asked_since_accepted(tx, id)? { Ok(()) } else { Err(JournalError::AskedBefore) }
}

/// By the records alone: a row that was hidden while root accepted the state of the host is as dead as those that were ended then.
fn asked_since_accepted(tx: &Transaction<'_>, id: &GrantId) -> Result<bool, JournalError> {
    // Reads the table, which takes half the time: an invalid row can only make the answer a refusal.
    let query = "SELECT NOT EXISTS (SELECT 1 FROM record WHERE kind = 'alert' AND kind NOT IN ('start', 'end') \
                 AND seq > coalesce((SELECT min(seq) FROM record WHERE grant_id = ?1 AND kind = 'request'), 0) \
                 AND instr(body, CAST('\"code\":\"state-accepted\"' AS BLOB)) > 0)";
    Ok(tx.prepare_cached(query)?.query_row([id.as_str()], |row| row.get(0))?)
}

/// Refuses what is signed as the host with this id where the journal knows it by another one: it has changed since.
///
/// # Errors
/// Fails in that case, and when the database fails.
pub fn of_this_host(tx: &Transaction<'_>, id: &str) -> Result<(), JournalError> {
    match state_checks::host(tx)? {
        Some(host) if host != id.as_bytes() => Err(JournalError::OtherHost),
        Some(_) | None => Ok(()),
    }
}

fn accepted(tx: &Transaction<'_>) -> Result<(), JournalError> {
    match state_checks::older(tx)? {
        Some(how) => Err(JournalError::Older(how)),
        None => Ok(()),
    }
}
