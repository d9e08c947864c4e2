//! The sealing keys of this host: one for each epoch, in the file `sealing_key.N` of epoch N. The key of an epoch that is over is
//! erased once the record that certifies the next key is on the disk. A process that is killed in between leaves more keys than
//! are needed, never fewer; whoever signs next erases all but the present one.

use std::ffi::{OsStr, OsString};

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

    /// Begins the next epoch: its key is on the disk before it is certified. Returns the key that signs from then on.
    fn next_epoch(
        &self,
        journal: &Journal<'_>,
        moment: &Moment,
        current: &CurrentEpoch,
        key: &HostKey,
    ) -> Result<HostKey, HostError> {
        let number = current.epoch.number.saturating_add(1);
        let begun = self.database.write(Durability::Synced, |tx| {
            if !journal.may_continue(tx, current)? {
                return Ok(None);
            }
            let next = self.fresh(&name(number))?;
            let written = journal.next_epoch(tx, moment, current, key, &next.public_key())?;
            Ok::<_, HostError>(written.map(|written| (next, written)))
        })?;
        match begun {
            Some((next, written)) => {
                let _ = journal.mirror(&[written]); // the journal has it; a sink never decides
                Ok(next)
            }
            // Another process was faster, or the database lacks records: the caller finds out.
            None => Ok(HostKey::from_openssh(&key.to_openssh(0))?),
        }
    }

    /// Begins a line of sealing keys if the last epoch is still `before`: the host's key certifies a new key. Returns `None`
    /// if it is not, if the database lacks records, or if the key was replaced meanwhile.
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
            if !journal.may_follow(tx, before)? {
                return Ok(None);
            }
            let Ok(by) = journal.unended(tx, &host_key)? else { return Ok(None) };
            let first = self.fresh(&name(number))?;
            Ok::<_, HostError>(journal.begin_line(tx, moment, by, &first.public_key())?)
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

    /// Makes a key in this file, on the disk when this returns; for use inside a write, so that nobody else makes or certifies one. A
    /// file that is there has a key that was never certified, or whose certificate is lost: whoever may have put it there knows it.
    pub(super) fn fresh(&self, name: &OsStr) -> Result<HostKey, HostError> {
        self.state.erase(name)?;
        let key = HostKey::from_seed(random("make a key")?);
        let check = u32::from_le_bytes(random("make a key")?);
        self.state.create(name, key.to_openssh(check).as_bytes(), 0o600)?;
        Ok(key)
    }

    /// Erases all sealing keys except that of the present epoch: those of epochs that are over, and what a killed process has left. Erases
    /// none if the present one is missing, or if the database lacks records: the key may be that of a lost record.
    pub(super) fn erase_others(&self, journal: &Journal<'_>) -> Result<(), HostError> {
        let Some(current) = journal.epoch()? else { return Ok(()) };
        let number = current.epoch.number;
        if self.key_numbers()?.iter().all(|(other, _)| *other == number)
            || self.key_of(&current)?.is_none()
            || journal.restored()?.is_some()
        {
            return Ok(());
        }
        // The certificate that this process has read is on the disk after this: a power failure leaves it no earlier epoch.
        self.database.sync_commits()?;
        // Nobody makes a key during a write.
        self.database.write(Durability::Ordered, |_| {
            if journal.epoch()?.as_ref() == Some(&current) { self.erase_keys(|other| other != number) } else { Ok(()) }
        })
    }

    /// Returns the names of the sealing keys that are not that of the present epoch.
    pub fn other_sealing_keys(&self, current: &CurrentEpoch) -> Result<Vec<String>, HostError> {
        let others = self.key_numbers()?.into_iter().filter(|(number, _)| *number != current.epoch.number);
        Ok(others.map(|(_, name)| name.to_string_lossy().into_owned()).collect())
    }

    /// Erases the keys of these epochs.
    pub(super) fn erase_keys(&self, which: impl Fn(u64) -> bool) -> Result<(), HostError> {
        for (number, name) in self.key_numbers()? {
            if which(number) {
                self.state.erase(&name)?;
            }
        }
        Ok(())
    }

    /// Returns the numbers of the epochs for which there is a file, with its name.
    fn key_numbers(&self) -> Result<Vec<(u64, OsString)>, HostError> {
        let number = |name: &OsString| name.to_str()?.strip_prefix(SEALING_KEY)?.parse().ok();
        Ok(self.state.entries()?.into_iter().filter_map(|name| Some((number(&name)?, name))).collect())
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
