//! Checkpoints are signed by a process that talks to no caller: whoever does has no need of the private key.

use std::cell::Cell;
use std::rc::Rc;

use super::{Host, HostError};
use crate::audit::{Due, Journal};
use crate::programs::start_enforcer;
use crate::session::refuge;

/// What the enforcer is told when it shall sign what is due, and no more.
pub const SEAL: &[u8] = b"seal";

impl Host {
    /// Signs the head of the journal where that is `due`, and the journal is this host's own; else an alert says why not.
    pub fn seal(&self, journal: &Journal<'_>, due: Due) -> Result<(), HostError> {
        // What it records itself needs no other process.
        self.sealing.set(true);
        let moment = self.clocks()?;
        let Some(last) = journal.unsealed(moment.wall, due)? else { return Ok(()) };
        let identity = self.identified(self.key()?)?;
        if let Some(why) = journal.unsealable(&identity.key.public_key(), &moment)? {
            let told = journal.tell_unsealed(&moment, &why)?;
            let _ = journal.mirror(told.as_slice()); // the journal has it; a sink never decides
            return Ok(());
        }
        Ok(journal.seal(last, &moment, &identity.key, &identity.id)?)
    }

    /// Whether so much was recorded, or so long ago, that a checkpoint is due.
    pub fn is_sealing_due(&self, journal: &Journal<'_>) -> bool {
        self.clocks().is_ok_and(|moment| journal.unsealed(moment.wall, Due::InTime).is_ok_and(|last| last.is_some()))
    }

    /// Has it signed by another process, and does not wait: what fails there is done by a later one, and a verification tells
    /// what no signature covers. One such process is enough for whatever this one does.
    pub fn seal_apart(&self) {
        start_once(&self.sealing);
    }

    /// The same as soon as a record makes it due, by whatever `journal` it is appended.
    pub(super) fn sealed<'a>(&self, journal: Journal<'a>) -> Journal<'a> {
        let sealing = Rc::clone(&self.sealing);
        journal.with_sealer(Box::new(move || start_once(&sealing)))
    }

    /// The same where it is due.
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
