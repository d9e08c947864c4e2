//! The credential cache (sudo's timestamp): cached authentications, never grants. An entry is bound to the boot, the session leader
//! with its start time, the terminal and the PAM service, so that none of them can be reused (CVE-2013-2776).

use hmac::{Hmac, KeyInit, Mac};
use rusqlite::{Connection, OptionalExtension, Row, params};
use sha2::Sha256;
use std::io;
use std::time::Duration;

use crate::elevation::Caller;
use jit_core::clock::Moment;
use jit_core::names::Person;
use sys::process::{Pid, ProcessKey, parent, process_start, session_leader};
use sys::procfs::lives;

/// The table of this module. `place` contains the session leader, its start time in clock ticks and the device of the terminal,
/// separated by spaces; all are 0 for an authentication that is bound to none.
pub const SCHEMA: &str = "
CREATE TABLE credential_cache (uid INTEGER NOT NULL, user TEXT NOT NULL, place TEXT NOT NULL, service TEXT NOT NULL, boot_id TEXT NOT NULL, at INTEGER NOT NULL, seal BLOB NOT NULL, PRIMARY KEY (uid, user, place, service)) STRICT, WITHOUT ROWID;
";

/// A cached authentication is renewed by each use, as sudo renews it, but not more often than this: of many runs in one moment
/// only one writes. No run waits for the disk because of it.
const RENEW_AFTER_US: i64 = 1_000_000;

/// With a short timeout it is renewed after this part of it, if that is earlier.
const RENEW_PART: i64 = 16;

/// The number of entries that a user may have; a terminal session needs one for each PAM service.
const MOST_OF_A_USER: u32 = 64;

/// The cached authentications in the database.
pub struct CredentialCache<'a> {
    connection: &'a Connection,
    timeout: Duration,
    /// Whether the session or process of a `place` still exists.
    exists: fn(&str) -> bool,
}

/// What a cached authentication is bound to, besides the caller and the boot (`timestamp_type` of sudoers(5)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheScope {
    /// The terminal and its session; the parent process where there is no terminal.
    Terminal,
    /// The parent process.
    Parent,
    /// Nothing.
    Caller,
}

/// Identifies whose authentication is cached, and for what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheKey {
    person: Person,
    place: String,
    service: String,
}

impl CacheKey {
    /// Returns the key of `caller`; `None` when the process that it would be bound to is gone.
    pub fn of(caller: &Caller, service: &str, cache_scope: CacheScope) -> Option<Self> {
        // Read only where it is needed: the kernel may end this process then.
        let (key, tty) = match (cache_scope, caller.tty()) {
            (CacheScope::Terminal, Some(tty)) => (session_leader()?, tty.device),
            (CacheScope::Terminal, None) | (CacheScope::Parent, _) => (parent()?, 0),
            (CacheScope::Caller, _) => (ProcessKey { pid: 0, started: 0 }, 0),
        };
        let place = format!("{} {} {tty}", key.pid, key.started);
        Some(Self { person: caller.person().clone(), place, service: service.to_owned() })
    }
}

impl<'a> CredentialCache<'a> {
    /// Creates the cache over an open database. `timeout` is `timestamp_timeout`; with zero nothing is cached.
    pub fn new(connection: &'a Connection, timeout: Duration) -> Self {
        Self { connection, timeout, exists: place_exists }
    }

    /// Whether the authentication is cached and recent enough.
    pub fn remembers(&self, key: &CacheKey, moment: &Moment) -> rusqlite::Result<bool> {
        Ok(self.age(key, moment)?.is_some())
    }

