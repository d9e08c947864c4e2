//! Checkpoints are signed by a process that talks to no caller: whoever does has no need of the private key.

use std::io::{self, Seek, Write};
use std::process::{Command, Stdio};

use super::{Host, HostError};
use crate::audit::{Due, Journal};
use crate::programs::ENFORCER;
use sys::process::spawn_apart;

/// What [`ENFORCER`] is told when it shall sign what is due, and no more.
pub const SEAL: &[u8] = b"seal";

impl Host {
    /// Signs the head of the journal where that is `due`.
    pub fn seal(&self, journal: &Journal<'_>, due: Due) -> Result<(), HostError> {
        let moment = self.now()?;
        if let Some(last) = journal.unsealed(&moment, due)? {
            let identity = self.identified(self.key()?)?;
            journal.seal(last, &moment, &identity.key, &identity.id)?;
        }
        Ok(())
    }

    /// Whether so much was recorded, or so long ago, that a checkpoint is due.
    pub fn is_sealing_due(&self, journal: &Journal<'_>) -> bool {
        self.now().is_ok_and(|moment| journal.unsealed(&moment, Due::InTime).is_ok_and(|last| last.is_some()))
    }

    /// Has it signed by another process, and does not wait: what fails there is done by a later one, and a verification tells
    /// what no signature covers.
    pub fn seal_apart(&self) {
        let _ = start(ENFORCER);
    }

    /// The same where it is due.
    pub fn seal_in_time(&self, journal: &Journal<'_>) {
        if self.is_sealing_due(journal) {
            self.seal_apart();
        }
    }
}

fn start(program: &str) -> io::Result<()> {
    let mut order = sys::sealed::memory_file("seal")?;
    order.write_all(SEAL)?;
    order.rewind()?;
    let mut command = Command::new(program);
    command.env_clear().current_dir("/").stdin(order).stdout(Stdio::null()).stderr(Stdio::null());
    spawn_apart(&mut command).map(drop)
}
