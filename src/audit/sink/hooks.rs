//! The administrator's hooks: what happened to requests and grants is handed to a program that runs them (hooks.rs), after
//! the commit. May not: wait for a hook, decide anything, or tell of runs, which any user can make by the thousand.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::{Delivery, Sink};
use crate::audit::journal::Written;

/// Starts the runner with the events of one commit.
pub struct Hooks {
    directory: PathBuf,
    runner: PathBuf,
    events: Vec<u8>,
}

impl Hooks {
    /// For the hooks in `directory`, run by the program at `runner`, which is ours and goes on by itself.
    pub fn new(directory: impl Into<PathBuf>, runner: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into(), runner: runner.into(), events: Vec::new() }
    }

    /// Whether there is anything to run. Whether it may be trusted is the runner's to see.
    fn exist(&self) -> bool {
        std::fs::read_dir(&self.directory).is_ok_and(|mut entries| entries.next().is_some())
    }

    /// Waits only until the runner has read the events and left the rest to a process of its own.
    fn start(&self, events: &[u8]) -> std::io::Result<()> {
        let mut runner = Command::new(&self.runner)
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
}

impl Sink for Hooks {
    fn mirror(&mut self, written: &Written) -> Delivery {
        let of_a_run = matches!(written.kind(), "start" | "end" | "reject");
        if !of_a_run && self.exist() {
            self.events.extend_from_slice(written.body.as_bytes());
            self.events.push(b'\n');
        }
        Delivery::Delivered
    }

    fn flush(&mut self) {
        let events = std::mem::take(&mut self.events);
        if !events.is_empty() {
            // A runner that cannot be started tells nobody; the journal has it all, and the command goes on.
            let _ = self.start(&events);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::chain;
    use crate::audit::sample;
    use crate::audit::{Digest, Record};

    fn tell(hooks: &mut Hooks) {
        for event in sample::events() {
            let record = Record::new(7, Digest::ZERO, &sample::moment(1), "web1", event);
            let body = record.encode().unwrap();
            let hash = chain::hash(body.as_bytes());
            let written = Written::for_test(7, record.time, hash, body, record.event.keys().kind);
            assert_eq!(hooks.mirror(&written), Delivery::Delivered);
        }
    }

    #[test]
    fn all_but_runs_are_told_and_only_when_there_is_a_hook() {
        let directory = std::env::temp_dir().join(format!("jit-sudo-hooks-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let mut hooks = Hooks::new(&directory, "/nonexistent");
        tell(&mut hooks);
        assert!(hooks.events.is_empty());
        std::fs::write(directory.join("mail"), "").unwrap();
        tell(&mut hooks);
        let told = String::from_utf8(hooks.events.clone()).unwrap();
        assert_eq!(told.lines().count(), sample::events().len() - 3);
        for kind in ["start", "end", "reject"] {
            assert!(!told.contains(&format!("\"kind\":\"{kind}\"")), "{kind}");
        }
        hooks.flush();
        assert!(hooks.events.is_empty());
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
