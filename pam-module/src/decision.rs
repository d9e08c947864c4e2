//! One call into the module, from its options to its result.

use std::ffi::c_int;
use std::fmt;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use crate::Facility;
use crate::broker::{self, BrokerError, PATIENCE};
use crate::handle::{Handle, Item, Loudness, NotKept, PAM_SESSION_ERR, PAM_SILENT, PAM_SUCCESS, Tone};
use crate::options::{OptionError, Options, Speech, Wanted};
use crate::question::{Begun, Holder, Membership, NoAnswer, Question, membership, session};
use crate::session::{Session, logind_runs};

/// Why the question could not be asked or answered. An administrator has to fix it, so the user is not told the reason.
#[derive(Debug)]
enum Trouble {
    Options(OptionError),
    Name(&'static str),
    Broker(BrokerError),
    Answer(NoAnswer),
    Unprivileged,
    Kept,
}

impl From<NotKept> for Trouble {
    fn from(_: NotKept) -> Self {
        Self::Kept
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Options(error) => error.fmt(f),
            Self::Name(what) => write!(f, "the program has not set {what} to a UTF-8 text"),
            Self::Broker(error) => error.fmt(f),
            Self::Answer(error) => error.fmt(f),
            Self::Unprivileged => f.write_str("only a program that runs as root can open a session"),
            Self::Kept => f.write_str("libpam cannot store the data of the session"),
        }
    }
}

/// Returns the result of the module.
pub(crate) fn decide(facility: Facility, handle: &Handle, flags: c_int, words: &[String]) -> c_int {
    match judge(facility, handle, flags, words) {
        Ok(true) => PAM_SUCCESS,
        Ok(false) => facility.denied(),
        Err(trouble) => {
            handle.log(Loudness::Error, &format!("denied: {trouble}"));
            facility.denied()
        }
    }
}

/// Closes a session that was opened here; succeeds where there is none.
pub(crate) fn close(handle: &Handle) -> c_int {
    match handle.take().map(Session::close) {
        None | Some(Ok(())) => PAM_SUCCESS,
        Some(Err(error)) => {
            handle.log(Loudness::Error, &format!("the end of the session was not confirmed: {error}"));
            PAM_SESSION_ERR
        }
    }
}

fn judge(facility: Facility, handle: &Handle, flags: c_int, words: &[String]) -> Result<bool, Trouble> {
    let options = Options::parse(words.iter().map(String::as_str)).map_err(Trouble::Options)?;
    let context = DecisionContext {
        holder: holder(handle)?,
        role: role(&options, handle)?,
        heard: options.speech == Speech::Helpful && flags & PAM_SILENT == 0,
        // Before the user is authenticated, they learn nothing about pending requests.
        known: facility != Facility::Auth,
        options,
        handle,
    };
    if facility == Facility::Session {
        return context.open();
    }
    let mut found = match context.ask(0) {
        // Before the user is authenticated, they do not learn whether the account exists or what is wrong with it.
        Err(trouble @ Trouble::Answer(NoAnswer::Refused(_))) if !context.known => {
            handle.log(Loudness::Error, &format!("denied: {trouble}"));
            context.say_not_held(&Membership::default());
            return Ok(false);
        }
        found => found?,
    };
    if let (false, Some(request), false) = (found.holds, &found.pending, context.options.wait.is_zero()) {
        context.announce(request);
        found = context.ask(context.options.wait.as_secs())?;
    }
    if !found.holds {
        context.refuse(&found);
    }
    Ok(found.holds)
}

/// Returns who has to hold the role: in a set-user-ID program (su, sudo) the user who called it, as the kernel reports; in a
/// program without privileges (a screen locker) the user that it names, who must be its own; in one that root has started (sshd,
/// login) the user who logs in, unless the program names a requesting user on this host.
fn holder(handle: &Handle) -> Result<Holder, Trouble> {
    // SAFETY: both take nothing and cannot fail.
    let (real, effective) = unsafe { (libc::getuid(), libc::geteuid()) };
    if effective == 0 && real != 0 {
        return Ok(Holder::Uid(real));
    }
    if effective == 0
        && text(handle, Item::RemoteHost, "PAM_RHOST")?.is_none()
        && let Some(asker) = text(handle, Item::RemoteUser, "PAM_RUSER")?
    {
        return Ok(Holder::User(asker));
    }
    handle.user().map(Holder::User).map_err(|_| Trouble::Name("PAM_USER"))
}

fn role(options: &Options, handle: &Handle) -> Result<Option<String>, Trouble> {
    match &options.role {
        Wanted::Any => Ok(None),
        Wanted::Role(name) => Ok(Some(name.clone())),
        Wanted::Service => text(handle, Item::Service, "PAM_SERVICE")?.map(Some).ok_or(Trouble::Name("PAM_SERVICE")),
    }
}

