//! The process that starts a command which has neither a terminal nor a control group of its own. Without the group, the processes
//! that the command leaves behind are found only as descendants, and the supervisor ends with its command: so a process between
//! them adopts the orphans and ends with the last of them.

use std::cell::Cell;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use super::ending::WOKEN_AFTER;
use super::launch::{Launch, Started, read_report};
use super::launch_error::LaunchError;
use super::message::{Order, Report, receive_order, receive_report, send_order, send_report};
use super::reaper::{LOOK, Reaper, Stops, WatchedParent};
use super::streams::CommandStreams;
use sys::exec::ExecError;
use sys::poll::{Blocking, PollEntry, poll, set_blocking, socket_pair};
use sys::process::{self, Pid, Usage, WaitEvent, Waiting, exit_now, fork, wait};
use sys::sandbox::{Capability, Files, Post, close_but, confine};
use sys::sanitize::Inherited;
use sys::signals::{SIGCHLD, SIGCONT, SIGHUP, SIGTERM, SignalQueue};
use sys::wake_timer::WakeTimer;

/// A command without a terminal of its own: a child of ours, or of its subreaper.
pub(super) struct Child {
    command: Pid,
    subreaper: Option<(Pid, OwnedFd)>,
    /// Yields why the command was not executed, when it has ended; `None` when it was executed, or the subreaper has this.
    failure: Option<OwnedFd>,
    /// The stops that [`Self::change`] has returned.
    stops: Cell<Stops>,
}

/// What has happened to the command.
pub(super) enum Change {
    State(WaitEvent, Usage),
    /// It could not be executed, and its process has ended.
    NotExecuted(ExecError),
}

impl Child {
    /// Starts the command, with a subreaper where it has no control group. When the supervisor is killed, the processes that are
    /// left have `grace` to end.
    pub(super) fn start(
        launch: &Launch,
        inherited: &Inherited,
        ends: &CommandStreams,
        grace: Duration,
    ) -> Result<Self, LaunchError> {
        if launch.process_tree().group().is_some() {
            let Started { command, failure } = launch.start(inherited, ends).map_err(|error| launch.failed(error))?;
            return Ok(Self { command, subreaper: None, failure, stops: Cell::default() });
        }
        launch.sync().map_err(|error| launch.failed(error))?;
        let (ours, theirs) = socket_pair().map_err(|error| LaunchError::System("make a socket pair", error))?;
        let mut ours = Some(ours);
        let child = fork(|| {
            ours = None; // while the subreaper held this end, it could not notice that the supervisor closes it
            exit_now(i32::from(keep(launch, inherited, ends, &theirs, grace).is_err()))
        });
        let subreaper = child.map_err(|error| LaunchError::Exec(ExecError::unborn(&error)))?;
        drop(theirs);
        let lost = |error| LaunchError::Lost("receive the state of the command", error);
        let line = ours.ok_or_else(|| lost(io::ErrorKind::NotConnected.into()))?;
        match receive_report(&line) {
            Ok(Some(Report::Begun(command))) => {
                set_blocking(line.as_fd(), Blocking::No).map_err(lost)?;
                Ok(Self { command, subreaper: Some((subreaper, line)), failure: None, stops: Cell::default() })
            }
            Ok(Some(Report::Failed(error))) => Err(launch.failed(error)),
            Ok(_) => Err(lost(killed())),
            Err(error) => Err(lost(error)),
        }
    }

    /// Returns the pid of the command.
    pub(super) fn pid(&self) -> Pid {
        self.command
    }

    /// Whether it may not have been executed yet.
    pub(super) fn may_be_unborn(&self) -> bool {
        self.failure.is_some() || self.subreaper.is_some()
    }

    /// Returns the process between the command and us.
    pub(super) fn subreaper(&self) -> Option<Pid> {
        self.subreaper.as_ref().map(|(pid, _)| *pid)
    }

