//! The compiled policy, kept in SQLite so that a run reads one role and not a hundred thousand. Every row is a copy of
//! what the files said, with its digest: a damaged row is an error, never another policy.

use std::cell::RefCell;
use std::fmt;

use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use super::Policy;
use super::principal::{Principal, Subject};
use super::role::{Assignment, Role};
use super::settings::Settings;
use crate::names::RoleName;

/// The tables of this room.
pub const SCHEMA: &str = "
CREATE TABLE policy_stamp (
    id INTEGER PRIMARY KEY CHECK (id = 1), format TEXT NOT NULL, text TEXT NOT NULL) STRICT;
CREATE TABLE policy_settings (
    id INTEGER PRIMARY KEY CHECK (id = 1), body BLOB NOT NULL, sha256 BLOB NOT NULL) STRICT;
CREATE TABLE policy_role (
    name TEXT PRIMARY KEY, body BLOB NOT NULL, sha256 BLOB NOT NULL) STRICT;
CREATE TABLE policy_principal (
    principal TEXT NOT NULL, kind TEXT NOT NULL, role TEXT NOT NULL,
    PRIMARY KEY (principal, kind, role)) STRICT, WITHOUT ROWID;
";

/// The form of the stored bodies; another version of the program compiles the policy anew.
const FORMAT: &str = concat!(env!("CARGO_PKG_VERSION"), "/5");

/// Why the compiled policy could not be used. All of it is the administrator's: the files themselves are unharmed.
#[derive(Debug)]
pub enum IndexError {
    /// SQLite refused.
    Database(rusqlite::Error),
    /// A row is not what was stored; which one.
    Damaged(String),
    /// No policy was stored.
    Empty,
    /// A policy that could not be written down (a bug).
    Encoding(String),
}

impl fmt::Display for IndexError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Database(error) => write!(f, "the compiled policy cannot be read: {error}"),
            Self::Damaged(what) => {
                write!(f, "the compiled policy is damaged at {}", crate::escape::escape(what.as_bytes()))
            }
            Self::Empty => f.write_str("no policy has been compiled"),
            Self::Encoding(error) => write!(f, "the policy cannot be compiled: {error}"),
        }
    }
}

impl std::error::Error for IndexError {}

impl From<rusqlite::Error> for IndexError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error)
    }
}

/// The stamp with which the policy was stored; `None` where there is none or another version of the program stored it.
pub fn stored_stamp(db: &Connection) -> rusqlite::Result<Option<String>> {
    db.prepare("SELECT text FROM policy_stamp WHERE id = 1 AND format = ?1")?
        .query_row([FORMAT], |row| row.get(0))
        .optional()
}

/// Replaces the compiled policy, in one transaction of its own. `stamp` tells the files from later ones.
pub fn store(db: &Connection, policy: &Policy, stamp: &str) -> Result<(), IndexError> {
    let transaction = Transaction::new_unchecked(db, TransactionBehavior::Immediate)?;
    for table in ["policy_stamp", "policy_settings", "policy_role", "policy_principal"] {
        transaction.execute(&format!("DELETE FROM {table}"), [])?;
    }
    let (body, sha256) = encode("settings", policy.settings())?;
    transaction.execute("INSERT INTO policy_settings VALUES (1, ?1, ?2)", params![body, sha256])?;
    {
        let mut insert_role = transaction.prepare("INSERT INTO policy_role VALUES (?1, ?2, ?3)")?;
        let mut insert_principal = transaction.prepare("INSERT OR IGNORE INTO policy_principal VALUES (?1, ?2, ?3)")?;
        for role in policy.roles() {
            let (body, sha256) = encode(role.name.as_str(), role)?;
            insert_role.execute(params![role.name.as_str(), body, sha256])?;
            for assignment in [Assignment::Standing, Assignment::Eligible] {
                for principal in role.assigned(assignment).named() {
                    insert_principal.execute(params![principal.key(), kind(assignment), role.name.as_str()])?;
                }
            }
        }
    }
    transaction.execute("INSERT INTO policy_stamp VALUES (1, ?1, ?2)", [FORMAT, stamp])?;
    transaction.commit()?;
    Ok(())
}

/// The compiled policy, read row by row. For several questions that must agree with each other the caller holds a
/// read transaction.
pub struct PolicyIndex<'a> {
    db: &'a Connection,
    settings: Settings,
    /// The role that was read last: a listing asks for the same one again and again.
    last: RefCell<Option<Role>>,
}

