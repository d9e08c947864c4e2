//! The texts of `-h`, `-V` and the usage, in sudo's layout, from the table of flags.

use super::flags::{Argument, FLAGS, Flag, NOT_FOR_EDITING, Support};

/// The name under which the program was called; the second one supports fewer flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CalledAs {
    /// `jit-sudo`, and any other name.
    JitSudo,
    /// `jit-sudoedit`, and any other name that ends in `edit`.
    JitSudoedit,
}

impl CalledAs {
    fn knows(self, flag: &Flag) -> bool {
        self == Self::JitSudo || !NOT_FOR_EDITING.contains(&flag.name)
    }
}

/// Returns the usage that follows an error: one line for each way to call the program.
pub fn usage(name: CalledAs) -> String {
    let text = match name {
        CalledAs::JitSudo => {
            "\
usage: jit-sudo -h | -K | -k | -V
usage: jit-sudo -v [-ABkNnS] [-g group] [-p prompt] [-u user]
usage: jit-sudo -l [-ABkNnS] [-g group] [-p prompt] [-U user] [-u user]
            [command [arg ...]]
usage: jit-sudo [-ABbEHkNnPS] [-C num] [-D directory] [-g group] [-p prompt]
            [-T timeout] [-u user] [--role role] [--for duration]
            [--reason text] [--ticket ticket] [--wait[=duration]]
            [--break-glass] [VAR=value] [-i | -s] [command [arg ...]]
usage: jit-sudo -e [-ABkNnS] [-C num] [-g group] [-p prompt] [-T timeout]
            [-u user] [--role role] [--for duration] [--reason text]
            [--ticket ticket] [--wait[=duration]] [--break-glass] file ...
"
        }
        CalledAs::JitSudoedit => {
            "\
usage: jit-sudoedit -h | -V
usage: jit-sudoedit [-ABkNnS] [-C num] [-g group] [-p prompt] [-T timeout]
            [-u user] [--role role] [--for duration] [--reason text]
            [--ticket ticket] [--wait[=duration]] [--break-glass] file ...
"
        }
    };
    text.to_owned()
}

/// Returns the full help, without flags that are not supported, or not under this name.
pub fn help(name: CalledAs) -> String {
    let title = match name {
        CalledAs::JitSudo => "jit-sudo - execute a command as another user",
        CalledAs::JitSudoedit => "jit-sudoedit - edit files as another user",
    };
    let mut text = format!("{title}\n\n{}\nOptions:\n", usage(name));
    for flag in FLAGS.iter().filter(|flag| flag.support == Support::Built && name.knows(flag)) {
        describe(&mut text, flag);
    }
    push_line(&mut text, "--", "stop processing command line arguments");
    text
}

/// Returns the version; programs read the first line.
pub fn version() -> String {
    format!("jit-sudo version {}\n", env!("CARGO_PKG_VERSION"))
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
