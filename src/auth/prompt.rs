//! The PAM conversation: where prompts are shown and where the answers come from.

use std::cell::Cell;
use std::ffi::{CString, OsStr, OsString};
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::rc::Rc;
use std::time::Duration;

use crate::console::{self, PATIENCE};
use crate::programs::UNBORN;
use jit_core::escape::escape;
use sys::cgroup::{self, Cgroup};
use sys::exec::{Credentials, Directory, ExecError, Execution, Image, Programs};
use sys::inherited::SchedulingState;
use sys::interruption::write_all;
use sys::limits::Limits;
use sys::pam::{Conversation, ConversationFailed, Prompt};
use sys::process::{Pid, Waiting, under_name, wait};
use sys::sanitize::Inherited;
use sys::secret::{MAX_SECRET, Secret};
use sys::signals::SignalSet;
use sys::terminal::{PasswordError, Terminal, read_password_from_stdin};

/// Where a password comes from.
#[derive(Debug, Clone)]
pub enum Source {
    /// The controlling terminal.
    Terminal,
    /// -S: standard input, with the prompt on standard error.
    StandardInput,
    /// -A: a program that the caller chose.
    Askpass(Box<Askpass>),
}

/// An askpass program. It runs with the caller's identity, environment, limits and control group.
#[derive(Debug, Clone)]
pub struct Askpass {
    program: OsString,
    credentials: Credentials,
    environment: Vec<OsString>,
    limits: Limits,
    own_limits: Limits,
    scheduling: SchedulingState,
    umask: u32,
    ignored_signals: SignalSet,
    blocked_signals: SignalSet,
    group: Option<Rc<Cgroup>>,
}

impl Askpass {
    /// `program` is the value of `SUDO_ASKPASS`. It runs as `credentials` with everything that was `inherited`.
    pub fn new(program: OsString, credentials: Credentials, inherited: &Inherited) -> Self {
        Self {
            program,
            credentials,
            environment: inherited.environment.clone(),
            limits: inherited.limits.clone(),
            own_limits: inherited.own_limits.clone(),
            scheduling: inherited.scheduling.clone(),
            umask: inherited.umask,
            ignored_signals: inherited.ignored_signals,
            blocked_signals: inherited.blocked_signals,
            group: inherited.group.clone(),
        }
    }

    /// Runs the program with the prompt as its argument and returns the first line of its output as the password.
    fn ask(&self, prompt: &[u8]) -> Result<Secret, Stopped> {
        let answer = self.answer(prompt).unwrap_or_else(|error| {
            let program = escape(self.program.as_bytes());
            tell(&console::line(format_args!("unable to run {program}: {}", reason(&error))));
            Err(Stopped::GaveUp)
        });
        if answer.as_ref().is_err_and(|stopped| *stopped == Stopped::GaveUp) {
            tell(&console::line("no password was provided"));
        }
        answer
    }

    /// Returns what the program has printed. Its exit status does not matter: sudo ignores it too, and a program that only shows a
    /// window may fail after the answer.
    fn answer(&self, prompt: &[u8]) -> io::Result<Result<Secret, Stopped>> {
        let (output, end) = sys::poll::pipe()?;
        let child = self.start(prompt, end)?;
        let answer = first_line(std::fs::File::from(output));
        let _ = wait(child, Waiting::ForEnd); // only to reap it
        Ok(answer)
    }

    fn start(&self, prompt: &[u8], output: OwnedFd) -> io::Result<Pid> {
        let program = CString::new(self.program.as_bytes())?;
        let argv = [program.clone(), CString::new(prompt)?];
        let is_variable = |entry: &&OsString| entry.as_bytes().iter().skip(1).any(|byte| *byte == b'=');
        let variables = self.environment.iter().filter(is_variable);
        let environment: Vec<CString> = variables.filter_map(|entry| CString::new(entry.as_bytes()).ok()).collect();
        let nothing = std::fs::File::open("/dev/null")?;
        let execution = Execution {
            image: Image::Powerless(&program),
            argv: &argv,
            environment: &environment,
            credentials: &self.credentials,
            dies_with: None,
            limits: &self.limits,
            own_limits: &self.own_limits,
            unsynced: None,
            scheduling: &self.scheduling,
            umask: self.umask,
            directory: Directory::Unchanged,
            ignored_signals: self.ignored_signals,
            blocked_signals: self.blocked_signals,
            oom_score_adj: None,
            standard: [Some(nothing.as_fd()), Some(output.as_fd()), None],
            kept: &[],
            programs: Programs::Any,
        };
        let group = cgroup::started_in(self.group.as_deref())?;
        // In a frozen group the helper waits with the group, and is not taken for one of our programs, which are taken out of it.
        under_name(UNBORN, || execution.spawn(group.as_ref())).map_err(ExecError::error)
    }
}