    /// Caches an authentication that was made or used now.
    pub fn remember(&self, key: &CacheKey, moment: &Moment) -> rusqlite::Result<()> {
        if self.timeout.is_zero() || self.age(key, moment)?.is_some_and(|age| age < self.renew_after()) {
            return Ok(());
        }
        let at = moment.boot.0;
        self.make_room(key, &moment.boot_id)?;
        self.connection.execute(
            "INSERT OR REPLACE INTO credential_cache (uid, user, place, service, boot_id, at, seal) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            params![
                key.person.uid,
                key.person.name.as_str(),
                key.place,
                key.service,
                moment.boot_id,
                at,
                self.seal(key, &moment.boot_id, at)?
            ],
        )?;
        Ok(())
    }

    fn renew_after(&self) -> i64 {
        RENEW_AFTER_US.min(self.limit() / RENEW_PART)
    }

    /// Returns the timeout in microseconds.
    fn limit(&self) -> i64 {
        i64::try_from(self.timeout.as_micros()).unwrap_or(i64::MAX)
    }

    /// Removes entries of earlier boots and, of this user, those of ended sessions and all but the newest. How old the others may be
    /// depends on the role for which they are used.
    fn make_room(&self, key: &CacheKey, boot_id: &str) -> rusqlite::Result<()> {
        self.connection.execute("DELETE FROM credential_cache WHERE boot_id <> ?1", [boot_id])?;
        let CacheKey { person: Person { uid, name }, place, service } = key;
        let others = "SELECT user, place, service FROM credential_cache \
                      WHERE uid = ?1 AND NOT (user = ?2 AND place = ?3 AND service = ?4) ORDER BY at DESC";
        let mut statement = self.connection.prepare(others)?;
        let read = |row: &Row<'_>| Ok([row.get(0)?, row.get(1)?, row.get(2)?]);
        let rows = statement.query_map(params![uid, name.as_str(), place, service], read)?;
        let mut kept = 1;
        for row in rows.collect::<rusqlite::Result<Vec<[String; 3]>>>()? {
            let [user, place, service] = row;
            if kept < MOST_OF_A_USER && (self.exists)(&place) {
                kept += 1;
                continue;
            }
            let query = "DELETE FROM credential_cache WHERE uid = ?1 AND user = ?2 AND place = ?3 AND service = ?4";
            self.connection.execute(query, params![uid, user, place, service])?;
        }
        Ok(())
    }

    /// -k: removes the entries of this terminal and session, for every service.
    pub fn forget(&self, key: &CacheKey) -> rusqlite::Result<()> {
        self.connection.execute(
            "DELETE FROM credential_cache WHERE uid = ?1 AND user = ?2 AND place = ?3",
            params![key.person.uid, key.person.name.as_str(), key.place],
        )?;
        Ok(())
    }

    /// -K: removes all entries of a user.
    pub fn forget_all(&self, person: &Person) -> rusqlite::Result<()> {
        let query = "DELETE FROM credential_cache WHERE uid = ?1 AND user = ?2";
        self.connection.execute(query, params![person.uid, person.name.as_str()])?;
        Ok(())
    }

    /// Returns the MAC of a row, by the secret key of the journal: a row that was inserted by hand does not count.
    fn seal(&self, key: &CacheKey, boot_id: &str, at: i64) -> rusqlite::Result<[u8; 32]> {
        let query = "SELECT value FROM journal_meta WHERE name = 'redaction_key'";
        let secret: Vec<u8> = self.connection.prepare_cached(query)?.query_row([], |row| row.get(0))?;
        let CacheKey { person: Person { uid, name }, place, service } = key;
        let text = format!("password\0{uid}\0{}\0{boot_id}\0{place}\0{service}\0{at}", name.as_str());
        // HMAC takes a key of any length, so the error does not occur.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&secret) else { return Err(rusqlite::Error::InvalidQuery) };
        mac.update(text.as_bytes());
        Ok(mac.finalize().into_bytes().into())
    }

    /// Returns the microseconds since the authentication, if it still counts.
    fn age(&self, key: &CacheKey, moment: &Moment) -> rusqlite::Result<Option<i64>> {
        let row: Option<(i64, Vec<u8>)> = self
            .connection
            .query_row(
                "SELECT at, seal FROM credential_cache WHERE uid = ?1 AND user = ?2 AND place = ?3 AND service = ?4 \
                 AND boot_id = ?5",
                params![key.person.uid, key.person.name.as_str(), key.place, key.service, moment.boot_id],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )
            .optional()?;
        let Some((at, seal)) = row else { return Ok(None) };
        if self.seal(key, &moment.boot_id, at)?[..] != seal {
            return Ok(None);
        }
        let limit = self.limit();
        // An age below zero would lie in the future: such a row was not written by this clock.
        Ok(Some(moment.boot.0.saturating_sub(at)).filter(|age| (0..limit).contains(age)))
    }
}

