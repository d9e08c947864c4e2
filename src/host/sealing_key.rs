//! The sealing keys of this host: one for each epoch, in the file `sealing_key.N` of epoch N. The key of an epoch that is over is
//! erased once the record that certifies the next key is on the disk. A process that is killed in between leaves more keys than
//! are needed, never fewer.

use std::ffi::{OsStr, OsString};
use std::io::ErrorKind;

use super::{Host, HostError, KEY_LIMIT, random};
use crate::audit::{CurrentEpoch, Journal, Written};
use crate::database::Durability;
use jit_core::clock::Moment;
use jit_core::grant::hostkey::InvalidHostKey;
use jit_core::grant::{HostKey, PublicKey};
use jit_core::places::STATE;
use sys::trusted::TrustError;

/// The beginning of the names of the files.
const SEALING_KEY: &str = "sealing_key.";

/// Why a head is not signed.
pub(super) enum Unsealed {
    /// For this reason, which root has to examine.
    Because(String),
    /// Another process has begun another epoch meanwhile.
    Meanwhile,
}

impl Host {
    /// Returns the sealing key of the present epoch. Begins the next epoch first, if the present one is over; `own` is the key of
    /// this host, to which the journal belongs.
    pub(super) fn sealing_key(
        &self,
        journal: &Journal<'_>,
        moment: &Moment,
        own: &PublicKey,
    ) -> Result<Result<HostKey, Unsealed>, HostError> {
        let is_restored = journal.restored()?.is_some();
        let Some(current) = journal.epoch()? else {
            // A journal of an earlier version, or a new one. In the place of a lost one it begins with a `fork` and an alert, and
            // root's acceptance begins another line.
            let _ = self.begin_line(journal, moment, own, None)?;
            return Ok(Err(Unsealed::Meanwhile));
        };
        let Some(key) = self.key_of(&current)? else {
            let is_current = journal.epoch()?.as_ref() == Some(&current);
            return Ok(Err(if is_current { Unsealed::Because(lost(&current)) } else { Unsealed::Meanwhile }));
        };
        if is_restored || !journal.is_epoch_over(&current, moment.wall) {
            return Ok(Ok(key));
        }
        self.next_epoch(journal, moment, &current, &key).map(Ok)
    }

    /// Begins the next epoch: its key is on the disk before it is certified, and the former key is erased after that. Returns the
    /// key that signs from then on.
    fn next_epoch(
        &self,
        journal: &Journal<'_>,
        moment: &Moment,
        current: &CurrentEpoch,
        key: &HostKey,
    ) -> Result<HostKey, HostError> {
        let number = current.epoch.number.saturating_add(1);
        let next = self.prepared(&name(number))?;
        match journal.next_epoch(moment, current, key, &next.public_key())? {
            Some(written) => {
                let _ = journal.mirror(&[written]); // the journal has it; a sink never decides
                self.erase_keys(|other| other < number)?;
                Ok(next)
            }
            // Another process was faster, or the database lacks records: the caller finds out.
            None => Ok(HostKey::from_openssh(&key.to_openssh(0))?),
        }
    }

    /// Begins a line of sealing keys if the last epoch is still `before`: the host's key certifies a new key, and all others are
    /// erased. Returns `None` if it is not, or if the database lacks records.
    pub(super) fn begin_line(
        &self,
        journal: &Journal<'_>,
        moment: &Moment,
        own: &PublicKey,
        before: Option<&CurrentEpoch>,
    ) -> Result<Option<Written>, HostError> {
        let host_key = self.key()?;
        if host_key.public_key() != *own {
            return Ok(None);
        }
        let number = before.map_or(1, |current| current.epoch.number.saturating_add(1));
        let written = self.database.write(Durability::Synced, |tx| {
            if journal.epoch()?.as_ref() != before {
                return Ok(None);
            }
            // Nobody else makes a key meanwhile. A key that is there was certified by records that are lost, or never.
            self.erase_keys(|_| true)?;
            let first = self.prepared(&name(number))?;
            Ok::<_, HostError>(journal.begin_line(tx, moment, &host_key, &first.public_key())?)
        })?;
        if let Some(written) = &written {
            let _ = journal.mirror(std::slice::from_ref(written)); // the journal has it; a sink never decides
        }
        Ok(written)
    }

    /// Returns the key of this epoch; `None` if its file is missing or has another one.
    fn key_of(&self, current: &CurrentEpoch) -> Result<Option<HostKey>, HostError> {
        let key = self.stored(&name(current.epoch.number))?;
        Ok(key.filter(|key| key.public_key() == current.epoch.key))
    }

    /// Returns whether this host has the sealing key of this epoch.
    pub fn has_sealing_key(&self, current: &CurrentEpoch) -> Result<bool, HostError> {
        Ok(self.key_of(current)?.is_some())
    }

    pub(super) fn stored(&self, name: &OsStr) -> Result<Option<HostKey>, HostError> {
        let file = match self.state.file(name) {
            Ok(file) => file,
            Err(TrustError::Missing { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        file.private()?;
        let text = String::from_utf8(file.read(KEY_LIMIT)?).map_err(|_| InvalidHostKey);
        Ok(text.and_then(|text| HostKey::from_openssh(&text)).ok())
    }

    /// Returns the key in this file, or a new one that is in it, synced. A process that was killed before its key was certified
    /// has left one.
    pub(super) fn prepared(&self, name: &OsStr) -> Result<HostKey, HostError> {
        if let Some(key) = self.stored(name)? {
            return Ok(key);
        }
        let key = HostKey::from_seed(random("make a key")?);
        let check = u32::from_le_bytes(random("make a key")?);
        match self.state.create(name, key.to_openssh(check).as_bytes(), 0o600) {
            Ok(()) => Ok(key),
            Err(TrustError::Io { error, .. }) if error.kind() == ErrorKind::AlreadyExists => {
                self.stored(name)?.ok_or(HostError::Key(InvalidHostKey))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Erases the keys of these epochs.
    pub(super) fn erase_keys(&self, which: impl Fn(u64) -> bool) -> Result<(), HostError> {
        for name in self.state.entries()? {
            let number =
                name.to_str().and_then(|name| name.strip_prefix(SEALING_KEY)).and_then(|digits| digits.parse().ok());
            if number.is_some_and(&which) {
                self.state.erase(&name)?;
            }
        }
        Ok(())
    }
}

/// Says that the key of an epoch is lost.
pub fn lost(current: &CurrentEpoch) -> String {
    let number = current.epoch.number;
    format!("the sealing key of its last epoch, {STATE}/{SEALING_KEY}{number}, is missing or is another one")
}

fn name(number: u64) -> OsString {
    format!("{SEALING_KEY}{number}").into()
}
