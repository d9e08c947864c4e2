//! Checks whether a journal belongs to this host before its head is signed: a signature would make another host's journal count
//! as this host's.
//! May not: read a clock or a key; both come in as arguments.

use rusqlite::{Connection, OptionalExtension, params};
use serde::Deserialize;

use super::columns::{digest, sql_bound};
use super::distrust::UNSEALED;
use super::epochs::epoch_at;
use super::error::JournalError;
use super::fault::alert;
use super::history::history;
use super::journal::{Journal, Written};
use super::key_life::{host_key_at, rotated};
use super::meta::{meta, set_meta};
use crate::database::Durability;
use jit_core::clock::Moment;
use jit_core::evidence::acceptance::{ACCEPTED, accepts};
use jit_core::evidence::checkpoint::{Checkpoint, EVERY_SECONDS, Statement};
use jit_core::grant::PublicKey;
use jit_core::grant::sshsig::{Namespace, signer};

#[derive(Deserialize)]
struct RequestHost {
    host: serde_json::Value,
}

impl Journal<'_> {
    /// Returns the reason why the host with this key must not sign the head, if there is one: since its own last checkpoint, or
    /// since root accepted the state of the host, a request names another key; or there is neither, and the journal is not new.
    pub fn unsealable(&self, own: &PublicKey, moment: &Moment) -> Result<Option<String>, JournalError> {
        let connection = self.database.connection();
        let current = epoch_at(connection, u64::MAX)?;
        if let Some(current) = &current
            && host_key_at(connection, current, u64::MAX)?.as_ref() != Some(own)
        {
            return Ok(Some("its sealing keys were certified by another key than this host's".to_owned()));
        }
        let last = last_checkpoint(connection)?;
        let signed = match &last {
            Some(checkpoint) => {
                let epoch = epoch_at(connection, checkpoint.seq)?;
                signs(connection, checkpoint, epoch.as_ref().map_or(own, |current| &current.epoch.key))?
            }
            None => false,
        };
        let sealed = last.map_or(0, |checkpoint| checkpoint.seq);
        let from = if signed { sealed } else { accepted(connection)? };
        if !signed && from <= sealed {
            if sealed > 0 {
                return Ok(Some("its last checkpoint is not by this host's key".to_owned()));
            }
            let first: Option<i64> = connection
                .query_row(history!("SELECT at FROM history ORDER BY seq LIMIT 1"), [], |row| row.get(0))
                .optional()?;
            let age = first.map_or(0, |first| moment.wall.0.saturating_sub(first).saturating_div(1_000_000));
            if age > EVERY_SECONDS && current.is_none() {
                return Ok(Some("it is older than a minute and has no checkpoint".to_owned()));
            }
        }
        // Requests before a rotation name the key of that time.
        let foreign = foreign_request(connection, from.max(rotated(connection)?), own)?;
        Ok(foreign.map(|id| format!("request {id} was made with another key than this host's")))
    }

    /// Records, once, that the head is not signed and why.
    pub fn tell_unsealed(&self, moment: &Moment, why: &str) -> Result<Option<Written>, JournalError> {
        if meta(self.database.connection(), UNSEALED)?.is_some() {
            return Ok(None);
        }
        let sentence = format!("the journal is not signed: {why}; jitctl audit verify says more");
        self.database.write(Durability::Synced, |tx| {
            if meta(tx, UNSEALED)?.is_some() {
                return Ok(None);
            }
            set_meta(tx, UNSEALED, why.as_bytes())?;
            self.append(tx, moment, alert("journal-not-signed", &sentence)).map(Some)
        })
    }
}

fn last_checkpoint(connection: &Connection) -> Result<Option<Checkpoint>, JournalError> {
    let query = "SELECT seq, body, signature, note FROM checkpoint ORDER BY seq DESC LIMIT 1";
    let read = |row: &rusqlite::Row<'_>| {
        let seq = row.get::<_, i64>(0)?.unsigned_abs();
        Ok(Checkpoint { seq, body: row.get(1)?, signature: row.get(2)?, note: row.get(3)? })
    };
    Ok(connection.query_row(query, [], read).optional()?)
}

/// Whether this key, which is that of its epoch, has signed the checkpoint, and the checkpoint matches the stored record.
fn signs(connection: &Connection, checkpoint: &Checkpoint, own: &PublicKey) -> Result<bool, JournalError> {
    let by_own = signer(Namespace::Checkpoint, &checkpoint.body, &checkpoint.signature).is_ok_and(|key| key == *own);
    let Some(statement) =
        Statement::decode(&checkpoint.body).filter(|statement| by_own && statement.seq == checkpoint.seq)
    else {
        return Ok(false);
    };
    let query = history!("SELECT hash FROM history WHERE seq = ?1");
    let head = connection.query_row(query, [sql_bound(checkpoint.seq)], |row| Ok(digest(row, 0))).optional()?;
    // A record that was pruned has no other trace than its checkpoint.
    Ok(head.transpose()?.is_none_or(|head| head == statement.head))
}

/// Returns the last record by which root accepted the state of the host.
pub(super) fn accepted(connection: &Connection) -> Result<u64, JournalError> {
    #[derive(Deserialize)]
    struct Alerted {
        code: String,
    }
    let query = history!(
        "SELECT seq, body FROM history WHERE kind = 'alert' AND kind NOT IN ('start', 'end') \
                 AND instr(body, CAST(?1 AS BLOB)) > 0 ORDER BY seq DESC"
    );
    let mut statement = connection.prepare(query)?;
    let mut rows = statement.query([ACCEPTED])?;
    while let Some(row) = rows.next()? {
        let alerted = serde_json::from_slice::<Alerted>(row.get_ref(1)?.as_bytes().unwrap_or_default());
        if alerted.is_ok_and(|alerted| accepts("alert", Some(&alerted.code))) {
            return Ok(row.get::<_, i64>(0)?.unsigned_abs());
        }
    }
    Ok(0)
}

/// Returns a request after record `from` that names another key as its host's.
fn foreign_request(connection: &Connection, from: u64, own: &PublicKey) -> Result<Option<String>, JournalError> {
    let query = history!(
        "SELECT r.grant_id, q.body FROM history r JOIN request q ON q.id = r.grant_id \
                 WHERE r.kind = 'request' AND r.kind NOT IN ('start', 'end') AND r.seq > ?1 ORDER BY r.seq"
    );
    let mut statement = connection.prepare(query)?;
    let mut rows = statement.query(params![sql_bound(from)])?;
    while let Some(row) = rows.next()? {
        // Ignores what cannot be decoded, which a verification reports; requests of version 1 name no key.
        let asked = serde_json::from_slice::<RequestHost>(row.get_ref(1)?.as_bytes().unwrap_or_default());
        let named = asked.ok().and_then(|asked| asked.host.get("key")?.as_str().map(str::to_owned));
        let key = named.as_deref().and_then(|words| words.split_once(' '));
        let key = key.and_then(|(kind, encoded)| PublicKey::from_words(kind, encoded));
        if named.is_some() && key.as_ref() != Some(own) {
            return Ok(Some(row.get(0)?));
        }
    }
    Ok(None)
}
