//! Runs the administrator's hooks for events that have been committed: as an unprivileged user, with an empty environment, for a
//! limited time. A failure is recorded as an alert and has no other effect.

use std::ffi::OsString;
use std::fmt;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::audit::Journal;
use crate::host::Host;
use jit_core::escape::escape;
use jit_core::places::HOOKS;
use jit_core::policy::AuditSettings;
use sys::exec::{Credentials, Directory, Execution, Image, Programs};
use sys::inherited::SchedulingState;
use sys::limits::Limits;
use sys::poll::{Blocking, PollEntry, pipe, poll, set_blocking, write};
use sys::process::{
    Pid, WaitEvent, Waiting, become_subreaper, exit_now, fork, kill_descendants, new_session, wait_any,
};
use sys::sanitize::Inherited;
use sys::signals::{SIGCHLD, SignalQueue, SignalSet};
use sys::trusted::{RootsName, TrustError, TrustedDirectory};

/// The user that hooks run as.
pub const USER: &str = "jit-sudo-hooks";

/// The control group of hooks and their runner: outside the caller's, so that they do not end with the caller's session.
const GROUP: &str = "hooks";

/// The maximum number of processes and threads of all users' hooks together.
const SETTLED: u32 = 4096;

/// How long one hook may take for one event.
pub const LIMIT: Duration = Duration::from_secs(10);

/// The maximum size of the events in bytes: a few records of the longest commands.
const EVENTS_LIMIT: u64 = 64 << 20;

/// The only variable in the environment of a hook.
const PATH: &std::ffi::CStr = c"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Why a hook failed. `Display` follows its name in a sentence.
#[derive(Debug)]
enum Failure {
    /// Users other than root could have written it, or it cannot be read.
    Trust(TrustError),
    /// It could not be started.
    Start(String),
    /// It ended with another status than 0.
    Ended(WaitEvent),
    /// It was killed at the limit.
    TooLong,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Trust(error) => write!(f, "is not run: {error}"),
            Self::Start(error) => write!(f, "could not be started: {error}"),
            Self::Ended(WaitEvent::Exited(status)) => write!(f, "ended with status {status}"),
            Self::Ended(WaitEvent::Signaled { signal, .. }) => write!(f, "was killed by signal {signal}"),
            Self::Ended(WaitEvent::Stopped(_) | WaitEvent::Continued) => f.write_str("did not end"),
            Self::TooLong => write!(f, "did not end within {} s and was killed", LIMIT.as_secs()),
        }
    }
}

/// Reads events, one record a line, from standard input, hands them to a process of its own, and returns the exit status. Only for
/// root, who alone can have committed them.
pub fn serve(inherited: &Inherited) -> i32 {
    if inherited.identity.uid() != 0 {
        return 1;
    }
    let mut events = String::new();
    if io::stdin().take(EVENTS_LIMIT).read_to_string(&mut events).is_err() {
        return 1;
    }
    let started = fork(|| {
        let _ = new_session();
        crate::session::stand_alone(GROUP, SETTLED);
        Runner.deliver(&events);
        exit_now(0)
    });
    i32::from(started.is_err())
}

struct Runner;

impl Runner {
    fn deliver(&self, events: &str) {
        let hooks = match hooks() {
            Ok(hooks) if hooks.is_empty() => return,
            Ok(hooks) => hooks,
            Err(error) => return failed("", &format!("no hook is run: {error}")),
        };
        let credentials = match sys::users::account_by_name(USER) {
            Ok(Some(account)) if account.uid != 0 => {
                Credentials { uid: account.uid, gid: account.gid, groups: vec![account.gid] }
            }
            _ => {
                let sentence = format!("no hook is run: there is no user {USER} other than root");
                return alert("hooks-without-user", &sentence);
            }
        };
        if become_subreaper().is_err() {
            return;
        }
        for (name, path) in hooks {
            let name = escape(name.as_bytes());
            match path {
                Err(error) => failed(&name, &format!("the hook {name} {}", Failure::Trust(error))),
                Ok(path) => {
                    for event in events.lines() {
                        if let Err(failure) = self.run(&path, &credentials, event) {
                            failed(&name, &format!("the hook {name} {failure}"));
                        }
                        // Nothing that a hook started outlives its event.
                        let _ = kill_descendants(Pid::own(), &|_| true);
                        while matches!(wait_any(Waiting::ForEnd), Ok(Some(_))) {}
                    }
                }
            }
        }
    }

    fn run(&self, path: &Path, credentials: &Credentials, event: &str) -> Result<(), Failure> {
        let start = |error: &dyn fmt::Display| Failure::Start(error.to_string());
        let name = RootsName::check(path).map_err(Failure::Trust)?;
        let program = name.as_c_str().to_owned();
        let (input, feed) = pipe().map_err(|error| start(&error))?;
        let nowhere = std::fs::OpenOptions::new().write(true).open("/dev/null").map_err(|error| start(&error))?;
        // Our own limits, which were raised: not those of the user whom the event concerns.
        let limits = Limits::current().map_err(|error| start(&error))?;
        let signals = SignalQueue::open(&[SIGCHLD]).map_err(|error| start(&error))?;
        let execution = Execution {
            image: Image::Path(&name),
            argv: std::slice::from_ref(&program),
            environment: &[PATH.to_owned()],
            credentials,
            dies_with: None,
            limits: &limits,
            own_limits: &limits,
            unsynced: None,
            scheduling: &SchedulingState::default(),
            umask: 0o077,
            directory: Directory::Required(c"/"),
            ignored_signals: SignalSet::EMPTY,
            blocked_signals: SignalSet::EMPTY,
            oom_score_adj: None,
            standard: [Some(input.as_fd()), Some(nowhere.as_fd()), Some(nowhere.as_fd())],
            kept: &[],
            programs: Programs::Any,
        };
        let hook = execution.spawn(None).map_err(|error| start(&error))?;
        drop(input);
        attend(hook, &signals, feed, format!("{event}\n").as_bytes()).map_err(|error| start(&error))?
    }
}