impl<'a> PolicyIndex<'a> {
    /// The compiled policy, where it was stored with this `stamp` by this version of the program.
    pub fn current(db: &'a Connection, stamp: &str) -> Result<Option<Self>, IndexError> {
        let query = "SELECT body, sha256 FROM policy_settings WHERE id = 1 \
                     AND (SELECT format = ?1 AND text = ?2 FROM policy_stamp WHERE id = 1)";
        let row = db.prepare(query)?.query_row([FORMAT, stamp], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        let Some((body, sha256)): Option<(Vec<u8>, Vec<u8>)> = row else { return Ok(None) };
        Ok(Some(Self { db, settings: decode("settings", &body, &sha256)?, last: RefCell::default() }))
    }

    /// Reads the settings; the roles are read when they are asked for.
    pub fn open(db: &'a Connection) -> Result<Self, IndexError> {
        let row = db
            .prepare("SELECT body, sha256 FROM policy_settings WHERE id = 1")?
            .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        let (body, sha256): (Vec<u8>, Vec<u8>) = row.ok_or(IndexError::Empty)?;
        Ok(Self { db, settings: decode("settings", &body, &sha256)?, last: RefCell::default() })
    }

    /// A policy in `db`, an empty database in memory, by which nobody may do anything.
    pub fn empty(db: &'a Connection) -> Result<Self, IndexError> {
        db.execute_batch(SCHEMA)?;
        store(db, &Policy::nothing(), "")?;
        Self::open(db)
    }

    /// What holds for the whole host.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The role of this name, or `None` where the policy has none.
    pub fn role(&self, name: &RoleName) -> Result<Option<Role>, IndexError> {
        if let Some(role) = self.last.borrow().as_ref().filter(|role| &role.name == name) {
            return Ok(Some(role.clone()));
        }
        let row = self
            .db
            .prepare("SELECT body, sha256 FROM policy_role WHERE name = ?1")?
            .query_row([name.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        let Some((body, sha256)): Option<(Vec<u8>, Vec<u8>)> = row else { return Ok(None) };
        let role = decode_role(name.as_str(), &body, &sha256)?;
        self.last.replace(Some(role.clone()));
        Ok(Some(role))
    }

    /// The names of the roles that `subject` has in this way, in alphabetical order: without reading the roles, so
    /// only a hint of where to look: a line may take out whom another names, and netgroups are found for everybody.
    pub fn role_names_for(&self, subject: &Subject<'_>, assignment: Assignment) -> Result<Vec<RoleName>, IndexError> {
        let mut statement = self.db.prepare("SELECT role FROM policy_principal WHERE principal = ?1 AND kind = ?2")?;
        let mut names = Vec::new();
        for key in subject.keys() {
            let mut rows = statement.query(params![key, kind(assignment)])?;
            while let Some(row) = rows.next()? {
                let name: String = row.get(0)?;
                names.push(
                    RoleName::parse(&name)
                        .map_err(|_| IndexError::Damaged(format!("an assignment of role '{name}'")))?,
                );
            }
        }
        names.sort_unstable();
        names.dedup();
        Ok(names)
    }

    /// The roles that `subject` has in this way, by their order and then in alphabetical order.
    pub fn roles_for(&self, subject: &Subject<'_>, assignment: Assignment) -> Result<Vec<Role>, IndexError> {
        let mut roles = Vec::new();
        for name in self.role_names_for(subject, assignment)? {
            let damaged = || IndexError::Damaged(format!("an assignment of role '{name}'"));
            let role = self.role(&name)?.ok_or_else(damaged)?;
            // The table of principals only finds; whom a role is assigned to is what the role itself says. A line may
            // take out whom another names, and a netgroup is found for everybody.
            let named =
                |principal: &Principal| matches!(principal, Principal::Netgroup(_)) || principal.matches(subject);
            if role.assigns(subject, assignment) {
                roles.push(role);
            } else if !role.assigned(assignment).named().any(named) {
                return Err(damaged());
            }
        }
        roles.sort_by_key(|role| role.order);
        Ok(roles)
    }

    /// Calls `see` with every role in alphabetical order, one at a time, until it says [`Next::Stop`].
    pub fn each_role(&self, mut see: impl FnMut(Role) -> Next) -> Result<(), IndexError> {
        let mut statement = self.db.prepare("SELECT name, body, sha256 FROM policy_role ORDER BY name")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let (name, body, sha256): (String, Vec<u8>, Vec<u8>) = (row.get(0)?, row.get(1)?, row.get(2)?);
            match see(decode_role(&name, &body, &sha256)?) {
                Next::Continue => {}
                Next::Stop => break,
            }
        }
        Ok(())
    }
}

/// Whether [`PolicyIndex::each_role`] goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// To the next role.
    Continue,
    /// Enough was seen.
    Stop,
}

fn kind(assignment: Assignment) -> &'static str {
    match assignment {
        Assignment::Standing => "standing",
        Assignment::Eligible => "eligible",
    }
}

