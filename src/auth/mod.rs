//! Authenticates the caller, by PAM or by a cached authentication. Knows nothing of grants.

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
use sys::sanitize::Inherited;

/// How the caller was authenticated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthMethod {
    /// Through the PAM conversation, now: a person has answered a prompt for a secret. PAM does not report whether a module checked
    /// the answer (see [`stack`]).
    Password,
    /// PAM accepted now without a prompt: a fingerprint, or a stack that accepts everybody.
    Unasked,
    /// By the credential cache.
    Cache,
    /// Neither the role nor the caller, such as root, requires it.
    NotAsked,
}

impl AuthMethod {
    /// Returns the code for the record.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Password => "password",
            Self::Unasked => "unasked",
            Self::Cache => "cache",
            Self::NotAsked => "none",
        }
    }
}

/// Proof that PAM accepted the caller's account, and their password where one is required. Owns the PAM handle, so that an opened
/// session is closed.
#[must_use = "authentication leads to the gate"]
pub struct Authenticated {
    pam: Pam,
    uid: u32,
    how: AuthMethod,
    /// Where PAM authenticated the caller now.
    by: Option<DecidedBy>,
    limits: Option<ChangedLimits>,
}

/// The limits of this process around a PAM session that changed them.
struct ChangedLimits {
    before: Limits,
    /// As the session left them.
    after: Limits,
    /// As this process has them now.
    own: Limits,
}

/// The PAM service that authenticated the caller, and what it asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecidedBy {
    /// The service.
    pub service: String,
    /// How many prompts were answered in the attempt that succeeded. PAM does not report how many factors a module has checked.
    pub answers: u32,
}

/// Makes the end of a process that has opened a PAM session quicker. Call it at a moment when the caller does not wait.
pub fn prepare_end() {
    sys::pam::keep_loaded();
}

/// What is to be proved, and how.
pub struct Demand<'a> {
    /// The PAM service.
    pub service: &'a str,
    /// The directory that is searched for it before `/etc/pam.d`.
    pub services: &'a Path,
    /// The caller's login name.
    pub user: &'a str,
    /// The user whose password is asked for: the caller, unless the policy says otherwise.
    pub password_of: &'a str,
    /// The caller's uid.
    pub uid: u32,
    /// The device name of the caller's terminal.
    pub tty: Option<&'a str>,
    /// False where no password is required.
    pub password_due: bool,
    /// Whether -n was given.
    pub non_interactive: bool,
    /// Where the password is read: -S, -A or the terminal.
    pub source: Source,
    /// The prompt, expanded.
    pub prompt: OsString,
    /// Which of PAM's prompts the prompt replaces.
    pub replaces: Replaces,
    /// Shown before the first prompt.
    pub lecture: Option<String>,
    /// Shown after a wrong password.
    pub badpass_message: &'a str,
    /// `passwd_tries`.
    pub tries: u32,
    /// `passwd_timeout`; `None` waits forever.
    pub timeout: Option<Duration>,
    /// Where the authentication is cached.
    pub cache: Option<(&'a CredentialCache<'a>, CacheKey)>,
    /// False with -k: a cached authentication does not count.
    pub use_cache: bool,
    /// False with -N and -k: this authentication is not cached.
    pub remember: bool,
}

/// Why the caller is not authenticated.
#[derive(Debug)]
pub enum AuthError {
    /// -n was given, and a password is required.
    PasswordRequired,
    /// There is no terminal, and neither -S nor -A was given.
    NoTerminal,
    /// -A was given without `SUDO_ASKPASS`.
    NoAskpass,
    /// The user gave up, or the input ended, after this many wrong passwords.
    GaveUp(u32),
    /// Too many wrong passwords.
    Incorrect(u32),
    /// Nothing was typed in time.
    TimedOut,
    /// PAM denied the account.
    Account(PamError),
    /// PAM failed.
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
            Self::Account(error) => f.write_str(&denied(error)),
            Self::Pam(error) => error.fmt(f),
            Self::Cache(error) => write!(f, "the credential cache cannot be read: {error}"),
        }
    }
}

