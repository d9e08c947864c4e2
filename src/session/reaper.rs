//! The duties of the process that started the command, besides its others: it sees the command stop and end, reaps its orphans,
//! ends all of them when the supervisor was killed, and stays for those that are left where only their descent shows which run they
//! belong to.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use super::launch::read_report;
use super::message::{Report, send_report};
use super::outcome::CommandEnd;
use sys::cgroup::{Cgroup, Killer};
use sys::process::{self, Children, Pid, Usage, WaitEvent, Waiting, wait_any};
use sys::procfs::StatusFile;
use sys::sandbox::let_go;
use sys::signals::{SIGCONT, SIGHUP, SIGKILL, SIGTERM};

/// The interval between two checks of processes that are being ended.
const ROUND: Duration = Duration::from_millis(20);

/// The number of SIGKILL rounds.
const KILL_ROUNDS: u32 = 100;

/// The interval between two checks whether the supervisor lives. A user can keep one that was killed from ending, and its end of
/// the socket from being closed.
pub(super) const LOOK: Duration = Duration::from_secs(1);

/// The supervisor, which this process outlives at most by [`LOOK`].
pub(super) struct WatchedParent {
    status: Option<StatusFile>,
    looked: Instant,
}

impl WatchedParent {
    /// Opens the state of the parent of this process.
    pub(super) fn open() -> Self {
        Self { status: Pid::parent().and_then(|parent| StatusFile::open(parent).ok()), looked: Instant::now() }
    }

    /// Whether it was found dead.
    pub(super) fn is_dead(&mut self) -> bool {
        if self.looked.elapsed() < LOOK {
            return false;
        }
        self.looked = Instant::now();
        self.status.as_ref().is_some_and(|status| !status.lives())
    }

    pub(super) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.status.as_ref().map(AsFd::as_fd)
    }
}

/// A command that this process started, and what it takes to end its descendants, opened before the process enters its sandbox.
pub(super) struct Reaper {
    command: Pid,
    is_buried: bool,
    stops: Stops,
    group: Option<Killer>,
    children: Option<Children>,
    /// Whether there is no control group.
    stays: bool,
}

impl Reaper {
    /// Creates the reaper of `command`, which was started in `group`. This process is a subreaper.
    pub(super) fn of(command: Pid, group: Option<&Cgroup>) -> Self {
        // Without a control group there are the orphans, which this process adopts. Where the kernel does not list them, there is
        // the command's own process group, as long as the command is not reaped.
        Self {
            command,
            is_buried: false,
            stops: Stops::default(),
            group: group.and_then(|group| group.killer().ok()),
            children: Children::open().ok(),
            stays: group.is_none(),
        }
    }

    /// Returns the command until it is reaped; afterwards its pid and its process group id may be reused.
    pub(super) fn command(&self) -> Option<Pid> {
        (!self.is_buried).then_some(self.command)
    }

    /// Sends the command a signal for a process that had seen this many stops of it: SIGCONT undoes no later stop.
    pub(super) fn forward(&self, signal: i32, stops: u32) {
        if let Some(command) = self.command()
            && (signal != SIGCONT || stops == self.stops.count)
        {
            self.stops.send(command, signal);
        }
    }

