//! The terminal while this program talks to its user. It echoes nothing but the answer to a question; what is typed
//! before a question, after its answer or while the user waits is discarded, so that it becomes neither an answer nor
//! input of a command (sudo discards it at its prompt: TCSAFLUSH). Every way out gives the terminal back: the end of the
//! conversation, a signal, a stop.

use std::cell::Cell;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use super::question::{Answer, Echo, Outcome, PasswordError, Question};
use super::{Attributes, Terminal, flush_input, is_foreground, is_terminal};
use crate::poll::{self, PollEntry};
use crate::process::{Suspension, stop_self};
use crate::secret::Secret;
use crate::signals::{STOPS, SignalQueue};

/// Input that follows a line within this time was pasted with it.
const PASTED: Duration = Duration::from_millis(20);

/// More input than the terminal holds for a program arrives in pieces, of which each is discarded: at most so many, in
/// case somebody types without end.
const PIECES: usize = 64;

/// The terminal of a conversation, if there is one. Its signals are received by this value and do not end the process.
#[derive(Debug)]
pub struct Held<'t> {
    ends: Option<(BorrowedFd<'t>, BorrowedFd<'t>)>,
    signals: SignalQueue,
    modes: Cell<Option<Modes>>,
}

#[derive(Clone, Copy, Debug)]
struct Modes {
    /// Those that the terminal had.
    before: Attributes,
    /// Those that we have set last.
    ours: Attributes,
}

/// Asks on standard error, verbatim, and reads one line of standard input without a byte of the next (the command may
/// read the rest). If standard input is a terminal, the answer is not echoed, and what follows it is discarded.
pub fn read_password_from_stdin(prompt: &[u8], timeout: Option<Duration>) -> Result<Secret, PasswordError> {
    let (input, output) = (io::stdin(), io::stderr());
    let (input, output) = (input.as_fd(), output.as_fd());
    if is_terminal(input) {
        return Ok(Held::new(Some((input, output)))?.ask(prompt, Echo::Hidden, timeout)?.text);
    }
    Question { input, output, prompt }.ask_elsewhere(timeout)
}

/// What somebody wants of a process that waits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wish {
    /// To stop by this signal; see [`Held::stop`].
    Stop(i32),
    /// To end; this signal arrived.
    End(i32),
}

impl<'t> Held<'t> {
    /// Holds `terminal` from now on; without one only the signals. In the background it takes the terminal when this
    /// process comes to the foreground.
    ///
    /// # Errors
    /// Fails when signals cannot be received, or the terminal is gone.
    pub fn of(terminal: Option<&'t Terminal>) -> io::Result<Self> {
        Self::new(terminal.map(|terminal| (terminal.as_fd(), terminal.as_fd())))
    }

    /// Holds the terminal `ends.0`, and writes to `ends.1`.
    pub(super) fn new(ends: Option<(BorrowedFd<'t>, BorrowedFd<'t>)>) -> io::Result<Self> {
        let endings = [libc::SIGINT, libc::SIGQUIT, libc::SIGTERM, libc::SIGHUP];
        let signals: Vec<i32> = endings.into_iter().chain(STOPS).chain([libc::SIGCONT]).collect();
        let held = Self { ends, signals: SignalQueue::open(&signals)?, modes: Cell::new(None) };
        held.take()?;
        Ok(held)
    }

    /// Asks one question, as [`Terminal::read_password`] does. What was typed before it is discarded, and so is what
    /// follows the first line of the answer.
    ///
    /// # Errors
    /// As [`Terminal::read_password`]. After [`PasswordError::Interrupted`] the conversation is to end.
    pub fn ask(&self, prompt: &[u8], echo: Echo, timeout: Option<Duration>) -> Result<Answer, PasswordError> {
        let Some((input, output)) = self.ends else { return Err(io::Error::from_raw_os_error(libc::ENOTTY).into()) };
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        loop {
            while !is_foreground(input) {
                self.stop_or_fail(libc::SIGTTIN)?;
            }
            self.take()?;
            self.set(|before| before.for_question(echo))?;
            let question = Question { input, output, prompt };
            // In line mode, so a read takes nothing of the next line, whatever its size.
            let outcome = question.converse(&self.signals, deadline, 256);
            let more = echo == Echo::Shown && matches!(outcome, Ok(Outcome::Answered(_))) && follows(input);
            self.take()?;
            if is_foreground(input) && (echo == Echo::Hidden || !matches!(outcome, Ok(Outcome::Answered(_)))) {
                self.end_line(output);
            }
            match outcome? {
                Outcome::Answered(text) => return Ok(Answer { text, more }),
                Outcome::Suspend(signal) => self.stop_or_fail(signal)?,
                Outcome::AskAgain => {}
            }
        }
    }

