//! The compiled policy, stored in SQLite so that a run reads one role instead of a hundred thousand. Every row is a copy of
//! what the files say, with its digest: a damaged row is an error, never another policy.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashSet};
use std::fmt;

use rusqlite::{Connection, OptionalExtension, Params, Row, Transaction, TransactionBehavior, params};
use serde::Serialize;
use serde::de::DeserializeOwned;

use jit_core::escape::{hex, unhex};
use jit_core::names::RoleName;
use jit_core::policy::stored::{StoredRole, kind, role_digest, row_digest, settings_name, stamp_seal};
use jit_core::policy::{
    Assignment, Digests, LISTED, Policy, PolicyChange, PolicyWords, Role, RoleDigests, Roles, Settings, SourceFile,
    Stored, Subject, policy_digest,
};

/// The tables of this module.
pub const SCHEMA: &str = "
CREATE TABLE policy_settings (
    id INTEGER PRIMARY KEY, format TEXT NOT NULL, stamp TEXT NOT NULL, seal BLOB NOT NULL,
    body BLOB NOT NULL, sha256 BLOB NOT NULL, policy BLOB NOT NULL, files TEXT NOT NULL) STRICT;
CREATE TABLE policy_role (
    name TEXT PRIMARY KEY, body BLOB NOT NULL, sha256 BLOB NOT NULL, digest BLOB NOT NULL) STRICT;
CREATE TABLE policy_principal (
    principal TEXT NOT NULL, kind TEXT NOT NULL, role TEXT NOT NULL,
    PRIMARY KEY (principal, kind, role)) STRICT, WITHOUT ROWID;
";

/// The form of the stored bodies; another version of the program compiles the policy anew.
const FORMAT: &str = concat!(env!("CARGO_PKG_VERSION"), "/12");

/// The reason why the compiled policy cannot be used. The administrator must act; the policy files are intact.
#[derive(Debug)]
pub enum IndexError {
    /// SQLite failed.
    Database(rusqlite::Error),
    /// A row differs from what was stored. The text names the row, which only users who may read the policy may see.
    Damaged(String),
    /// No policy is stored.
    Empty,
    /// The policy could not be encoded (a bug).
    Encoding(String),
}

impl fmt::Display for IndexError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Database(_) => f.write_str("the compiled policy cannot be read"),
            Self::Damaged(_) => f.write_str("the compiled policy is damaged"),
            Self::Empty => f.write_str("no policy has been compiled"),
            Self::Encoding(_) => f.write_str("the policy cannot be compiled"),
        }
    }
}

impl std::error::Error for IndexError {}

impl IndexError {
    /// Returns the same text with SQLite's message, or with the damaged row.
    pub fn words(&self) -> PolicyWords {
        let detail = match self {
            Self::Database(error) => format!(": {error}"),
            Self::Damaged(what) => format!(" at {}", jit_core::escape::escape(what.as_bytes())),
            Self::Empty => String::new(),
            Self::Encoding(error) => format!(": {error}"),
        };
        PolicyWords::new(format!("{self}{detail}"))
    }
}

impl From<rusqlite::Error> for IndexError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error)
    }
}

/// Whether the compiled policy was stored with this stamp, by this version of the program and on this host.
pub fn is_stored(db: &Connection, stamp: &Stamp<'_>) -> rusqlite::Result<bool> {
    let query = "SELECT policy, sha256, seal FROM policy_settings WHERE id = 1 AND format = ?1 AND stamp = ?2";
    let seals = db.prepare(query)?.query_row([FORMAT, stamp.text], |row| {
        let (policy, sha256): (Vec<u8>, Vec<u8>) = (row.get(0)?, row.get(1)?);
        Ok(stamp.seal(&whole(&policy), &sha256)[..] == *row.get_ref(2)?.as_bytes()?)
    });
    Ok(seals.optional()?.unwrap_or(false))
}

/// Returns the digests of the files from which the policy was compiled, by their paths as text. They are stored as a compact JSON
/// object, in the byte order of the paths, with digests in hexadecimal.
pub fn stored_files(db: &Connection) -> Result<Digests, IndexError> {
    let query = "SELECT files FROM policy_settings WHERE id = 1";
    let text: Option<String> = db.query_row(query, [], |row| row.get(0)).optional()?;
    let Some(text) = text else { return Ok(Digests::new()) };
    let files: BTreeMap<String, String> =
        serde_json::from_str(&text).map_err(|_| IndexError::Damaged("files".to_owned()))?;
    Ok(files.into_iter().map(|(path, sha256)| (path, unhex(&sha256).unwrap_or_default())).collect())
}

