//! The process that carries the bytes of caller and command, and records them: between the two terminals, and from pipes of
//! the command to where the caller wants them. Whoever writes such bytes may find a fault in what reads them, so this process
//! keeps nothing that could be used: it is behind the [wall](sys::sandbox), opens nothing, and decides nothing.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use super::buffer::Buffer;
use super::message::{Order, Report, receive_order, send_report};
use super::ready::Ready;
use super::session_recording::SessionRecording;
use super::streams::{CopiedStreams, Sinks, is_ready};
use sys::poll::{PollEntry, poll};
use sys::sandbox::{Capability, Files, Post, close_all_but, confine};
use sys::terminal::Attributes;

/// How many bytes are still carried after the command has ended or stopped: more than a pty can hold.
const LAST_WORDS: usize = 1 << 20;

/// ^C, as a raw terminal sends it.
const INTERRUPT: u8 = 3;

/// Both terminals of a session.
pub(super) struct Terminals {
    caller: OwnedFd,
    /// `None` when the command's side is closed.
    leader: Option<OwnedFd>,
    to_command: Buffer,
    to_caller: Buffer,
    /// The caller's is.
    gone: bool,
    raw: bool,
    plain: bool,
    /// The supervisor has still to set the terminals before anything is carried.
    waits: bool,
    /// What is still to be told to the person at the terminal.
    words: Vec<u8>,
}

impl Terminals {
    /// Both of them do not block, and nobody else reads or writes them. The command's leaves line ends alone where it is `plain`;
    /// nothing is carried before the supervisor has told how they are set where `waits` says so.
    pub(super) fn new(caller: OwnedFd, leader: OwnedFd, plain: bool, waits: bool) -> Self {
        Self {
            caller,
            leader: Some(leader),
            to_command: Buffer::new(),
            to_caller: Buffer::new(),
            gone: false,
            raw: false,
            plain,
            waits,
            words: Vec::new(),
        }
    }
}

/// Whether there is more to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Course {
    Goes,
    Over,
}

/// What one process carries.
pub(super) struct RelayProcess<'a, 't> {
    /// Of a session with a terminal of its own.
    pub(super) terminals: Option<Terminals>,
    /// Streams that are no terminal, where they are recorded too.
    pub(super) streams: &'a mut CopiedStreams,
    /// What is recorded.
    pub(super) session_recording: &'a mut SessionRecording<'t>,
    /// To the supervisor.
    pub(super) supervisor: &'a OwnedFd,
}

