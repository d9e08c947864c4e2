//! The tables of behaviours. A table is a text file:
//!
//! ```text
//! # a remark
//! == everything                          who does it: a kind of person, by the groups of sudoers and policy.toml
//! == password, on a terminal             and where
//! the name of a behaviour, a sentence
//!     $S -k; $S true                     a bash script; $S is the program
//!     ? password for                     on a terminal: wait for this text,
//!     * $PASSWORD                        then type this line as soon as the terminal does not show it ("^C" is that key),
//!     > hello                            or at once
//! ```

use std::fs;

use harness::project;

/// One action of a user with sudo.
#[derive(Debug)]
pub(super) struct Behaviour {
    /// The name of the table.
    pub(super) topic: String,
    /// A sentence, unique within the topic and the user.
    pub(super) name: String,
    /// The groups of the user, or `nobody` for none.
    pub(super) person: String,
    /// Whether it is done on a terminal.
    pub(super) on_terminal: bool,
    /// The script.
    pub(super) script: String,
    /// What the user at the terminal waits for and types.
    pub(super) steps: Vec<Step>,
}

/// An action of a user at a terminal.
#[derive(Debug)]
pub(super) enum Step {
    /// Waits for a text.
    Expect(String),
    /// Types a line and Enter, or a single key.
    Type(String),
    /// Does the same, but only after the terminal has stopped to echo.
    TypeUnseen(String),
}

impl Behaviour {
    /// Returns its title in docs/sudo-differences.md.
    pub(super) fn title(&self) -> String {
        format!("{}, {}: {}", self.topic, self.person, self.name)
    }
}

/// Returns every behaviour of every table.
pub(super) fn all() -> Vec<Behaviour> {
    let directory = project().join("tests/installed/differential");
    let mut tables: Vec<_> = fs::read_dir(&directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "behaviours"))
        .collect();
    tables.sort();
    let all: Vec<Behaviour> = tables
        .iter()
        .flat_map(|path| parse(path.file_stem().unwrap().to_str().unwrap(), &fs::read_to_string(path).unwrap()))
        .collect();
    let mut titles: Vec<String> = all.iter().map(Behaviour::title).collect();
    titles.sort();
    for pair in titles.windows(2) {
        assert_ne!(pair[0], pair[1], "two behaviours have one name");
    }
    all
}

fn parse(topic: &str, text: &str) -> Vec<Behaviour> {
    let mut behaviours: Vec<Behaviour> = Vec::new();
    let (mut person, mut on_terminal) = (String::new(), false);
    for (number, line) in text.lines().enumerate() {
        let at = || format!("{topic}.behaviours line {}: {line}", number + 1);
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(section) = line.strip_prefix("== ") {
            on_terminal = section.ends_with(", on a terminal");
            section.trim_end_matches(", on a terminal").clone_into(&mut person);
        } else if let Some(body) = line.strip_prefix("    ") {
            let behaviour = behaviours.last_mut().unwrap_or_else(|| panic!("{}: a script without a name", at()));
            if let Some(text) = body.strip_prefix("? ") {
                behaviour.steps.push(Step::Expect(text.to_owned()));
            } else if let Some(text) = body.strip_prefix("* ") {
                behaviour.steps.push(Step::TypeUnseen(text.to_owned()));
            } else if let Some(text) = body.strip_prefix("> ") {
                behaviour.steps.push(Step::Type(text.to_owned()));
            } else {
                behaviour.script.push_str(body);
                behaviour.script.push('\n');
            }
            assert!(on_terminal || behaviour.steps.is_empty(), "{}: there is nobody to type", at());
        } else {
            assert!(!line.starts_with(' ') && !person.is_empty(), "{}: not understood", at());
            behaviours.push(Behaviour {
                topic: topic.to_owned(),
                name: line.to_owned(),
                person: person.clone(),
                on_terminal,
                script: String::new(),
                steps: Vec::new(),
            });
        }
    }
    behaviours
}
