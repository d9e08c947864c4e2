//! The output of jitctl: answers on stdout, everything else on stderr. All output is escaped.

use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;

use jit_core::escape::escape;
use serde::Serialize;

use crate::clean::clean;
use crate::output::Output;
use crate::speech::{Exit, Notice, Trouble};
use crate::surface::{Surface, Tone};
use crate::when;

/// The format of the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// Text for people.
    Text,
    /// One JSON object for programs.
    Json,
}

/// How long the lines of a listing may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Width {
    /// As long as the terminal is wide; of any length where there is none.
    OfTerminal,
    /// Of any length.
    Any,
}

/// The streams, the format and the time of this call.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Screen {
    /// The format of answers.
    pub(crate) format: Format,
    /// The kind of stdout.
    pub(crate) out: Surface,
    /// The kind of stderr.
    pub(crate) err: Surface,
    /// The columns of the terminal behind stdout; `None` where lines may have any length.
    pub(crate) width: Option<u16>,
    /// When the call began, in seconds since 1970.
    pub(crate) now: i64,
}

/// The answer of one verb, in both formats, with its exit status.
#[derive(Debug)]
pub(crate) struct Report {
    /// For programs.
    pub(crate) output: Output,
    /// For people: complete lines, escaped; may be empty.
    pub(crate) text: String,
    /// The exit status of the call.
    pub(crate) exit: Exit,
    /// The message on stderr, if any.
    pub(crate) notice: Option<Notice>,
}

impl Report {
    /// Returns a report of success.
    pub(crate) fn done(output: Output, text: String) -> Self {
        Self { output, text, exit: Exit::Done, notice: None }
    }

    /// Returns the same report with another status.
    pub(crate) fn ended(self, exit: Exit) -> Self {
        Self { exit, ..self }
    }

    /// Returns the same report with another status and a message on stderr.
    pub(crate) fn but(self, exit: Exit, notice: Notice) -> Self {
        Self { exit, notice: Some(notice), ..self }
    }
}

impl Screen {
    /// Returns the streams of this process.
    pub(crate) fn of_process(format: Format, width: Width) -> Self {
        let out = Surface::of(io::stdout().is_terminal());
        Self {
            format,
            out,
            width: (out.is_terminal() && width == Width::OfTerminal).then(columns),
            err: Surface::of(io::stderr().is_terminal()),
            now: when::now(),
        }
    }

    /// Prints a report and returns its status, or [`Exit::Refused`] if stdout fails.
    pub(crate) fn show(&self, report: &Report) -> Exit {
        let printed = match self.format {
            Format::Text => self.print(&report.text),
            Format::Json => self.print(&json_line(&report.output)),
        };
        if let Some(notice) = &report.notice {
            self.note(notice);
        }
        if let Err(exit) = printed { exit } else { report.exit }
    }

    /// Reports an error; programs get it as an object on stdout too.
    pub(crate) fn complain(&self, trouble: &Trouble) -> Exit {
        let exit = trouble.exit();
        if self.format == Format::Json
            && let Err(exit) = self.print(&json_line(&trouble.object()))
        {
            return exit;
        }
        self.note(&trouble.notice());
        exit
    }

    /// Prints one line with our prefix on stderr, and the hint below it.
    pub(crate) fn note(&self, notice: &Notice) {
        self.speak(notice, Tone::Plain);
    }

    /// Prints several lines that derive from input, escaped and quoted.
    pub(crate) fn tell(&self, lines: &str) {
        let lines: String = lines.lines().map(|line| format!("{}\n", typeable(line))).collect();
        let _ = io::stderr().write_all(lines.as_bytes()); // if stderr is closed, there is nowhere to report that
    }

    /// Prints the same in red, if stderr has colours: what is shown is not trusted.
    pub(crate) fn alarm(&self, notice: &Notice) {
        self.speak(notice, Tone::Bad);
    }

    fn speak(&self, notice: &Notice, tone: Tone) {
        let mut text = format!("jitctl: {}\n", tone.paint(&clean(&notice.message), self.err));
        if let Some(hint) = &notice.hint {
            text.push_str(&format!("hint: {}\n", typeable(hint)));
        }
        // If stderr is closed, there is nowhere to report that.
        let _ = io::stderr().write_all(text.as_bytes());
    }

    /// Prints text on stdout. A reader that closed the pipe (`| head`) is no error.
    pub(crate) fn print(&self, text: &str) -> Result<(), Exit> {
        let mut stdout = io::stdout().lock();
        match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            Err(error) => {
                self.note(&Notice::new(format!("cannot write to stdout: {}", sys::plain_words(&error))));
                Err(Exit::Refused)
            }
        }
    }
}

/// Returns the columns of the terminal behind stdout. A terminal without a known size reports 0.
fn columns() -> u16 {
    sys::terminal::window(io::stdout().as_fd())
        .ok()
        .map(|size| size.columns)
        .filter(|columns| *columns > 0)
        .unwrap_or(80)
}

/// Escapes a line that the user is to type; its backslashes belong to the shell.
fn typeable(line: &str) -> String {
    if clean(&line.replace('\\', "")) == line.replace('\\', "") { line.to_owned() } else { escape(line.as_bytes()) }
}

/// Returns one line of JSON without characters that control a terminal: what [`escape`] would escape is written as
/// `\uNNNN`.
fn json_line(value: &impl Serialize) -> String {
    let plain = serde_json::to_string(value).unwrap_or_else(|_| "{}".to_owned());
    let mut line = String::with_capacity(plain.len() + 1);
    for character in plain.chars() {
        let mut buffer = [0; 4];
        if character == '\u{7f}' || (!character.is_ascii() && is_unprintable(character.encode_utf8(&mut buffer))) {
            for unit in character.encode_utf16(&mut [0; 2]) {
                line.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            line.push(character);
        }
    }
    line.push('\n');
    line
}

fn is_unprintable(character: &str) -> bool {
    escape(character.as_bytes()) != character
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn untrusted_text_cannot_move_the_cursor() {
        assert_eq!(clean("a\x1b[2Jb\n"), "a\\x1b[2Jb\\x0a");
        assert_eq!(clean("a\u{202e}b"), "a\\xe2\\x80\\xaeb");
    }

    #[test]
    fn escaped_text_is_not_escaped_twice() {
        for text in ["plain", "a\\x1bb", "C:\\\\dir", "grün", "gr\\xc3\\xbcn"] {
            assert_eq!(clean(text), text);
        }
        assert_eq!(clean("DOMAIN\\user"), "DOMAIN\\\\user");
        assert_eq!(clean("\\x1b\x1b"), "\\\\x1b\\x1b", "one raw character makes all of it raw");
    }

    #[test]
    fn a_line_to_be_typed_keeps_only_its_backslashes() {
        for line in [r"jitctl why -- 'it'\''s' 'a\b' $'\x1b'", "remove line 3 of /home/bob/grün"] {
            assert_eq!(typeable(line), line);
        }
        assert_eq!(typeable("a\\b\x1b[2J"), "a\\\\b\\x1b[2J");
    }

    #[test]
    fn json_keeps_its_meaning_and_contains_no_control_character() {
        let text = "\u{9b}31m\u{7f}\u{202e}\u{e0001}é\n";
        let line = json_line(&text);
        assert_eq!(serde_json::from_str::<String>(&line).unwrap(), text);
        assert!(!line.trim_end().chars().any(|c| c.is_control() || c == '\u{202e}' || c == '\u{e0001}'), "{line}");
        assert!(line.contains('é'));
    }
}
