//! Is the caller who they are? PAM says so, or a remembered authentication. Knows nothing of grants.

pub mod cache;
pub mod prompt;
pub mod stack;

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::Path;
use std::time::Duration;

use crate::console::Console;
use cache::{CacheKey, CredentialCache};
use jit_core::clock::Moment;
use prompt::{Prompter, Replaces, Source};
use sys::limits::{Limits, lift_again};
use sys::pam::{EmptyPassword, Messages, Pam, PamError};

/// How the caller was authenticated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthMethod {
    /// Through the PAM conversation, now: a person has answered a question for a secret. That a module looked at the answer PAM does
    /// not tell (see [`stack`]).
    Password,
    /// PAM agreed, now, and asked nothing: a fingerprint, or a stack that lets everybody in.
    Unasked,
    /// Remembered.
    Cache,
    /// The role, or being root, asks for none.
    NotAsked,
}

impl AuthMethod {
    /// The word in the record.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Password => "password",
            Self::Unasked => "unasked",
            Self::Cache => "cache",
            Self::NotAsked => "none",
        }
    }
}

/// Proof that PAM accepted the caller's account, and their password where one is due. Owns the PAM handle, so that what
/// was opened is closed.
#[must_use = "authentication leads to the gate"]
pub struct Authenticated {
    pam: Pam,
    uid: u32,
    how: AuthMethod,
    limits: Option<(Limits, Limits)>,
}

/// For a process that ends with the session it has opened, at a moment when nobody waits: makes the end quicker.
pub fn prepare_end() {
    sys::pam::keep_loaded();
}

/// What is to be proved, and by what means.
pub struct Demand<'a> {
    /// The PAM service.
    pub service: &'a str,
    /// Where it is looked for before `/etc/pam.d`.
    pub services: &'a Path,
    /// Login name of the caller.
    pub user: &'a str,
    /// Whose password is asked for: the caller's own, unless the policy says otherwise.
    pub password_of: &'a str,
    /// The caller's uid.
    pub uid: u32,
    /// The device of their terminal, by name.
    pub tty: Option<&'a str>,
    /// False where no password is due.
    pub password_due: bool,
    /// -n.
    pub non_interactive: bool,
    /// -S, -A or the terminal.
    pub source: Source,
    /// The prompt, expanded.
    pub prompt: OsString,
    /// Which of PAM's prompts it replaces.
    pub replaces: Replaces,
    /// Said before the first question.
    pub lecture: Option<String>,
    /// Said after a wrong password.
    pub badpass_message: &'a str,
    /// `passwd_tries`.
    pub tries: u32,
    /// `passwd_timeout`; `None` waits for ever.
    pub timeout: Option<Duration>,
    /// Where an authentication is remembered.
    pub cache: Option<(&'a CredentialCache<'a>, CacheKey)>,
    /// False with -k: what is remembered does not count.
    pub use_cache: bool,
    /// False with -N and -k: this authentication is not remembered.
    pub remember: bool,
}

/// Why the caller is not authenticated.
#[derive(Debug)]
pub enum AuthError {
    /// -n, and a password is due.
    PasswordRequired,
    /// No terminal, and neither -S nor -A.
    NoTerminal,
    /// -A without `SUDO_ASKPASS`.
    NoAskpass,
    /// The person gave up, or the input ended, after this many wrong passwords.
    GaveUp(u32),
    /// Too many wrong passwords.
    Incorrect(u32),
    /// Nobody typed in time.
    TimedOut,
    /// PAM refuses the account, or failed.
    Pam(PamError),
    /// The cache cannot be read.
    Cache(rusqlite::Error),
}

impl fmt::Display for AuthError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let attempts = |count: u32| if count == 1 { "attempt" } else { "attempts" };
        match self {
            Self::PasswordRequired | Self::GaveUp(0) => f.write_str("a password is required"),
            Self::NoTerminal => f.write_str(
                "a terminal is required to read the password; either use the -S option to read from standard input \
                 or configure an askpass helper",
            ),
            Self::NoAskpass => f.write_str("no askpass program specified, try setting SUDO_ASKPASS"),
            Self::GaveUp(count) | Self::Incorrect(count) => {
                write!(f, "{count} incorrect password {}", attempts(*count))
            }
            Self::TimedOut => f.write_str("timed out reading password"),
            Self::Pam(error) => error.fmt(f),
            Self::Cache(error) => write!(f, "the credential cache cannot be read: {error}"),
        }
    }
}

impl From<PamError> for AuthError {
    fn from(error: PamError) -> Self {
        Self::Pam(error)
    }
}

impl From<rusqlite::Error> for AuthError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Cache(error)
    }
}

/// Why the session could not be opened.
#[derive(Debug)]
pub enum SessionError {
    /// The stack refuses.
    Pam(PamError),
    /// Our limits cannot be read or raised again.
    Limits(std::io::Error),
}