/// Returns sudo's words for a denied account.
fn denied(error: &PamError) -> String {
    if error.is_denied() {
        "account validation failure, is your account locked?".to_owned()
    } else if error.is_expired_account() {
        "Account expired or PAM config lacks an \"account\" section for sudo, contact your system administrator"
            .to_owned()
    } else if error.is_expired_password() {
        "Account or password is expired, reset your password and try again".to_owned()
    } else {
        format!("PAM account management error: {}", error.text)
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
    /// The PAM stack denied it.
    Pam(PamError),
    /// Our resource limits cannot be read or raised again.
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
    /// Proves what `demand` says: the password where one is required, and the account in any case. PAM and its modules talk to the
    /// user meanwhile.
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
        match pam.account(if demand.non_interactive { Messages::Silent } else { Messages::Shown }) {
            Ok(()) => {}
            Err(error) if error.is_expired_password() && !demand.non_interactive => pam.change_expired_password()?,
            Err(error) => return Err(AuthError::Account(error)),
        }
        if let Some((cache, key)) = demand.cache
            && demand.remember
            && how != AuthMethod::NotAsked
        {
            cache.remember(&key, moment)?;
        }
        let is_new = matches!(how, AuthMethod::Password | AuthMethod::Unasked);
        let by = is_new.then(|| DecidedBy { service: demand.service.to_owned(), answers: trouble.answers() });
        Ok(Self { pam, uid: demand.uid, how, by, limits: None })
    }

    /// Returns the uid of the authenticated user.
    pub fn uid(&self) -> u32 {
        self.uid
    }

    /// Returns how the user was authenticated.
    pub fn how(&self) -> AuthMethod {
        self.how
    }

    /// Returns the PAM service that authenticated the user now; `None` where it was not asked.
    pub fn decided_by(&self) -> Option<&DecidedBy> {
        self.by.as_ref()
    }

    /// Opens the PAM session for the run-as user, with their credentials; it is closed on drop. `own` are the limits of this process.
    /// Changes that the stack makes to them (pam_limits(8)) are meant for the command and are undone for this process.
    pub fn open_session(&mut self, target: &str, own: &Limits) -> Result<(), SessionError> {
        self.pam.set_user(target)?;
        // Without a call of pam_authenticate(3) before it, modules may have nothing to establish, and pam_setcred(3) reports that as
        // an error. sudo ignores it too. What a module does not give, such as a group, the command does not have.
        let established = self.pam.establish_credentials(Messages::Silent);
        if matches!(self.how, AuthMethod::Password | AuthMethod::Unasked) {
            established?;
        }
        self.pam.open_session(Messages::Silent)?;
        let after = Limits::current().map_err(SessionError::Limits)?;
        if *own != after {
            let before = own.clone();
            let own = lift_again(&after).map_err(|error| SessionError::Limits(error.into()))?;
            self.limits = Some(ChangedLimits { before, after, own });
        }
        Ok(())
    }

    /// Returns the limits of the command: the caller's, with the changes of the PAM session.
    pub fn session_limits(&self, inherited: &Inherited) -> Limits {
        match &self.limits {
            Some(changed) => inherited.limits.with_changes(&changed.before, &changed.after),
            None => inherited.limits.clone(),
        }
    }

    /// Returns the limits that this process has now.
    pub fn own_limits(&self, inherited: &Inherited) -> Limits {
        self.limits.as_ref().map_or(&inherited.own_limits, |changed| &changed.own).clone()
    }

    /// Returns the variables that the stack added to the environment of the session (pam_env(8)).
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
            Some(prompt::Stopped::TooLong) => {}
            None if !error.is_wrong_password() => return Err(error.into()),
            None => {}
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
    fn the_messages_are_those_that_scripts_search_for() {
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
