//! What whoever begot the command does beside all else: it sees the command stop and end, buries its orphans, ends all of them
//! where the supervisor was killed, and stays for those that are left where nothing but their descent tells whose they are.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use super::launch::read_report;
use super::message::{Report, send_report};
use super::outcome::CommandEnd;
use sys::cgroup::{Cgroup, Killer};
use sys::process::{self, Children, Pid, WaitEvent, Waiting, bury_the_dead, wait_any};
use sys::signals::{SIGCONT, SIGHUP, SIGKILL, SIGTERM};
use sys::wall::let_go;

/// Between two looks at processes that are about to end.
const ROUND: Duration = Duration::from_millis(20);

/// How many rounds of SIGKILL.
const KILL_ROUNDS: u32 = 100;

/// A command that this process begot, and what it takes to end all that comes of it, opened before the wall stands.
pub(super) struct Reaper {
    command: Pid,
    has_ended: bool,
    group: Option<Killer>,
    children: Option<Children>,
    /// There is no control group.
    stays: bool,
}

impl Reaper {
    /// Of `command`, which was born in `group`. This process is a subreaper.
    pub(super) fn of(command: Pid, group: Option<&Cgroup>) -> Self {
        // Without a control group there are the orphans, which we adopt, and without a list of them the command's own group.
        Self {
            command,
            has_ended: false,
            group: group.and_then(|group| group.killer().ok()),
            children: Children::open().ok(),
            stays: group.is_none(),
        }
    }

    /// The command, until it has ended.
    pub(super) fn command(&self) -> Option<Pid> {
        (!self.has_ended).then_some(self.command)
    }

    pub(super) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let group = self.group.as_ref().map(AsFd::as_fd);
        group.into_iter().chain(self.children.as_ref().map(AsFd::as_fd))
    }

    /// Tells the supervisor that the command has stopped or ended. `failure` says why it could not be executed.
    pub(super) fn look(&mut self, failure: Option<&OwnedFd>, supervisor: &OwnedFd) -> io::Result<()> {
        while let Ok(Some((pid, event, usage))) = wait_any(Waiting::ChangeNow) {
            let report = match event {
                _ if pid != self.command => continue,
                WaitEvent::Exited(_) | WaitEvent::Signaled { .. } => {
                    self.has_ended = true;
                    match failure.and_then(read_report) {
                        Some(error) => Report::Failed(error),
                        None => Report::Ended(CommandEnd { event, usage }),
                    }
                }
                WaitEvent::Stopped(signal) => Report::Stopped(signal),
                WaitEvent::Continued => continue,
            };
            send_report(supervisor, &report)?;
        }
        Ok(())
    }

    /// Ends them, after `grace` with no mercy. Once a run has lasted, its enforcer does the same.
    pub(super) fn end(&self, grace: Duration) {
        for signal in [SIGHUP, SIGTERM, SIGCONT] {
            self.signal(signal);
        }
        let deadline = Instant::now() + grace;
        while bury_the_dead() && Instant::now() < deadline {
            std::thread::sleep(ROUND);
        }
        for _ in 0..KILL_ROUNDS {
            if !bury_the_dead() {
                return;
            }
            let _ = self.group.as_ref().map(Killer::kill); // the others are signalled one by one
            self.signal(SIGKILL);
            std::thread::sleep(ROUND);
        }
    }

    /// The supervisor wants no more of this process. Where it is the one by whom they are found, it stays until the last has ended,
    /// and holds nothing meanwhile.
    pub(super) fn outlast(&self) {
        if self.stays && bury_the_dead() {
            let_go();
            while wait_any(Waiting::ForEnd).is_ok() {}
        }
    }

    fn signal(&self, signal: i32) {
        // Who has ended by now needs no signal.
        let _ = process::kill_group(self.command, signal);
        for child in self.children.as_ref().map(Children::now).unwrap_or_default() {
            let _ = process::kill(child, signal);
        }
    }
}
