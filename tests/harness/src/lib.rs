//! The test harness: a private root with the installed product, users, and terminals to type at. It knows the product only from
//! outside: its programs, its files and what rsyslog wrote about it. Any failure of the harness itself is a panic with a message,
//! because a test that cannot examine the product must not pass.

mod evidence;
mod person;
mod pty;
mod root;
mod run;

pub use evidence::{Record, SyslogLine};
pub use person::Person;
pub use pty::PtySession;
pub use root::{PrivateRoot, extra, project};
pub use run::{Output, Run, Status};

use std::time::{Duration, Instant};

/// How long anything in a test may take unless it says otherwise.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Calls `condition` repeatedly until it returns a value; panics with `what` when it has none within `limit`.
pub fn eventually<T>(what: &str, limit: Duration, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(answer) = condition() {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited {limit:?} in vain: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
