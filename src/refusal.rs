//! Every denial: one sentence, a hint with the exact command to type, a stable code, and whether it is recorded in the journal.
//! Only this module turns errors into sentences for people.

use std::ffi::OsStr;
use std::fmt;

use crate::activation::ActivationError;
use crate::activation::wish::first_served;
use crate::audit::JournalError;
use crate::audit::recorded::StartError;
use crate::auth::AuthError;
use crate::authorized::environment::EnvironmentError;
use crate::authorized::{GateError, ProgramFault};
use crate::console::{self, Console};
use crate::database::Unwritten;
use crate::elevation::{Caller, CallerError, CommandError, EditorError, Elevation, ElevationError, Hidden, RunAs};
use crate::host::{HostError, free_space};
use crate::judge::NotPermitted;
use crate::judge::{JudgeError, NotAllowed};
use crate::session::{ExitStatus, LaunchError};
use crate::store::FindError;
use crate::verify::NoGrant;
use jit_core::budget::RUNS;
use jit_core::cli::UsageError;
use jit_core::escape::{Word, shell_line};
use jit_core::names::{GrantId, RoleName};
use jit_core::policy::{PolicyReader, PolicyWords, Role};
use sys::sanitize::SanitizeError;

/// Why jit-sudo did not run the command.
pub enum Refusal {
    /// The arguments do not follow our grammar.
    Usage(UsageError),
    /// The process cannot be set up safely.
    Sanitize(SanitizeError),
    /// The host cannot serve the request.
    Host(HostError),
    /// Caller, run-as user or command.
    Elevation(ElevationError),
    /// The policy cannot be read.
    Judge(JudgeError),
    /// No role allows it.
    NotAllowed(Box<NotAllowed>),
    /// The command is in a directory that the caller may not look into, and the caller may not run it now, if it exists.
    Hidden(Box<HiddenCommand>),
    /// A role would allow it, but there is no grant.
    NoGrant(Box<NoGrant>),
    /// The requested grant is not given yet, or not at all.
    Activation(ActivationError),
    /// The named role does not allow the command, or is not the caller's; followed by the roles that do.
    OtherRole(RoleName, Vec<RoleName>),
    /// There is no grant yet: a request waits for its approvers.
    Pending(Box<NoGrant>, GrantId, Vec<String>),
    /// The user has left the offer of a grant, or the wait for one.
    Left(Left),
    /// Authentication by PAM failed.
    Auth(AuthError),
    /// The run was denied at the gate.
    Gate(GateError),
    /// The requested environment is not allowed.
    Environment(EnvironmentError),
    /// The start could not be recorded.
    Start(StartError),
    /// The policy requires syslog, and syslog did not take the start record.
    SyslogRequired,
    /// The PAM session could not be opened.
    Session(crate::auth::SessionError),
    /// The command could not be started; its `end` record says so.
    Launch(LaunchError),
    /// There is no editor.
    Editor(EditorError),
    /// The user has no role at all on this host.
    NoRole(String, String),
    /// [`RUNS`] runs of the user are not over.
    TooManyRuns,
}

/// How a user has left the offer of a grant or the wait for one. No refusal: nobody has denied anything.
#[derive(Debug)]
pub struct Left {
    /// The signal that ended it; `None` for the end of the input.
    pub signal: Option<i32>,
    /// What was left.
    pub at: LeftAt,
}

/// What a user has left.
#[derive(Debug)]
pub enum LeftAt {
    /// The questions: no request was made.
    Offer,
    /// The moment in which the request was stored.
    Request,
    /// The wait for approval of this request.
    Wait(GrantId),
}

impl fmt::Display for Left {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.at {
            LeftAt::Offer => f.write_str("left; no request was made"),
            LeftAt::Request => f.write_str("left while the request was stored"),
            LeftAt::Wait(id) => write!(f, "left; request {id} stays pending"),
        }
    }
}

/// A command about which the caller may learn nothing.
pub struct HiddenCommand {
    /// The caller.
    pub user: String,
    /// The arguments as typed, the path made absolute.
    pub words: Vec<Word>,
    /// The run-as user.
    pub run_as: String,
    /// This host.
    pub host: String,
}

