//! The administrator's hooks: passes records about requests and grants to a program that runs the hooks (hooks.rs), after the
//! commit.
//! May not: wait for a hook, decide anything, or report runs, of which any user can make thousands.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::rc::Rc;

use sys::trusted::{TrustError, TrustedDirectory};

use super::{Backlog, Delivery, Sink};
use crate::audit::journal::Written;

/// Starts the runner with the events of one commit.
pub struct Hooks {
    directory: PathBuf,
    starter: Starter,
}

/// Passes events to the runner, one line each.
pub type Starter = Rc<dyn Fn(&[u8]) -> io::Result<()>>;

impl Hooks {
    /// Creates the sink for the hooks in `directory`. The program `runner`, which is part of jit-sudo, runs them and is not
    /// waited for.
    pub fn new(directory: impl Into<PathBuf>, runner: impl Into<PathBuf>) -> Self {
        let runner = runner.into();
        Self::started_by(directory, Rc::new(move |events| start(&runner, events)))
    }

    /// Does the same for a process that may not start programs; `starter` has another process do it.
    pub fn started_by(directory: impl Into<PathBuf>, starter: Starter) -> Self {
        Self { directory: directory.into(), starter }
    }
}

/// Whether there are hooks in `directory`, or it cannot be listed safely: then the runner says why no hook runs.
pub fn exist(directory: &Path) -> bool {
    match TrustedDirectory::open(directory).and_then(|directory| directory.entries()) {
        Ok(names) => !names.is_empty(),
        Err(error) => !matches!(error, TrustError::Missing { .. }),
    }
}

/// Starts the runner. Waits only until it has read the events and forked a process that does the rest.
///
/// # Errors
/// Fails when the runner cannot be started or does not read.
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
        if !events.is_empty() && exist(&self.directory) {
            // If the runner cannot be started, no hook runs; the journal has the records, and the command continues.
            let _ = (self.starter)(events.as_bytes());
        }
        Delivery::Delivered
    }
}

/// Returns one line for each record that hooks receive.
fn events(commit: &[Written]) -> String {
    let of_a_run = |record: &&Written| matches!(record.kind(), "start" | "end" | "reject");
    commit.iter().filter(|record| !of_a_run(record)).map(|record| format!("{}\n", record.body)).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::super::NoBacklog;
    use super::super::syslog::tests::written;
    use super::*;
    use crate::audit::sample;

    #[test]
    fn hooks_get_all_records_except_those_of_runs() {
        let commit: Vec<Written> = sample::events().into_iter().map(written).collect();
        let told = events(&commit);
        assert_eq!(told.lines().count(), commit.len() - 3);
        for kind in ["start", "end", "reject"] {
            assert!(!told.contains(&format!("\"kind\":\"{kind}\"")), "{kind}");
        }
    }

    #[test]
    fn a_runner_is_started_only_when_there_is_a_hook() {
        // Only root may write there, as the directory of hooks requires.
        let directory = Path::new("/var/lib").join(format!("jit-sudo-test-hooks-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let (runner, proof) = (directory.join("runner"), directory.with_extension("ran"));
        let hooks = directory.join("hooks.d");
        std::fs::create_dir_all(&hooks).unwrap();
        let set_mode = |mode| std::fs::set_permissions(&hooks, std::fs::Permissions::from_mode(mode)).unwrap();
        set_mode(0o711);
        std::fs::write(&runner, format!("#!/bin/sh\ncat >{}\n", proof.display())).unwrap();
        std::fs::set_permissions(&runner, std::fs::Permissions::from_mode(0o755)).unwrap();
        let commit: Vec<Written> = sample::events().into_iter().map(written).collect();
        let mut sink = Hooks::new(&hooks, &runner);
        assert_eq!(sink.mirror(&commit, &NoBacklog), Delivery::Delivered);
        assert!(!proof.exists());
        std::fs::write(hooks.join("mail"), "").unwrap();
        assert_eq!(sink.mirror(&commit, &NoBacklog), Delivery::Delivered);
        assert_eq!(std::fs::read_to_string(&proof).unwrap(), events(&commit));
        // The runner says that no hook runs, where others may list the directory.
        std::fs::remove_file(hooks.join("mail")).unwrap();
        std::fs::remove_file(&proof).unwrap();
        set_mode(0o755);
        assert_eq!(sink.mirror(&commit, &NoBacklog), Delivery::Delivered);
        assert!(proof.exists());
        std::fs::remove_dir_all(&directory).unwrap();
        std::fs::remove_file(proof).unwrap();
    }
}
