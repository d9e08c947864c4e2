//! The process between the supervisor and the command, leader of the command's session: it gives the command its terminal, sees it
//! stop and end, adopts its orphans, and is the [relay process](super::relay_process) of both terminals, which it sets too. Without it ^Z could not
//! work: a stop is ignored in a process group whose parent is in another session (POSIX "orphaned process group").
//!
//! As soon as it has started the command it enters its sandbox. The supervisor and the enforcer end, freeze and thaw; the monitor
//! has only the command's own process group, and what it can still do when the supervisor was killed.

use std::convert::Infallible;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use super::launch::Launch;
use super::message::{JobPosition, Order, Report, receive_order, send_report};
use super::reaper::{LOOK, Reaper, WatchedParent};
use super::relay_process::{Course, RelayProcess};
use super::streams::{CommandStreams, end_of};
use sys::exec::ExecError;
use sys::poll::pipe;
use sys::process::{self, Pid, exit_now, fork_into};
use sys::sanitize::Inherited;
use sys::signals::{SIGCHLD, SIGCONT, SIGHUP, SIGTERM, SignalQueue};

/// The state of the monitor.
pub(super) struct Monitor<'a, 't> {
    /// The command.
    pub(super) launch: &'a Launch,
    /// What this process got from the caller.
    pub(super) inherited: &'a Inherited,
    /// The follower side of the command's terminal.
    pub(super) follower: OwnedFd,
    /// Which of fds 0 to 2 become the terminal; the others stay the caller's, unless they are copied.
    pub(super) on_terminal: [bool; 3],
    /// Where output and error go instead, for fds 1 and 2.
    pub(super) ends: CommandStreams,
    /// Relays the terminals.
    pub(super) relay_process: RelayProcess<'a, 't>,
    /// Whether the command is in the foreground from the start.
    pub(super) place: JobPosition,
    /// How long the processes may take to end when the supervisor was killed.
    pub(super) grace: Duration,
}

impl Monitor<'_, '_> {
    /// Runs the monitor process until it ends.
    pub(super) fn run(self) -> Infallible {
        // The supervisor notices the closed socket; no process may run without its supervision.
        exit_now(i32::from(self.monitor().is_err()))
    }

    fn monitor(mut self) -> io::Result<()> {
        process::new_session()?;
        process::set_controlling_terminal(self.follower.as_fd())?;
        process::become_subreaper()?;
        // When the supervisor is killed, the kernel may hang up the terminal and with it this process, which has to end the
        // command. SIGTERM is sent to processes that talk to a user, and the monitor is not one.
        let signals = SignalQueue::open(&[SIGCHLD, SIGHUP, SIGTERM])?;
        let mut supervisor = WatchedParent::open();
        let (failure, told) = pipe()?;
        // Before the command exists: a caller's terminal that does not let itself be set then delays nothing but its start.
        if self.place == JobPosition::Foreground {
            self.relay_process.attach(self.place);
        }
        let own = Pid::own();
        let command = match fork_into(self.launch.start_group(), || self.become_command(own, &told)) {
            Ok(command) => command,
            Err(error) => {
                return send_report(self.relay_process.supervisor, &Report::Failed(ExecError::unborn(&error)));
            }
        };
        drop(told);
        // Parent and child both do this: whichever is first, the group exists when it is needed. After exec the kernel refuses it
        // to the parent, and then the child has done it.
        let _ = process::set_process_group(command, command);
        self.ends = [None, None];
        let mut reaper = Reaper::of(command, self.launch.process_tree().group());
        let mut others = vec![self.follower.as_fd(), signals.as_fd(), failure.as_fd()];
        others.extend(reaper.descriptors().chain(supervisor.descriptor()));
        self.relay_process.confine(&others);
        let mut attended = Attended { follower: &self.follower, failure: &failure, reaper: &mut reaper };
        // Whatever keeps this process from going on, no process may run without supervision.
        match attended.attend(&mut self.relay_process, &signals, &mut supervisor) {
            Ok(Course::Over) => {
                reaper.outlast();
                exit_now(0)
            }
            Ok(Course::Goes) | Err(_) => reaper.end(self.grace),
        }
        exit_now(1)
    }

    fn become_command(&self, monitor: Pid, told: &OwnedFd) -> Infallible {
        let own = Pid::own();
        let ready = process::set_process_group(own, own).and_then(|()| match self.place {
            JobPosition::Foreground => process::set_foreground(self.follower.as_fd(), own),
            JobPosition::Background => Ok(()),
        });
        // Reported by the command itself, which may stop the monitor as soon as it runs. The supervisor kills it when it must end
        // before it has executed anything.
        if ready.and_then(|()| send_report(self.relay_process.supervisor, &Report::Begun(own))).is_err() {
            exit_now(1);
        }
        let terminal = |wanted: bool| wanted.then(|| self.follower.as_fd());
        // With -b no user can type: a command that reads its terminal would be stopped for ever.
        let nothing = if self.launch.is_detached() { File::open("/dev/null").ok() } else { None };
        let [input, output, error] = self.on_terminal;
        let [tapped_output, tapped_error] = &self.ends;
        let typed = terminal(input).map(|own| nothing.as_ref().map_or(own, AsFd::as_fd));
        let standard: [Option<BorrowedFd<'_>>; 3] =
            [typed, terminal(output).or(end_of(tapped_output)), terminal(error).or(end_of(tapped_error))];
        self.launch.exec_or_report(self.inherited, monitor, standard, told)
    }
}

/// A command that was started, and what is needed to watch it.
struct Attended<'a> {
    follower: &'a OwnedFd,
    /// Yields why it could not be executed.
    failure: &'a OwnedFd,
    reaper: &'a mut Reaper,
}

impl Attended<'_> {
    /// Relays, obeys and reports until the supervisor needs it no more; [`Course::Goes`] when the supervisor was killed first.
    fn attend(
        &mut self,
        relay_process: &mut RelayProcess<'_, '_>,
        signals: &SignalQueue,
        parent: &mut WatchedParent,
    ) -> io::Result<Course> {
        let supervisor = relay_process.supervisor;
        loop {
            let [_, ordered] = relay_process.round([signals.as_fd(), supervisor.as_fd()], Some(LOOK))?;
            while signals.next_event()?.is_some() {}
            self.reaper.look(Some(self.failure), supervisor)?;
            if !ordered {
                if parent.is_dead() {
                    return Ok(Course::Goes);
                }
                continue;
            }
            match (receive_order(supervisor)?, self.reaper.command()) {
                (Some(Order::Signal(signal, _)), Some(command)) => drop(process::kill_group(command, signal)),
                (Some(Order::Continue(place)), Some(command)) => self.go_on(command, place),
                (Some(order), _) => {
                    if relay_process.obey(order)? == Course::Over {
                        return Ok(Course::Over);
                    }
                }
                (None, _) => return Ok(Course::Goes),
            }
        }
    }

    fn go_on(&self, command: Pid, place: JobPosition) {
        let group = if place == JobPosition::Foreground { command } else { process::own_process_group() };
        // A command that has just ended needs neither; its end is seen in the next round.
        let _ = process::set_foreground(self.follower.as_fd(), group);
        let _ = process::kill_group(command, SIGCONT);
    }
}
