//! The errors of the parser of the command line, in the form of all other errors.

use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::clean::clean;
use crate::screen::Screen;
use crate::speech::{Exit, Notice, Trouble};

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
}
