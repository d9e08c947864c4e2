//! The administrator's hooks: what happened to requests and grants is handed to a program that runs them (hooks.rs), after
//! the commit. May not: wait for a hook, decide anything, or tell of runs, which any user can make by the thousand.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::rc::Rc;

use super::{Backlog, Delivery, Sink};
use crate::audit::journal::Written;

/// Starts the runner with the events of one commit.
pub struct Hooks {
    directory: PathBuf,
    starter: Starter,
}

/// Hands events to the runner, one line each.
pub type Starter = Rc<dyn Fn(&[u8]) -> io::Result<()>>;

impl Hooks {
    /// For the hooks in `directory`, run by the program at `runner`, which is ours and goes on by itself.
    pub fn new(directory: impl Into<PathBuf>, runner: impl Into<PathBuf>) -> Self {
        let runner = runner.into();
        Self::started_by(directory, Rc::new(move |events| start(&runner, events)))
    }

    /// The same for a process that may start no program, and leaves that to another.
    pub fn started_by(directory: impl Into<PathBuf>, starter: Starter) -> Self {
        Self { directory: directory.into(), starter }
    }

    /// Whether there is anything to run. Whether it may be trusted is the runner's to see.
    fn exist(&self) -> bool {
        std::fs::read_dir(&self.directory).is_ok_and(|mut entries| entries.next().is_some())
    }
}

/// Starts the runner. Waits only until it has read the events and left the rest to a process of its own.
///
/// # Errors
/// Whatever keeps it from starting or reading.
pub fn start(runner: &Path, events: &[u8]) -> io::Result<()> {
    let mut runner = Command::new(runner)
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let told = match runner.stdin.take() {
        Some(mut stdin) => stdin.write_all(events),
        None => Ok(()),
    };
    runner.wait()?;
    told
}

impl Sink for Hooks {
    fn mirror(&mut self, commit: &[Written], _: &dyn Backlog) -> Delivery {
        let events = events(commit);
        if !events.is_empty() && self.exist() {
            // A runner that cannot be started tells nobody; the journal has it all, and the command goes on.
            let _ = (self.starter)(events.as_bytes());
        }
        Delivery::Delivered
    }
}

/// One line for each record that hooks are told of.
fn events(commit: &[Written]) -> String {
    let of_a_run = |record: &&Written| matches!(record.kind(), "start" | "end" | "reject");
    commit.iter().filter(|record| !of_a_run(record)).map(|record| format!("{}\n", record.body)).collect()
}

#[cfg(test)]
mod tests {
    use super::super::NoBacklog;
    use super::super::syslog::tests::written;
    use super::*;
    use crate::audit::sample;

    #[test]
    fn all_but_runs_are_told() {
        let commit: Vec<Written> = sample::events().into_iter().map(written).collect();
        let told = events(&commit);
        assert_eq!(told.lines().count(), commit.len() - 3);
        for kind in ["start", "end", "reject"] {
            assert!(!told.contains(&format!("\"kind\":\"{kind}\"")), "{kind}");
        }
    }

    #[test]
    fn a_runner_is_started_only_when_there_is_a_hook() {
        let directory = std::env::temp_dir().join(format!("jit-sudo-hooks-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let (runner, proof) = (directory.join("runner"), directory.with_extension("ran"));
        let hooks = directory.join("hooks.d");
        std::fs::create_dir_all(&hooks).unwrap();
        std::fs::write(&runner, format!("#!/bin/sh\ncat >{}\n", proof.display())).unwrap();
        std::fs::set_permissions(&runner, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let commit: Vec<Written> = sample::events().into_iter().map(written).collect();
        let mut sink = Hooks::new(&hooks, &runner);
        assert_eq!(sink.mirror(&commit, &NoBacklog), Delivery::Delivered);
        assert!(!proof.exists());
        std::fs::write(hooks.join("mail"), "").unwrap();
        assert_eq!(sink.mirror(&commit, &NoBacklog), Delivery::Delivered);
        assert_eq!(std::fs::read_to_string(&proof).unwrap(), events(&commit));
        std::fs::remove_dir_all(&directory).unwrap();
        std::fs::remove_file(proof).unwrap();
    }
}