/// Whether the process to which a `place` is bound lives; true where it is bound to none.
fn place_exists(place: &str) -> bool {
    let mut numbers = place.split(' ');
    let (Some(pid), Some(Ok(began))) =
        (numbers.next().and_then(|pid| pid.parse().ok()), numbers.next().map(str::parse::<u64>))
    else {
        return false;
    };
    // The start time of a user's process is not read here, where others wait for the lock of the database. A key without a
    // process serves nobody.
    let began_then = |pid| match process_start(pid) {
        Ok(start) => start == began,
        Err(error) => error.kind() == io::ErrorKind::PermissionDenied,
    };
    pid == 0 || Pid::new(pid).is_some_and(|pid| began_then(pid) && lives(pid))
}

#[cfg(test)]
mod tests {
    use super::*;
    use jit_core::clock::{BootTime, Timestamp};

    fn moment(boot_id: &str, seconds: i64) -> Moment {
        Moment { wall: Timestamp(0), boot: BootTime(seconds * 1_000_000), boot_id: boot_id.into() }
    }

    fn database() -> Connection {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(SCHEMA).unwrap();
        let key = "CREATE TABLE journal_meta (name TEXT, value BLOB); INSERT INTO journal_meta VALUES ('redaction_key', x'07')";
        connection.execute_batch(key).unwrap();
        connection
    }

