//! The process that relays and records the bytes between caller and command: between the two terminals, and from pipes of the
//! command to where the caller wants them. The bytes come from untrusted users and may exploit a bug in their reader, so this
//! process has nothing worth taking over: it runs in a [sandbox](sys::sandbox), opens no file, and decides nothing.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use super::buffer::Buffer;
use super::message::{JobPosition, Order, Report, receive_order, send_report};
use super::modes::Modes;
use super::ready::Ready;
use super::session_recording::SessionRecording;
use super::streams::{CopiedStreams, Sinks, is_ready};
use crate::console;
use sys::poll::{PollEntry, poll};
use sys::sandbox::{Capability, Files, Post, close_all_but, confine};
use sys::terminal::{Attributes, WindowSize, resize};

/// How many bytes are still relayed after the command has ended or stopped: more than a pty can hold.
const LAST_WORDS: usize = 1 << 20;

/// ^C, as a raw terminal sends it.
const INTERRUPT: u8 = 3;

/// Both terminals of a session.
pub(super) struct Terminals {
    modes: Modes,
    leader: OwnedFd,
    /// Whether the command's side is closed.
    is_closed: bool,
    /// The size of both.
    window: WindowSize,
    to_command: Buffer,
    to_caller: Buffer,
    /// Whether the caller's terminal is gone.
    gone: bool,
    /// Whether relaying waits until the terminals are set.
    waits: bool,
    /// Messages that the person at the terminal has not been shown yet.
    words: Vec<u8>,
}

impl Terminals {
    /// Both terminals are non-blocking, and no other process reads, writes or sets them.
    pub(super) fn new(modes: Modes, leader: OwnedFd, window: WindowSize) -> Self {
        Self {
            modes,
            leader,
            is_closed: false,
            window,
            to_command: Buffer::new(),
            to_caller: Buffer::new(),
            gone: false,
            waits: false,
            words: Vec::new(),
        }
    }

    /// Fails when the caller's terminal cannot be set, as after it was hung up. The command's terminal is set all the same.
    fn attach(&mut self, place: JobPosition) -> io::Result<()> {
        let done = match place {
            JobPosition::Foreground => self.modes.go_raw(Some(self.leader.as_fd())),
            JobPosition::Background => {
                self.modes.lose();
                Ok(())
            }
        };
        self.modes.shape_output(self.leader.as_fd());
        done
    }
}

/// Whether the process goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Course {
    Goes,
    Over,
}

/// What one process relays.
pub(super) struct RelayProcess<'a, 't> {
    /// Present in a session with a terminal of its own.
    pub(super) terminals: Option<Terminals>,
    /// Streams that are no terminal, where they are recorded.
    pub(super) streams: &'a mut CopiedStreams,
    /// The recording of the session.
    pub(super) session_recording: &'a mut SessionRecording<'t>,
    /// The socket to the supervisor.
    pub(super) supervisor: &'a OwnedFd,
}