/// Reads the first line of what an askpass program prints. Without a line end the text counts too, but no text at all is no answer.
fn first_line(mut output: std::fs::File) -> Result<Secret, Stopped> {
    let mut line = Vec::with_capacity(MAX_SECRET + 1);
    let mut byte = [0];
    loop {
        match output.read(&mut byte) {
            Ok(1) if byte == *b"\n" => break,
            Ok(1) => line.extend_from_slice(&byte),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Ok(_) | Err(_) if line.is_empty() => return Err(Stopped::GaveUp),
            Ok(_) | Err(_) => break,
        }
        if line.len() > MAX_SECRET {
            drop(Secret::new(line));
            return Err(Stopped::TooLong);
        }
    }
    Ok(Secret::new(line))
}

/// Returns the text of an error of the system, without its number.
fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}

/// Writes a message to standard error, where sudo writes it too, wherever the prompts are shown.
fn tell(text: &str) {
    say(&Source::StandardInput, text.as_bytes());
}

/// Why the conversation was stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    /// There is no terminal to ask on.
    NoTerminal,
    /// ^C, ^D, or the end of the input.
    GaveUp,
    /// Nothing was typed in time.
    TimedOut,
    /// The answer is longer than any password; it counts as a wrong one.
    TooLong,
}

/// Why the conversation failed, for the caller of PAM: PAM itself only reports that it failed.
#[derive(Clone, Default)]
pub struct Trouble {
    stopped: Rc<Cell<Option<Stopped>>>,
    answered: Rc<Cell<bool>>,
    answers: Rc<Cell<u32>>,
}

impl Trouble {
    /// Returns what has stopped it since [`Trouble::forget`].
    pub fn what(&self) -> Option<Stopped> {
        self.stopped.get()
    }

    /// Whether any answer to a prompt for a secret was given since [`Trouble::forget`].
    pub fn was_answered(&self) -> bool {
        self.answered.get()
    }

    /// Returns how many prompts were answered with something since [`Trouble::forget`]: a stack that asks for a password and for a
    /// one-time code asks twice.
    pub fn answers(&self) -> u32 {
        self.answers.get()
    }

    /// Resets the state before a new attempt.
    pub fn forget(&self) {
        self.stopped.set(None);
        self.answered.set(false);
        self.answers.set(0);
    }
}

/// Which prompts of PAM are replaced by ours (`passprompt_override` of sudoers(5)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replaces {
    /// Generic ones, such as "Password: ".
    PlainPrompts,
    /// All.
    EveryPrompt,
}

/// Our side of the conversation.
pub struct Prompter {
    source: Source,
    prompt: OsString,
    replaces: Replaces,
    timeout: Option<Duration>,
    trouble: Trouble,
}

impl Prompter {
    /// `prompt` replaces PAM's own "Password: ", or any prompt, as `replaces` says.
    pub fn new(source: Source, prompt: OsString, replaces: Replaces, timeout: Option<Duration>) -> Self {
        Self { source, prompt, replaces, timeout, trouble: Trouble::default() }
    }

    /// Returns a handle to the reason that stops this conversation.
    pub fn trouble(&self) -> Trouble {
        self.trouble.clone()
    }

    fn ask(&self, prompt: &[u8]) -> Result<Secret, Stopped> {
        let answer = match &self.source {
            Source::Askpass(askpass) => return askpass.ask(prompt),
            Source::StandardInput => read_password_from_stdin(prompt, self.timeout),
            Source::Terminal => {
                Terminal::controlling().map_err(|_| Stopped::NoTerminal)?.read_password(prompt, self.timeout)
            }
        };
        answer.map_err(|error| match error {
            PasswordError::TimedOut => Stopped::TimedOut,
            PasswordError::EndOfInput => {
                let line = if matches!(self.source, Source::StandardInput) { "\n" } else { "" };
                tell(&format!("{line}{}", console::line("no password was provided")));
                Stopped::GaveUp
            }
            PasswordError::TooLong => Stopped::TooLong,
            PasswordError::Interrupted(_) | PasswordError::Io(_) => Stopped::GaveUp,
        })
    }
}

