//! The supervisor's end of the socket to the relay process.

use std::cell::Cell;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use super::ending::Enforcer;
use super::message::{Order, Report, receive_report, send_order};
use super::session_recording::SessionRecording;
use super::streams::is_asked_to_end;
use sys::poll::{Blocking, PollEntry, poll, set_blocking};
use sys::process::{self, Pid, Waiting, wait};
use sys::procfs;
use sys::signals::{SIGKILL, SignalQueue};

/// How long a terminal that takes no output delays the end of a command that was ended, and how often that is checked.
const LAST_FLUSH: Duration = Duration::from_secs(1);
const FLUSH_LOOK: Duration = Duration::from_millis(250);

/// How long the relay process may take for what depends on no other process.
const PATIENCE: Duration = Duration::from_secs(3);

/// The relay process, and the socket to it.
pub(super) struct Line {
    pid: Pid,
    socket: OwnedFd,
    /// Whether it has relayed everything and is done.
    has_finished: Cell<bool>,
}

impl Line {
    /// Connects to `pid`, a child of this process.
    ///
    /// # Errors
    /// Fails as fcntl(2) does.
    pub(super) fn new(pid: Pid, socket: OwnedFd) -> io::Result<Self> {
        // A stopped relay process reads no orders, and must not block us.
        set_blocking(socket.as_fd(), Blocking::No)?;
        Ok(Self { pid, socket, has_finished: Cell::new(false) })
    }

    /// Returns the pid of the relay process.
    pub(super) fn pid(&self) -> Pid {
        self.pid
    }

    /// Sends an order. A closed socket shows that the relay process is gone.
    pub(super) fn order(&self, order: &Order) {
        let _ = send_order(&self.socket, order);
    }

    /// Returns its next report; `None` when it is gone.
    ///
    /// # Errors
    /// Fails when the report is garbled.
    pub(super) fn report(&self) -> io::Result<Option<Report>> {
        receive_report(&self.socket)
    }

    /// Sends an order that takes as long as a terminal or pipe needs, and waits until it is done, the relay process is gone, or a
    /// signal asks not to wait any longer; a command that was ended is not waited for. Passes reports to `told`, which returns
    /// whether this was the awaited one.
    pub(super) fn settle(
        &self,
        order: &Order,
        signals: &SignalQueue,
        enforcer: &mut Enforcer<'_>,
        told: &mut dyn FnMut(Report, &mut Enforcer<'_>) -> bool,
    ) {
        self.order(order);
        let begun = Instant::now();
        let mut enough: Option<Instant> = None;
        loop {
            let mut entries = [PollEntry::reading(self.socket.as_fd()), PollEntry::reading(signals.as_fd())];
            if poll(&mut entries, Some(FLUSH_LOOK)).is_err() {
                return;
            }
            let [said, signalled] = entries.map(|entry| entry.ready_read);
            if said {
                match self.report() {
                    Ok(Some(report)) => {
                        if told(report, enforcer) {
                            return;
                        }
                    }
                    Ok(None) | Err(_) => return,
                }
            }
            enforcer.command_ended();
            let is_late = enforcer.ending().is_some() && begun.elapsed() > LAST_FLUSH;
            let is_asked = signalled && is_asked_to_end(signals);
            match enough {
                None if is_late || is_asked => {
                    self.order(&Order::Enough);
                    enough = Some(Instant::now());
                }
                Some(since) if since.elapsed() > PATIENCE => return,
                None | Some(_) => {}
            }
        }
    }

    /// Sends an order that depends on no other process but on a terminal, and waits a limited time until it is done. Passes reports to
    /// `told`, as [`Self::settle`] does.
    pub(super) fn demand(&self, order: &Order, told: &mut dyn FnMut(Report) -> bool) {
        self.order(order);
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let mut entries = [PollEntry::reading(self.socket.as_fd())];
            if !poll(&mut entries, Some(left)).is_ok_and(|count| count > 0) {
                return;
            }
            match self.report() {
                Ok(Some(report)) => {
                    if told(report) {
                        return;
                    }
                }
                Ok(None) | Err(_) => return,
            }
        }
    }

    /// Whether it has relayed everything, and has restored the caller's terminal if there is one.
    pub(super) fn has_finished(&self) -> bool {
        self.has_finished.get()
    }

    /// After the run has ended: by this [`Order::Finish`], has the rest relayed and the recording sealed, and lets the relay process end.
    pub(super) fn finish(
        &self,
        order: &Order,
        signals: &SignalQueue,
        enforcer: &mut Enforcer<'_>,
        session_recording: &mut SessionRecording<'_>,
    ) {
        self.settle(order, signals, enforcer, &mut |report, enforcer| match report {
            Report::Finished(seal, why) => {
                self.has_finished.set(true);
                let _ = seal.map(|seal| session_recording.sealed(seal, why));
                true
            }
            Report::Unrecorded(why) => {
                enforcer.unrecorded(&why, session_recording.mode());
                false
            }
            _ => false,
        });
    }

    /// Reaps the relay process, and kills it first when it does not end by itself.
    pub(super) fn close(self) {
        drop(self.socket);
        if !matches!(wait(self.pid, Waiting::EndNow), Ok(None)) {
            return;
        }
        // It ends by itself, unless it was stopped or waits for a reader that reads nothing.
        if !self.has_finished.get() || procfs::is_stopped_by_signal(self.pid) {
            let _ = process::kill(self.pid, SIGKILL);
        }
    }
}

impl AsFd for Line {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
