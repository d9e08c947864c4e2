//! Every error of jitctl: its message, its hint, its code for programs and its exit status.

use std::io;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use jit_core::wire::Failure;
use serde::Serialize;

use crate::broker::BrokerError;
use crate::screen::{Screen, clean};

/// The exit statuses; jitctl uses no others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Success.
    Done = 0,
    /// Refused or failed.
    Refused = 1,
    /// Wrong arguments.
    Usage = 2,
    /// The wait ended and the request is still pending.
    Pending = 3,
    /// `doctor` found nothing worse than warnings.
    Warned = 4,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// A message for stderr and a hint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Notice {
    /// A sentence fragment in lower case without full stop.
    pub(crate) message: String,
    /// The command to type.
    pub(crate) hint: Option<String>,
}

impl Notice {
    /// Returns a message without a hint.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None }
    }

    /// Returns the message with a hint.
    pub(crate) fn with_hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }
}

/// Why a verb failed.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// The broker refused, or gave no answer.
    Broker(BrokerError),
    /// The arguments contradict each other.
    Usage(Notice),
    /// It failed here, without the broker; the first field is the code for programs.
    Local(&'static str, Notice),
}

impl From<BrokerError> for Trouble {
    fn from(error: BrokerError) -> Self {
        Self::Broker(error)
    }
}

/// The form of an error for programs: `{"error":{…}}`.
#[derive(Debug, Serialize)]
pub(crate) struct ErrorObject {
    error: Failure,
}

impl Trouble {
    /// Returns its exit status.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Broker(BrokerError::Refused(failure)) if failure.exit == 2 => Exit::Usage,
            Self::Broker(_) | Self::Local(..) => Exit::Refused,
            Self::Usage(_) => Exit::Usage,
        }
    }

    /// Returns the lines for people.
    pub(crate) fn notice(&self) -> Notice {
        match self {
            Self::Broker(BrokerError::Refused(failure)) => {
                Notice { message: failure.message.clone(), hint: failure.hint.clone() }
            }
            Self::Broker(error @ BrokerError::Start { error: cause, .. })
                if matches!(cause.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied) =>
            {
                Notice::new(error.to_string())
                    .with_hint("jit-sudo is not installed completely on this host; see its README")
            }
            Self::Broker(error) => Notice::new(error.to_string()),
            Self::Usage(notice) | Self::Local(_, notice) => notice.clone(),
        }
    }

    /// Returns the object for programs.
    pub(crate) fn object(&self) -> ErrorObject {
        let Notice { message, hint } = self.notice();
        ErrorObject { error: Failure { code: self.code().to_owned(), message, hint, exit: self.exit() as u8 } }
    }

    fn code(&self) -> &str {
        match self {
            Self::Broker(BrokerError::Refused(failure)) => &failure.code,
            Self::Broker(BrokerError::Start { .. }) => "no-broker",
            Self::Broker(BrokerError::TooLongAsked(_)) => "too-long",
            Self::Broker(_) => "broker-failed",
            Self::Usage(_) => "usage",
            Self::Local(code, _) => code,
        }
    }
}

/// Prints the parser's output: help and version on stdout, errors in our own style.
pub(crate) fn answer_parser(error: clap::Error, screen: &Screen) -> ExitCode {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            // A closed stdout is no error here either.
            let _ = error.print();
            Exit::Done
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let _ = error.print();
            Exit::Usage
        }
        _ => screen.complain(&Trouble::Usage(parser_notice(&error))),
    }
    .into()
}

/// Returns the parser's first paragraph as one line; the hint is its suggestion, or where the help is.
fn parser_notice(error: &clap::Error) -> Notice {
    let rendered = error.render().to_string();
    let paragraph = rendered.split("\n\n").next().unwrap_or_default();
    let line: Vec<&str> = paragraph.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let message = line.join(" ");
    let message = message.strip_prefix("error: ").unwrap_or(&message);
    Notice::new(clean(message)).with_hint(suggestion(error).unwrap_or_else(|| format!("{} --help", verb_of(&rendered))))
}

fn suggestion(error: &clap::Error) -> Option<String> {
    // The parser sorts similar names, the nearest last.
    let kinds = [ContextKind::SuggestedArg, ContextKind::SuggestedSubcommand, ContextKind::SuggestedValue];
    kinds.iter().find_map(|kind| match error.get(*kind)? {
        ContextValue::String(word) => Some(format!("did you mean '{word}'?")),
        ContextValue::Strings(words) => Some(format!("did you mean '{}'?", words.last()?)),
        _ => None,
    })
}

/// Extracts `jitctl audit list` from the line `Usage: jitctl audit list [OPTIONS]`, so that the hint can be typed.
fn verb_of(rendered: &str) -> String {
    let usage = rendered.lines().find_map(|line| line.strip_prefix("Usage: ")).unwrap_or("jitctl");
    let words = usage.split(' ').take_while(|word| word.bytes().all(|byte| byte.is_ascii_lowercase()));
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;
    use crate::cli::Cli;

    fn notice(words: &[&str]) -> Notice {
        let words: Vec<OsString> = std::iter::once("jitctl").chain(words.iter().copied()).map(OsString::from).collect();
        parser_notice(&Cli::parse_words(&words).unwrap_err())
    }

    #[test]
    fn usage_errors_are_one_line_and_a_hint_to_type() {
        let missing = notice(&["deny", "abc"]);
        assert_eq!(missing.message, "the following required arguments were not provided: --reason <TEXT>");
        assert_eq!(missing.hint.as_deref(), Some("jitctl deny --help"));
        assert_eq!(notice(&["audit", "list", "x"]).hint.as_deref(), Some("jitctl audit list --help"));
    }

    #[test]
    fn a_near_miss_is_suggested() {
        assert_eq!(notice(&["aprove", "abc"]).hint.as_deref(), Some("did you mean 'approve'?"));
        assert_eq!(notice(&["grants", "--al"]).hint.as_deref(), Some("did you mean '--all'?"));
    }

    #[test]
    fn typed_text_is_escaped() {
        let message = notice(&["show", "\x1b[2J"]).message;
        assert!(message.contains("\\x1b[2J") && !message.contains('\x1b'), "{message:?}");
    }

    #[test]
    fn only_the_documented_exit_statuses_are_used() {
        for (said, exit) in [(0, Exit::Refused), (1, Exit::Refused), (2, Exit::Usage), (77, Exit::Refused)] {
            let failure = Failure { code: "x".into(), message: "x".into(), hint: None, exit: said };
            assert_eq!(Trouble::from(BrokerError::Refused(failure)).exit(), exit);
        }
    }
}