impl HiddenCommand {
    /// Describes the command as it was typed.
    pub fn of(hidden: &Hidden, caller: &Caller, run_as: &RunAs) -> Self {
        Self {
            user: caller.name().to_string(),
            words: hidden.words(),
            run_as: described(run_as),
            host: caller.host().to_owned(),
        }
    }
}

macro_rules! from {
    ($($error:ty => $variant:ident),* $(,)?) => {
        $(impl From<$error> for Refusal {
            fn from(error: $error) -> Self {
                Self::$variant(error)
            }
        })*
    };
}
impl From<NotPermitted> for Refusal {
    fn from(error: NotPermitted) -> Self {
        Self::Gate(GateError::NotPermitted(error))
    }
}

from!(UsageError => Usage, SanitizeError => Sanitize, HostError => Host, ElevationError => Elevation,
    ActivationError => Activation, AuthError => Auth, GateError => Gate, EnvironmentError => Environment,
    StartError => Start, LaunchError => Launch);

impl From<CallerError> for Refusal {
    fn from(error: CallerError) -> Self {
        Self::Elevation(error.into())
    }
}

impl From<JournalError> for Refusal {
    fn from(error: JournalError) -> Self {
        Self::Host(error.into())
    }
}

impl From<FindError> for Refusal {
    fn from(error: FindError) -> Self {
        Self::Host(match error {
            FindError::Database(error) => error.into(),
            FindError::Damaged(what) => HostError::Damaged(what),
            FindError::Terms(id, fault) => HostError::Terms(id, fault),
            FindError::Unknown => HostError::Damaged("a request that was there".to_owned()),
        })
    }
}

impl From<rusqlite::Error> for Refusal {
    fn from(error: rusqlite::Error) -> Self {
        Self::Host(error.into())
    }
}

impl From<JudgeError> for Refusal {
    fn from(error: JudgeError) -> Self {
        match error {
            JudgeError::NotAllowed(refused) => Self::NotAllowed(refused),
            error => Self::Judge(error),
        }
    }
}