fn text(handle: &Handle, item: Item, name: &'static str) -> Result<Option<String>, Trouble> {
    handle.item(item).map_err(|_| Trouble::Name(name))
}

/// What one decision is based on.
struct DecisionContext<'a> {
    handle: &'a Handle,
    options: Options,
    holder: Holder,
    role: Option<String>,
    heard: bool,
    known: bool,
}

impl DecisionContext<'_> {
    fn ask(&self, wait: u64) -> Result<Membership, Trouble> {
        let question = Question::Membership { holder: &self.holder, role: self.role.as_deref(), wait };
        let (answer, _) = self.put(&question, Duration::from_secs(wait))?;
        membership(&answer).map_err(Trouble::Answer)
    }

    fn put(&self, question: &Question<'_>, wait: Duration) -> Result<(Vec<u8>, UnixStream), Trouble> {
        let question = question.encode().map_err(Trouble::Answer)?;
        self.debug("asked", &question);
        let (answer, line) = broker::ask(question, PATIENCE.saturating_add(wait)).map_err(Trouble::Broker)?;
        self.debug("answered", &answer);
        Ok((answer, line))
    }

    /// Opens a session, and passes its run id and its duration on to the modules that set it up.
    fn open(&self) -> Result<bool, Trouble> {
        // SAFETY: takes nothing and cannot fail.
        if unsafe { libc::geteuid() } != 0 {
            return Err(Trouble::Unprivileged);
        }
        let user = self.handle.user().map_err(|_| Trouble::Name("PAM_USER"))?;
        let service = text(self.handle, Item::Service, "PAM_SERVICE")?.unwrap_or_default();
        let tty = text(self.handle, Item::Terminal, "PAM_TTY")?;
        let remote = text(self.handle, Item::RemoteHost, "PAM_RHOST")?;
        let question = Question::OpenSession {
            holder: &self.holder,
            role: self.role.as_deref(),
            run_as: &user,
            service: &service,
            tty: tty.as_deref(),
            remote: remote.as_deref(),
            pid: i32::try_from(std::process::id()).unwrap_or_default(),
        };
        let (answer, line) = self.put(&question, Duration::ZERO)?;
        let begun = match session(&answer) {
            Err(NoAnswer::NotHeld) => {
                self.refuse(&Membership::default());
                return Ok(false);
            }
            answer => answer.map_err(Trouble::Answer)?,
        };
        let session = Session::on(line, &begun.run);
        match self.announce_session(&begun) {
            Ok(()) => self.handle.keep(session)?,
            Err(error) => {
                // Nothing has started yet that would have to be ended.
                let _ = session.close();
                return Err(error.into());
            }
        }
        Ok(true)
    }

    fn announce_session(&self, begun: &Begun) -> Result<(), NotKept> {
        self.handle.set_variable("JIT_SUDO_RUN", &begun.run)?;
        if let Some(grant) = &begun.grant {
            self.handle.set_variable("JIT_SUDO_GRANT", grant)?;
        }
        match begun.left {
            // pam_systemd(8), which comes later in the stack, passes it to logind. The extra second lets the supervisor act first.
            Some(left) if logind_runs() => self.handle.leave(c"systemd.runtime_max_sec", &(left + 1).to_string()),
            _ => Ok(()),
        }
    }

    fn debug(&self, what: &str, bytes: &[u8]) {
        if self.options.debug {
            self.handle.log(Loudness::Debug, &format!("{what}: {}", String::from_utf8_lossy(bytes)));
        }
    }

    fn announce(&self, request: &str) {
        if self.heard && self.known {
            let seconds = self.options.wait.as_secs();
            let line = format!("jit-sudo: waiting at most {seconds} s for the approval of request {request}");
            self.handle.say(Tone::Information, &line);
        }
    }

    fn refuse(&self, found: &Membership) {
        let of = self.role.as_ref().map(|role| format!(" of role {}", role)).unwrap_or_default();
        let who = match &self.holder {
            Holder::User(name) => format!("user {}", name),
            Holder::Uid(uid) => format!("uid {uid}"),
        };
        self.handle.log(Loudness::Notice, &format!("denied: {who} has no active grant{of}"));
        self.say_not_held(found);
    }

    fn say_not_held(&self, found: &Membership) {
        if !self.heard {
            return;
        }
        let of = self.role.as_ref().map(|role| format!(" of role {}", role)).unwrap_or_default();
        self.handle.say(Tone::Refusal, &format!("jit-sudo: you have no active grant{of}"));
        let hint = match (&found.pending, &self.role) {
            (Some(request), _) if self.known => format!("jitctl show {}", request),
            (_, Some(role)) => format!("jitctl request --role {} --reason 'WHY'", role),
            (_, None) => "jitctl roles".to_owned(),
        };
        self.handle.say(Tone::Refusal, &format!("hint: {hint}"));
    }
}