fn files_text(files: &[SourceFile]) -> Result<String, IndexError> {
    let files: BTreeMap<String, String> = files.iter().map(|file| (file.path.to_string(), hex(&file.sha256))).collect();
    serde_json::to_string(&files).map_err(|error| IndexError::Encoding(error.to_string()))
}

/// Returns the digest that names the compiled policy.
pub fn stored_policy(db: &Connection) -> rusqlite::Result<Option<[u8; 32]>> {
    let mut statement = db.prepare_cached("SELECT policy FROM policy_settings WHERE id = 1")?;
    statement.query_row([], |row| Ok(whole(row.get_ref(0)?.as_bytes()?))).optional()
}

/// A policy to be stored.
pub struct Compiled<'a> {
    /// What the files say.
    pub policy: &'a Policy,
    /// The files, including the list of the approvers' keys if there is one.
    pub files: &'a [SourceFile],
    /// Distinguishes these files from later ones.
    pub stamp: Stamp<'a>,
}

/// The text that distinguishes the files of a policy from later ones, and the key of the journal, under which it is sealed.
#[derive(Clone, Copy)]
pub struct Stamp<'a> {
    /// Differs for files with other contents.
    pub text: &'a str,
    /// The key of the journal.
    pub key: &'a [u8],
}

impl Stamp<'_> {
    fn seal(&self, policy: &[u8; 32], settings: &[u8]) -> [u8; 32] {
        stamp_seal(self.key, policy, settings, FORMAT, self.text)
    }
}

/// Replaces the compiled policy inside the transaction of the caller, who records the change in the same one. Returns `None`
/// where only the stamp differs.
pub fn store(transaction: &Transaction<'_>, compiled: &Compiled<'_>) -> Result<Option<PolicyChange>, IndexError> {
    let Compiled { policy, files, stamp } = compiled;
    let old_files = match stored_files(transaction) {
        Err(IndexError::Damaged(_)) => Digests::new(), // what is compiled now takes their place
        read => read?,
    };
    let old = old(transaction, policy)?;
    let before = transaction.query_row("SELECT policy FROM policy_settings", [], |row| row.get(0)).optional()?;
    let before = before.map(|bytes: Vec<u8>| whole(&bytes));
    for table in ["policy_settings", "policy_role", "policy_principal"] {
        transaction.execute(&format!("DELETE FROM {table}"), [])?;
    }
    let named = policy_digest(files);
    let (body, sha256) = encode(&settings_name(&named), policy.settings())?;
    let row = params![FORMAT, stamp.text, stamp.seal(&named, &sha256), body, sha256, named, files_text(files)?];
    transaction.execute("INSERT INTO policy_settings VALUES (1, ?1, ?2, ?3, ?4, ?5, ?6, ?7)", row)?;
    let now = Stored { roles: store_roles(transaction, policy.roles())?, settings: Some(sha256) };
    Ok(PolicyChange::between(before, (&old_files, files), (&old, &now)))
}

/// Returns what is stored before `policy` replaces it.
fn old(transaction: &Transaction<'_>, policy: &Policy) -> Result<Stored, IndexError> {
    let digests = digests(transaction)?;
    let stay: HashSet<&str> = policy.roles().iter().map(|role| role.name.as_str()).collect();
    let mut power = transaction.prepare("SELECT body FROM policy_role WHERE name = ?1")?;
    let mut roles = Roles::new();
    let mut gone = 0;
    for (name, sha256) in digests {
        let mut digests = RoleDigests { sha256, power: None };
        // Only for roles that are listed as removed; the others have their digest from the role that replaces them.
        if gone < LISTED && !stay.contains(name.as_str()) {
            gone = gone.saturating_add(1);
            let body: Vec<u8> = power.query_row([&name], |row| row.get(0))?;
            digests.power = StoredRole::of(&name, &body).and_then(|role| role.power);
        }
        roles.insert(name, digests);
    }
    let recorded = "SELECT sha256 FROM policy_settings WHERE format = ?1";
    let settings: Option<Vec<u8>> = transaction.query_row(recorded, [FORMAT], |row| row.get(0)).optional()?;
    Ok(Stored { roles, settings: settings.map(|sha256| whole(&sha256)) })
}

/// Stores the roles. Returns their digests by their names.
fn store_roles(transaction: &Transaction<'_>, roles: &[Role]) -> Result<Roles, IndexError> {
    let mut insert_role = transaction.prepare("INSERT INTO policy_role VALUES (?1, ?2, ?3, ?4)")?;
    let mut insert_principal = transaction.prepare("INSERT OR IGNORE INTO policy_principal VALUES (?1, ?2, ?3)")?;
    let mut digests = Roles::new();
    for role in roles {
        let (body, sha256) = encode(role.name.as_str(), role)?;
        let missing = || IndexError::Encoding(format!("role '{}' is written without its place", role.name));
        let digest = role_digest(role.name.as_str(), &body, &role.source).ok_or_else(missing)?;
        insert_role.execute(params![role.name.as_str(), body, sha256, digest])?;
        digests.insert(role.name.to_string(), RoleDigests { sha256: digest, power: unhex(&role.digest) });
        for assignment in [Assignment::Standing, Assignment::Eligible] {
            for principal in role.assigned(assignment).named() {
                insert_principal.execute(params![principal.key(), kind(assignment), role.name.as_str()])?;
            }
        }
    }
    Ok(digests)
}