impl RelayProcess<'_, '_> {
    /// Gives up all that this process does not need to carry, before it has read a byte. `others` are descriptors that it
    /// needs besides.
    pub(super) fn confine(&self, others: &[BorrowedFd<'_>]) {
        let mut kept = others.to_vec();
        kept.push(self.supervisor.as_fd());
        kept.extend(self.session_recording.file());
        kept.extend(self.streams.sources());
        kept.extend(self.streams.own_sinks());
        if let Some(terminals) = &self.terminals {
            kept.push(terminals.caller.as_fd());
            kept.extend(terminals.leader.as_ref().map(AsFd::as_fd));
        }
        // What stays open cannot be reached but by its number, and the wall stands all the same.
        let _ = close_all_but(&kept);
        let capabilities: &[Capability] = match &self.terminals {
            // Of a session it is the monitor as well, which signals a command of anybody's.
            Some(_) => &[Capability::Kill],
            None => &[],
        };
        // A kernel without a part of the wall has the rest; `jitctl doctor` tells of it.
        let _ = confine(Post::RelayProcess, capabilities, Files::Below(&[]));
    }

    /// One wait, and everything that it brought; which of the `others` are ready.
    pub(super) fn round<const N: usize>(
        &mut self,
        others: [BorrowedFd<'_>; N],
        patience: Option<Duration>,
    ) -> io::Result<[bool; N]> {
        let patience = self.session_recording.tend(patience);
        let (ready, others) = self.wait(others, patience)?;
        if ready.from_caller {
            self.read_caller();
        }
        if let Some(terminals) = &mut self.terminals {
            if ready.to_command {
                terminals.write_command();
            }
            if ready.from_command {
                terminals.read_command(self.session_recording);
            }
            terminals.push_words();
            if ready.to_caller {
                terminals.write_caller();
            }
        }
        self.streams.carry(&ready.streams, self.session_recording);
        self.tell_of_failure();
        Ok(others)
    }

    /// Does what the supervisor wants; what is not about bytes is not ours.
    pub(super) fn obey(&mut self, order: Order) -> io::Result<Course> {
        match order {
            Order::Signal(..) | Order::Continue(_) | Order::Enough => {}
            Order::Screen { raw, plain } => {
                if let Some(terminals) = &mut self.terminals {
                    (terminals.raw, terminals.plain, terminals.waits) = (raw, plain, false);
                }
            }
            Order::Resize(window) => self.session_recording.resize(window),
            Order::Say(words) => {
                self.session_recording.mark(&words);
                if let Some(terminals) = &mut self.terminals {
                    terminals.words.extend(format!("\r\njit-sudo: {words}\r\n").bytes());
                    terminals.push_words();
                }
            }
            Order::Rest => {
                let _ = self.drain();
                if let Some(terminals) = &mut self.terminals {
                    // The terminal is somebody else's now, until we hear how it is set.
                    (terminals.raw, terminals.waits) = (false, true);
                }
                send_report(self.supervisor, &Report::Rested)?;
            }
            Order::Finish => {
                self.finish()?;
                return Ok(Course::Over);
            }
        }
        Ok(Course::Goes)
    }

    /// Carries what is left, seals the recording and says so.
    fn finish(&mut self) -> io::Result<()> {
        let course = self.drain();
        let supervisor = self.supervisor;
        self.streams.drain(self.session_recording, &mut || course == Course::Over || is_enough(supervisor));
        self.tell_of_failure();
        let (seal, why) = self.session_recording.seal();
        send_report(supervisor, &Report::Finished(seal, why))
    }

    fn wait<const N: usize>(
        &self,
        others: [BorrowedFd<'_>; N],
        patience: Option<Duration>,
    ) -> io::Result<(Ready, [bool; N])> {
        let mut entries: Vec<PollEntry<'_>> = others.into_iter().map(PollEntry::reading).collect();
        let terminals = self.terminals.as_ref();
        let caller_at = entries.len();
        entries.extend(terminals.and_then(Terminals::caller_entry));
        let leader_at = entries.len();
        entries.extend(terminals.and_then(Terminals::leader_entry));
        let streams_at = entries.len();
        let sinks = Sinks::new();
        entries.extend(self.streams.entries(&sinks));
        poll(&mut entries, patience)?;
        let mut ready = Ready { streams: entries.iter().skip(streams_at).map(is_ready).collect(), ..Ready::default() };
        if let Some(caller) = entries.get(caller_at).filter(|_| leader_at > caller_at) {
            (ready.from_caller, ready.to_caller) = (caller.ready_read, caller.ready_write || caller.hangup);
        }
        if let Some(leader) = entries.get(leader_at).filter(|_| streams_at > leader_at) {
            (ready.from_command, ready.to_command) = (leader.ready_read, leader.ready_write);
        }
        let mut told = [false; N];
        for (told, entry) in told.iter_mut().zip(&entries) {
            *told = entry.ready_read;
        }
        Ok((ready, told))
    }

    fn read_caller(&mut self) {
        let Some(terminals) = &mut self.terminals else { return };
        let before = terminals.to_command.len();
        let report = match terminals.to_command.fill(terminals.caller.as_fd()) {
            Ok(0) | Err(_) => {
                terminals.gone = true;
                Some(Report::HungUp)
            }
            Ok(_) => terminals.to_command.held().contains(&INTERRUPT).then_some(Report::Interrupt),
        };
        terminals.record_input(before, self.session_recording);
        if let Some(report) = report {
            // A supervisor that is gone is noticed by its closed socket.
            let _ = send_report(self.supervisor, &report);
        }
    }

    /// Carries what the command has written so far to the caller's screen: all of it, however slow the screen is, but not
    /// for ever what somebody whom the command left behind keeps writing.
    fn drain(&mut self) -> Course {
        let Some(terminals) = &mut self.terminals else { return Course::Goes };
        let mut carried = 0;
        while carried < LAST_WORDS {
            if terminals.flush(self.supervisor) == Course::Over {
                return Course::Over;
            }
            let Some(leader) = &terminals.leader else { break };
            let mut entries = [PollEntry::reading(leader.as_fd())];
            if !poll(&mut entries, Some(Duration::ZERO)).is_ok_and(|count| count > 0) {
                break;
            }
            terminals.read_command(self.session_recording);
            carried += terminals.to_caller.len();
        }
        terminals.flush(self.supervisor)
    }

    fn tell_of_failure(&mut self) {
        if let Some(error) = self.session_recording.failure() {
            let _ = send_report(self.supervisor, &Report::Unrecorded(error.to_string())); // as above
        }
    }
}

impl Terminals {
    fn caller_entry(&self) -> Option<PollEntry<'_>> {
        let reads = self.raw && !self.waits && !self.gone && self.to_command.has_room();
        let writes = !self.waits && !self.gone && !self.to_caller.is_empty();
        (reads || writes).then(|| PollEntry::new(self.caller.as_fd(), reads, writes))
    }

    fn leader_entry(&self) -> Option<PollEntry<'_>> {
        let leader = self.leader.as_ref()?;
        let (reads, writes) = (!self.waits && self.to_caller.has_room(), !self.to_command.is_empty());
        (reads || writes).then(|| PollEntry::new(leader.as_fd(), reads, writes))
    }

    /// What was typed behind the first `before` bytes is recorded where the policy wants it, but never what the terminal
    /// of the command does not show, such as a password.
    fn record_input(&self, before: usize, session_recording: &mut SessionRecording<'_>) {
        let shows = |leader: &OwnedFd| Attributes::of(leader.as_fd()).is_ok_and(|attributes| attributes.echoes());
        if session_recording.takes_input() && self.leader.as_ref().is_some_and(shows) {
            session_recording.input(self.to_command.held().get(before..).unwrap_or_default());
        }
    }

    fn push_words(&mut self) {
        if !self.words.is_empty() && self.to_caller.push(&self.words) {
            self.words.clear();
        }
    }

    fn write_caller(&mut self) {
        if self.to_caller.empty_into(self.caller.as_fd()).is_err() {
            self.gone = true;
            self.to_caller.clear();
        }
    }

    fn write_command(&mut self) {
        if let Some(leader) = &self.leader
            && self.to_command.empty_into(leader.as_fd()).is_err()
        {
            self.to_command.clear();
        }
    }

    /// Reads what the command wrote; its side is closed when reading fails (EIO), and then there is no more to carry.
    fn read_command(&mut self, session_recording: &mut SessionRecording<'_>) {
        let before = self.to_caller.len();
        if let Some(leader) = &self.leader
            && !matches!(self.to_caller.fill(leader.as_fd()), Ok(1..))
        {
            self.leader = None;
        }
        let shown = self.to_caller.held().get(before..).unwrap_or_default();
        match self.plain {
            // The caller's terminal makes carriage returns of line ends, behind us.
            true => session_recording.stream(shown),
            false => session_recording.output(shown),
        }
        if self.gone {
            self.to_caller.clear();
        }
    }

    /// Waits until the screen has taken everything, is gone, or nobody waits for it any longer.
    fn flush(&mut self, supervisor: &OwnedFd) -> Course {
        self.push_words();
        while !self.to_caller.is_empty() && !self.gone {
            let mut entries = [PollEntry::writing(self.caller.as_fd()), PollEntry::reading(supervisor.as_fd())];
            let ready = poll(&mut entries, None).is_ok();
            let told = entries.last().is_some_and(|entry| entry.ready_read);
            if !ready || (told && is_enough(supervisor)) {
                return Course::Over;
            }
            self.write_caller();
            self.push_words();
        }
        Course::Goes
    }
}

/// Whether the supervisor says, or has said by its end, that nobody waits any longer.
fn is_enough(supervisor: &OwnedFd) -> bool {
    let mut entries = [PollEntry::reading(supervisor.as_fd())];
    while poll(&mut entries, Some(Duration::ZERO)).is_ok_and(|count| count > 0) {
        match receive_order(supervisor) {
            Ok(Some(Order::Enough) | None) | Err(_) => return true,
            // While it waits for us it gives no order that could not be lost.
            Ok(Some(_)) => {}
        }
    }
    false
}