    /// Readable when [`Self::change`] has something to return; without a subreaper SIGCHLD reports that.
    pub(super) fn line(&self) -> Option<BorrowedFd<'_>> {
        self.subreaper.as_ref().map(|(_, line)| line.as_fd())
    }

    /// Returns the next change of the command's state, unless it was continued.
    pub(super) fn change(&self) -> io::Result<Option<Change>> {
        let change = self.next_change()?;
        if let Some(Change::State(event, _)) = &change {
            self.stops.set(self.stops.get().and(*event));
        }
        Ok(change)
    }

    fn next_change(&self) -> io::Result<Option<Change>> {
        let Some((_, line)) = &self.subreaper else { return self.next_own_change() };
        match receive_report(line) {
            Ok(Some(Report::Stopped(signal))) => Ok(Some(Change::State(WaitEvent::Stopped(signal), Usage::default()))),
            Ok(Some(Report::Ended(end))) => Ok(Some(Change::State(end.event, end.usage))),
            Ok(Some(Report::Failed(error))) => Ok(Some(Change::NotExecuted(error))),
            Ok(Some(_)) => Ok(None),
            Ok(None) => Err(killed()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn next_own_change(&self) -> io::Result<Option<Change>> {
        let Some((event, usage)) = wait(self.command, Waiting::ChangeNow)? else { return Ok(None) };
        let has_ended = matches!(event, WaitEvent::Exited(_) | WaitEvent::Signaled { .. });
        let error = self.failure.as_ref().filter(|_| has_ended).and_then(read_report);
        Ok(Some(error.map_or(Change::State(event, usage), Change::NotExecuted)))
    }

    /// Sends the command a signal. One that has just ended needs none. SIGCONT undoes the stop that [`Self::change`] returned last,
    /// and no later one.
    pub(super) fn signal(&self, signal: i32) {
        match &self.subreaper {
            Some((_, line)) => drop(send_order(line, &Order::Signal(signal, self.stops.get().count))),
            None => self.stops.get().send(self.command, signal),
        }
    }
}

fn killed() -> io::Error {
    io::Error::other("the parent process of the command was killed")
}

/// Runs the subreaper until it ends.
fn keep(
    launch: &Launch,
    inherited: &Inherited,
    ends: &CommandStreams,
    supervisor: &OwnedFd,
    grace: Duration,
) -> io::Result<()> {
    process::become_subreaper()?;
    let mut parent = WatchedParent::open();
    let signals = SignalQueue::open(&[SIGCHLD, SIGHUP, SIGTERM, SIGCONT])?;
    // The supervisor waits for the report that the command has begun.
    let wake_timer = WakeTimer::start(WOKEN_AFTER)?;
    let Started { command, failure } = match launch.start(inherited, ends) {
        Ok(started) => started,
        Err(error) => return send_report(supervisor, &Report::Failed(error)),
    };
    let mut reaper = Reaper::of(command, None);
    let kept = [supervisor.as_fd(), signals.as_fd()];
    let kept = kept.into_iter().chain(parent.descriptor());
    let kept: Vec<_> = kept.chain(reaper.descriptors()).chain(failure.as_ref().map(AsFd::as_fd)).collect();
    // The command belongs to the caller's session and process group; its subreaper to neither.
    let apart = process::new_session().and_then(|_| close_but(&kept));
    // A kernel that lacks a part of the sandbox enforces the rest; `jitctl doctor` reports it.
    let _ = confine(Post::RelayProcess, &[Capability::Kill], Files::Below(&[]));
    let attended = apart.and_then(|()| send_report(supervisor, &Report::Begun(command)));
    drop(wake_timer);
    match attended.and_then(|()| attend(&mut reaper, failure.as_ref(), &signals, supervisor, &mut parent)) {
        Ok(()) if reaper.command().is_none() => reaper.outlast(),
        Ok(()) | Err(_) => reaper.end(grace),
    }
    Ok(())
}

/// Watches the command until the supervisor has closed the socket, or is dead.
fn attend(
    reaper: &mut Reaper,
    failure: Option<&OwnedFd>,
    signals: &SignalQueue,
    supervisor: &OwnedFd,
    parent: &mut WatchedParent,
) -> io::Result<()> {
    loop {
        let mut entries = [PollEntry::reading(signals.as_fd()), PollEntry::reading(supervisor.as_fd())];
        poll(&mut entries, Some(LOOK))?;
        let [_, ordered] = entries.map(|entry| entry.ready_read || entry.hangup);
        while signals.next_event()?.is_some() {}
        reaper.look(failure, supervisor)?;
        if !ordered {
            if parent.is_dead() {
                return Ok(());
            }
            continue;
        }
        match receive_order(supervisor)? {
            Some(Order::Signal(signal, stops)) => reaper.forward(signal, stops),
            Some(_) => {}
            None => return Ok(()),
        }
    }
}