fn encode<T: Serialize>(name: &str, value: &T) -> Result<(Vec<u8>, Vec<u8>), IndexError> {
    let body = serde_json::to_vec(value).map_err(|error| IndexError::Encoding(error.to_string()))?;
    let sha256 = digest(name, &body);
    Ok((body, sha256))
}

fn decode<T: DeserializeOwned>(name: &str, body: &[u8], sha256: &[u8]) -> Result<T, IndexError> {
    if digest(name, body) != sha256 {
        return Err(IndexError::Damaged(name.to_owned()));
    }
    serde_json::from_slice(body).map_err(|_| IndexError::Damaged(name.to_owned()))
}

fn decode_role(name: &str, body: &[u8], sha256: &[u8]) -> Result<Role, IndexError> {
    let role: Role = decode(name, body, sha256).map_err(|error| match error {
        IndexError::Damaged(name) => IndexError::Damaged(format!("role '{name}'")),
        other => other,
    })?;
    if role.name.as_str() == name { Ok(role) } else { Err(IndexError::Damaged(format!("role '{name}'"))) }
}

/// The name is part of what is digested, so that two rows cannot change places.
fn digest(name: &str, body: &[u8]) -> Vec<u8> {
    Sha256::new().chain_update(name.as_bytes()).chain_update([0]).chain_update(body).finalize().to_vec()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::policy::PolicyText;

    fn policy(text: &str) -> Policy {
        let file = PolicyText { path: "/etc/p.toml".into(), text: text.to_owned() };
        Policy::parse(&[file]).unwrap_or_else(|error| panic!("{error}"))
    }

    fn name(text: &str) -> RoleName {
        RoleName::parse(text).unwrap()
    }

    const WHOLE: &str = r##"
[defaults]
passwd_tries = 2
[roles.web-ops]
eligible = ["alice", "%web"]
commands = ["/usr/bin/systemctl restart nginx", "!/usr/bin/x ** \\*"]
[roles.web-ops.activation]
ticket = '^OPS-[0-9]+$'
require_approval = true
approvers = ["bob", "%#7"]
"##;

    fn database() -> Connection {
        let db = Connection::open_in_memory().unwrap();
        db.execute_batch(SCHEMA).unwrap();
        db
    }

    fn alice(groups: &[(u32, Option<String>)]) -> Subject<'_> {
        Subject { name: "alice", uid: 1001, groups }
    }

    const INDEXED: &str = r##"
