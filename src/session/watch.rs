//! The interface by which a session asks whether a running command may continue. The session does not know the grant database.

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use sys::process::{Earlier, Pid};
use sys::programs::KnownFile;

/// Why a running command must end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndReason {
    /// The grant has expired.
    Expiry,
    /// The grant was revoked.
    Revocation,
    /// Its holder released the grant.
    Release,
    /// The command reached the time limit of the role or of -T.
    TimeLimit,
    /// The policy requires a recording, and it cannot be written any more.
    Unrecorded,
    /// A user with the right to do so ended this session.
    Kill,
}

/// What the grant allows a running command now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It may run.
    Run,
    /// Show this message to the person at the terminal, one line without prefix and full stop, and ask again at once.
    Say(String),
    /// The command may not run now, but may again later. Should the caller not wait for that, it ends with this reason.
    Freeze(EndReason),
    /// It must end.
    End(EndReason),
}

/// What the enforcer has to know of a running command.
#[derive(Debug, Clone)]
pub struct EnforcedRun {
    /// The process from which the run's processes descend, as may the enforcer.
    pub parent: Pid,
    /// The process that was started to execute the command.
    pub command: Option<Pid>,
    /// A descendant of `parent` that does not belong to the run: it relays the run's bytes.
    pub relay_process: Option<Pid>,
    /// Descendants of `parent` that the caller had before.
    pub earlier: Earlier,
    /// The control group of the run.
    pub group: Option<PathBuf>,
    /// The time between SIGTERM and SIGKILL.
    pub grace: Duration,
    /// How much longer the command may run, where there is a time limit.
    pub limit: Option<Duration>,
    /// The files of our programs that were seen when the command began. Its processes may run them after an upgrade.
    pub programs: Vec<KnownFile>,
    /// The watchdog of the run, and the socket on which the enforcer reports to it; `None` where none could be started.
    pub watchdog: Option<(Pid, Rc<OwnedFd>)>,
}

/// Watches the grant of a running command; implemented outside the session.
pub trait Watch {
    /// Called once, as soon as the command has been started: the moment for work that can wait until then. Looks up no path, because
    /// nobody else may end the run yet.
    fn begun(&mut self) {}

    /// Called when the run has a watchdog: the moment for work that may wait for a look-up.
    fn watched(&mut self) {}

    /// Records that no watchdog could be started, so that nobody ends the run if this process and the enforcer are kept from it.
    fn unwatched(&mut self, _why: &io::Error) {}

    /// Hands the run over to a process that ends it in time, whatever happens to this one. Returns `None` when there is none.
    fn hand_over(&mut self, _enforced_run: &EnforcedRun) -> Option<Pid> {
        None
    }

    /// Records that the process to which the run was handed over is gone, so that only this one ends the run.
    fn taken_back(&mut self) {}

    /// Records that a frozen command could be woken by others than root: where the grant's end would freeze it, it ends instead.
    fn cannot_freeze(&mut self) {}

    /// Has the next verdict query the grant again, whether the bell was rung or not.
    fn look_again(&mut self) {}

    /// Returns what the command may do now. Must be cheap: it is called several times a second.
    fn verdict(&mut self) -> Verdict;

    /// Records that the session is not recorded, or not any more; the administrator should know.
    fn unrecorded(&mut self, _why: &str) {}

    /// Records that processes do not show whether they belong to the session, and do not count as its own.
    fn silent(&mut self, _count: usize) {}

    /// Returns how long until the next verdict is due; `None` when nothing can end the command.
    fn patience(&self) -> Option<Duration>;
}