impl Refusal {
    /// Returns a stable code for records and programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Usage(_) => "usage",
            Self::Sanitize(_) => "not-installed",
            Self::Host(_) => "host",
            Self::Elevation(ElevationError::Caller(_)) => "unknown-caller",
            Self::Elevation(ElevationError::RunAs(_)) => "unknown-run-as",
            Self::Elevation(ElevationError::Command(_)) => "command-not-found",
            Self::Judge(_) => "policy",
            Self::NotAllowed(_) | Self::Hidden(_) => "not-allowed",
            Self::NoGrant(_) => "no-grant",
            Self::Activation(_) => "activation",
            Self::OtherRole(..) => "other-role",
            Self::Pending(..) => "pending",
            Self::Left(_) => "left",
            Self::Auth(AuthError::PasswordRequired | AuthError::NoTerminal | AuthError::NoAskpass) => {
                "password-required"
            }
            Self::Auth(_) => "authentication",
            Self::Gate(GateError::NotPermitted(_)) => "not-permitted",
            Self::Gate(_) => "gate",
            Self::Environment(_) => "environment",
            Self::Start(_) => "not-recorded",
            Self::SyslogRequired => "syslog-required",
            Self::Session(_) => "pam-session",
            Self::Launch(_) => "not-executed",
            Self::Editor(_) => "editor",
            Self::NoRole(..) => "no-role",
            Self::TooManyRuns => "too-many-runs",
        }
    }

    /// Returns what happened, in one line without prefix and full stop.
    pub fn sentence(&self) -> String {
        match self {
            Self::Usage(error) => error.to_string(),
            Self::Sanitize(error) => error.to_string(),
            Self::Host(error) => error.to_string(),
            Self::Elevation(error) => error.to_string(),
            Self::Judge(JudgeError::Index(error)) => error.to_string(),
            Self::Judge(JudgeError::Caller(error)) => error.to_string(),
            Self::Judge(JudgeError::NotAllowed(refused)) | Self::NotAllowed(refused) => sorry(&refused.elevation),
            Self::NoGrant(refused) | Self::Pending(refused, ..) => sorry(refused.eligible.elevation()),
            Self::Hidden(command) => sorry_about(&command.user, &command.words, &command.run_as, &command.host),
            Self::OtherRole(named, _) => format!("role {named} does not allow you this command"),
            Self::Activation(error) => error.to_string(),
            Self::Left(left) => left.to_string(),
            Self::Auth(error) => error.to_string(),
            Self::Gate(error) => error.to_string(),
            Self::Environment(error) => error.to_string(),
            Self::Start(error) => error.to_string(),
            Self::SyslogRequired => {
                "the run cannot be sent to syslog, which the policy requires, so it does not begin".to_owned()
            }
            Self::Session(error) => format!("unable to open the PAM session: {error}"),
            Self::Launch(error) => error.to_string(),
            Self::Editor(error) => error.to_string(),
            Self::NoRole(user, host) => format!("Sorry, user {user} may not run sudo on {host}"),
            Self::TooManyRuns => format!("{RUNS} commands of yours run or wait already, and one user can have no more"),
        }
    }

    /// Whether the sentence reveals that the command exists, which a user who may not run it must not learn.
    pub fn tells_of_command(&self) -> bool {
        matches!(
            self,
            Self::Elevation(ElevationError::Command(CommandError::Hidden(_)))
                | Self::NotAllowed(_)
                | Self::NoGrant(_)
                | Self::OtherRole(..)
                | Self::Pending(..)
                | Self::Activation(_)
        )
    }

    /// Returns what happened in the words of the policy, for users who may read it; `None` where the sentence is complete.
    pub fn words(&self) -> Option<PolicyWords> {
        match self {
            Self::Host(error) | Self::Activation(ActivationError::Host(error)) => error.words(),
            Self::Judge(JudgeError::Index(error)) => Some(error.words()),
            _ => None,
        }
    }

    /// Returns whether it failed because something could not be stored, and why.
    pub fn unwritten(&self) -> Option<Unwritten> {
        match self {
            Self::Host(error) | Self::Activation(ActivationError::Host(error)) => error.unwritten(),
            Self::Start(StartError::Journal(error)) => error.unwritten(),
            _ => None,
        }
    }

    /// Returns further explanations, one line each.
    fn explanation(&self) -> Vec<String> {
        if let Self::Pending(refused, id, approvers) = self {
            let waits = format!("request {id} waits for the approval of {}", approvers.join(" or "));
            return refused.nearest().into_iter().chain([waits]).collect();
        }
        self.remark().into_iter().collect()
    }

    fn remark(&self) -> Option<String> {
        match self {
            Self::NotAllowed(refused) => {
                refused.denied.as_ref().map(|(role, rule)| format!("role {role} refuses it by the rule \"{rule}\""))
            }
            Self::NoGrant(refused) => {
                let names: Vec<&str> = refused.eligible.roles().iter().map(|role| role.name.as_str()).collect();
                let activate = || format!("you have no active grant; you may activate role {}", names.join(" or "));
                Some(refused.nearest().unwrap_or_else(activate))
            }
            Self::Hidden(_) => {
                Some("you may not look into its directory, so it is not reported whether it exists".to_owned())
            }
            Self::Editor(EditorError::Dashes(_)) => Some("editor arguments may not contain \"--\"".to_owned()),
            _ => None,
        }
    }

    /// Returns what to type.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoGrant(refused) => {
                let role = first_served(refused.eligible.roles(), refused.eligible.elevation())?;
                Some(request_line(role, refused.eligible.elevation()))
            }
            Self::Hidden(_) => Some(UNNAMED.to_owned()),
            Self::NotAllowed(refused) => Some(why_line(&refused.elevation)),
            Self::Activation(ActivationError::ReasonMissing(_)) => Some("add --reason 'WHY'".to_owned()),
            Self::Activation(ActivationError::Ticket(..)) => Some("add --ticket ID".to_owned()),
            Self::Activation(ActivationError::TooLong(_, _, most)) => {
                Some(format!("add --for {}", jit_core::clock::duration::spell(*most)))
            }
            Self::Activation(ActivationError::Unreviewed(id)) => {
                Some(format!("an approver of its role: jitctl review {id} --comment 'WHAT YOU FOUND'"))
            }
            Self::Activation(ActivationError::RoleChanged(role, _)) => {
                Some(format!("jitctl request --role {role} --reason 'WHY'"))
            }
            Self::Activation(ActivationError::NotGranted(id, ..)) => Some(format!("jitctl show {id}")),
            Self::Activation(ActivationError::Elsewhere { hint, .. }) => hint.clone(),
            Self::Activation(ActivationError::TooMany(_)) => Some("jitctl requests, then jitctl cancel ID".to_owned()),
            Self::OtherRole(_, roles) => roles.first().map(|role| format!("add --role {role}")),
            Self::Pending(_, id, _) | Self::Left(Left { at: LeftAt::Wait(id), .. }) => Some(format!(
                "run the command again when it is approved; jitctl show {id} shows its state, jitctl cancel {id} cancels it"
            )),
            Self::Left(Left { at: LeftAt::Request, .. }) => {
                Some("jitctl requests shows the request if it was stored".to_owned())
            }
            Self::Host(error) | Self::Activation(ActivationError::Host(error)) => {
                error.cure().map(|cure| format!("{AS_ROOT}{cure}"))
            }
            Self::Start(_) if self.unwritten() == Some(Unwritten::Full) => Some(format!("{AS_ROOT}{}", free_space())),
            Self::Launch(LaunchError::Program(ProgramFault::Script(path, _))) => {
                let words = [OsStr::new(console::name().as_str()), OsStr::new("sh"), path.as_os_str()];
                Some(format!("where your role allows its interpreter: {}", shell_line(words)))
            }
            Self::Launch(LaunchError::Endless(_)) => {
                Some(format!("{AS_ROOT}give this host or container CAP_KILL, or mount cgroup2 on /sys/fs/cgroup"))
            }
            Self::TooManyRuns => Some("wait until one has ended; jitctl session list shows them".to_owned()),
            Self::SyslogRequired => Some("start the syslog daemon, or set syslog = \"mirror\"".to_owned()),
            _ => None,
        }
    }

    /// Whether a user was denied, as opposed to a host that cannot serve or arguments that make no sense: such a denial is a
    /// `reject` record.
    pub fn is_rejection(&self, non_interactive: bool) -> bool {
        match self {
            // Scripts probe with -n whether a password is needed (sudo does not log that either).
            Self::Auth(AuthError::PasswordRequired) => !non_interactive,
            Self::NotAllowed(_)
            | Self::Hidden(_)
            | Self::NoGrant(_)
            | Self::Pending(..)
            | Self::OtherRole(..)
            | Self::Activation(_)
            | Self::Auth(_)
            | Self::Gate(_)
            | Self::Environment(_)
            | Self::Editor(_)
            | Self::Start(StartError::GrantEnded(_))
            | Self::SyslogRequired => true,
            // The host failed, or nothing was asked that could be permitted.
            Self::Usage(_)
            | Self::Sanitize(_)
            | Self::Host(_)
            | Self::Left(_)
            | Self::Elevation(_)
            | Self::Judge(_)
            | Self::Start(_)
            | Self::Session(_)
            | Self::Launch(_)
            | Self::NoRole(..)
            | Self::TooManyRuns => false,
        }
    }

    /// Returns how this process ends: by the signal with which the user has left, as a shell expects it.
    pub fn exit_status(&self) -> ExitStatus {
        match self {
            Self::Left(Left { signal: Some(signal), .. }) => ExitStatus::Signal(*signal),
            _ => ExitStatus::Code(1),
        }
    }

    /// Prints the refusal to standard error, in the words of the policy where `reader` may read them.
    pub fn tell(&self, reader: Option<&PolicyReader>, console: &mut Console) {
        let words = self.words();
        let whole = words.as_ref().zip(reader).map(|(words, reader)| words.told_to(reader));
        let sentence = whole.map_or_else(|| self.sentence(), str::to_owned);
        let mut text = match self {
            // sudo prints these without its name, and scripts rely on that.
            Self::NotAllowed(_) | Self::Hidden(_) | Self::NoGrant(_) | Self::Pending(..) | Self::NoRole(..) => {
                format!("{sentence}.\n")
            }
            Self::Usage(error) => error.report(console::name()),
            _ => console::line(sentence),
        };
        // sudo adds this sentence to both, and programs search for it.
        if let Self::Auth(AuthError::NoTerminal | AuthError::Account(_)) = self {
            text.push_str(&console::line("a password is required"));
        }
        for explanation in self.explanation() {
            text.push_str(&console::line(explanation));
        }
        if let Some(hint) = self.hint() {
            text.push_str(&format!("hint: {}\n", hint_for(reader, &hint)));
        }
        console.say(&text);
    }
}

