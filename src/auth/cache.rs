//! The credential cache (sudo's timestamp): remembered authentication, never a grant. Bound to the boot, the session
//! leader with its start time, the terminal and the PAM service, so that none of them can be reused (CVE-2013-2776).

use rusqlite::{Connection, OptionalExtension, params};
use std::time::Duration;

use crate::clock::Moment;
use crate::elevation::Caller;
use sys::process::{Pid, process_start};

/// The table of this room.
pub const SCHEMA: &str = "
CREATE TABLE credential_cache (uid INTEGER NOT NULL, boot_id TEXT NOT NULL, leader INTEGER NOT NULL, leader_start INTEGER NOT NULL, tty INTEGER NOT NULL, service TEXT NOT NULL, at INTEGER NOT NULL, PRIMARY KEY (uid, boot_id, leader, leader_start, tty, service)) STRICT, WITHOUT ROWID;
";

/// A remembered authentication is renewed by use, but not more often than this: a run need not write for it.
const RENEW_AFTER_US: i64 = 60_000_000;

/// Remembered authentications in the database.
pub struct CredentialCache<'a> {
    connection: &'a Connection,
    timeout: Duration,
}

/// What a remembered authentication is bound to besides the caller and the boot (`timestamp_type` of sudoers(5)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bond {
    /// The terminal and its session; the parent process where there is no terminal.
    Terminal,
    /// The parent process.
    Parent,
    /// Nothing.
    Caller,
}

/// Whose authentication, where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheKey {
    uid: u32,
    leader: i32,
    leader_start: u64,
    tty: u64,
    service: String,
}

impl CacheKey {
    /// The key of `caller`; `None` when the process that it would be bound to is gone.
    pub fn of(caller: &Caller, service: &str, bond: Bond) -> Option<Self> {
        let (leader, leader_start, tty) = match (bond, caller.tty()) {
            (Bond::Terminal, Some(tty)) => (caller.session().sid, caller.session().started, tty.device),
            (Bond::Terminal, None) | (Bond::Parent, _) => {
                let parent = Pid::new(i32::try_from(std::os::unix::process::parent_id()).ok()?)?;
                (parent.raw(), process_start(parent).ok()?, 0)
            }
            (Bond::Caller, _) => (0, 0, 0),
        };
        if bond != Bond::Caller && (leader <= 0 || leader_start == 0) {
            return None;
        }
        // The name stands before the service: a uid that was given to somebody else remembers nothing.
        let service = format!("{}/{service}", caller.name());
        Some(Self { uid: caller.uid(), leader, leader_start, tty, service })
    }
}

impl<'a> CredentialCache<'a> {
    /// Over an open database; `timeout` is `timestamp_timeout`, zero remembers nothing.
    pub fn new(connection: &'a Connection, timeout: Duration) -> Self {
        Self { connection, timeout }
    }

    /// True when the authentication is remembered and young enough.
    pub fn remembers(&self, key: &CacheKey, moment: &Moment) -> rusqlite::Result<bool> {
        Ok(self.age(key, moment)?.is_some())
    }