    pub(super) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let group = self.group.as_ref().map(AsFd::as_fd);
        group.into_iter().chain(self.children.as_ref().map(AsFd::as_fd))
    }

    /// Reports to the supervisor that the command has stopped or ended. `failure` yields why it could not be executed.
    pub(super) fn look(&mut self, failure: Option<&OwnedFd>, supervisor: &OwnedFd) -> io::Result<()> {
        while let Ok(Some((pid, event, usage))) = self.next_change(Waiting::ChangeNow) {
            let report = match event {
                _ if pid != self.command => continue,
                WaitEvent::Exited(_) | WaitEvent::Signaled { .. } => match failure.and_then(read_report) {
                    Some(error) => Report::Failed(error),
                    None => Report::Ended(CommandEnd { event, usage }),
                },
                WaitEvent::Stopped(signal) => Report::Stopped(signal),
                WaitEvent::Continued => continue,
            };
            send_report(supervisor, &report)?;
        }
        Ok(())
    }

    /// Ends the processes; those that are left after `grace` are killed. Once a run has lasted, its enforcer does the same.
    pub(super) fn end(&mut self, grace: Duration) {
        for signal in [SIGHUP, SIGTERM, SIGCONT] {
            self.signal(signal);
        }
        let deadline = Instant::now() + grace;
        while self.reap() && Instant::now() < deadline {
            std::thread::sleep(ROUND);
        }
        for _ in 0..KILL_ROUNDS {
            if !self.reap() {
                return;
            }
            let _ = self.group.as_ref().map(Killer::kill); // the others are signalled one by one
            self.signal(SIGKILL);
            std::thread::sleep(ROUND);
        }
    }

    /// Called when the supervisor needs this process no more. Where the run's processes are found as its descendants, it stays
    /// until the last has ended, and holds no file meanwhile.
    pub(super) fn outlast(&mut self) {
        if self.stays && self.reap() {
            let_go();
            while wait_any(Waiting::ForEnd).is_ok() {}
        }
    }

    /// Returns the next change of a child's state; reaps a child that has ended.
    fn next_change(&mut self, waiting: Waiting) -> io::Result<Option<(Pid, WaitEvent, Usage)>> {
        let change = wait_any(waiting)?;
        if let Some((_, event, _)) = change.filter(|(pid, ..)| *pid == self.command) {
            self.stops = self.stops.and(event);
            self.is_buried = matches!(event, WaitEvent::Exited(_) | WaitEvent::Signaled { .. });
        }
        Ok(change)
    }

    /// Reaps the children that have ended. Returns whether there are others.
    fn reap(&mut self) -> bool {
        loop {
            match self.next_change(Waiting::EndNow) {
                Ok(Some(_)) => {}
                Ok(None) => return true,
                Err(_) => return false,
            }
        }
    }

    fn signal(&self, signal: i32) {
        // A process that has ended by now needs no signal.
        let _ = self.command().map(|command| process::kill_group(command, signal));
        for child in self.children.as_ref().map(Children::now).unwrap_or_default() {
            let _ = process::kill(child, signal);
        }
    }
}

/// The stops of a child of ours, as far as they have been seen.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Stops {
    pub(super) count: u32,
    /// Whether it is still stopped.
    lasts: bool,
}

impl Stops {
    /// Returns the stops after this event.
    pub(super) fn and(self, event: WaitEvent) -> Self {
        let lasts = matches!(event, WaitEvent::Stopped(_));
        Self { count: self.count.wrapping_add(u32::from(lasts)), lasts }
    }

    /// Sends the child a signal. SIGCONT is sent only for a stop that has been seen and lasts: a child that continues may be about
    /// to stop again, and SIGCONT would undo that stop even before it happens.
    pub(super) fn send(self, child: Pid, signal: i32) {
        if signal != SIGCONT || (self.lasts && !process::has_changed(child)) {
            let _ = process::kill(child, signal); // it may have ended
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt;
    use std::process::{Child, Command};

    use super::*;
    use sys::procfs::is_awake;
    use sys::signals::SIGSTOP;

    /// Starts a command that leads a process group. Its reaper watches no other process.
    fn sleeper() -> (Child, Reaper) {
        let child = Command::new("sleep").arg("600").process_group(0).spawn().unwrap();
        let command = Pid::new(child.id().cast_signed()).unwrap();
        (child, Reaper { children: None, ..Reaper::of(command, None) })
    }

    #[test]
    fn a_reaped_commands_process_group_is_not_signalled() {
        let (mut another, mut reaper) = sleeper();
        reaper.is_buried = true;
        for signal in [SIGTERM, SIGKILL] {
            reaper.signal(signal);
        }
        reaper.forward(SIGKILL, 0);
        std::thread::sleep(ROUND);
        assert_eq!(another.try_wait().unwrap(), None);
        reaper.is_buried = false;
        reaper.signal(SIGTERM);
        another.wait().unwrap();
    }

    #[test]
    fn sigcont_does_not_undo_a_stop_that_its_sender_has_not_seen() {
        let (mut child, mut reaper) = sleeper();
        let command = reaper.command;
        let changes = |signal| {
            process::kill(command, signal).unwrap();
            while !process::has_changed(command) {
                std::thread::yield_now();
            }
        };
        let goes_on = || {
            std::thread::sleep(ROUND);
            is_awake(command)
        };
        changes(SIGSTOP);
        reaper.forward(SIGCONT, 0);
        assert!(!goes_on(), "the reaper has not seen it");
        let sees = |reaper: &mut Reaper| {
            reaper.stops = reaper.stops.and(process::wait(command, Waiting::ForChange).unwrap().unwrap().0);
        };
        sees(&mut reaper);
        reaper.forward(SIGCONT, 0);
        assert!(!goes_on(), "the supervisor was not told of it yet");
        reaper.forward(SIGCONT, 1);
        assert!(goes_on());
        changes(SIGSTOP);
        reaper.forward(SIGCONT, 1);
        assert!(!goes_on(), "it was stopped anew");
        sees(&mut reaper);
        changes(SIGCONT);
        sees(&mut reaper);
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