    /// A cache whose sessions all exist.
    fn cache(connection: &Connection) -> CredentialCache<'_> {
        CredentialCache { exists: |_| true, ..CredentialCache::new(connection, Duration::from_secs(900)) }
    }

    fn person(uid: u32, name: &str) -> Person {
        Person { uid, name: jit_core::names::UserName::parse(name).unwrap() }
    }

    fn key() -> CacheKey {
        CacheKey { person: person(1000, "alice"), place: "7 9 34816".into(), service: "jit-sudo".into() }
    }

    #[test]
    fn an_authentication_is_cached_for_its_time_and_place_only() {
        let connection = database();
        let cache = cache(&connection);
        cache.remember(&key(), &moment("b", 100)).unwrap();
        assert!(cache.remembers(&key(), &moment("b", 999)).unwrap());
        assert!(!cache.remembers(&key(), &moment("b", 1000)).unwrap(), "too old");
        assert!(!cache.remembers(&key(), &moment("b", 99)).unwrap(), "from the future");
        assert!(!cache.remembers(&key(), &moment("c", 101)).unwrap(), "another boot");
        for other in [
            CacheKey { person: person(1001, "alice"), ..key() },
            CacheKey { person: person(1000, "dave"), ..key() },
            CacheKey { place: "8 9 34816".into(), ..key() },
            CacheKey { place: "7 10 34816".into(), ..key() },
            CacheKey { place: "7 9 34817".into(), ..key() },
            CacheKey { service: "strict".into(), ..key() },
        ] {
            assert!(!cache.remembers(&other, &moment("b", 101)).unwrap(), "{other:?}");
        }
    }

    #[test]
    fn each_use_renews_an_authentication_however_short_its_timeout() {
        for seconds in [3_i64, 60, 240, 900, 86_400] {
            let connection = database();
            let timeout = Duration::from_secs(seconds.unsigned_abs());
            let cache = CredentialCache { exists: |_| true, ..CredentialCache::new(&connection, timeout) };
            cache.remember(&key(), &moment("b", 100)).unwrap();
            for uses in 1..10 {
                // Half of the timeout after the last use: without the renewal the third use would be too late.
                let now = moment("b", 100 + uses * (seconds + 1) / 2);
                assert!(cache.remembers(&key(), &now).unwrap(), "{seconds} {uses}");
                cache.remember(&key(), &now).unwrap();
            }
            // 40 seconds after one use, as late after the next.
            let last = 100 + 9 * (seconds + 1) / 2;
            let after = seconds.min(40) - 1;
            cache.remember(&key(), &moment("b", last + after)).unwrap();
            assert!(cache.remembers(&key(), &moment("b", last + after + seconds - 1)).unwrap(), "{seconds}");
        }
    }

    #[test]
    fn a_row_that_was_inserted_by_hand_does_not_count() {
        let connection = database();
        let cache = cache(&connection);
        cache.remember(&key(), &moment("b", 100)).unwrap();
        for harm in ["at = at + 1", "seal = zeroblob(32)", "place = '8 9 34816'", "service = 'strict'", "user = 'dave'"]
        {
            connection.execute_batch(&format!("BEGIN; UPDATE credential_cache SET {harm}")).unwrap();
            let (as_it_was, other) = (key(), CacheKey { person: person(1000, "dave"), ..key() });
            let elsewhere = CacheKey { place: "8 9 34816".into(), ..key() };
            let strict = CacheKey { service: "strict".into(), ..key() };
            for key in &[as_it_was, other, strict, elsewhere] {
                assert!(!cache.remembers(key, &moment("b", 200)).unwrap(), "{harm} {key:?}");
            }
            connection.execute_batch("ROLLBACK").unwrap();
        }
        assert!(cache.remembers(&key(), &moment("b", 200)).unwrap());
    }

    fn count(connection: &Connection) -> u32 {
        connection.query_row("SELECT count(*) FROM credential_cache", [], |row| row.get(0)).unwrap()
    }

    #[test]
    fn entries_of_ended_sessions_are_removed() {
        let connection = database();
        let cache = CredentialCache::new(&connection, Duration::from_secs(900));
        let own = CacheKey { place: format!("{} {} 7", Pid::own(), process_start(Pid::own()).unwrap()), ..key() };
        let places = ["2000000000 9 0", "1 1 34816", "0 0 0", &own.place].map(str::to_owned);
        for place in places.into_iter().chain((0..40).map(|start| format!("{} {start} 0", Pid::own()))) {
            cache.remember(&CacheKey { place, ..key() }, &moment("b", 100)).unwrap();
        }
        assert!(cache.remembers(&own, &moment("b", 101)).unwrap());
        assert_eq!(count(&connection), 3, "this one, that without a session, and the last");
        cache.remember(&key(), &moment("c", 5)).unwrap();
        assert_eq!(count(&connection), 1);
    }

    #[test]
    fn a_user_keeps_the_newest_entries_only() {
        let connection = database();
        let cache = cache(&connection);
        let of =
            |session: i64, uid| CacheKey { person: person(uid, "alice"), place: format!("{session} 9 0"), ..key() };
        cache.remember(&of(0, 1001), &moment("b", 1)).unwrap();
        for session in 0..500 {
            cache.remember(&of(session, 1000), &moment("b", 100 + session)).unwrap();
        }
        assert_eq!(count(&connection), MOST_OF_A_USER + 1);
        assert!(cache.remembers(&of(499, 1000), &moment("b", 600)).unwrap());
        assert!(!cache.remembers(&of(400, 1000), &moment("b", 600)).unwrap());
        assert!(cache.remembers(&of(0, 1001), &moment("b", 600)).unwrap(), "another user's");
        // A renewed entry takes no other's room.
        cache.remember(&of(499, 1000), &moment("b", 700)).unwrap();
        assert!(cache.remembers(&of(440, 1000), &moment("b", 700)).unwrap());
    }

    #[test]
    fn a_timeout_of_zero_caches_nothing() {
        let connection = database();
        let cache = CredentialCache::new(&connection, Duration::ZERO);
        cache.remember(&key(), &moment("b", 100)).unwrap();
        assert!(!cache.remembers(&key(), &moment("b", 100)).unwrap());
    }

    #[test]
    fn forgetting_is_for_the_session_or_for_the_user() {
        let connection = database();
        let cache = cache(&connection);
        let elsewhere = CacheKey { place: "70 9 34816".into(), ..key() };
        for each in [key(), elsewhere.clone()] {
            cache.remember(&each, &moment("b", 100)).unwrap();
        }
        cache.forget(&key()).unwrap();
        assert!(!cache.remembers(&key(), &moment("b", 101)).unwrap());
        assert!(cache.remembers(&elsewhere, &moment("b", 101)).unwrap());
        cache.forget_all(&person(1000, "alice")).unwrap();
        assert!(!cache.remembers(&elsewhere, &moment("b", 101)).unwrap());
    }
}