[roles.a]
eligible = ["alice"]
commands = ["ALL"]
[roles.b]
eligible = ["%#33", "alice", "#1001"]
commands = ["ALL"]
[roles.c]
standing = ["ALL"]
commands = ["/usr/bin/id"]
[roles.d]
eligible = ["%web"]
commands = ["ALL"]
[roles.e]
eligible = ["bob"]
commands = ["ALL"]
[roles.f]
standing = ["ALL", "!%web"]
eligible = ["+nobody-is-in-it"]
commands = ["ALL"]
"##;

    #[test]
    fn the_index_gives_back_what_was_stored() {
        let db = database();
        assert!(matches!(PolicyIndex::open(&db), Err(IndexError::Empty)));
        assert_eq!(stored_stamp(&db).unwrap(), None);
        let whole = policy(WHOLE);
        store(&db, &whole, "first").unwrap();
        assert_eq!(stored_stamp(&db).unwrap().as_deref(), Some("first"));
        let index = PolicyIndex::open(&db).unwrap();
        assert_eq!(index.settings(), whole.settings());
        assert_eq!(index.role(&name("web-ops")).unwrap().as_ref(), Some(&whole.roles()[0]));
        assert_eq!(index.role(&name("nothing")).unwrap(), None);
        store(&db, &policy(INDEXED), "second").unwrap();
        let index = PolicyIndex::open(&db).unwrap();
        assert_eq!(index.role(&name("web-ops")).unwrap(), None);
        let mut seen = Vec::new();
        index
            .each_role(|role| {
                seen.push(role.name.to_string());
                if seen.len() == 4 { Next::Stop } else { Next::Continue }
            })
            .unwrap();
        assert_eq!(seen, ["a", "b", "c", "d"]);
    }

    #[test]
    fn the_index_finds_the_roles_of_a_person_as_the_policy_does() {
        let db = database();
        let policy = policy(INDEXED);
        store(&db, &policy, "x").unwrap();
        let index = PolicyIndex::open(&db).unwrap();
        let web = [(33, Some("web".to_owned())), (33, Some("web".to_owned()))];
        for groups in [&web[..], &[(33, None)], &[(7, Some("alice".to_owned()))], &[]] {
            for assignment in [Assignment::Standing, Assignment::Eligible] {
                let subject = alice(groups);
                let found: Vec<Role> = index.roles_for(&subject, assignment).unwrap();
                let expected: Vec<Role> =
                    policy.roles().iter().filter(|role| role.assigns(&subject, assignment)).cloned().collect();
                assert_eq!(found, expected);
            }
        }
        assert_eq!(index.role_names_for(&alice(&web), Assignment::Eligible).unwrap(), ["a", "b", "d", "f"].map(name));
    }

    #[test]
    fn a_damaged_row_is_an_error_and_never_another_policy() {
        let groups = [(33, Some("web".to_owned()))];
        for damage in [
            "UPDATE policy_role SET body = CAST(replace(CAST(body AS TEXT), 'root', 'toor') AS BLOB) WHERE name = 'a'",
            "UPDATE policy_role SET sha256 = zeroblob(32) WHERE name = 'a'",
            "UPDATE policy_role SET sha256 = x'' WHERE name = 'a'",
            "UPDATE policy_role SET (body, sha256) = (SELECT body, sha256 FROM policy_role WHERE name = 'e') WHERE name = 'a'",
            "DELETE FROM policy_role WHERE name = 'a'",
            "INSERT INTO policy_principal VALUES ('alice', 'eligible', 'e')",
            "INSERT INTO policy_principal VALUES ('alice', 'eligible', 'no such')",
            "UPDATE policy_role SET body = x'00ff' WHERE name = 'a'",
        ] {
            let db = database();
            store(&db, &policy(INDEXED), "x").unwrap();
            assert_eq!(db.execute(damage, []).unwrap(), 1, "{damage}");
            let index = PolicyIndex::open(&db).unwrap();
            let result = index.roles_for(&alice(&groups), Assignment::Eligible);
            assert!(matches!(result, Err(IndexError::Damaged(_))), "{damage}: {result:?}");
        }
        let db = database();
        store(&db, &policy(INDEXED), "x").unwrap();
        db.execute("UPDATE policy_settings SET sha256 = zeroblob(32)", []).unwrap();
        assert!(matches!(PolicyIndex::open(&db), Err(IndexError::Damaged(_))));
    }

    #[test]
    fn every_bit_of_a_stored_role_counts() {
        let db = database();
        store(&db, &policy(INDEXED), "x").unwrap();
        let body: Vec<u8> =
            db.query_row("SELECT body FROM policy_role WHERE name = 'c'", [], |row| row.get(0)).unwrap();
        for bit in 0..body.len() * 8 {
            let mut flipped = body.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            db.execute("UPDATE policy_role SET body = ?1 WHERE name = 'c'", [flipped]).unwrap();
            assert!(PolicyIndex::open(&db).unwrap().role(&name("c")).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_failed_store_leaves_the_old_policy() {
        let db = database();
        store(&db, &policy(WHOLE), "old").unwrap();
        db.execute_batch(
            "CREATE TRIGGER t BEFORE INSERT ON policy_role WHEN new.name = 'c' BEGIN SELECT raise(ABORT, 'full'); END",
        )
        .unwrap();
        assert!(matches!(store(&db, &policy(INDEXED), "new"), Err(IndexError::Database(_))));
        assert_eq!(stored_stamp(&db).unwrap().as_deref(), Some("old"));
        assert!(PolicyIndex::open(&db).unwrap().role(&name("web-ops")).unwrap().is_some());
    }

    #[test]
    fn a_hundred_thousand_roles_cost_one_lookup_nothing() {
        let db = database();
        let role = |n: usize| format!("[roles.r{n}]\neligible = [\"user{n}\"]\ncommands = [\"/usr/bin/id {n}\"]\n");
        let count = 20_000;
        let text: String = (0..count).map(role).collect();
        let policy = policy(&text);
        assert_eq!(policy.roles()[count - 1].source.line, (count - 1) * 3 + 1);
        store(&db, &policy, "x").unwrap();
        let index = PolicyIndex::open(&db).unwrap();
        let started = std::time::Instant::now();
        for n in 0..100 {
            let user = format!("user{}", n * 100);
            let subject = Subject { name: &user, uid: 5, groups: &[] };
            assert_eq!(index.roles_for(&subject, Assignment::Eligible).unwrap().len(), 1);
            assert_eq!(index.roles_for(&subject, Assignment::Standing).unwrap().len(), 0);
        }
        assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
    }
}
