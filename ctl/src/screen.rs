//! What jitctl shows: answers on stdout, everything else on stderr. Nothing is printed that was not escaped.

use std::io::{self, IsTerminal, Write};

use jit_core::escape::{escape, unescape};
use serde::Serialize;

use crate::output::Output;
use crate::speech::{Exit, Notice, Trouble};
use crate::table::Tone;
use crate::when;

/// How the answer is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// For programs: one object.
    Json,
}

/// What a stream leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Surface {
    /// A file or another program.
    Pipe,
    /// A terminal that can do no more than print lines.
    Dumb,
    /// A terminal without colours (NO_COLOR).
    Plain,
    /// A terminal.
    Colour,
}

impl Surface {
    fn of(is_terminal: bool) -> Self {
        let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        if !is_terminal {
            Self::Pipe
        } else if std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb") {
            Self::Dumb
        } else if set("NO_COLOR") {
            Self::Plain
        } else {
            Self::Colour
        }
    }

    /// True when somebody looks at it.
    pub(crate) fn is_terminal(self) -> bool {
        self != Self::Pipe
    }
}

/// Both streams, the format and the time of this call.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Screen {
    /// How answers are printed.
    pub(crate) format: Format,
    /// Where answers go.
    pub(crate) out: Surface,
    /// Where everything else goes.
    pub(crate) err: Surface,
    /// Seconds since 1970 when the call began.
    pub(crate) now: i64,
}

/// The answer of one verb, in both forms, with the exit status that goes with it.
#[derive(Debug)]
pub(crate) struct Report {
    /// For programs.
    pub(crate) output: Output,
    /// For people: whole lines, escaped; may be empty.
    pub(crate) text: String,
    /// The status of the call.
    pub(crate) exit: Exit,
    /// What goes to stderr besides.
    pub(crate) notice: Option<Notice>,
}

impl Report {
    /// A report of something done.
    pub(crate) fn done(output: Output, text: String) -> Self {
        Self { output, text, exit: Exit::Done, notice: None }
    }

    /// The same with another status and a line on stderr.
    pub(crate) fn but(self, exit: Exit, notice: Notice) -> Self {
        Self { exit, notice: Some(notice), ..self }
    }
}

impl Screen {
    /// The streams of this process.
    pub(crate) fn of_process(format: Format) -> Self {
        Self {
            format,
            out: Surface::of(io::stdout().is_terminal()),
            err: Surface::of(io::stderr().is_terminal()),
            now: when::now(),
        }
    }

    /// Prints a report; the status is the report's, or [`Exit::Refused`] when stdout fails.
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

    /// Says what went wrong; programs get it as an object on stdout too.
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

    /// One line with our prefix on stderr, and the hint below it.
    pub(crate) fn note(&self, notice: &Notice) {
        self.speak(notice, Tone::Plain);
    }

    /// Several lines that follow from what was read, escaped and quoted.
    pub(crate) fn tell(&self, lines: &str) {
        let lines: String = lines.lines().map(|line| format!("{}\n", typeable(line))).collect();
        let _ = io::stderr().write_all(lines.as_bytes()); // as below
    }

    /// The same in red, where stderr has colours: nobody vouches for what is shown.
    pub(crate) fn alarm(&self, notice: &Notice) {
        self.speak(notice, Tone::Bad);
    }

    fn speak(&self, notice: &Notice, tone: Tone) {
        let mut text = format!("jitctl: {}\n", tone.paint(&clean(&notice.message), self.err));
        if let Some(hint) = &notice.hint {
            text.push_str(&format!("hint: {}\n", typeable(hint)));
        }
        // Nobody is left to hear that stderr is gone.
        let _ = io::stderr().write_all(text.as_bytes());
    }

    /// Prints text on stdout. A reader that went away (`| head`) is no error.
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

/// A text that others wrote, fit for one line of a terminal. What is an escaped text already stays as it is.
pub(crate) fn clean(text: &str) -> String {
    let between = text.replace('\\', "");
    if unescape(text).is_some() && escape(between.as_bytes()) == between {
        text.to_owned()
    } else {
        escape(text.as_bytes())
    }
}

/// A line to be typed, fit for a terminal: its backslashes are the shell's.
fn typeable(line: &str) -> String {
    if clean(&line.replace('\\', "")) == line.replace('\\', "") { line.to_owned() } else { escape(line.as_bytes()) }
}

/// One line of JSON whose characters a terminal cannot obey: what [`escape`] would escape is written as `\uNNNN`.
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
    fn foreign_text_cannot_move_the_cursor() {
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
    fn a_line_to_be_typed_keeps_its_backslashes_and_nothing_else() {
        for line in [r"jitctl why -- 'it'\''s' 'a\b' $'\x1b'", "remove line 3 of /home/bob/grün"] {
            assert_eq!(typeable(line), line);
        }
        assert_eq!(typeable("a\\b\x1b[2J"), "a\\\\b\\x1b[2J");
    }

    #[test]
    fn json_keeps_its_meaning_and_holds_no_control_character() {
        let text = "\u{9b}31m\u{7f}\u{202e}\u{e0001}é\n";
        let line = json_line(&text);
        assert_eq!(serde_json::from_str::<String>(&line).unwrap(), text);
        assert!(!line.trim_end().chars().any(|c| c.is_control() || c == '\u{202e}' || c == '\u{e0001}'), "{line}");
        assert!(line.contains('é'));
    }
}
