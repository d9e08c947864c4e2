//! The identity of the host that the journal knows; a change of it is recorded.

use rusqlite::{Connection, Transaction};

use super::error::JournalError;
use super::fault::Fault;
use super::history::history;
use super::journal::{Journal, Written};
use super::meta::{HOST, meta, set_meta};
use crate::database::Durability;
use jit_core::clock::Moment;
use jit_core::grant::HostDescriptor;

impl Journal<'_> {
    /// Returns whether the journal knows the host by this identity.
    pub fn knows_host(&self, host: &HostDescriptor) -> Result<bool, JournalError> {
        Ok(meta(self.database.connection(), HOST)?.as_deref() == Some(host.id.as_bytes()))
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

/// Returns the former identity of the host if its row is missing: from the latest record that contains it, or else from
/// the newest request. Ignores what cannot be decoded, which a verification reports.
fn told(tx: &Transaction<'_>) -> rusqlite::Result<Option<String>> {
    // Alerts and rotations come before prune records, which repeat the identity of pruned ones.
    let records = history!(
        "SELECT body FROM history WHERE kind IN ('alert', 'prune', 'rotation') AND kind NOT IN ('start', 'end') \
                   ORDER BY kind = 'prune', seq DESC"
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

/// Returns the identity of the host that the journal knows.
pub fn host(connection: &Connection) -> rusqlite::Result<Option<Vec<u8>>> {
    meta(connection, HOST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::meta::clear_meta;
    use crate::audit::{SCHEMA, sample};
    use crate::database::Database;
    use crate::database::tests::Scratch;
    use crate::store;

    #[test]
    fn another_host_is_recorded_and_the_first_one_is_not() {
        let scratch = Scratch::new("checks-host");
        let database = Database::create(&scratch.path(), &[SCHEMA, store::SCHEMA]).unwrap();
        let journal = Journal::new(&database, "web1", Vec::new());
        let described = |id: &str| {
            let [key, machine, name] = ["k", "m", "web1"].map(str::to_owned);
            HostDescriptor { id: id.to_owned(), key, machine, name }
        };
        let seen = |id| sample::codes(&journal.notice_host(&sample::moment(1), &described(id)).unwrap());
        assert!(seen("a").is_empty());
        assert!(seen("a").is_empty());
        assert_eq!(seen("b"), ["host-changed"]);
        assert!(seen("b").is_empty());
        // Without the row that stores it, the records are used.
        let forget =
            || database.write(Durability::Ordered, |tx| clear_meta(tx, HOST).map_err(JournalError::from)).unwrap();
        forget();
        assert!(seen("b").is_empty());
        forget();
        assert_eq!(seen("c"), ["host-changed"]);
    }
}