/// Returns a digest as it was stored; for a damaged one all zeros, which differs from every other.
fn whole(bytes: &[u8]) -> [u8; 32] {
    bytes.try_into().unwrap_or_default()
}

/// Returns the digests of the roles.
fn digests(db: &Connection) -> Result<Digests, IndexError> {
    let mut statement = db.prepare("SELECT name, digest FROM policy_role")?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, whole(&row.get::<_, Vec<u8>>(1)?))))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// The compiled policy, read row by row. For several queries that must agree with each other the caller holds a read
/// transaction; each role names the policy that it belongs to.
pub struct PolicyIndex<'a> {
    db: &'a Connection,
    settings: Settings,
    digest: [u8; 32],
    /// The role that was read last: a listing reads the same one repeatedly.
    last: RefCell<Option<Role>>,
}

/// Roles that a person may have by one kind of assignment. Which of them the person has, a name service may have to say.
pub struct Candidates {
    roles: Vec<Role>,
    assignment: Assignment,
}

impl Candidates {
    /// Returns those that `subject` has, by their order and then in alphabetical order.
    pub fn assigned(self, subject: &Subject<'_>) -> Result<Vec<Role>, IndexError> {
        let mut roles = Vec::with_capacity(self.roles.len());
        for role in self.roles {
            // The table of principals only finds candidates; the role itself decides. An entry may exclude a user whom another
            // includes, a netgroup matches everybody, and the name of a group may belong to another group.
            if role.assigns(subject, self.assignment) {
                roles.push(role);
                continue;
            }
            let keys = subject.keys();
            if !role.assigned(self.assignment).named().any(|principal| keys.contains(&principal.key())) {
                return Err(damaged_assignment(&role.name));
            }
        }
        roles.sort_by_key(|role| role.order);
        Ok(roles)
    }
}

fn damaged_assignment(role: &RoleName) -> IndexError {
    IndexError::Damaged(format!("an assignment of role '{role}'"))
}

impl<'a> PolicyIndex<'a> {
    /// Returns the compiled policy, where it was stored with this `stamp` by this version of the program on this host.
    pub fn current(db: &'a Connection, stamp: &Stamp<'_>) -> Result<Option<Self>, IndexError> {
        let query =
            "SELECT body, sha256, policy, seal FROM policy_settings WHERE id = 1 AND format = ?1 AND stamp = ?2";
        Self::read(db, query, params![FORMAT, stamp.text], Some(stamp))
    }

    /// Reads the settings; the roles are read when they are needed.
    pub fn open(db: &'a Connection) -> Result<Self, IndexError> {
        let query = "SELECT body, sha256, policy, seal FROM policy_settings WHERE id = 1";
        Self::read(db, query, params![], None)?.ok_or(IndexError::Empty)
    }

    /// Returns `None` where the seal of `stamp` does not match: another program stored it.
    fn read(
        db: &'a Connection,
        query: &str,
        parameters: impl Params,
        stamp: Option<&Stamp<'_>>,
    ) -> Result<Option<Self>, IndexError> {
        let columns = |row: &Row<'_>| Ok([row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?]);
        let row: Option<[Vec<u8>; 4]> = db.prepare(query)?.query_row(parameters, columns).optional()?;
        let Some([body, sha256, policy, seal]) = row else { return Ok(None) };
        let digest = whole(&policy);
        if stamp.is_some_and(|stamp| stamp.seal(&digest, &sha256)[..] != seal) {
            return Ok(None);
        }
        let settings = decode(&settings_name(&digest), &body, &sha256).map_err(|error| match error {
            IndexError::Damaged(_) => IndexError::Damaged("settings".to_owned()),
            other => other,
        })?;
        Ok(Some(Self { db, settings, digest, last: RefCell::default() }))
    }

    /// Stores a policy that permits nothing in `db`, an empty database in memory.
    pub fn empty(db: &'a Connection) -> Result<Self, IndexError> {
        Self::aside(db, &Compiled { policy: &Policy::nothing(), files: &[], stamp: Stamp { text: "", key: &[] } })
    }