/// The prefix of a hint that needs root.
const AS_ROOT: &str = "as root: ";

/// Returns a hint without the prefix "as root: " for root, and unchanged for other users.
pub fn hint_for<'h>(root: Option<&PolicyReader>, hint: &'h str) -> &'h str {
    hint.strip_prefix(AS_ROOT).filter(|_| root.is_some()).unwrap_or(hint)
}

/// How to request a command in a directory that the user may not look into.
pub const UNNAMED: &str =
    "ask for a role of yours without naming the command: jitctl request --role ROLE --reason 'WHY'";

/// Returns sudo's sentence.
fn sorry(elevation: &Elevation) -> String {
    let (caller, run_as) = (elevation.caller(), described(elevation.run_as()));
    sorry_about(caller.name().as_str(), &elevation.command().refused_words(), &run_as, caller.host())
}

/// Returns `root`, or `root:adm` with a group.
fn described(run_as: &RunAs) -> String {
    let group = run_as.group().map_or(String::new(), |group| format!(":{}", group.name));
    format!("{}{group}", run_as.name())
}

fn sorry_about(user: &str, words: &[Word], run_as: &str, host: &str) -> String {
    let line: Vec<String> = words.iter().map(Word::to_string).collect();
    format!("Sorry, user {user} is not allowed to execute '{}' as {run_as} on {host}", line.join(" "))
}

