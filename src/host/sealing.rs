//! Checkpoints are signed by a process that talks to no caller: whoever does has no need of the private key.

use super::{Host, HostError};
use crate::audit::{Due, Journal};
use crate::programs::start_enforcer;
use crate::session::refuge;

/// What the enforcer is told when it shall sign what is due, and no more.
pub const SEAL: &[u8] = b"seal";

impl Host {
    /// Signs the head of the journal where that is `due`, and the journal is this host's own; else an alert says why not.
    pub fn seal(&self, journal: &Journal<'_>, due: Due) -> Result<(), HostError> {
        let moment = self.clocks()?;
        let Some(last) = journal.unsealed(&moment, due)? else { return Ok(()) };
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
        self.clocks().is_ok_and(|moment| journal.unsealed(&moment, Due::InTime).is_ok_and(|last| last.is_some()))
    }

    /// Has it signed by another process, and does not wait: what fails there is done by a later one, and a verification tells
    /// what no signature covers.
    pub fn seal_apart(&self) {
        let _ = start_enforcer(SEAL, refuge().as_ref());
    }

    /// The same where it is due.
    pub fn seal_in_time(&self, journal: &Journal<'_>) {
        if self.is_sealing_due(journal) {
            self.seal_apart();
        }
    }
}