impl fmt::Display for SessionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pam(error) => error.fmt(f),
            Self::Limits(error) => write!(f, "unable to handle resource limits: {error}"),
        }
    }
}

impl From<PamError> for SessionError {
    fn from(error: PamError) -> Self {
        Self::Pam(error)
    }
}

impl Authenticated {
    /// Proves what `demand` says: the password where one is due, and the account in any case. PAM and its modules talk to the
    /// person meanwhile.
    pub fn prove(demand: Demand<'_>, moment: &Moment, _console: &mut Console) -> Result<Self, AuthError> {
        let prompter = Prompter::new(demand.source.clone(), demand.prompt.clone(), demand.replaces, demand.timeout);
        let trouble = prompter.trouble();
        let mut pam = Pam::start_in(demand.services, demand.service, demand.password_of, Box::new(prompter))?;
        pam.set_ruser(demand.user)?;
        if let Some(tty) = demand.tty {
            pam.set_tty(OsStr::new(tty))?;
        }
        let how =
            if demand.password_due { authenticate(&mut pam, &demand, &trouble, moment)? } else { AuthMethod::NotAsked };
        match pam.account(Messages::Shown) {
            Ok(()) => {}
            Err(error) if error.is_expired_password() && !demand.non_interactive => pam.change_expired_password()?,
            Err(error) => return Err(error.into()),
        }
        if let Some((cache, key)) = demand.cache
            && demand.remember
            && how != AuthMethod::NotAsked
        {
            cache.remember(&key, moment)?;
        }
        Ok(Self { pam, uid: demand.uid, how, limits: None })
    }

    /// Whose proof it is.
    pub fn uid(&self) -> u32 {
        self.uid
    }

    /// By what means.
    pub fn how(&self) -> AuthMethod {
        self.how
    }

    /// Opens the PAM session for the target user, with their credentials; closed on drop. What the stack does to our
    /// limits (pam_limits(8)) is meant for the command, and is taken from us again.
    pub fn open_session(&mut self, target: &str) -> Result<(), SessionError> {
        let before = Limits::current().map_err(SessionError::Limits)?;
        self.pam.set_user(target)?;
        self.pam.establish_credentials(Messages::Silent)?;
        self.pam.open_session(Messages::Silent)?;
        let after = Limits::current().map_err(SessionError::Limits)?;
        if before != after {
            lift_again().map_err(|error| SessionError::Limits(error.into()))?;
            self.limits = Some((before, after));
        }
        Ok(())
    }

    /// The limits of the command: the caller's, changed by what the session demands.
    pub fn session_limits(&self, inherited: &Limits) -> Limits {
        match &self.limits {
            Some((before, after)) => inherited.with_changes(before, after),
            None => inherited.clone(),
        }
    }

    /// What the stack put into the environment of the session (pam_env(8)).
    pub fn environment(&mut self) -> Result<Vec<OsString>, SessionError> {
        Ok(self.pam.environment()?)
    }
}

fn authenticate(
    pam: &mut Pam,
    demand: &Demand<'_>,
    trouble: &prompt::Trouble,
    moment: &Moment,
) -> Result<AuthMethod, AuthError> {
    if let Some((cache, key)) = &demand.cache
        && demand.use_cache
        && cache.remembers(key, moment)?
    {
        return Ok(AuthMethod::Cache);
    }
    if demand.non_interactive {
        return Err(AuthError::PasswordRequired);
    }
    if let Some(lecture) = &demand.lecture {
        prompt::say(&demand.source, lecture.as_bytes());
    }
    let mut wrong = 0;
    loop {
        trouble.forget();
        let Err(error) = pam.authenticate(Messages::Shown, EmptyPassword::AsConfigured) else {
            return Ok(if trouble.was_answered() { AuthMethod::Password } else { AuthMethod::Unasked });
        };
        match trouble.what() {
            Some(prompt::Stopped::NoTerminal) => return Err(AuthError::NoTerminal),
            Some(prompt::Stopped::TimedOut) => return Err(AuthError::TimedOut),
            Some(prompt::Stopped::GaveUp) => return Err(AuthError::GaveUp(wrong)),
            None => {}
        }
        if !error.is_wrong_password() {
            return Err(error.into());
        }
        wrong += 1;
        if wrong >= demand.tries || error.is_max_tries() {
            return Err(AuthError::Incorrect(wrong));
        }
        prompt::say(&demand.source, format!("{}\n", demand.badpass_message).as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_are_those_that_scripts_look_for() {
        for (error, words) in [
            (AuthError::PasswordRequired, "a password is required"),
            (AuthError::GaveUp(0), "a password is required"),
            (AuthError::GaveUp(1), "1 incorrect password attempt"),
            (AuthError::Incorrect(3), "3 incorrect password attempts"),
        ] {
            assert_eq!(error.to_string(), words);
        }
    }
}
