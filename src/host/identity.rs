//! The key of this host, and the identity that follows from it.

use std::borrow::Borrow;

use super::key_place::host_key_text;
use super::{Host, HostError, KEY_LIMIT, PUBLIC_KEY};
use jit_core::grant::hostkey::InvalidHostKey;
use jit_core::grant::{HostDescriptor, HostId, HostKey, HostPublicKey};
use jit_core::policy::AuditSettings;
use sys::trusted::{TrustError, TrustedDirectory};

/// The key of the host, or its public half alone, and the identity that follows from it.
pub struct Identity<K = HostKey> {
    /// The key that signs and verifies grants.
    pub key: K,
    /// The id that grants must name.
    pub id: HostId,
    /// The description of the host in requests.
    pub host: HostDescriptor,
}

impl Host {
    /// Returns the key of this host and its identity, for signing and verifying grants, after recording an identity that differs
    /// from the journal's. Fails while the database is an older copy that root has not accepted.
    pub fn record_identity(&self) -> Result<Identity, HostError> {
        self.accepted(self.record_identity_for_statements()?)
    }

    /// Does the same for verification only.
    pub fn record_public_identity(&self) -> Result<Identity<HostPublicKey>, HostError> {
        self.accepted(self.recorded(|| self.identified(self.public_key()?))?)
    }

    /// Returns the identity for signing statements, even while the database is an older copy: a withdrawal of permission must
    /// always be possible.
    pub fn record_identity_for_statements(&self) -> Result<Identity, HostError> {
        self.recorded(|| self.identified(self.key()?))
    }

    fn accepted<K>(&self, identity: Identity<K>) -> Result<Identity<K>, HostError> {
        match self.journal(&AuditSettings::default()).restored()? {
            Some(how) => Err(self.retired_since()?.unwrap_or(HostError::Restored(how))),
            None => Ok(identity),
        }
    }

    /// Records an identity that differs from the journal's before anything is signed by it.
    fn recorded<K>(&self, read: impl Fn() -> Result<Identity<K>, HostError>) -> Result<Identity<K>, HostError> {
        let journal = self.journal(&AuditSettings::default());
        let identity = read()?;
        if journal.knows_host(&identity.host)? {
            return Ok(identity);
        }
        // A rotation may have been interrupted, or have ended since the key was read.
        if self.is_unsettled() {
            self.settle_key()?;
        }
        let identity = read()?;
        let noticed = journal.notice_host(&self.clocks()?, &identity.host)?;
        let _ = journal.mirror(&noticed);
        Ok(identity)
    }

    pub(super) fn identified<K: Borrow<HostPublicKey>>(&self, key: K) -> Result<Identity<K>, HostError> {
        // A host without a machine-id is identified by its key alone.
        let machine = sys::machine::machine_id()?.unwrap_or_default();
        let known = HostDescriptor::with_id(key.borrow(), &self.name, &machine);
        let (id, host) = known.ok_or(HostError::Key(InvalidHostKey))?;
        Ok(Identity { key, id, host })
    }

    /// Returns the key of this host.
    pub fn key(&self) -> Result<HostKey, HostError> {
        match self.present_key() {
            Ok(key) => self.unended(key),
            Err(error @ (HostError::NoKey(_) | HostError::Key(_))) => match self.retired_since()? {
                // Its file may be overwritten and not removed yet.
                Some(retired @ HostError::Retired(_, None)) => {
                    self.finish_retirement()?;
                    Err(retired)
                }
                _ => Err(error),
            },
            Err(error) => Err(error),
        }
    }

    /// Returns the key of this host, even if it signs nothing but the last record of a retired host.
    pub(super) fn present_key(&self) -> Result<HostKey, HostError> {
        if self.is_unsettled() {
            self.settle_key()?;
        }
        match self.read_key() {
            // Another process may have been putting a new key in its place.
            Err(HostError::NoKey(_) | HostError::Sealed | HostError::Key(_)) => {
                if self.is_unsettled() {
                    self.settle_key()?;
                }
                self.read_key()
            }
            read => read,
        }
    }

    fn read_key(&self) -> Result<HostKey, HostError> {
        let key = HostKey::from_openssh(&host_key_text(&self.state)?)?;
        // The two halves must match: nothing could verify what such a key signs.
        if self.public_key()?.public_line() == key.public_line() { Ok(key) } else { Err(InvalidHostKey.into()) }
    }

    /// Returns the public half of the key.
    pub fn public_key(&self) -> Result<HostPublicKey, HostError> {
        public_key(&self.state)
    }
}

pub(super) fn public_key(state: &TrustedDirectory) -> Result<HostPublicKey, HostError> {
    let file = state.file(PUBLIC_KEY.as_ref()).map_err(|error| match error {
        TrustError::Missing { .. } => HostError::NoKey(PUBLIC_KEY),
        error => HostError::Trust(error),
    })?;
    let line = String::from_utf8(file.read(KEY_LIMIT)?).map_err(|_| InvalidHostKey)?;
    Ok(HostPublicKey::from_line(&line)?)
}
