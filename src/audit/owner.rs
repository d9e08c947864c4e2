//! Whose a record is: of the uid and the name that stand in it, never of the uid alone.
//! May not: write.

use rusqlite::OptionalExtension;
use serde::Deserialize;

use super::journal::{Journal, JournalError, sql_bound};
use super::listing::Stored;
use crate::escape::Word;
use crate::names::Person;

/// What a record, a request or a grant says of its owner.
#[derive(Deserialize)]
struct Owner {
    uid: Option<u32>,
    user: Option<Word>,
    /// The number of the start, in the records of a run that do not repeat the name.
    start: Option<u64>,
    grant: Option<String>,
}

impl Journal<'_> {
    /// Whether `person` did what this record tells of. The end of a run whose start was pruned is nobody's.
    pub fn is_by(&self, person: &Person, stored: &Stored) -> Result<bool, JournalError> {
        let Some(owner) = read(stored.body.as_bytes()) else { return Ok(false) };
        self.did(person, &owner)
    }

    /// Whether it tells of what `person` did, or of what others did about their requests and grants.
    pub fn is_about(&self, person: &Person, stored: &Stored) -> Result<bool, JournalError> {
        let Some(owner) = read(stored.body.as_bytes()) else { return Ok(false) };
        if self.did(person, &owner)? {
            return Ok(true);
        }
        let Some(grant) = &owner.grant else { return Ok(false) };
        let request = self.body_of("SELECT body FROM request WHERE id = ?1", grant)?;
        Ok(request.is_some_and(|request| is(person, &request)))
    }

    fn did(&self, person: &Person, owner: &Owner) -> Result<bool, JournalError> {
        if owner.uid != Some(person.uid) {
            return Ok(false);
        }
        match (&owner.user, owner.start) {
            (Some(_), _) => Ok(is(person, owner)),
            (None, Some(start)) => {
                let start = self.body_of("SELECT CAST(body AS BLOB) FROM record WHERE seq = ?1", sql_bound(start))?;
                Ok(start.is_some_and(|start| is(person, &start)))
            }
            (None, None) => Ok(false),
        }
    }

    fn body_of(&self, query: &str, key: impl rusqlite::ToSql) -> Result<Option<Owner>, JournalError> {
        let mut statement = self.database.connection().prepare_cached(query)?;
        let body: Option<Vec<u8>> = statement.query_row([key], |row| row.get(0)).optional()?;
        Ok(body.and_then(|body| read(&body)))
    }
}

fn read(bytes: &[u8]) -> Option<Owner> {
    serde_json::from_slice(bytes).ok()
}

fn is(person: &Person, owner: &Owner) -> bool {
    owner.uid.zip(owner.user.as_ref()).is_some_and(|(uid, user)| person.is_recorded(uid, user))
}
