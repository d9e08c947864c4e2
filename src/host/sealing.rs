//! Checkpoints are signed by a process that serves no caller, so that processes that do serve one never load the private key.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use super::sealing_key::Unsealed;
use super::{Host, HostError, Identity};
use crate::audit::{Due, Journal, Written};
use crate::programs::start_enforcer;
use crate::session::refuge;
use jit_core::clock::{Moment, Timestamp};
use jit_core::evidence::Mark;
use jit_core::grant::HostKey;

/// The command that tells the enforcer to sign what is due, and nothing else.
pub const SEAL: &[u8] = b"seal";

/// How often another process may begin an epoch meanwhile.
const TRIES: u32 = 4;

impl Host {
    /// Signs the head of the journal if that is `due` and the journal belongs to this host; otherwise an alert records why not.
    pub fn seal(&self, journal: &Journal<'_>, due: Due) -> Result<(), HostError> {
        // This process signs; its own records must not start another one.
        self.sealing.set(true);
        let moment = self.clocks()?;
        if journal.unsealed(moment.wall, due)?.is_none() {
            return Ok(());
        }
        self.sealed_by(journal, &moment, |key, identity| {
            // The records may have become more since.
            let Some(last) = journal.unsealed(moment.wall, Due::Now)? else { return Ok(Ok(())) };
            let Some(grown) = journal.grown(last)? else {
                let why = "the tree of its records does not agree with the last checkpoint";
                return Ok(Err(Unsealed::Because(why.to_owned())));
            };
            let host = (&identity.key, &identity.id);
            let Some(checkpoint) = journal.seal((last, &grown), &moment, key, host)? else {
                return Ok(Err(Unsealed::Meanwhile));
            };
            journal.send_checkpoint(&checkpoint, moment.wall);
            Ok(Ok(()))
        })
    }

    /// Records and signs in one transaction that everything up to `last` is removed. Returns `None` if the journal cannot be signed.
    pub fn prune(
        &self,
        journal: &Journal<'_>,
        moment: &Moment,
        last: Mark,
        by: (u32, &str),
        before: Timestamp,
    ) -> Result<Option<Written>, HostError> {
        self.sealing.set(true);
        let done = RefCell::new(None);
        self.sealed_by(journal, moment, |key, identity| {
            let host = (&identity.key, &identity.id);
            let Some(pruned) = journal.prune(moment, last, by, before, key, host)? else {
                return Ok(Err(Unsealed::Meanwhile));
            };
            done.replace(Some(pruned));
            Ok(Ok(()))
        })?;
        Ok(done.into_inner().map(|(written, checkpoint)| {
            let _ = journal.mirror(std::slice::from_ref(&written)); // the journal has it; a sink never decides
            journal.send_checkpoint(&checkpoint, moment.wall);
            written
        }))
    }

    /// Begins the next epoch if the present one is over, also if nothing was recorded meanwhile.
    pub fn advance_epoch(&self, journal: &Journal<'_>) -> Result<(), HostError> {
        self.sealing.set(true);
        let moment = self.clocks()?;
        self.sealed_by(journal, &moment, |_, _| Ok(Ok(())))
    }

    /// Calls `sign` with the present sealing key and the identity of the host, until no other process has begun an epoch meanwhile.
    fn sealed_by(
        &self,
        journal: &Journal<'_>,
        moment: &Moment,
        sign: impl Fn(&HostKey, &Identity) -> Result<Result<(), Unsealed>, HostError>,
    ) -> Result<(), HostError> {
        for _ in 0..TRIES {
            let identity = match self.present_key() {
                Ok(key) => self.identified(key)?,
                // Nobody signs for a retired host any more.
                Err(HostError::NoKey(_) | HostError::Key(_)) if journal.retired()?.is_some() => return Ok(()),
                Err(error) => return Err(error),
            };
            let own = identity.key.public_key();
            let why = match journal.unsealable(&own, moment)? {
                Some(why) => why,
                None => {
                    let signed = match self.sealing_key(journal, moment, &own)? {
                        Ok(key) => sign(&key, &identity)?,
                        Err(why) => Err(why),
                    };
                    match signed {
                        // After the signature: a file that cannot be erased leaves the journal signed.
                        Ok(()) => return self.erase_others(journal),
                        Err(Unsealed::Meanwhile) => continue,
                        // Its alert says already that root has to accept the state of the host.
                        Err(Unsealed::Because(_)) if journal.restored()?.is_some() => return Ok(()),
                        Err(Unsealed::Because(why)) => why,
                    }
                }
            };
            let told = journal.tell_unsealed(moment, &why)?;
            let _ = journal.mirror(told.as_slice()); // the journal has it; a sink never decides
            return Ok(());
        }
        Ok(())
    }

    /// Begins the first line of sealing keys of a journal that has none and belongs to this host.
    pub(super) fn begin_sealing(&self, journal: &Journal<'_>) -> Result<(), HostError> {
        if journal.epoch()?.is_some() { Ok(()) } else { self.advance_epoch(journal) }
    }

    /// Begins a new line of sealing keys after root has accepted the state of the host, if the present one cannot go on: its key is
    /// lost, the host has another key or is a copy, or `is_restored`: records were lost that may have certified later keys.
    pub fn begin_line_after_acceptance(&self, journal: &Journal<'_>, is_restored: bool) -> Result<(), HostError> {
        let moment = self.clocks()?;
        let current = journal.epoch()?;
        for _ in 0..TRIES {
            let own = self.public_key()?.public_key();
            let goes_on = match &current {
                Some(current) => {
                    journal.host_key_of(current)?.as_ref() == Some(&own)
                        && !journal.is_of_another_host(current)?
                        && !journal.has_epochs_to_come(moment.wall)?
                        && self.has_sealing_key(current)?
                }
                None => false,
            };
            if goes_on && !is_restored {
                return Ok(());
            }
            // Otherwise another key may have taken the place of this one: that one begins the line.
            if self.begin_line(journal, &moment, &own, current.as_ref())?.is_some() || journal.epoch()? != current {
                break;
            }
        }
        self.erase_others(journal)
    }

    /// Whether enough records were written, or enough time has passed, for a checkpoint to be due.
    pub fn is_sealing_due(&self, journal: &Journal<'_>) -> bool {
        self.clocks().is_ok_and(|moment| journal.unsealed(moment.wall, Due::InTime).is_ok_and(|last| last.is_some()))
    }

    /// Starts another process that signs, and does not wait. If that process fails, a later one does it, and a verification
    /// reports what no signature covers. This process starts at most one.
    pub fn seal_apart(&self) {
        start_once(&self.sealing);
    }

    /// Makes `journal` start that process as soon as a record makes a checkpoint due.
    pub(super) fn sealed<'a>(&self, journal: Journal<'a>) -> Journal<'a> {
        let sealing = Rc::clone(&self.sealing);
        journal.with_sealer(Box::new(move || start_once(&sealing)))
    }

    /// Starts that process if a checkpoint is due.
    pub fn seal_in_time(&self, journal: &Journal<'_>) {
        if self.is_sealing_due(journal) {
            self.seal_apart();
        }
    }
}

fn start_once(sealing: &Cell<bool>) {
    if !sealing.replace(true) {
        let _ = start_enforcer(SEAL, refuge().as_ref());
    }
}