    /// Returns a descriptor that is readable when [`Self::wish`] has something to tell.
    pub fn signals(&self) -> BorrowedFd<'_> {
        self.signals.as_fd()
    }

    /// Returns what was asked of this process meanwhile. Takes the terminal again after a continuation, and when this
    /// process has come to the foreground.
    ///
    /// # Errors
    /// Fails when the terminal is gone.
    pub fn wish(&self) -> io::Result<Option<Wish>> {
        while let Some(event) = self.signals.next_event()? {
            match event.signal {
                libc::SIGCONT => {}
                signal if STOPS.contains(&signal) => return Ok(Some(Wish::Stop(signal))),
                signal => return Ok(Some(Wish::End(signal))),
            }
        }
        self.take()?;
        Ok(None)
    }

    /// Whether messages to the user belong on this terminal: not while a shell in the foreground uses it.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        self.ends.is_none_or(|(input, _)| is_foreground(input))
    }

    /// Gives the terminal back, stops this process, and takes the terminal again when it goes on.
    ///
    /// # Errors
    /// Fails when the process cannot be stopped, or the terminal is gone.
    pub fn stop(&self, signal: i32) -> io::Result<Suspension> {
        self.give_back();
        let suspension = stop_self(signal)?;
        self.take()?;
        Ok(suspension)
    }

    fn stop_or_fail(&self, signal: i32) -> Result<(), PasswordError> {
        match self.stop(signal)? {
            Suspension::Resumed => Ok(()),
            Suspension::Refused => Err(PasswordError::Io(io::Error::from_raw_os_error(libc::EIO))),
        }
    }

    /// Ends the echo, then discards what was typed. Does nothing in the background.
    fn take(&self) -> io::Result<()> {
        match self.ends {
            Some((input, _)) if is_foreground(input) => {
                self.set(|before| before.for_question(Echo::Hidden))?;
                discard_input(input)
            }
            _ => Ok(()),
        }
    }

    /// Does not wait for output to drain, as TCSAFLUSH does: on a stopped terminal (^S) that would wait with ^C blocked.
    fn set(&self, wanted: impl Fn(&Attributes) -> Attributes) -> io::Result<()> {
        let Some((input, _)) = self.ends else { return Ok(()) };
        let now = Attributes::of(input)?;
        // Modes that are not the last ones of ours are those of a shell that was in the foreground meanwhile.
        let before = self.modes.get().filter(|modes| modes.ours.is_like(&now)).map_or(now, |modes| modes.before);
        let ours = wanted(&before);
        self.modes.set(Some(Modes { before, ours }));
        if ours.is_like(&now) { Ok(()) } else { ours.apply_now(input) }
    }

    /// Restores the modes, unless another process has changed them: of two that hold the same terminal, the first that
    /// took it restores it.
    fn give_back(&self) {
        let (Some((input, _)), Some(modes)) = (self.ends, self.modes.take()) else { return };
        if !is_foreground(input) {
            return;
        }
        // Before the modes are restored, which would echo what was typed.
        let _ = discard_input(input); // a terminal that is gone has no input
        if Attributes::of(input).is_ok_and(|now| now.is_like(&modes.ours)) {
            let _ = modes.before.apply_now(input); // as above
        }
    }

    /// Ends the line of the prompt: the Enter key was not echoed. If there is no room for this, only the layout suffers.
    fn end_line(&self, output: BorrowedFd<'_>) {
        let mut entries = [PollEntry::writing(output)];
        let shapes = self.modes.get().is_some_and(|modes| modes.ours.shapes_output());
        if poll::poll(&mut entries, Some(Duration::ZERO)).is_ok_and(|ready| ready > 0) {
            let _ = poll::write(output, if shapes { b"\n" } else { b"\r\n" });
        }
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.give_back();
    }
}

/// Whether more input follows a line at once, as no person types it.
fn follows(input: BorrowedFd<'_>) -> bool {
    is_readable(input, PASTED)
}

/// Discards what was typed. A terminal passes a long text on in pieces, some of which come after the first.
fn discard_input(input: BorrowedFd<'_>) -> io::Result<()> {
    flush_input(input)?;
    for _ in 0..PIECES {
        if !is_readable(input, Duration::ZERO) {
            break;
        }
        flush_input(input)?;
    }
    Ok(())
}

fn is_readable(input: BorrowedFd<'_>, limit: Duration) -> bool {
    let mut entries = [PollEntry::reading(input)];
    poll::poll(&mut entries, Some(limit)).is_ok_and(|ready| ready > 0)
}
