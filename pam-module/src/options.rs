//! The module's options in a PAM stack. An unknown option is an error: it might be the one that protects something.

use std::fmt;
use std::time::Duration;

/// The longest `wait=`, in seconds.
const LONGEST_WAIT: u64 = 3600;

/// The options of one line of a stack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Options {
    /// The role that has to be held.
    pub(crate) role: Wanted,
    /// Whether messages are shown to the user.
    pub(crate) speech: Speech,
    /// Whether every question and answer is logged to syslog.
    pub(crate) debug: bool,
    /// How long to wait for a pending request.
    pub(crate) wait: Duration,
}

/// The role that has to be held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// This one.
    Role(String),
    /// Any role.
    Any,
    /// The role that is named like the PAM service.
    Service,
}

/// Whether messages are shown to the user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Speech {
    /// Says what is missing, and how to request it.
    Helpful,
    /// Shows no messages.
    Quiet,
}

/// An invalid option; access is denied.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum OptionError {
    /// The option is unknown.
    Unknown(String),
    /// Its value is invalid.
    Value(String, &'static str),
    /// None, or more than one, of the options that name the role is given.
    Roles,
}

impl fmt::Display for OptionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(word) => write!(f, "unknown option '{word}'"),
            Self::Value(word, what) => write!(f, "option '{word}' needs {what}"),
            Self::Roles => f.write_str("exactly one of role=NAME, any_role and service_role must be given"),
        }
    }
}

impl Options {
    /// Parses the options.
    pub(crate) fn parse<'w>(words: impl IntoIterator<Item = &'w str>) -> Result<Self, OptionError> {
        let mut roles = Vec::new();
        let (mut speech, mut debug, mut wait) = (Speech::Helpful, false, Duration::ZERO);
        for word in words {
            match word.split_once('=') {
                None if word == "any_role" => roles.push(Wanted::Any),
                None if word == "service_role" => roles.push(Wanted::Service),
                None if word == "quiet" => speech = Speech::Quiet,
                None if word == "debug" => debug = true,
                Some(("role", "")) => return Err(OptionError::Value(word.to_owned(), "a name")),
                Some(("role", name)) => roles.push(Wanted::Role(name.to_owned())),
                Some(("wait", seconds)) => {
                    let seconds = seconds.parse().ok().filter(|seconds| (1..=LONGEST_WAIT).contains(seconds));
                    let wrong = || OptionError::Value(word.to_owned(), "seconds from 1 to 3600");
                    wait = Duration::from_secs(seconds.ok_or_else(wrong)?);
                }
                _ => return Err(OptionError::Unknown(word.to_owned())),
            }
        }
        match (roles.pop(), roles.pop()) {
            (Some(role), None) => Ok(Self { role, speech, debug, wait }),
            _ => Err(OptionError::Roles),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_options_of_the_manual_are_read() {
        let read = Options::parse(["role=web-ops", "quiet", "debug", "wait=60"]);
        let role = Wanted::Role("web-ops".to_owned());
        assert_eq!(read, Ok(Options { role, speech: Speech::Quiet, debug: true, wait: Duration::from_secs(60) }));
        assert_eq!(Options::parse(["any_role"]).map(|options| options.role), Ok(Wanted::Any));
        assert_eq!(Options::parse(["service_role"]).map(|options| options.role), Ok(Wanted::Service));
    }

    #[test]
    fn every_option_of_the_manual_is_understood() {
        let manual = include_str!("../../docs/man/pam_jit_sudo.8");
        let section = manual.split(".Sh OPTIONS").nth(1).unwrap().split(".Sh ").next().unwrap();
        let mut seen = 0;
        for head in section.lines().filter_map(|line| line.strip_prefix(".It Cm ")) {
            // `quiet` and `wait Ns = Ns Ar SECONDS`
            let (name, value) = head.split_once(' ').map_or((head, ""), |(name, _)| (name, "=7"));
            let word = format!("{name}{value}");
            let names_role = ["role", "any_role", "service_role"].contains(&name);
            let read = Options::parse(std::iter::once(word.as_str()).chain((!names_role).then_some("role=a")));
            assert!(read.is_ok(), "{head}: {read:?}");
            seen += 1;
        }
        assert_eq!(seen, 6, "as many as `parse` knows");
    }

    #[test]
    fn an_unknown_option_is_an_error() {
        for (words, error) in [
            (&["role=a", "sufficient"][..], "unknown option 'sufficient'"),
            (&["role=a", "Quiet"], "unknown option 'Quiet'"),
            (&["role=a", "quiet=yes"], "unknown option 'quiet=yes'"),
            (&["role="], "option 'role=' needs a name"),
            (&["role=a", "wait=0"], "option 'wait=0' needs seconds from 1 to 3600"),
            (&["role=a", "wait=-1"], "option 'wait=-1' needs seconds from 1 to 3600"),
            (
                &["role=a", "wait=99999999999999999999"],
                "option 'wait=99999999999999999999' needs seconds from 1 to 3600",
            ),
            (&[], "exactly one of role=NAME, any_role and service_role must be given"),
            (&["quiet"], "exactly one of role=NAME, any_role and service_role must be given"),
            (&["role=a", "role=a"], "exactly one of role=NAME, any_role and service_role must be given"),
            (&["any_role", "service_role"], "exactly one of role=NAME, any_role and service_role must be given"),
        ] {
            let read = Options::parse(words.iter().copied()).unwrap_err();
            assert_eq!(read.to_string(), error, "{words:?}");
        }
    }
}
