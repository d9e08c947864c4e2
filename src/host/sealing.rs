//! Checkpoints are signed by a process that serves no caller, so that processes that do serve one never load the private key.

use std::cell::Cell;
use std::rc::Rc;

use super::{Host, HostError};
use crate::audit::{Due, Journal};
use crate::programs::start_enforcer;
use crate::session::refuge;

/// The command that tells the enforcer to sign what is due, and nothing else.
pub const SEAL: &[u8] = b"seal";

impl Host {
    /// Signs the head of the journal if that is `due` and the journal belongs to this host; otherwise an alert records why not.
    pub fn seal(&self, journal: &Journal<'_>, due: Due) -> Result<(), HostError> {
        // This process signs; its own records must not start another one.
        self.sealing.set(true);
        let moment = self.clocks()?;
        let Some(last) = journal.unsealed(moment.wall, due)? else { return Ok(()) };
        let identity = self.identified(self.key()?)?;
        let grown = journal.grown(last)?;
        let differs = || Some("the tree of its records does not agree with the last checkpoint".to_owned());
        let why = journal.unsealable(&identity.key.public_key(), &moment)?;
        let (None, Some(grown)) = (&why, &grown) else {
            let why = why.or_else(differs).unwrap_or_default();
            let told = journal.tell_unsealed(&moment, &why)?;
            let _ = journal.mirror(told.as_slice()); // the journal has it; a sink never decides
            return Ok(());
        };
        let checkpoint = journal.seal(last, grown, &moment, &identity.key, &identity.id)?;
        journal.send_checkpoint(&checkpoint, moment.wall);
        Ok(())
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
