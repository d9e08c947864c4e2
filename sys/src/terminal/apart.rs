//! Calls on a terminal of other users, for a process that others wait for. A user can make most calls on their terminal
//! wait for ever, also non-blocking ones and the close of the last descriptor: with a read(2) of it into a page that is
//! never delivered. So a child makes them, and this process waits for it for a limited time.

use std::cell::Cell;
use std::time::{Duration, Instant};

use crate::descriptors::close_but;
use crate::process::{self, Pid, Waiting, end_within, exit_now, fork};

/// How long to wait for the child, and the interval between two looks.
const PATIENCE: Duration = Duration::from_millis(300);
const LOOK: Duration = Duration::from_micros(200);

/// The child ends after this time where a signal can end it, also if its parent has ended.
const LIMIT: Duration = Duration::from_secs(10);

/// Makes calls on terminals in a child.
#[derive(Debug, Default)]
pub struct Apart {
    /// A child that was not waited for any longer.
    late: Cell<Option<Pid>>,
}

impl Apart {
    /// Creates a value that has no child yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Runs `act` in a child that holds no descriptor of this process, and waits for it for a limited time. `born` gets
    /// the child first. Does nothing while an earlier child has not ended, so that there is never more than one.
    pub fn run(&self, born: &dyn Fn(Pid), act: impl FnOnce()) {
        if self.late.get().is_some_and(|child| !has_ended(child)) {
            return;
        }
        self.late.set(None);
        let child = fork(|| {
            if end_within(LIMIT).and_then(|()| close_but(&[])).is_ok() {
                act();
            }
            exit_now(0)
        });
        let Ok(child) = child else { return };
        born(child);
        let deadline = Instant::now() + PATIENCE;
        while !has_ended(child) {
            if Instant::now() > deadline {
                self.late.set(Some(child));
                return;
            }
            std::thread::sleep(LOOK);
        }
    }
}

/// Returns whether a child has ended, and reaps it. One that was reaped by other code has ended.
fn has_ended(child: Pid) -> bool {
    !matches!(process::wait(child, Waiting::EndNow), Ok(None))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_that_waits_delays_nobody_and_has_no_successor() {
        let apart = Apart::new();
        let (begun, born) = (Instant::now(), Cell::new(None));
        apart.run(&|child| born.set(Some(child)), || std::thread::sleep(Duration::from_secs(60)));
        assert!(begun.elapsed() >= PATIENCE && begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
        apart.run(&|_| panic!("a second child"), || {});
        process::kill(born.take().unwrap(), libc::SIGKILL).unwrap();
        while apart.late.get().is_some_and(|child| !has_ended(child)) {
            std::thread::sleep(LOOK);
        }
        apart.run(&|child| born.set(Some(child)), || {});
        assert!(born.take().is_some());
    }
}
