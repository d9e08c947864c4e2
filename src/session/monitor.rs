//! The process between the relay and the command, leader of the command's session: it gives the command its terminal,
//! sees it stop and end, and adopts its orphans. Without it ^Z could not work: a stop is ignored in a process group
//! whose parent is in another session (POSIX "orphaned process group").

use std::convert::Infallible;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use super::family::Family;
use super::launch::{Launch, read_report};
use super::message::{Order, Place, Report, receive_order, send_report};
use super::outcome::CommandEnd;
use super::taps::{Ends, end_of};
use sys::poll::{PollEntry, pipe, poll};
use sys::process::{self, Pid, WaitEvent, Waiting, exit_now, fork_into, wait};
use sys::sanitize::Inherited;
use sys::signals::{SIGCHLD, SIGCONT, SIGHUP, SIGTERM, SignalQueue};

/// What the monitor works with.
pub(super) struct Monitor<'a> {
    /// The command.
    pub(super) launch: &'a Launch,
    /// What the caller handed over.
    pub(super) inherited: &'a Inherited,
    /// The follower side of the command's terminal.
    pub(super) follower: OwnedFd,
    /// Which of fds 0 to 2 become the terminal; the others stay what the caller made them, unless they are tapped.
    pub(super) on_terminal: [bool; 3],
    /// Where output and error go instead, for fds 1 and 2.
    pub(super) ends: Ends,
    /// To the relay.
    pub(super) socket: OwnedFd,
    /// Whether the command owns its terminal from the start.
    pub(super) place: Place,
    /// How long leftovers of a command that was ended may take.
    pub(super) grace: Duration,
}

impl Monitor<'_> {
    /// The whole life of the monitor process.
    pub(super) fn run(self) -> Infallible {
        let status = match self.monitor() {
            Ok(()) => 0,
            Err(_) => {
                // The relay sees the closed socket; nothing may be left running without its eye on it.
                self.family().kill_all();
                1
            }
        };
        exit_now(status)
    }

    fn monitor(&self) -> io::Result<()> {
        process::new_session()?;
        process::set_controlling_terminal(self.follower.as_fd())?;
        process::become_subreaper()?;
        // When the relay is killed, the kernel hangs up the terminal and with it us, who still have the command to end.
        // SIGTERM is for those who talk to somebody: the relay.
        let signals = SignalQueue::open(&[SIGCHLD, SIGHUP, SIGTERM])?;
        let (failure, told) = pipe()?;
        let command = fork_into(self.launch.birth(), || self.become_command(&told))?;
        drop(told);
        // Parent and child both do it: whoever comes first, the group is there when it is needed. After exec the
        // kernel refuses it to the parent, and then the child has done it.
        let _ = process::set_process_group(command, command);

        let (end, was_ended) = self.attend(command, &signals)?;
        if let Some(deadline) = was_ended {
            self.family().end_leftovers(deadline);
        }
        match read_report(&failure) {
            Some(error) => send_report(&self.socket, Report::Failed(error)),
            None => send_report(&self.socket, Report::Ended(end)),
        }
    }

    fn family(&self) -> &Family {
        self.launch.family()
    }

    fn become_command(&self, told: &OwnedFd) -> Infallible {
        let own = Pid::own();
        let ready = process::set_process_group(own, own).and_then(|()| match self.place {
            Place::Foreground => process::set_foreground(self.follower.as_fd(), own),
            Place::Background => Ok(()),
        });
        if ready.is_err() {
            exit_now(1);
        }
        let terminal = |wanted: bool| wanted.then(|| self.follower.as_fd());
        let [input, output, error] = self.on_terminal;
        let [tapped_output, tapped_error] = &self.ends;
        let standard: [Option<BorrowedFd<'_>>; 3] =
            [terminal(input), terminal(output).or(end_of(tapped_output)), terminal(error).or(end_of(tapped_error))];
        self.launch.exec_or_report(self.inherited, standard, told)
    }

    /// Carries orders out and reports stops until the command has ended; the deadline is set when it was ended by order.
    fn attend(&self, command: Pid, signals: &SignalQueue) -> io::Result<(CommandEnd, Option<Instant>)> {
        let (mut was_ended, mut frozen) = (None, false);
        loop {
            let mut entries = [PollEntry::reading(signals.as_fd()), PollEntry::reading(self.socket.as_fd())];
            poll(&mut entries, None)?;
            let ordered = entries.get(1).is_some_and(|entry| entry.ready_read);
            while signals.next_event()?.is_some() {}
            while let Some((event, usage)) = wait(command, Waiting::ChangeNow)? {
                match event {
                    WaitEvent::Exited(_) | WaitEvent::Signaled { .. } => {
                        return Ok((CommandEnd { event, usage }, was_ended));
                    }
                    WaitEvent::Stopped(signal) if !frozen => send_report(&self.socket, Report::Stopped(signal))?,
                    WaitEvent::Stopped(_) | WaitEvent::Continued => {}
                }
            }
            if ordered {
                match receive_order(&self.socket)? {
                    // Only a thaw wakes what is frozen.
                    Some(Order::Signal(SIGCONT) | Order::Continue(_)) if frozen => {}
                    Some(order) => {
                        match order {
                            Order::Terminate => was_ended = Some(Instant::now() + self.grace),
                            Order::Freeze | Order::Thaw => frozen = order == Order::Freeze,
                            Order::Signal(_) | Order::Continue(_) | Order::Kill => {}
                        }
                        self.obey(order, command);
                    }
                    None => {
                        // The relay was killed: its command must not outlive the eye that ends it in time.
                        let _ = process::kill_group(command, SIGHUP);
                        self.family().terminate();
                        self.family().end_leftovers(Instant::now() + self.grace);
                        exit_now(1);
                    }
                }
            }
        }
    }

    fn obey(&self, order: Order, command: Pid) {
        match order {
            // A command that has just ended needs neither of the two; its end is seen in the next round.
            Order::Signal(signal) => drop(process::kill_group(command, signal)),
            Order::Continue(place) => {
                let group = if place == Place::Foreground { command } else { process::own_process_group() };
                let _ = process::set_foreground(self.follower.as_fd(), group);
                let _ = process::kill_group(command, SIGCONT);
            }
            Order::Terminate => self.family().terminate(),
            Order::Kill => self.family().kill(),
            Order::Freeze => self.family().freeze(),
            Order::Thaw => self.family().thaw(),
        }
    }
}
