//! The PAM conversation: where prompts appear and where the answers come from.

use std::cell::Cell;
use std::ffi::{OsStr, OsString};
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::time::Duration;

use crate::escape::escape;
use sys::pam::{Conversation, ConversationFailed, Prompt};
use sys::secret::{MAX_SECRET, Secret};
use sys::terminal::{PasswordError, Terminal, read_password_from_stdin};

/// Where a password comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The controlling terminal.
    Terminal,
    /// -S: standard input, prompt on standard error.
    StandardInput,
    /// -A: a program of the caller's.
    Askpass(Box<Askpass>),
}

/// A program that asks in the caller's name, with the caller's identity and environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Askpass {
    /// What `SUDO_ASKPASS` says.
    pub program: OsString,
    /// The caller.
    pub uid: u32,
    /// Their group.
    pub gid: u32,
    /// Their environment, as it came.
    pub environment: Vec<OsString>,
}

impl Askpass {
    /// Runs the program with the prompt as its argument; its first line is the password.
    fn ask(&self, prompt: &[u8]) -> Result<Secret, Stopped> {
        let variables = self.environment.iter().filter_map(|entry| {
            let bytes = entry.as_bytes();
            let at = bytes.iter().position(|byte| *byte == b'=').filter(|at| *at > 0)?;
            let (name, value) = bytes.split_at_checked(at)?;
            Some((OsStr::from_bytes(name), OsStr::from_bytes(value.get(1..)?)))
        });
        let mut child = Command::new(&self.program)
            .arg(OsStr::from_bytes(prompt))
            .env_clear()
            .envs(variables)
            .gid(self.gid)
            .uid(self.uid)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|_| Stopped::GaveUp)?;
        let mut line = Vec::with_capacity(MAX_SECRET + 1);
        if let Some(output) = &mut child.stdout {
            let mut byte = [0];
            while line.len() < MAX_SECRET && matches!(output.read(&mut byte), Ok(1)) && byte != *b"\n" {
                line.extend_from_slice(&byte);
            }
        }
        let answer = Secret::new(line);
        drop(child.stdout.take());
        let done = child.wait().is_ok_and(|status| status.success());
        if done && !answer.as_bytes().is_empty() { Ok(answer) } else { Err(Stopped::GaveUp) }
    }
}

/// Why the conversation was not carried on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    /// There is no terminal to ask on.
    NoTerminal,
    /// ^C, ^D, or the end of the input.
    GaveUp,
    /// Nobody typed in time.
    TimedOut,
}

/// How the conversation went, for whoever called PAM: PAM itself only says whether it failed.
#[derive(Clone, Default)]
pub struct Trouble {
    stopped: Rc<Cell<Option<Stopped>>>,
    answered: Rc<Cell<bool>>,
}

impl Trouble {
    /// What happened since [`Trouble::forget`].
    pub fn what(&self) -> Option<Stopped> {
        self.stopped.get()
    }

    /// Whether somebody has answered a question since [`Trouble::forget`].
    pub fn was_answered(&self) -> bool {
        self.answered.get()
    }

    /// Before a new attempt.
    pub fn forget(&self) {
        self.stopped.set(None);
        self.answered.set(false);
    }
}

/// Which prompts of PAM give way to ours (`passprompt_override` of sudoers(5)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replaces {
    /// Those that say nothing of their own.
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
    /// `prompt` replaces PAM's own "Password: ", or whatever it says.
    pub fn new(source: Source, prompt: OsString, replaces: Replaces, timeout: Option<Duration>) -> Self {
        Self { source, prompt, replaces, timeout, trouble: Trouble::default() }
    }

    /// A handle on what stops this conversation.
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
                let line: &[u8] = if self.source == Source::StandardInput { b"\n" } else { b"" };
                say(&Source::StandardInput, &[line, b"jit-sudo: no password was provided\n"].concat());
                Stopped::GaveUp
            }
            PasswordError::Interrupted | PasswordError::TooLong | PasswordError::Io(_) => Stopped::GaveUp,
        })
    }
}

impl Conversation for Prompter {
    fn converse(&mut self, prompt: Prompt<'_>) -> Result<Option<Secret>, ConversationFailed> {
        match prompt {
            Prompt::Hidden(text) | Prompt::Visible(text) => {
                let ours = self.replaces == Replaces::EveryPrompt || is_plain_password_prompt(text);
                let shown = if ours { self.prompt.as_bytes() } else { text };
                let answer = self.ask(shown).map_err(|stopped| {
                    self.trouble.stopped.set(Some(stopped));
                    ConversationFailed
                })?;
                self.trouble.answered.set(true);
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

/// Shows `text` where the prompts are.
pub fn say(source: &Source, text: &[u8]) {
    // Nothing depends on whether the person sees it: a terminal that is gone is no reason to change the verdict.
    let _ = match source {
        Source::StandardInput | Source::Askpass(_) => std::io::stderr().write_all(text),
        Source::Terminal => match Terminal::controlling() {
            Ok(terminal) => sys::poll::write(terminal.as_fd(), text).map(drop),
            Err(_) => std::io::stderr().write_all(text),
        },
    };
}

/// The prompts that pam_unix and its kin use, which say nothing of their own (sudo's `passprompt` rule).
fn is_plain_password_prompt(text: &[u8]) -> bool {
    let text = text.trim_ascii_end();
    text == b"Password:" || text.ends_with(b"'s Password:")
}

/// What the escapes of a prompt stand for.
pub struct PromptWords<'a> {
    /// %u: the caller.
    pub user: &'a str,
    /// %U: the target.
    pub target: &'a str,
    /// %p: whose password is asked for.
    pub password_of: &'a str,
    /// %H and %h.
    pub host: &'a str,
}

/// Expands %u %U %p %H %h %% (sudo(8), -p); everything else stays as it is.
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
    fn only_prompts_that_say_nothing_are_replaced() {
        assert!(is_plain_password_prompt(b"Password: "));
        assert!(is_plain_password_prompt(b"alice's Password:"));
        assert!(!is_plain_password_prompt(b"One-time code: "));
        assert!(!is_plain_password_prompt(b""));
    }
}