    /// Remembers an authentication made or used now.
    pub fn remember(&self, key: &CacheKey, moment: &Moment) -> rusqlite::Result<()> {
        if self.timeout.is_zero() || self.age(key, moment)?.is_some_and(|age| age < RENEW_AFTER_US) {
            return Ok(());
        }
        self.connection.execute("DELETE FROM credential_cache WHERE boot_id <> ?1", [&moment.boot_id])?;
        self.connection.execute(
            "INSERT OR REPLACE INTO credential_cache (uid, boot_id, leader, leader_start, tty, service, at) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            params![
                key.uid,
                moment.boot_id,
                key.leader,
                stored(key.leader_start),
                stored(key.tty),
                key.service,
                moment.boot.0
            ],
        )?;
        Ok(())
    }

    /// -k: forgets this terminal and session, for every service.
    pub fn forget(&self, key: &CacheKey) -> rusqlite::Result<()> {
        self.connection.execute(
            "DELETE FROM credential_cache WHERE uid = ?1 AND leader = ?2 AND tty = ?3",
            params![key.uid, key.leader, stored(key.tty)],
        )?;
        Ok(())
    }

    /// -K: forgets everything of a user.
    pub fn forget_all(&self, uid: u32) -> rusqlite::Result<()> {
        self.connection.execute("DELETE FROM credential_cache WHERE uid = ?1", [uid])?;
        Ok(())
    }

    /// Microseconds since the authentication, when it still counts.
    fn age(&self, key: &CacheKey, moment: &Moment) -> rusqlite::Result<Option<i64>> {
        let at: Option<i64> = self
            .connection
            .query_row(
                "SELECT at FROM credential_cache WHERE uid = ?1 AND boot_id = ?2 AND leader = ?3 \
                 AND leader_start = ?4 AND tty = ?5 AND service = ?6",
                params![key.uid, moment.boot_id, key.leader, stored(key.leader_start), stored(key.tty), key.service],
                |row| row.get(0),
            )
            .optional()?;
        let limit = i64::try_from(self.timeout.as_micros()).unwrap_or(i64::MAX);
        // An age below zero would be a time to come: such a row was not written by this clock.
        Ok(at.map(|at| moment.boot.0.saturating_sub(at)).filter(|age| (0..limit).contains(age)))
    }
}

/// SQLite's integers are signed; the bits are what matters.
fn stored(number: u64) -> i64 {
    number.cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{BootTime, Timestamp};

    fn moment(boot_id: &str, seconds: i64) -> Moment {
        Moment { wall: Timestamp(0), boot: BootTime(seconds * 1_000_000), boot_id: boot_id.into() }
    }

    fn database() -> Connection {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(SCHEMA).unwrap();
        connection
    }

    fn key() -> CacheKey {
        CacheKey { uid: 1000, leader: 7, leader_start: 9, tty: 34816, service: "jit-sudo".into() }
    }

    #[test]
    fn an_authentication_is_remembered_for_its_time_and_place_only() {
        let connection = database();
        let cache = CredentialCache::new(&connection, Duration::from_secs(900));
        cache.remember(&key(), &moment("b", 100)).unwrap();
        assert!(cache.remembers(&key(), &moment("b", 999)).unwrap());
        assert!(!cache.remembers(&key(), &moment("b", 1000)).unwrap(), "too old");
        assert!(!cache.remembers(&key(), &moment("b", 99)).unwrap(), "from the future");
        assert!(!cache.remembers(&key(), &moment("c", 101)).unwrap(), "another boot");
        for other in [
            CacheKey { uid: 1001, ..key() },
            CacheKey { leader: 8, ..key() },
            CacheKey { leader_start: 10, ..key() },
            CacheKey { tty: 34817, ..key() },
            CacheKey { service: "strict".into(), ..key() },
        ] {
            assert!(!cache.remembers(&other, &moment("b", 101)).unwrap(), "{other:?}");
        }
    }

    #[test]
    fn a_timeout_of_zero_remembers_nothing() {
        let connection = database();
        let cache = CredentialCache::new(&connection, Duration::ZERO);
        cache.remember(&key(), &moment("b", 100)).unwrap();
        assert!(!cache.remembers(&key(), &moment("b", 100)).unwrap());
    }

    #[test]
    fn forgetting_is_for_the_session_or_for_the_user() {
        let connection = database();
        let cache = CredentialCache::new(&connection, Duration::from_secs(900));
        let elsewhere = CacheKey { leader: 70, ..key() };
        for each in [key(), elsewhere.clone()] {
            cache.remember(&each, &moment("b", 100)).unwrap();
        }
        cache.forget(&key()).unwrap();
        assert!(!cache.remembers(&key(), &moment("b", 101)).unwrap());
        assert!(cache.remembers(&elsewhere, &moment("b", 101)).unwrap());
        cache.forget_all(1000).unwrap();
        assert!(!cache.remembers(&elsewhere, &moment("b", 101)).unwrap());
    }
}
