//! Whether a running command may go on. The session asks; it does not know the grant database.

use std::path::PathBuf;
use std::time::Duration;

use sys::process::Pid;

/// Why a running command must end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The grant's time is over.
    Expiry,
    /// Somebody took the grant back.
    Revocation,
    /// Its holder gave the grant back.
    Release,
    /// It ran as long as the role, or -T, lets it.
    TimeLimit,
    /// The policy demands a recording, and it cannot be written any more.
    Unrecorded,
    /// Somebody who may ended this very session.
    Kill,
}

/// What the grant allows a running command now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It may run.
    Run,
    /// The person at its terminal should know something, one line without prefix and full stop; ask again at once.
    Say(String),
    /// It may not run, but may again later; when the caller does not want to wait for that, this is how it ends.
    Freeze(Ending),
    /// It must end.
    End(Ending),
}

/// What the enforcer has to know of a running command.
#[derive(Debug, Clone)]
pub struct EnforcedRun {
    /// The process whose descendants they are, beside the enforcer.
    pub parent: Pid,
    /// One of these descendants that is none of them: it carries their bytes.
    pub relay_process: Option<Pid>,
    /// Their control group.
    pub group: Option<PathBuf>,
    /// The time between SIGTERM and SIGKILL.
    pub grace: Duration,
    /// For how much longer the command may run, where a time limit says so.
    pub limit: Option<Duration>,
}

/// The eye that `run.rs` keeps on the grant of a running command.
pub trait Watch {
    /// Called once, as soon as the command has been started: the moment for work that no one waits for.
    fn begun(&mut self) {}

    /// Gives the run to a process that ends it in time whatever becomes of this one; `None` where there is none.
    fn hand_over(&mut self, _enforced_run: &EnforcedRun) -> Option<Pid> {
        None
    }

    /// The process that the run was given to is gone: nobody but this one sees to it any more.
    fn taken_back(&mut self) {}

    /// Nothing can be frozen here so that nobody but root wakes it: where it would be frozen at the end of the grant, it ends.
    fn cannot_freeze(&mut self) {}

    /// The next verdict is asked of the grant itself, whatever was heard of it.
    fn look_again(&mut self) {}

    /// What the command may do now. Must be cheap: it is asked several times a second.
    fn verdict(&mut self) -> Verdict;

    /// The session cannot be recorded, or not any more; whoever looks after the host should know.
    fn unrecorded(&mut self, _why: &str) {}

    /// How long until it is worth asking again; `None` when nothing can end the command.
    fn patience(&self) -> Option<Duration>;
}
