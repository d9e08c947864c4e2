//! What a finished command, or a closed session, has left running: recorded, listed, and looked after until nobody of it is left.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::grant_watch::{Supervised, Watched};
use super::removal::{Looks, RemovalWatch};
use crate::audit::{Journal, Process};
use crate::host::{Host, HostError};
use crate::session::{Ending, Watch, outcome::ended_by};
use jit_core::escape::Word;
use jit_core::evidence::record::{LeftEnded, LeftProcess, LeftRunning};
use jit_core::grant::GrantTerms;
use jit_core::policy::{Leftovers, OnExpiry, Role};
use sys::process::{Pid, process_start};

/// Whose it is, and under what it runs.
pub(crate) struct Left<'a> {
    /// The run.
    pub(crate) run: &'a str,
    /// Whose it was.
    pub(crate) uid: u32,
    /// Their name.
    pub(crate) user: &'a Word,
    /// The grant that it began under, and each that it went on under.
    pub(crate) grants: &'a [GrantTerms],
    /// Through which role.
    pub(crate) role: &'a Role,
    /// What it was.
    pub(crate) what: Supervised,
}

impl Left<'_> {
    fn watched(&self) -> Watched {
        // There is nobody who could wait for it to be thawed.
        let on_expiry = match self.role.leftovers {
            Leftovers::End => OnExpiry::Terminate,
            Leftovers::Keep => OnExpiry::Finish,
        };
        Watched {
            grants: self.grants.to_vec(),
            role: Role { on_expiry, ..self.role.clone() },
            uid: self.uid,
            user: self.user.clone(),
            run: self.run.to_owned(),
            what: self.what,
            unsent: None,
        }
    }

    /// Records `members` as left running, and that nobody of them is left, when `outwatch` has seen to that and says why.
    pub(crate) fn outlast(
        &self,
        members: &[Pid],
        host: &Host,
        journal: &Journal<'_>,
        looks: &dyn Looks,
        outwatch: &dyn Fn(&mut dyn Watch) -> Option<Ending>,
    ) -> Result<(), HostError> {
        let end_it = || {
            let mut watch = RemovalWatch::over(self.watched(), host, journal, looks);
            watch.grant().forsake();
            let _ = outwatch(&mut watch);
        };
        // A database that was put back has no record of it, so it can neither be listed nor be ended later.
        let Some(start) = journal.start_of(self.run)? else {
            end_it();
            return Ok(());
        };
        let grant = self.grants.first().map(|terms| terms.id.clone());
        let own = Pid::own();
        let began = process_start(own).map_err(|error| HostError::System("read /proc", error))?;
        let left = LeftRunning {
            run: self.run.to_owned(),
            start,
            uid: self.uid,
            grant: grant.clone(),
            processes: members.iter().take(LeftRunning::LISTED).map(|pid| process(*pid)).collect(),
            count: u64::try_from(members.len()).unwrap_or(u64::MAX),
        };
        let recorded = journal.left_running(&host.clocks()?, left, Process { pid: own.raw(), start: began });
        let written = recorded.inspect_err(|_| end_it())?; // as above
        let _ = journal.mirror(&[written]); // the journal has it; a sink never decides

        let mut watch = RemovalWatch::over(self.watched(), host, journal, looks);
        let ended_by = ended_by(outwatch(&mut watch));
        let ended = LeftEnded { run: self.run.to_owned(), start, uid: self.uid, grant, ended_by };
        if let Some(written) = journal.left_ended(&host.clocks()?, ended)? {
            let _ = journal.mirror(&[written]); // as above
        }
        Ok(())
    }
}

fn process(pid: Pid) -> LeftProcess {
    let name = std::fs::read(Path::new("/proc").join(pid.to_string()).join("comm")).unwrap_or_default();
    LeftProcess { pid: pid.raw(), name: Word::from(OsStr::from_bytes(name.trim_ascii_end())) }
}