impl Conversation for Prompter {
    fn converse(&mut self, prompt: Prompt<'_>) -> Result<Option<Secret>, ConversationFailed> {
        match prompt {
            Prompt::Hidden(text) | Prompt::Visible(text) => {
                let secret = matches!(prompt, Prompt::Hidden(_));
                let ours = self.replaces == Replaces::EveryPrompt || is_plain_password_prompt(text);
                let shown = if ours { self.prompt.as_bytes() } else { text };
                let answer = self.ask(shown).map_err(|stopped| {
                    self.trouble.stopped.set(Some(stopped));
                    ConversationFailed
                })?;
                // A user who just pressed Enter, as before touching a security key, has typed no password.
                if !answer.as_bytes().is_empty() {
                    self.trouble.answers.set(self.trouble.answers.get().saturating_add(1));
                    self.trouble.answered.set(secret || self.trouble.answered.get());
                }
                Ok(Some(answer))
            }
            Prompt::Info(text) | Prompt::Error(text) => {
                let mut line = escape(text).into_bytes();
                line.push(b'\n');
                say(&self.source, &line);
                Ok(None)
            }
        }
    }
}

/// Shows `text` where the prompts are shown.
pub fn say(source: &Source, text: &[u8]) {
    // A failure is ignored: a terminal that is gone must not change the verdict.
    let terminal = matches!(source, Source::Terminal).then(Terminal::controlling).and_then(Result::ok);
    let _ = match terminal {
        Some(terminal) => write_all(terminal.as_fd(), text, PATIENCE),
        None => write_all(io::stderr().as_fd(), text, PATIENCE),
    };
}

/// Whether a prompt is a generic one, as pam_unix and similar modules use (sudo's `passprompt` rule).
fn is_plain_password_prompt(text: &[u8]) -> bool {
    let text = text.trim_ascii_end();
    text == b"Password:" || text.ends_with(b"'s Password:")
}

/// The values of the escapes in a prompt.
pub struct PromptWords<'a> {
    /// %u: the caller.
    pub user: &'a str,
    /// %U: the run-as user.
    pub target: &'a str,
    /// %p: whose password is asked for.
    pub password_of: &'a str,
    /// %H and %h.
    pub host: &'a str,
}

/// Expands %u %U %p %H %h %% (sudo(8), -p); other text stays as it is.
pub fn expand(template: &OsStr, words: &PromptWords<'_>) -> OsString {
    let mut prompt = Vec::new();
    let mut bytes = template.as_bytes().iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        let word = match (byte, bytes.peek()) {
            (b'%', Some(b'u')) => Some(words.user),
            (b'%', Some(b'U')) => Some(words.target),
            (b'%', Some(b'p')) => Some(words.password_of),
            (b'%', Some(b'H')) => Some(words.host),
            (b'%', Some(b'h')) => words.host.split('.').next(),
            (b'%', Some(b'%')) => Some("%"),
            _ => None,
        };
        match word {
            Some(word) => {
                prompt.extend_from_slice(word.as_bytes());
                bytes.next();
            }
            None => prompt.push(byte),
        }
    }
    OsString::from_vec(prompt)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prompts_expand_as_sudo_expands_them() {
        let words = PromptWords { user: "alice", target: "root", password_of: "alice", host: "web1.example.org" };
        let expand = |text: &str| expand(OsStr::new(text), &words).into_string().unwrap();
        assert_eq!(expand("[sudo] password for %p: "), "[sudo] password for alice: ");
        assert_eq!(expand("%u@%h (%H) as %U: %%u %x %"), "alice@web1 (web1.example.org) as root: %u %x %");
        assert_eq!(expand(""), "");
    }

    #[test]
    fn only_generic_prompts_are_replaced() {
        assert!(is_plain_password_prompt(b"Password: "));
        assert!(is_plain_password_prompt(b"alice's Password:"));
        assert!(!is_plain_password_prompt(b"One-time code: "));
        assert!(!is_plain_password_prompt(b""));
    }
}
