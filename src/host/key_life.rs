//! The files of the host key while it is replaced or removed. The next key is in a file of its own, synced, before the record that
//! names it is committed; the journal decides which key is the host's, so a process that is killed in between leaves a host that the
//! next act with the key repairs.

use std::ffi::OsStr;
use std::path::Path;

use super::key_place::SEALED;
use super::{HOST_KEY, Host, HostError, Identity, PUBLIC_KEY};
use crate::audit::{Due, Retired};
use crate::database::Durability;
use jit_core::grant::{HostKey, PublicKey};
use jit_core::places::STATE;
use jit_core::policy::AuditSettings;

/// The key that will take the place of the host key.
const NEXT: &str = "host_key.next";

/// The key that had its place, until it is erased.
const FORMER: &str = "host_key.former";

impl Host {
    /// Returns the identity under the next host key, whose file is synced. Called inside the transaction that records it: nobody
    /// else makes or removes a key meanwhile.
    pub fn next_identity(&self) -> Result<Identity, HostError> {
        self.identified(self.fresh(NEXT.as_ref())?)
    }

    /// Whether a rotation was begun whose files are not in their places.
    pub(super) fn is_unsettled(&self) -> bool {
        [NEXT, FORMER].iter().any(|name| Path::new(STATE).join(name).exists())
    }

    /// Puts the host key that the journal names in its place, and erases the others.
    pub fn settle_key(&self) -> Result<(), HostError> {
        // A rotation that another process has committed is on the disk before its old key is erased.
        self.database.write(Durability::Synced, |_| Ok::<_, HostError>(()))?;
        self.database.write(Durability::Ordered, |_| {
            let Some(own) = self.journal(&AuditSettings::default()).own_key()? else { return Ok(()) };
            let is_own = self.stored_host_key()?.is_some_and(|key| key.public_key() == own);
            if !is_own && !self.install(&own)? {
                return Ok(());
            }
            for name in [NEXT, FORMER] {
                self.state.erase(name.as_ref())?;
            }
            Ok(())
        })
    }

    /// Puts the key `own` in its place; returns false if no file has it.
    fn install(&self, own: &PublicKey) -> Result<bool, HostError> {
        let Some(name) = self.which(own)? else { return Ok(false) };
        let Some(key) = self.stored(name)? else { return Ok(false) };
        if name == OsStr::new(NEXT) && Path::new(STATE).join(HOST_KEY).exists() {
            self.state.erase(FORMER.as_ref())?;
            self.state.rename(HOST_KEY.as_ref(), FORMER.as_ref())?;
        }
        self.state.replace(PUBLIC_KEY.as_ref(), format!("{}\n", key.public_line()).as_bytes(), 0o600)?;
        // First: while the next key is in its own file, the next act repeats this.
        self.erase_sealed()?;
        self.state.rename(name, HOST_KEY.as_ref())?;
        Ok(true)
    }

    fn which(&self, own: &PublicKey) -> Result<Option<&'static OsStr>, HostError> {
        for name in [NEXT, FORMER] {
            if self.is_key(name, own)? {
                return Ok(Some(name.as_ref()));
            }
        }
        Ok(None)
    }

    fn is_key(&self, name: &str, own: &PublicKey) -> Result<bool, HostError> {
        Ok(self.stored(name.as_ref())?.is_some_and(|key| key.public_key() == *own))
    }

    /// Fails if a rotation or a retirement has ended this key. Removes what a process that was killed has left of the keys of a retired
    /// host.
    pub(super) fn unended(&self, key: HostKey) -> Result<HostKey, HostError> {
        let journal = self.journal(&AuditSettings::default());
        let key = match journal.key_end(&key.public_key())? {
            None => return Ok(key),
            Some(end) if end.is_retirement => key,
            // Another process may have replaced it since it was read.
            Some(_) => {
                self.settle_key()?;
                self.present_key()?
            }
        };
        let Some(end) = journal.key_end(&key.public_key())? else { return Ok(key) };
        match journal.retired()? {
            Some(Retired { at, key: last }) if last == key.public_key() => {
                self.finish_retirement()?;
                Err(HostError::Retired(at, None))
            }
            _ => Err(HostError::Ended(end)),
        }
    }

    /// Returns the error for a host that was retired; `key` says whether it has another key since.
    pub(super) fn retired_since(&self) -> Result<Option<HostError>, HostError> {
        let Some(Retired { at, key }) = self.journal(&AuditSettings::default()).retired()? else { return Ok(None) };
        let other = self.stored_host_key()?.filter(|other| other.public_key() != key);
        Ok(Some(HostError::Retired(at, other.map(|other| other.fingerprint()))))
    }

    /// Signs the last record of a retired host, and removes its private keys.
    pub fn finish_retirement(&self) -> Result<(), HostError> {
        self.seal(&self.journal(&AuditSettings::default()), Due::Now)?;
        self.erase_keys(|_| true)?;
        for name in [NEXT, FORMER, HOST_KEY] {
            self.state.erase(name.as_ref())?;
        }
        self.erase_sealed()?;
        self.state.erase(SEALED.as_ref()).map_err(HostError::from)
    }
}
