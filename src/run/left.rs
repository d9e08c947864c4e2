//! Processes that a finished command, or a closed session, has left running: recorded, listed, and watched until none is left.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use super::removal::{Looks, RemovalWatch};
use super::watched::{Supervised, Watched};
use crate::audit::Journal;
use crate::host::{Host, HostError};
use crate::session::{EndReason, Watch, outcome::ended_by};
use jit_core::escape::Word;
use jit_core::evidence::record::{LeftEnded, LeftProcess, LeftRunning};
use jit_core::grant::GrantTerms;
use jit_core::names::RunId;
use jit_core::policy::{Leftovers, OnExpiry, Role};
use sys::process::Pid;

/// The run that left the processes, and the power under which they run.
pub(crate) struct Left<'a> {
    /// The id of the run.
    pub(crate) run: &'a RunId,
    /// The uid of its user.
    pub(crate) uid: u32,
    /// The name of its user.
    pub(crate) user: &'a Word,
    /// The grant under which it began, followed by its extensions.
    pub(crate) grants: &'a [GrantTerms],
    /// The role through which it ran.
    pub(crate) role: &'a Role,
    /// What kind of run it was.
    pub(crate) what: Supervised,
}

impl Left<'_> {
    fn watched(&self) -> Watched {
        // No user waits for them to be thawed, so they are not frozen.
        let on_expiry = match self.role.leftovers {
            Leftovers::End => OnExpiry::Terminate,
            Leftovers::Keep => OnExpiry::Finish,
        };
        Watched {
            grants: self.grants.to_vec(),
            role: Role { on_expiry, ..self.role.clone() },
            uid: self.uid,
            user: self.user.clone(),
            run: self.run.clone(),
            what: self.what,
            unsent: None,
        }
    }

    /// Records `members` as left running, calls `outwatch`, which watches them until none is left, and records how they ended.
    pub(crate) fn outlast(
        &self,
        members: &[Pid],
        host: &Host,
        journal: &Journal<'_>,
        looks: &dyn Looks,
        outwatch: &dyn Fn(&mut dyn Watch) -> Option<EndReason>,
    ) -> Result<(), HostError> {
        let end_it = || {
            let mut watch = RemovalWatch::over(self.watched(), host, journal, looks);
            watch.grant().forsake();
            let _ = outwatch(&mut watch);
        };
        // A database that was restored from a backup has no record of the run, so they could neither be listed nor ended later.
        let Some(start) = journal.start_of(self.run.as_str())? else {
            end_it();
            return Ok(());
        };
        let grant = self.grants.first().map(|terms| terms.id.clone());
        let own = host.supervisor()?;
        let left = LeftRunning {
            run: self.run.clone(),
            start,
            uid: self.uid,
            grant: grant.clone(),
            processes: members.iter().take(LeftRunning::LISTED).map(|pid| process(*pid)).collect(),
            count: u64::try_from(members.len()).unwrap_or(u64::MAX),
        };
        let recorded = journal.left_running(&host.clocks()?, left, own);
        let written = recorded.inspect_err(|_| end_it())?; // as above
        journal.mirror_promptly(&[written]); // no other process ends them

        let mut watch = RemovalWatch::over(self.watched(), host, journal, looks);
        let ended_by = ended_by(outwatch(&mut watch));
        let ended = LeftEnded { run: self.run.clone(), start, uid: self.uid, grant, ended_by };
        if let Some(written) = journal.left_ended(&host.clocks()?, ended)? {
            let _ = journal.mirror(&[written]); // the journal has it; a failing sink changes nothing
        }
        Ok(())
    }
}

fn process(pid: Pid) -> LeftProcess {
    let name = sys::procfs::name_of(pid).unwrap_or_default();
    LeftProcess { pid: pid.raw(), name: Word::from(OsStr::from_bytes(name.trim_ascii_end())) }
}
