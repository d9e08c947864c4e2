//! Conditions that must hold when a record that gives permission is written. They are checked inside the transaction that writes
//! the record, so that a verification finds the same state in the journal.

use rusqlite::{Connection, Transaction};

use super::error::JournalError;
use super::grant_records::{InRecords, RequestInRecords, alone_in_records, in_records, request_in_records};
use super::history::last;
use super::{distrust, host_identity};
use crate::store::{is_open, use_up};
use crate::verify::window;
use jit_core::clock::{Moment, Now};
use jit_core::grant::terms::Flag;
use jit_core::grant::{GrantTerms, HostDescriptor, HostId};
use jit_core::names::GrantId;

/// Claims a grant for `run`, which starts at `moment`: the grant has not ended or expired and belongs to this host; a one-shot
/// grant is used up. Returns false where the grant is no longer valid. `is_unchanged` says that the verification of the grant has
/// read the same state of the database, so that what it has found out is not asked again.
///
/// # Errors
/// Fails when the database fails, or is an older copy that root has not accepted.
pub fn claim(
    tx: &Transaction<'_>,
    terms: &GrantTerms,
    run: &str,
    moment: &Moment,
    is_unchanged: bool,
) -> Result<bool, JournalError> {
    accepted(tx)?;
    // Other processes may have written records since the clock was read; a clock that is slightly behind them is no fault.
    let now = now(tx, moment.clone())?.caught_up();
    let is_open_in_records = || Ok::<_, JournalError>(in_records(tx, terms)? == InRecords::Open);
    if window(terms, &now).is_err()
        || host_identity::host(tx)?.is_some_and(|host| host != terms.host.as_bytes())
        || !(is_unchanged || is_open_in_records()?)
    {
        return Ok(false);
    }
    let stands = match terms.one_shot.is_set() {
        true => use_up(tx, terms, run, moment.wall.seconds())?,
        false => is_unchanged || is_open(tx, &terms.id)?,
    };
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

/// Refuses an approval or grant of what was denied, cancelled or granted, or asked for before root last accepted the state of the
/// host, whatever its row says.
///
/// # Errors
/// It was, or the database failed.
pub fn asked_since(tx: &Transaction<'_>, id: &GrantId) -> Result<(), JournalError> {
    match request_in_records(tx, id)? {
        RequestInRecords::Decided => return Err(JournalError::Decided),
        RequestInRecords::Granted | RequestInRecords::Ended => return Err(JournalError::Granted),
        RequestInRecords::Pending | RequestInRecords::Unknown => {}
    }
    if alone_in_records(tx, id, Flag::No)? == InRecords::Open { Ok(()) } else { Err(JournalError::AskedBefore) }
}

/// Refuses what is signed as the host with this id where the journal knows it by another one: it has changed since.
///
/// # Errors
/// Fails in that case, and when the database fails.
pub fn of_this_host(tx: &Transaction<'_>, id: &str) -> Result<(), JournalError> {
    match host_identity::host(tx)? {
        Some(host) if host != id.as_bytes() => Err(JournalError::OtherHost),
        Some(_) | None => Ok(()),
    }
}

fn accepted(tx: &Transaction<'_>) -> Result<(), JournalError> {
    match distrust::older(tx)? {
        Some(how) => Err(JournalError::Older(how)),
        None => Ok(()),
    }
}
