//! Which options give power, and the intersection of two sets of them: a grant runs under the stricter of what the role
//! allowed when it was approved and allows now.

use std::path::PathBuf;

use serde_json::{Map, Value};

use super::{Options, Rlimit, RunDirectory, Umask};
use crate::clock::duration::Seconds;

/// How a caller is authenticated and what is said to them: the present policy decides that alone.
const POWERLESS: [&str; 12] = [
    "rootpw",
    "targetpw",
    "timestamp_timeout",
    "timestamp_type",
    "passwd_tries",
    "passwd_timeout",
    "passprompt",
    "passprompt_override",
    "badpass_message",
    "lecture",
    "lecture_file",
    "pam_login_service",
];

/// An option that gives power where it is not as usual, and is written down only there: the texts of roles, and their digests, are
/// older than it.
const LATER: &str = "set_logname";

impl Options {
    /// Returns every option that gives power, set or not.
    pub(in crate::policy) fn powers(&self) -> Map<String, Value> {
        let mut fields = self.fields();
        fields.retain(|key, value| match key.as_str() {
            LATER => *value == Value::Bool(false),
            key => !POWERLESS.contains(&key),
        });
        fields
    }

    /// Returns options that allow no more than `self` and no more than `other`; `None` if nothing is allowed by both.
    /// Options without power are those of `self`, and so are the lists of variables that are dropped: each of the two
    /// roles is asked about a variable ([`VariableRules`](crate::policy::VariableRules)).
    pub(in crate::policy) fn narrowed(&self, other: &Self) -> Option<Self> {
        let secure_path: Vec<PathBuf> = common(&self.secure_path, &other.secure_path);
        if secure_path.is_empty() {
            return None;
        }
        Some(Self {
            env_reset: self.env_reset || other.env_reset,
            env_keep: common(&self.env_keep, &other.env_keep),
            secure_path,
            set_logname: self.set_logname || other.set_logname,
            set_home: self.set_home || other.set_home,
            always_set_home: self.always_set_home || other.always_set_home,
            umask: self.umask.narrowed(other.umask),
            umask_override: self.umask_override && other.umask_override,
            use_pty: self.use_pty || other.use_pty,
            runcwd: directory(self.runcwd.as_ref(), other.runcwd.as_ref())?,
            closefrom: self.closefrom.min(other.closefrom),
            closefrom_override: self.closefrom_override && other.closefrom_override,
            command_timeout: limit(self.command_timeout, other.command_timeout),
            user_command_timeouts: self.user_command_timeouts && other.user_command_timeouts,
            rlimits: self.narrowed_limits(other),
            requiretty: self.requiretty || other.requiretty,
            editor: common(&self.editor, &other.editor),
            env_editor: self.env_editor && other.env_editor,
            ..self.clone()
        })
    }

    fn narrowed_limits(&self, other: &Self) -> std::collections::BTreeMap<String, Rlimit> {
        let mut limits = other.rlimits.clone();
        for (name, limit) in &self.rlimits {
            let narrower = limits.get(name).map_or(*limit, |other| limit.narrowed(*other));
            limits.insert(name.clone(), narrower);
        }
        limits
    }
}

impl Umask {
    /// Returns a mask with the bits of both; the caller's own mask applies if one of them leaves it alone.
    fn narrowed(self, other: Self) -> Self {
        match (self.bits(), other.bits()) {
            (Some(one), Some(two)) => Self(one | two),
            (Some(_), None) => self,
            (None, _) => other,
        }
    }
}

impl Rlimit {
    /// For people: the lower of two numbers; a number rather than the system's or the caller's own, which a run also keeps to.
    fn narrowed(self, other: Self) -> Self {
        match (self, other) {
            (Self::Limit { soft, hard }, Self::Limit { soft: other_soft, hard: other_hard }) => {
                Self::Limit { soft: soft.min(other_soft), hard: hard.min(other_hard) }
            }
            (limit @ Self::Limit { .. }, _) | (_, limit @ Self::Limit { .. }) => limit,
            (Self::Caller, Self::Caller) => Self::Caller,
            _ => Self::Default,
        }
    }
}

/// Returns the stricter of two rules for the working directory; the outer `None` if they have no directory in common.
#[allow(clippy::option_option, reason = "the inner one is the absence of the key, which has a meaning")]
fn directory(one: Option<&RunDirectory>, two: Option<&RunDirectory>) -> Option<Option<RunDirectory>> {
    let choice = Some(&RunDirectory::CallersChoice);
    match (one, two) {
        (one, two) if one == two => Some(one.cloned()),
        (one, two) if one == choice => Some(two.cloned()),
        (one, two) if two == choice => Some(one.cloned()),
        _ => None,
    }
}

/// Returns the lower limit; zero is no limit.
fn limit(one: Seconds, two: Seconds) -> Seconds {
    match (one, two) {
        (Seconds::ZERO, limit) | (limit, Seconds::ZERO) => limit,
        (one, two) => one.min(two),
    }
}

/// Returns what both lists contain, in the order of the first.
fn common<T: PartialEq + Clone>(one: &[T], two: &[T]) -> Vec<T> {
    one.iter().filter(|entry| two.contains(entry)).cloned().collect()
}
