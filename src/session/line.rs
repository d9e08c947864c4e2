//! The supervisor's end of the line to the process that carries the bytes.

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

/// How long a screen that takes nothing holds up the end of a command that was ended, and how often that is looked at.
const LAST_FLUSH: Duration = Duration::from_secs(1);
const FLUSH_LOOK: Duration = Duration::from_millis(250);

/// How long the relay process may take to do what needs nobody else.
const PATIENCE: Duration = Duration::from_secs(3);

/// The relay process, and the line to it.
pub(super) struct Line {
    pid: Pid,
    socket: OwnedFd,
    /// It has carried everything and wants nothing more.
    has_finished: Cell<bool>,
}

impl Line {
    /// To `pid`, a child of this process.
    ///
    /// # Errors
    /// Whatever fcntl(2) says.
    pub(super) fn new(pid: Pid, socket: OwnedFd) -> io::Result<Self> {
        // A relay process that was stopped takes no order, and must not hold us up.
        set_blocking(socket.as_fd(), Blocking::No)?;
        Ok(Self { pid, socket, has_finished: Cell::new(false) })
    }

    /// The process.
    pub(super) fn pid(&self) -> Pid {
        self.pid
    }

    /// Gives an order. A relay process that is gone is noticed by its closed socket.
    pub(super) fn order(&self, order: &Order) {
        let _ = send_order(&self.socket, order);
    }

    /// What it reports; `None` when it is gone.
    ///
    /// # Errors
    /// When what it says makes no sense.
    pub(super) fn report(&self) -> io::Result<Option<Report>> {
        receive_report(&self.socket)
    }

    /// Orders something that takes the time of a screen or pipe, and waits until it is done, the relay process is gone, or nobody wants
    /// to wait any longer: a command that was ended has no time. What is reported meanwhile goes to `told`, which says whether
    /// it was that.
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

    /// The run is over: has the rest carried and the recording sealed, and lets the relay process go.
    pub(super) fn finish(
        &self,
        signals: &SignalQueue,
        enforcer: &mut Enforcer<'_>,
        session_recording: &mut SessionRecording<'_>,
    ) {
        self.settle(&Order::Finish, signals, enforcer, &mut |report, enforcer| match report {
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

    /// Buries it; one that did not end by itself is ended.
    pub(super) fn close(self) {
        drop(self.socket);
        if !matches!(wait(self.pid, Waiting::EndNow), Ok(None)) {
            return;
        }
        // It ends by itself, unless it was stopped or waits for somebody who reads nothing.
        if !self.has_finished.get() || procfs::stat(self.pid).is_ok_and(|stat| stat.state == b'T') {
            let _ = process::kill(self.pid, SIGKILL);
        }
    }
}

impl AsFd for Line {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
