//! The texts of `-h`, `-V` and the usage, in sudo's layout, from the table of flags.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::flags::{Argument, FLAGS, Flag, NOT_FOR_EDITING, Support};

/// The name under which the program was called. Messages begin with it. Those for editing support fewer flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CalledAs {
    /// `jit-sudo`, and any other name.
    JitSudo,
    /// `jit-sudoedit`, and any other name that ends in `edit`.
    JitSudoedit,
    /// `sudo`: a link in the place of sudo.
    Sudo,
    /// `sudoedit`: a link in the place of sudoedit.
    Sudoedit,
}

impl CalledAs {
    /// Returns the mode for the program's name. Like sudo it treats any name that ends in `edit`, such as that of a link, as `-e`.
    #[must_use]
    pub fn of(program: &OsStr) -> Self {
        let name = Path::new(program).file_name().unwrap_or_default().as_bytes();
        match name {
            b"sudo" => Self::Sudo,
            b"sudoedit" => Self::Sudoedit,
            _ if name.len() > b"edit".len() && name.ends_with(b"edit") => Self::JitSudoedit,
            _ => Self::JitSudo,
        }
    }

    /// Returns the name for messages and the usage.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::JitSudo => "jit-sudo",
            Self::JitSudoedit => "jit-sudoedit",
            Self::Sudo => "sudo",
            Self::Sudoedit => "sudoedit",
        }
    }

    /// Whether this name means `-e`.
    #[must_use]
    pub fn edits(self) -> bool {
        matches!(self, Self::JitSudoedit | Self::Sudoedit)
    }

    fn knows(self, flag: &Flag) -> bool {
        !self.edits() || !NOT_FOR_EDITING.contains(&flag.name)
    }
}

/// Returns the usage that follows an error: one line for each way to call the program.
pub fn usage(name: CalledAs) -> String {
    let text = if name.edits() { EDIT_USAGE } else { USAGE };
    text.replace("NAME", name.as_str())
}

const USAGE: &str = "\
usage: NAME -h | -K | -k | -V
usage: NAME -v [-ABkNnS] [-g group] [-p prompt] [-u user]
usage: NAME -l [-ABkNnS] [-g group] [-p prompt] [-U user] [-u user]
            [command [arg ...]]
usage: NAME [-ABbEHkNnPS] [-C num] [-D directory] [-g group] [-p prompt]
            [-T timeout] [-u user] [--role role] [--for duration]
            [--reason text] [--ticket ticket] [--wait[=duration]]
            [--break-glass] [VAR=value] [-i | -s] [command [arg ...]]
usage: NAME -e [-ABkNnS] [-C num] [-g group] [-p prompt] [-T timeout]
            [-u user] [--role role] [--for duration] [--reason text]
            [--ticket ticket] [--wait[=duration]] [--break-glass] file ...
";

const EDIT_USAGE: &str = "\
usage: NAME -h | -V
usage: NAME [-ABkNnS] [-C num] [-g group] [-p prompt] [-T timeout]
            [-u user] [--role role] [--for duration] [--reason text]
            [--ticket ticket] [--wait[=duration]] [--break-glass] file ...
";

/// Returns the full help, without flags that are not supported, or not under this name.
pub fn help(name: CalledAs) -> String {
    let purpose = if name.edits() { "edit files as another user" } else { "execute a command as another user" };
    let mut text = format!("{} - {purpose}\n\n{}\nOptions:\n", name.as_str(), usage(name));
    for flag in FLAGS.iter().filter(|flag| flag.support == Support::Built && name.knows(flag)) {
        describe(&mut text, flag);
    }
    push_line(&mut text, "--", "stop processing command line arguments");
    text
}

/// Returns the version; programs read the first line. In the place of sudo that line is as sudo's, and the second one names the
/// product.
#[must_use]
pub fn version(name: CalledAs) -> String {
    let own = concat!("jit-sudo version ", env!("CARGO_PKG_VERSION"), "\n");
    match name {
        CalledAs::JitSudo | CalledAs::JitSudoedit => own.to_owned(),
        CalledAs::Sudo | CalledAs::Sudoedit => format!("Sudo version {}\n{own}", env!("CARGO_PKG_VERSION")),
    }
}

fn describe(text: &mut String, flag: &Flag) {
    let short = flag.short.map_or_else(|| "    ".to_owned(), |letter| format!("-{}, ", char::from(letter)));
    let long = flag.long.unwrap_or_default();
    match flag.argument {
        Argument::None => push_line(text, &format!("{short}--{long}"), flag.help),
        Argument::Required(value) => push_line(text, &format!("{short}--{long}={value}"), flag.help),
        Argument::Optional(value, help) => {
            push_line(text, &format!("{short}--{long}"), flag.help);
            push_line(text, &format!("    --{long}={value}"), help);
        }
    }
}

/// Appends a line with two columns: the second starts at column 32 and is wrapped at 80.
fn push_line(text: &mut String, left: &str, right: &str) {
    const COLUMN: usize = 32;
    const WIDTH: usize = 80;
    let mut line = format!("  {left:<width$}", width = COLUMN - 2);
    for word in right.split(' ') {
        if line.len() > COLUMN && line.len() + word.len() >= WIDTH {
            text.push_str(line.trim_end());
            text.push('\n');
            line = " ".repeat(COLUMN);
        }
        line.push_str(word);
        line.push(' ');
    }
    text.push_str(line.trim_end());
    text.push('\n');
}