impl RelayProcess<'_, '_> {
    /// Drops all privileges and files that this process does not need, before it has read a byte. `others` are further descriptors
    /// to keep.
    pub(super) fn confine(&self, others: &[BorrowedFd<'_>]) {
        self.session_recording.hold();
        let mut kept = others.to_vec();
        kept.push(self.supervisor.as_fd());
        kept.extend(self.session_recording.file());
        kept.extend(self.streams.sources());
        kept.extend(self.streams.own_sinks());
        if let Some(terminals) = &self.terminals {
            kept.extend([terminals.modes.as_fd(), terminals.leader.as_fd()]);
        }
        // When this fails, the descriptors can be used only by number, and the sandbox applies all the same.
        let _ = close_all_but(&kept);
        let capabilities: &[Capability] = match &self.terminals {
            // The relay process of a session with a terminal is also the monitor, which signals a command of any user.
            Some(_) => &[Capability::Kill],
            None => &[],
        };
        // A kernel that lacks a part of the sandbox enforces the rest; `jitctl doctor` reports it.
        let _ = confine(Post::RelayProcess, capabilities, Files::Below(&[]));
    }

    /// Waits once and handles everything that arrived. Returns which of the `others` are ready.
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

    /// Executes an order of the supervisor, unless it does not concern the relayed bytes.
    pub(super) fn obey(&mut self, order: Order) -> io::Result<Course> {
        match order {
            Order::Signal(..) | Order::Continue(_) | Order::Enough => {}
            Order::Attach(place) => self.attach(place),
            Order::Relay => {
                let _ = self.terminals.as_mut().map(|terminals| terminals.waits = false);
            }
            Order::Fit => self.fit(),
            Order::Restore { restores } => {
                self.restore(restores);
                send_report(self.supervisor, &Report::Restored)?;
            }
            Order::Say(words) => {
                self.session_recording.mark(&words);
                if let Some(terminals) = &mut self.terminals {
                    terminals.words.extend(format!("\r\n{}: {words}\r\n", console::name().as_str()).bytes());
                    terminals.push_words();
                }
            }
            Order::Rest => {
                let _ = self.drain();
                if let Some(terminals) = &mut self.terminals {
                    // The terminal belongs to another program until it is set again.
                    terminals.waits = true;
                }
                send_report(self.supervisor, &Report::Rested)?;
            }
            Order::Finish { restores } => {
                self.finish(restores)?;
                return Ok(Course::Over);
            }
        }
        Ok(Course::Goes)
    }

    /// Sets both terminals for a command in this position; from now on bytes are relayed.
    pub(super) fn attach(&mut self, place: JobPosition) {
        let Some(terminals) = &mut self.terminals else { return };
        let done = terminals.attach(place);
        terminals.waits = false;
        self.lose_unless(done);
        self.fit();
    }

    fn restore(&mut self, ours: bool) {
        let done = self.terminals.as_mut().map_or(Ok(()), |terminals| terminals.modes.restore(ours));
        self.lose_unless(done);
    }

    /// Reports that the caller's terminal was hung up, where setting it shows that.
    fn lose_unless(&mut self, done: io::Result<()>) {
        if let (Err(_), Some(terminals)) = (done, &mut self.terminals) {
            terminals.modes.lose();
            if terminals.modes.terminal.is_gone() {
                let _ = send_report(self.supervisor, &Report::HungUp); // a closed socket shows that the supervisor is gone
            }
        }
    }

    /// Gives the command's terminal the size of the caller's. A terminal that reports no size keeps the last one.
    fn fit(&mut self) {
        if let Some(terminals) = &mut self.terminals
            && let Ok(window) = terminals.modes.terminal.window()
            && window != terminals.window
        {
            let _ = resize(terminals.leader.as_fd(), window); // the kernel sends SIGWINCH to the command
            terminals.window = window;
            self.session_recording.resize(window);
        }
    }

    /// Relays what is left, restores the caller's terminal, seals the recording and reports it.
    fn finish(&mut self, restores: bool) -> io::Result<()> {
        let course = self.drain();
        let supervisor = self.supervisor;
        self.streams.drain(self.session_recording, &mut || course == Course::Over || is_enough(supervisor));
        self.tell_of_failure();
        self.restore(restores);
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
        let report = match terminals.to_command.fill(terminals.modes.as_fd()) {
            Ok(0) | Err(_) => {
                terminals.gone = true;
                Some(Report::HungUp)
            }
            Ok(_) => terminals.to_command.held().contains(&INTERRUPT).then_some(Report::Interrupt),
        };
        terminals.record_input(before, self.session_recording);
        if let Some(report) = report {
            // A closed socket shows that the supervisor is gone.
            let _ = send_report(self.supervisor, &report);
        }
    }

    /// Relays what the command has written so far to the caller's terminal: all of it, however slow the terminal is, but at most
    /// [`LAST_WORDS`] bytes, because a process that the command left behind may write without end.
    fn drain(&mut self) -> Course {
        let Some(terminals) = &mut self.terminals else { return Course::Goes };
        let mut carried = 0;
        while carried < LAST_WORDS {
            if terminals.flush(self.supervisor) == Course::Over {
                return Course::Over;
            }
            if terminals.is_closed {
                break;
            }
            let mut entries = [PollEntry::reading(terminals.leader.as_fd())];
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
        let reads = self.modes.is_raw() && !self.waits && !self.gone && self.to_command.has_room();
        let writes = !self.waits && !self.gone && !self.to_caller.is_empty();
        (reads || writes).then(|| PollEntry::new(self.modes.as_fd(), reads, writes))
    }

    fn leader_entry(&self) -> Option<PollEntry<'_>> {
        let (reads, writes) = (!self.waits && self.to_caller.has_room(), !self.to_command.is_empty());
        (!self.is_closed && (reads || writes)).then(|| PollEntry::new(self.leader.as_fd(), reads, writes))
    }

    /// Records the input behind the first `before` bytes where the policy wants it, but never what the command's terminal does not
    /// echo, such as a password.
    fn record_input(&self, before: usize, session_recording: &mut SessionRecording<'_>) {
        let shows = || Attributes::of(self.leader.as_fd()).is_ok_and(|attributes| attributes.echoes());
        if session_recording.takes_input() && !self.is_closed && shows() {
            session_recording.input(self.to_command.held().get(before..).unwrap_or_default());
        }
    }

    fn push_words(&mut self) {
        if !self.words.is_empty() && self.to_caller.push(&self.words) {
            self.words.clear();
        }
    }

    fn write_caller(&mut self) {
        if self.to_caller.empty_into(self.modes.as_fd()).is_err() {
            self.gone = true;
            self.to_caller.clear();
        }
    }

    fn write_command(&mut self) {
        if !self.is_closed && self.to_command.empty_into(self.leader.as_fd()).is_err() {
            self.to_command.clear();
        }
    }

    /// Reads what the command wrote. When reading fails (EIO), the command's side is closed and there is nothing more to relay.
    fn read_command(&mut self, session_recording: &mut SessionRecording<'_>) {
        let before = self.to_caller.len();
        if !self.is_closed && !matches!(self.to_caller.fill(self.leader.as_fd()), Ok(1..)) {
            self.is_closed = true;
        }
        let shown = self.to_caller.held().get(before..).unwrap_or_default();
        match self.modes.is_plain() {
            // The caller's terminal adds the carriage returns to line ends afterwards.
            true => session_recording.stream(shown),
            false => session_recording.output(shown),
        }
        if self.gone {
            self.to_caller.clear();
        }
    }

    /// Writes until the terminal has taken everything or is gone, or the supervisor does not wait any longer.
    fn flush(&mut self, supervisor: &OwnedFd) -> Course {
        self.push_words();
        while !self.to_caller.is_empty() && !self.gone {
            let mut entries = [PollEntry::writing(self.modes.as_fd()), PollEntry::reading(supervisor.as_fd())];
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

/// Whether the supervisor reports, or shows by its end, that it does not wait any longer.
fn is_enough(supervisor: &OwnedFd) -> bool {
    let mut entries = [PollEntry::reading(supervisor.as_fd())];
    while poll(&mut entries, Some(Duration::ZERO)).is_ok_and(|count| count > 0) {
        match receive_order(supervisor) {
            Ok(Some(Order::Enough) | None) | Err(_) => return true,
            // While the supervisor waits for us it sends no order that could not be dropped.
            Ok(Some(_)) => {}
        }
    }
    false
}
