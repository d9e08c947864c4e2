//! Creates what a host needs and lacks. A database that was lost is not replaced without a trace: where an anchor, a log sink or
//! the key shows that there was one, the new one begins behind its numbers, and is not trusted.

use std::path::Path;

use super::anchor::StateTraces;
use super::key_place::{has_host_key, host_key_text};
use super::{ANCHOR, BELL, DATABASE, HOST_KEY, Host, HostError, PUBLIC_KEY, SystemClock};
use super::{random, reserve, schema, state_directory};
use crate::audit::{self, Traces};
use crate::database::{DatabaseError, Durability};
use jit_core::clock::Clock;
use jit_core::evidence::Mark;
use jit_core::grant::HostKey;
use jit_core::places::STATE;
use jit_core::policy::AuditSettings;
use sys::bell::Bell;
use sys::trusted::TrustedDirectory;

impl Host {
    /// Creates the key, the database and the bell where they are missing; returns true when it created the key. For root, at
    /// installation. `name` is the host name in records.
    pub fn set_up(name: &str) -> Result<bool, HostError> {
        let state = state_directory()?;
        let has_key = has_key(name);
        set_up_database(&state, name, has_key)?;
        // With content, so that it can be rung when the disk is full.
        if !std::fs::metadata(Path::new(STATE).join(BELL)).is_ok_and(|bell| bell.len() > 0) {
            let bell = Bell::open(&Path::new(STATE).join(BELL)).and_then(|bell| bell.ring());
            bell.map_err(|error| HostError::System("make the bell", error))?;
        }
        reserve::fill();
        let made = set_up_key(&state, has_key)?;
        let host = Self::open(name)?;
        host.begin_sealing(&host.journal(&AuditSettings::default()))?;
        Ok(made)
    }
}

impl Host {
    /// Opens the host. At its first use by root it is set up: the state directory has neither a key nor anything of a journal.
    pub fn open_or_begin(name: &str, uid: u32) -> Result<Self, HostError> {
        match Self::open(name) {
            Err(HostError::Database(DatabaseError::Missing(_))) if uid == 0 && is_new()? => {
                Self::set_up(name)?;
                Self::open(name)
            }
            opened => opened,
        }
    }
}

/// Whether nothing was ever kept here.
fn is_new() -> Result<bool, HostError> {
    let state = state_directory()?;
    Ok(state.entries()?.is_empty())
}

/// Whether there is a host key. Finishes a rotation or a retirement that was interrupted; what is wrong with the key is reported when
/// it is needed.
fn has_key(name: &str) -> bool {
    if let Ok(host) = Host::open(name) {
        let _ = host.key();
    }
    has_host_key()
}

fn set_up_database(state: &TrustedDirectory, name: &str, has_key: bool) -> Result<(), HostError> {
    let path = Path::new(STATE).join(DATABASE);
    // SQLite takes an empty file for an empty database.
    let exists = std::fs::metadata(&path).is_ok_and(|file| file.len() > 0);
    if exists && audit::is_set_up(&schema::open(&path)?)? {
        return Ok(());
    }
    let key = random("make a redaction key")?;
    let traces = StateTraces::of(state.path());
    let anchor = traces.anchor();
    let was_lost = has_key || anchor.is_some_and(|anchor| anchor.seq != 0) || !traces.sent().is_empty();
    // The anchor of a lost database stays until the new one has a record.
    if !was_lost || anchor.is_none() {
        // First: a database without it is taken for an older copy.
        state.replace(ANCHOR.as_ref(), format!("{}\n", audit::origin(&key)).as_bytes(), 0o600)?;
    }
    let database = if exists { schema::open(&path)? } else { schema::create(&path)? };
    let host = Host { state: state_directory()?, database, name: name.to_owned(), sealing: std::rc::Rc::default() };
    host.begin(key, anchor, was_lost)
}

impl Host {
    fn begin(&self, key: [u8; 32], anchor: Option<Mark>, was_lost: bool) -> Result<(), HostError> {
        let moment = SystemClock.read().map_err(|error| HostError::System("read the clock", error))?;
        let journal = self.journal(&AuditSettings::default());
        let written = self.database.write(Durability::Synced, |tx| {
            audit::set_up(tx, key)?;
            if was_lost { Ok(journal.begin_anew(tx, &moment, anchor)?) } else { Ok::<_, HostError>(Vec::new()) }
        })?;
        let _ = journal.mirror(&written); // the journal has it; a sink never decides
        Ok(())
    }
}

/// Returns true when it created the key.
fn set_up_key(state: &TrustedDirectory, has_key: bool) -> Result<bool, HostError> {
    let public =
        |key: &HostKey| state.replace(PUBLIC_KEY.as_ref(), format!("{}\n", key.public_line()).as_bytes(), 0o600);
    if has_key {
        if !Path::new(STATE).join(PUBLIC_KEY).exists() {
            public(&HostKey::from_openssh(&host_key_text(state)?)?)?;
        }
        return Ok(false);
    }
    let key = HostKey::from_seed(random("make a key")?);
    let check = u32::from_le_bytes(random("make a key")?);
    // A public half without its private key belongs to no host and is replaced.
    public(&key)?;
    state.create(HOST_KEY.as_ref(), key.to_openssh(check).as_bytes(), 0o600)?;
    Ok(true)
}
