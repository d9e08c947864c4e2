//! One call into the module, from the words of the stack to its answer.

use std::ffi::c_int;
use std::fmt;

use crate::Facility;
use crate::door::{self, DoorError, PATIENCE};
use crate::handle::{Handle, Item, Loudness, PAM_SILENT, PAM_SUCCESS, Tone};
use crate::options::{OptionError, Options, Speech, Wanted};
use crate::question::{Holder, Membership, NoAnswer, Question, membership};

/// Why nobody could be asked, or nothing was answered. The user is not told: an administrator has to mend it.
#[derive(Debug)]
enum Trouble {
    Options(OptionError),
    Name(&'static str),
    Door(DoorError),
    Answer(NoAnswer),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Options(error) => error.fmt(f),
            Self::Name(what) => write!(f, "the program has set no {what} that is text"),
            Self::Door(error) => error.fmt(f),
            Self::Answer(error) => error.fmt(f),
        }
    }
}

/// The answer of the module.
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

fn judge(facility: Facility, handle: &Handle, flags: c_int, words: &[String]) -> Result<bool, Trouble> {
    let options = Options::parse(words.iter().map(String::as_str)).map_err(Trouble::Options)?;
    let matter = Matter {
        holder: holder(handle)?,
        role: role(&options, handle)?,
        heard: options.speech == Speech::Helpful && flags & PAM_SILENT == 0,
        // Before somebody is authenticated they learn nothing of what is pending.
        known: facility == Facility::Account,
        options,
        handle,
    };
    let mut found = matter.ask(0)?;
    if let (false, Some(request), false) = (found.holds, &found.pending, matter.options.wait.is_zero()) {
        matter.announce(request);
        found = matter.ask(matter.options.wait.as_secs())?;
    }
    if !found.holds {
        matter.refuse(&found);
    }
    Ok(found.holds)
}

/// Who has to hold the role: in a set-user-ID program (su, sudo) the one who called it, as the kernel says; in a program
/// without privilege (a screen locker) the user it speaks of, who must be its own; in one that root has started (sshd,
/// login) the user who comes in, unless the program tells of somebody on this host who asks for it.
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

/// Everything that one decision is made from.
struct Matter<'a> {
    handle: &'a Handle,
    options: Options,
    holder: Holder,
    role: Option<String>,
    heard: bool,
    known: bool,
}

impl Matter<'_> {
    fn ask(&self, wait: u64) -> Result<Membership, Trouble> {
        let question = Question::Membership { holder: &self.holder, role: self.role.as_deref(), wait };
        let question = question.encode().map_err(Trouble::Answer)?;
        self.debug("asked", &question);
        let patience = PATIENCE.saturating_add(std::time::Duration::from_secs(wait));
        let answer = door::ask(question, patience).map_err(Trouble::Door)?;
        self.debug("answered", &answer);
        membership(&answer).map_err(Trouble::Answer)
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
        if !self.heard {
            return;
        }
        self.handle.say(Tone::Refusal, &format!("jit-sudo: you have no active grant{of}"));
        let hint = match (&found.pending, &self.role) {
            (Some(request), _) if self.known => format!("jitctl show {}", request),
            (_, Some(role)) => format!("jitctl request --role {} --reason 'WHY'", role),
            (_, None) => "jitctl roles".to_owned(),
        };
        self.handle.say(Tone::Refusal, &format!("hint: {hint}"));
    }
}