/// Returns the exact command line that requests a grant of `role` for this elevation.
pub fn request_line(role: &Role, elevation: &Elevation) -> String {
    let mut line = format!("jitctl request --role {}", role.name);
    if role.activation.require_justification {
        line.push_str(" --reason 'WHY'");
    }
    if role.activation.ticket.is_some() {
        line.push_str(" --ticket ID");
    }
    line.push_str(&about(elevation, &elevation.command().resolved_words()));
    line
}

/// Returns the exact command line that asks why this elevation is denied.
pub fn why_line(elevation: &Elevation) -> String {
    format!("jitctl why{}", about(elevation, &elevation.command().refused_words()))
}

/// Returns the options and arguments by which jitctl means this elevation: user, group, directory, variables, command.
fn about(elevation: &Elevation, command: &[Word]) -> String {
    let run_as = elevation.run_as();
    let mut line = String::new();
    let mut option = |flag: &str, value: &OsStr| line.push_str(&format!(" {flag} {}", shell_line([value])));
    if run_as.uid() != 0 || run_as.group().is_some() {
        option("-u", OsStr::new(run_as.name().as_str()));
    }
    if let Some(group) = run_as.group() {
        option("-g", OsStr::new(&group.name));
    }
    if let Some(directory) = &elevation.wish().directory {
        option("-D", directory.as_os_str());
    }
    let variables = elevation.environment().map(|callers| callers.named()).unwrap_or_default();
    line.push_str(" -- ");
    line.push_str(&shell_line(variables.iter().chain(command).map(Word::as_os_str)));
    line
}
