//! Runs one behaviour with one of the two programs, and returns the result in a form that both share.

use std::any::Any;
use std::fs;
use std::os::unix::fs::chown;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use harness::{Person, PrivateRoot, PtySession, Run, Status};

use super::behaviour::{Behaviour, Step};

/// The results that are compared.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    /// How the script ended; `None` when it did not, or not as the user at the terminal expected.
    pub(super) status: Option<Status>,
    /// Standard output; on a terminal, everything that was shown.
    pub(super) stdout: String,
    /// Standard error; empty on a terminal.
    pub(super) stderr: String,
}

/// Runs it, in an empty directory of the user's own.
pub(super) fn run(root: &PrivateRoot, person: &Person, behaviour: &Behaviour, program: &str) -> Outcome {
    let place = format!("/tmp/{}", slug(&behaviour.title()));
    let _ = fs::remove_dir_all(root.path(&place));
    fs::create_dir(root.path(&place)).unwrap();
    chown(root.path(&place), Some(person.uid), Some(person.gid)).unwrap();
    let command = root
        .command(&person.name, ["bash", "-c", &behaviour.script])
        .env("S", program)
        .env("PASSWORD", &person.password)
        .cwd(&place);
    // The harness panics when a command takes too long or an expected text does not appear.
    let done = std::panic::catch_unwind(AssertUnwindSafe(|| {
        if behaviour.on_terminal { at_terminal(command, person, behaviour) } else { without_terminal(command) }
    }));
    let failed = |panic: Box<dyn Any + Send>| panic.downcast_ref::<String>().cloned().unwrap_or_default();
    done.unwrap_or_else(|panic| Outcome { status: None, stdout: failed(panic), stderr: String::new() })
}

fn without_terminal(command: Run<'_>) -> Outcome {
    let output = command.run();
    let [stdout, stderr] = [output.stdout, output.stderr].map(|text| in_sudos_words(&text));
    Outcome { status: Some(output.status), stdout, stderr }
}

fn at_terminal(command: Run<'_>, person: &Person, behaviour: &Behaviour) -> Outcome {
    let mut session = command.on_terminal();
    for step in &behaviour.steps {
        match step {
            Step::Expect(text) => drop(session.expect(text)),
            Step::Type(text) => type_line(&mut session, person, text),
            Step::TypeUnseen(text) => {
                harness::eventually("the terminal stops to echo", harness::PATIENCE, || {
                    (!session.echoes()).then_some(())
                });
                // sudo loses a key that is pressed before it reads.
                std::thread::sleep(Duration::from_millis(100));
                type_line(&mut session, person, text);
            }
        }
    }
    let status = session.wait();
    Outcome { status: Some(status), stdout: in_sudos_words(&session.screen()), stderr: String::new() }
}

fn type_line(session: &mut PtySession, person: &Person, text: &str) {
    match text.strip_prefix('^').map(str::as_bytes) {
        Some(&[key]) => {
            keys_are_passed_on(session);
            session.type_text([key & 0x1f]);
        }
        _ => session.type_line(&text.replace("$PASSWORD", &person.password).replace("$EMPTY", "")),
    }
}

/// Waits a moment until the program reads the keys raw, like a user who looks before typing ^C: on a busy machine the command's
/// output may be shown before that. If the command has no terminal of its own, this waits for the full time.
fn keys_are_passed_on(session: &PtySession) {
    for _ in 0..20 {
        if !session.makes_signals() {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Returns a name for a directory.
fn slug(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect()
}

/// Removes what every use of either program prints in addition, as docs/sudo-differences.md says at its beginning: another name,
/// another usage text, hints after an error, variables and messages of their own. Also removes output of the test's own shell.
fn in_sudos_words(text: &str) -> String {
    const OURS: [&str; 4] = ["hint: ", "jit-sudo: you have no active grant", "jit-sudo: role ", "JIT_SUDO_"];
    const SUDOS: &str = "sudo: error initializing audit plugin";
    const SHELLS: &str = "bash: line 1: ";
    let mut words: Vec<String> = Vec::new();
    for text in text.lines() {
        // The shell reports how its jobs ended, with their numbers and command lines.
        let text = if text.contains("$S") { text.split(SHELLS).next().unwrap_or_default() } else { text };
        let usage = text.starts_with("usage: ") || text.starts_with("            ");
        let line = if usage { "(usage)".to_owned() } else { text.trim_end_matches('\r').replace("jit-sudo", "sudo") };
        let dropped = OURS.iter().chain([&SUDOS]).any(|beginning| text.starts_with(beginning));
        let again = usage && words.last().is_some_and(|last| *last == line);
        if !dropped && !again {
            words.push(line);
        }
    }
    words.join("\n")
}