    /// Stores a policy in `db`, an empty database in memory, without a record: for display, never for a run.
    pub fn aside(db: &'a Connection, compiled: &Compiled<'_>) -> Result<Self, IndexError> {
        db.execute_batch(SCHEMA)?;
        let transaction = Transaction::new_unchecked(db, TransactionBehavior::Immediate)?;
        store(&transaction, compiled)?;
        transaction.commit()?;
        Self::open(db)
    }

    /// Returns the digest that names the policy.
    pub fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// Returns the settings of the whole host.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Returns the role of this name, or `None` where the policy has none.
    pub fn role(&self, name: &RoleName) -> Result<Option<Role>, IndexError> {
        if let Some(role) = self.last.borrow().as_ref().filter(|role| &role.name == name) {
            return Ok(Some(role.clone()));
        }
        let query = format!("SELECT {ROLE_COLUMNS} FROM policy_role WHERE name = ?1");
        let row = self.db.prepare(&query)?.query_row([name.as_str()], RoleColumns::read).optional()?;
        let Some(stored) = row else { return Ok(None) };
        let role = stored.decode(name.as_str())?;
        self.last.replace(Some(role.clone()));
        Ok(Some(role))
    }

    /// Returns the names of the roles that `subject` may have by this assignment, in alphabetical order, without reading the
    /// roles. They are only candidates: an entry of a role may exclude a user whom another includes, and netgroups match everybody.
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

    /// Returns the roles that `subject` has by this assignment, by their order and then in alphabetical order.
    pub fn roles_for(&self, subject: &Subject<'_>, assignment: Assignment) -> Result<Vec<Role>, IndexError> {
        self.candidates_for(subject, assignment)?.assigned(subject)
    }

    /// Reads the roles of [`role_names_for`](Self::role_names_for) and asks no name service.
    pub fn candidates_for(&self, subject: &Subject<'_>, assignment: Assignment) -> Result<Candidates, IndexError> {
        let read = |name| self.role(&name)?.ok_or_else(|| damaged_assignment(&name));
        let roles = self.role_names_for(subject, assignment)?.into_iter().map(read).collect::<Result<_, _>>()?;
        Ok(Candidates { roles, assignment })
    }

    /// Calls `see` with every role in alphabetical order, one at a time, until it returns [`Next::Stop`].
    pub fn each_role(&self, mut see: impl FnMut(Role) -> Next) -> Result<(), IndexError> {
        let mut statement = self.db.prepare(&format!("SELECT {ROLE_COLUMNS}, name FROM policy_role ORDER BY name"))?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            match see(RoleColumns::read(row)?.decode(&row.get::<_, String>(3)?)?) {
                Next::Continue => {}
                Next::Stop => break,
            }
        }
        Ok(())
    }
}

/// Whether [`PolicyIndex::each_role`] continues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Continue with the next role.
    Continue,
    /// Stop.
    Stop,
}

fn encode<T: Serialize>(name: &str, value: &T) -> Result<(Vec<u8>, [u8; 32]), IndexError> {
    let body = serde_json::to_vec(value).map_err(|error| IndexError::Encoding(error.to_string()))?;
    let sha256 = row_digest(name, &body);
    Ok((body, sha256))
}

fn decode<T: DeserializeOwned>(name: &str, body: &[u8], sha256: &[u8]) -> Result<T, IndexError> {
    if row_digest(name, body) != sha256 {
        return Err(IndexError::Damaged(name.to_owned()));
    }
    serde_json::from_slice(body).map_err(|_| IndexError::Damaged(name.to_owned()))
}

/// The columns from which a role is read: its row, and the policy that is stored at the same moment.
const ROLE_COLUMNS: &str = "body, sha256, (SELECT policy FROM policy_settings WHERE id = 1)";

/// The values of [`ROLE_COLUMNS`].
struct RoleColumns {
    body: Vec<u8>,
    sha256: Vec<u8>,
    policy: Vec<u8>,
}

impl RoleColumns {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self { body: row.get(0)?, sha256: row.get(1)?, policy: row.get(2)? })
    }

    fn decode(self, name: &str) -> Result<Role, IndexError> {
        let damaged = || IndexError::Damaged(format!("role '{name}'"));
        let role: Role = decode(name, &self.body, &self.sha256).map_err(|error| match error {
            IndexError::Damaged(_) => damaged(),
            other => other,
        })?;
        // The digest is computed from the bytes that decide, the digest of the role's power among them, and is not read from the
        // row, which may hold any value: records name it.
        let compiled = role_digest(name, &self.body, &role.source).ok_or_else(damaged)?;
        if role.name.as_str() != name {
            return Err(damaged());
        }
        Ok(Role { policy: Some(whole(&self.policy)), compiled: Some(compiled), ..role })
    }
}

#[cfg(test)]
mod tests;
