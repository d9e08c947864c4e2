//! Root replaces the host key by another one, or retires the host. All requests and grants that the old key has signed end.

use rusqlite::Transaction;

use super::Context;
use super::failure::{Refused, refused};
use super::key_info;
use super::words::given;
use crate::audit::{Due, JournalError, Unended, Written, of_this_host};
use crate::database::{DatabaseError, Durability};
use crate::host::{HostError, Identity, lost_sealing_key};
use jit_core::escape::Word;
use jit_core::evidence::epoch_event::key_words;
use jit_core::evidence::record::{Retirement, Rotation};
use jit_core::wire::{AcceptedInfo, KeyChangeInfo};

/// Why nothing was committed.
enum Halt {
    /// Only asked what would end.
    Counted(AcceptedInfo),
    Refused(Refused),
}

impl Context<'_> {
    pub(super) fn key_rotate(&self, reason: &Word, dry_run: bool) -> Result<KeyChangeInfo, Refused> {
        let reason = given("reason", reason)?;
        let old = self.host.record_identity()?;
        self.signs(&old)?;
        let ended = self.change(dry_run, &old, |tx, by| {
            let doomed = self.doomed(tx)?;
            if dry_run {
                return self.end_everything(tx, &doomed, reason, &old);
            }
            let new = self.host.next_identity()?;
            let rotation = Rotation {
                uid: self.caller.uid(),
                user: Word::from(self.caller.name().as_str()),
                reason: reason.clone(),
                old_key: key_words(&old.key.public_key()),
                identity: new.host.clone(),
                old_signature: String::new(),
                new_signature: String::new(),
            };
            // First: the statements that follow are signed with the new key.
            let rotated = self.journal.rotate(tx, self.now.moment(), (by, &new.key), rotation)?;
            let (ended, statements) = self.end_everything(tx, &doomed, reason, &new)?;
            Ok((ended, [vec![rotated], statements].concat()))
        })?;
        if dry_run {
            return Ok(self.changed(&old, ended, None));
        }
        self.host.settle_key()?;
        // Signed with the present key: a verification on the host asks for that.
        self.host.seal(self.journal, Due::Now)?;
        let new = key_info(&self.host.public_key()?, self.journal, true)?;
        Ok(KeyChangeInfo { done: true, ..self.changed(&old, ended, Some(new)) })
    }

    pub(super) fn key_retire(&self, reason: &Word, dry_run: bool) -> Result<KeyChangeInfo, Refused> {
        let reason = given("reason", reason)?;
        let own = self.host.record_identity_for_statements()?;
        self.signs(&own)?;
        let ended = self.change(dry_run, &own, |tx, by| {
            let doomed = self.doomed(tx)?;
            let (ended, mut written) = self.end_everything(tx, &doomed, reason, &own)?;
            let retirement = Retirement {
                uid: self.caller.uid(),
                user: Word::from(self.caller.name().as_str()),
                reason: reason.clone(),
                key: key_words(&own.key.public_key()),
                signature: String::new(),
            };
            written.push(self.journal.retire(tx, self.now.moment(), by, retirement)?);
            Ok((ended, written))
        })?;
        if dry_run {
            return Ok(self.changed(&own, ended, None));
        }
        self.host.finish_retirement()?;
        Ok(KeyChangeInfo { done: true, ..self.changed(&own, ended, None) })
    }

    /// Fails unless the journal belongs to this key, and its head is signed.
    fn signs(&self, own: &Identity) -> Result<(), Refused> {
        self.host.seal(self.journal, Due::Now)?;
        let lost = match self.journal.epoch()? {
            Some(current) if !self.host.has_sealing_key(&current)? => Some(lost_sealing_key(&current)),
            Some(_) | None => None,
        };
        match self.journal.unsealable(&own.key.public_key(), self.now.moment())?.or(lost) {
            None => Ok(()),
            Some(why) => Err(refused("not-signed", format!("the journal is not signed: {why}"))
                .hint("jitctl audit verify, then jitctl key accept --reason 'WHY'")),
        }
    }

    /// Commits what `change` does, and announces it; with `dry_run` nothing is committed.
    fn change(
        &self,
        dry_run: bool,
        own: &Identity,
        change: impl FnOnce(&Transaction<'_>, Unended<'_>) -> Result<(AcceptedInfo, Vec<Written>), Refused>,
    ) -> Result<AcceptedInfo, Refused> {
        let done = self.host.database().write(Durability::Synced, |tx| {
            of_this_host(tx, own.id.as_str())?;
            let by = self.journal.unended(tx, &own.key)?.map_err(JournalError::KeyEnded)?;
            let (ended, written) = change(tx, by)?;
            if dry_run { Err(Halt::Counted(ended)) } else { Ok((ended, written)) }
        });
        match done {
            Ok((ended, written)) => {
                self.host.announce(self.journal, &written);
                Ok(ended)
            }
            Err(Halt::Counted(ended)) => Ok(ended),
            Err(Halt::Refused(refused)) => Err(refused),
        }
    }

    fn changed(&self, old: &Identity, ended: AcceptedInfo, new: Option<jit_core::wire::KeyInfo>) -> KeyChangeInfo {
        let AcceptedInfo { grants, requests, damaged } = ended;
        let at = self.now.moment().wall.seconds();
        KeyChangeInfo { done: false, at, old: old.key.fingerprint(), new, grants, requests, damaged }
    }
}

macro_rules! from {
    ($($error:ty),*) => {
        $(impl From<$error> for Halt {
            fn from(error: $error) -> Self {
                Self::Refused(error.into())
            }
        })*
    };
}
from!(DatabaseError, JournalError, HostError);

impl From<Refused> for Halt {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}