/// Writes the event to the hook and waits for its end, or for the limit.
fn attend(hook: Pid, signals: &SignalQueue, feed: OwnedFd, event: &[u8]) -> io::Result<Result<(), Failure>> {
    let deadline = Instant::now() + LIMIT;
    set_blocking(feed.as_fd(), Blocking::No)?;
    let (mut feed, mut rest) = (Some(feed), event);
    loop {
        while let Ok(Some((pid, event, _))) = wait_any(Waiting::EndNow) {
            match event {
                _ if pid != hook => {}
                WaitEvent::Exited(0) => return Ok(Ok(())),
                event => return Ok(Err(Failure::Ended(event))),
            }
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(Err(Failure::TooLong));
        }
        let mut entries = vec![PollEntry::reading(signals.as_fd())];
        entries.extend(feed.as_ref().map(|feed| PollEntry::writing(feed.as_fd())));
        poll(&mut entries, Some(left))?;
        let ready = entries.get(1).is_some_and(|entry| entry.ready_write || entry.hangup);
        while signals.next_event()?.is_some() {}
        if let Some(open) = feed.as_ref().filter(|_| ready) {
            match write(open.as_fd(), rest) {
                Ok(length) => rest = rest.get(length..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // A hook need not read its event.
                Err(_) => rest = &[],
            }
            if rest.is_empty() {
                feed = None;
            }
        }
    }
}

/// Returns what keeps a hook from being run, and what fixes it; `None` when all is well.
pub fn fault() -> Option<(String, String)> {
    let hooks = match hooks() {
        Ok(hooks) => hooks,
        Err(error) => {
            return Some((format!("no hook is run: {error}"), format!("chown root:root {HOOKS} && chmod 711 {HOOKS}")));
        }
    };
    if let Some((name, Err(error))) = hooks.iter().find(|(_, path)| path.is_err()) {
        let name = escape(name.as_bytes());
        return Some((
            format!("the hook {name} is not run: {error}"),
            format!("chown root:root {HOOKS}/* && chmod go-w {HOOKS}/*"),
        ));
    }
    let nobody = !matches!(sys::users::account_by_name(USER), Ok(Some(account)) if account.uid != 0);
    (nobody && !hooks.is_empty()).then(|| {
        let fix = format!(
            "useradd --system --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin {USER}"
        );
        (format!("no hook is run: there is no user {USER} other than root"), fix)
    })
}

type Found = Vec<(OsString, Result<PathBuf, TrustError>)>;

/// Returns the executable files in hooks.d in name order, without those that editors and package managers leave there.
fn hooks() -> Result<Found, TrustError> {
    let directory = match TrustedDirectory::open(Path::new(HOOKS)) {
        Ok(directory) => directory,
        Err(TrustError::Missing { .. }) => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for name in directory.entries()? {
        let text = name.to_string_lossy();
        let path = Path::new(HOOKS).join(&name);
        let executable =
            std::fs::metadata(&path).is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0);
        if executable && !text.starts_with('.') && !text.ends_with('~') {
            let trusted = directory.file(&name).map(|_| path);
            found.push((name, trusted));
        }
    }
    Ok(found)
}

/// Records that a hook has failed, or counts it.
fn failed(name: &str, sentence: &str) {
    recorded(sentence, |host, journal| {
        let moment = host.clocks().ok()?;
        let written = journal.hook_failed(&moment, name, sentence).ok()?;
        let _ = journal.mirror(&written);
        Some(())
    });
}

/// Records an alert, unless an earlier one of its kind is among the newest.
fn alert(code: &str, sentence: &str) {
    recorded(sentence, |host, journal| record_once(host, journal, code, sentence));
}

/// Records what triggers no hook. Where that fails, the sentence goes to syslog.
fn recorded(sentence: &str, record: impl FnOnce(&Host, &Journal<'_>) -> Option<()>) {
    let name = sys::machine::host_name().unwrap_or_default();
    let Ok(host) = Host::open(&name) else { return };
    let audit = host.policy(None).map_or_else(|_| AuditSettings::default(), |policy| policy.settings().audit.clone());
    if record(&host, &host.journal_without_hooks(&audit)).is_none() {
        host.alert(sentence);
    }
}

fn record_once(host: &Host, journal: &Journal<'_>, code: &str, sentence: &str) -> Option<()> {
    let written = journal.alert_once(&host.clocks().ok()?, code, sentence).ok()?;
    let _ = journal.mirror(written.as_slice());
    Some(())
}
