//! Resource limits (getrlimit(2)): reads all, sets all, and lifts those that could interrupt a privileged program.

use std::fmt;
use std::io;
use std::mem;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::kernel::check;

/// The number of resources that Linux limits.
const COUNT: usize = 16;

/// One limit; `u64::MAX` is "no limit".
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limit {
    /// The limit that the kernel enforces.
    pub soft: u64,
    /// The maximum to which the soft limit may be raised.
    pub hard: u64,
}

/// All resource limits of a process.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Limits([Limit; COUNT]);

impl Limits {
    /// Returns the limits of this process.
    pub fn current() -> io::Result<Self> {
        let mut limits = [Limit { soft: 0, hard: 0 }; COUNT];
        for (resource, limit) in limits.iter_mut().enumerate() {
            *limit = get(resource)?;
        }
        Ok(Self(limits))
    }

    /// Sets these limits in a process that has the limits `own`: only those that differ.
    ///
    /// # Errors
    /// `EPERM` when a hard limit would have to be raised without CAP_SYS_RESOURCE.
    pub fn apply(&self, own: &Self) -> io::Result<()> {
        let all = self.0.iter().zip(&own.0).enumerate();
        all.filter(|(_, (limit, own))| limit != own).try_for_each(|(resource, (limit, _))| set(resource, *limit))
    }

    /// Returns one limit, by its `libc::RLIMIT_*` number.
    pub fn get(&self, resource: u32) -> Option<Limit> {
        self.0.get(usize::try_from(resource).ok()?).copied()
    }

    /// Changes one limit, by its name: the part after `RLIMIT_` in getrlimit(2), in lower case.
    ///
    /// # Errors
    /// `InvalidInput` for an unknown name.
    pub fn set(&mut self, name: &str, limit: Limit) -> io::Result<()> {
        let place = number(name).and_then(|number| self.0.get_mut(number));
        *place.ok_or(io::ErrorKind::InvalidInput)? = limit;
        Ok(())
    }

    /// Returns one limit, by its name as in [`Self::set`].
    pub fn named(&self, name: &str) -> Option<Limit> {
        self.0.get(number(name)?).copied()
    }

    /// Of each the lower of two.
    #[must_use]
    pub fn lowest(&self, other: &Self) -> Self {
        let mut limits = self.clone();
        for (own, other) in limits.0.iter_mut().zip(&other.0) {
            *own = Limit { soft: own.soft.min(other.soft), hard: own.hard.min(other.hard) };
        }
        limits
    }

    /// These limits, but where `after` differs from `before` the value of `after`: how limits that a PAM session
    /// set on this process reach the command without the rest of this process's own.
    #[must_use]
    pub fn with_changes(&self, before: &Self, after: &Self) -> Self {
        let mut limits = self.clone();
        for (own, (before, after)) in limits.0.iter_mut().zip(before.0.iter().zip(after.0.iter())) {
            if before != after {
                *own = *after;
            }
        }
        limits
    }
}

/// The names of resources, with their numbers.
const NAMES: [(&str, u32); 11] = [
    ("as", libc::RLIMIT_AS),
    ("core", libc::RLIMIT_CORE),
    ("cpu", libc::RLIMIT_CPU),
    ("data", libc::RLIMIT_DATA),
    ("fsize", libc::RLIMIT_FSIZE),
    ("locks", libc::RLIMIT_LOCKS),
    ("memlock", libc::RLIMIT_MEMLOCK),
    ("nofile", libc::RLIMIT_NOFILE),
    ("nproc", libc::RLIMIT_NPROC),
    ("rss", libc::RLIMIT_RSS),
    ("stack", libc::RLIMIT_STACK),
];

fn number(name: &str) -> Option<usize> {
    let (_, number) = NAMES.iter().find(|(known, _)| *known == name)?;
    usize::try_from(*number).ok()
}

/// How a privileged program treats the caller's limit on one resource.
enum Rule {
    /// Lifts it: it could kill or starve the program in the middle of a write (SIGXFSZ, SIGXCPU, ENOMEM).
    Unlimited,
    /// Raises it to at least this much.
    AtLeast(u64),
    /// Sets it to 0: a core dump would contain passwords.
    Nothing,
    /// Leaves it: it limits nothing that the program uses.
    Leave,
}

const UNLIMITED: u64 = libc::RLIM_INFINITY;

fn rule(resource: u32) -> Rule {
    match resource {
        libc::RLIMIT_CORE => Rule::Nothing,
        libc::RLIMIT_FSIZE
        | libc::RLIMIT_CPU
        | libc::RLIMIT_AS
        | libc::RLIMIT_DATA
        | libc::RLIMIT_RSS
        | libc::RLIMIT_NPROC
        | libc::RLIMIT_LOCKS
        | libc::RLIMIT_RTTIME => Rule::Unlimited,
        libc::RLIMIT_STACK => Rule::AtLeast(8 << 20),
        libc::RLIMIT_NOFILE => Rule::AtLeast(1024),
        libc::RLIMIT_SIGPENDING => Rule::AtLeast(1024),
        _ => Rule::Leave,
    }
}

/// A hard limit that is too low for the program, and that only CAP_SYS_RESOURCE could raise.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shortfall {
    /// The resource, as text.
    pub what: &'static str,
    /// The shell command that shows it.
    pub shown_by: &'static str,
    /// Its present value.
    pub has: u64,
    /// The required minimum; `u64::MAX` is "no limit".
    pub needs: u64,
}

impl fmt::Display for Shortfall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, shown_by, has, needs } = self;
        write!(
            f,
            "your hard limit of {what} is {has} ({shown_by}), and without CAP_SYS_RESOURCE it cannot be raised; "
        )?;
        if *needs == UNLIMITED { f.write_str("there must be none") } else { write!(f, "it must be at least {needs}") }
    }
}

/// Why the limits of a privileged program could not be prepared.
#[derive(Debug)]
pub enum LimitError {
    /// They could not be read or set.
    System(io::Error),
    /// One is too low: it would interrupt a write, or the kernel would kill the supervisor.
    Short(Shortfall),
}

impl From<io::Error> for LimitError {
    fn from(error: io::Error) -> Self {
        Self::System(error)
    }
}

impl From<LimitError> for io::Error {
    fn from(error: LimitError) -> Self {
        match error {
            LimitError::System(error) => error,
            LimitError::Short(shortfall) => Self::other(shortfall.to_string()),
        }
    }
}

/// Returns the minimum of a resource that a privileged program needs: its text, the shell command that shows it, and
/// the value.
fn need(resource: u32, open: u64) -> Option<(&'static str, &'static str, u64)> {
    Some(match resource {
        // Recordings are as long as sessions.
        libc::RLIMIT_FSIZE => ("file size", "ulimit -Hf, in bytes", UNLIMITED),
        // The kernel kills a process that reaches it: the supervisor, while the command continues.
        libc::RLIMIT_CPU => ("CPU time", "ulimit -Ht, in seconds", UNLIMITED),
        libc::RLIMIT_AS => ("address space", "ulimit -Hv, in bytes", 1 << 30),
        libc::RLIMIT_DATA => ("data size", "ulimit -Hd, in bytes", 256 << 20),
        libc::RLIMIT_STACK => ("stack size", "ulimit -Hs, in bytes", 1 << 20),
        libc::RLIMIT_NOFILE => ("open files", "ulimit -Hn", open.saturating_add(SPARE_DESCRIPTORS)),
        libc::RLIMIT_NPROC => ("processes", "ulimit -Hu", 64), // hooks do not run as root
        libc::RLIMIT_SIGPENDING => ("pending signals", "ulimit -Hi", 64), // a timer is one
        _ => return None,
    })
}

/// How many descriptors the program may need besides those that the caller left open, which stay open until the start of
/// the command is recorded.
const SPARE_DESCRIPTORS: u64 = 48;

/// The limits of a privileged program whose limits were lifted.
#[derive(Debug)]
pub struct Lifted {
    /// The limits that it was started with.
    pub before: Limits,
    /// The limits that it has now.
    pub own: Limits,
}

/// Lifts the limits that the caller could use against a privileged program that has `open` descriptors.
///
/// # Errors
/// Without CAP_SYS_RESOURCE (many containers) a limit is raised as far as its hard limit allows; when that is too low,
/// the program must not start.
pub fn lift(open: usize) -> Result<Lifted, LimitError> {
    OPEN.store(open, Ordering::Relaxed);
    let before = Limits::current()?;
    let own = before.lifted(open)?;
    Ok(Lifted { before, own })
}

/// Lifts the limits again after a PAM session has changed those of this privileged process to `changed`. Returns the
/// limits that it has then.
///
/// # Errors
/// As [`lift`].
pub fn lift_again(changed: &Limits) -> Result<Limits, LimitError> {
    changed.lifted(OPEN.load(Ordering::Relaxed))
}

/// The number of descriptors that the caller left open, from the first call of [`lift`]: they stay open until the start
/// of the command is recorded.
static OPEN: AtomicUsize = AtomicUsize::new(0);

impl Limits {
    /// Lifts them, in the process that has them. Returns the limits that it has then.
    fn lifted(&self, open: usize) -> Result<Self, LimitError> {
        let open = u64::try_from(open).unwrap_or(u64::MAX);
        let mut own = self.clone();
        for (number, limit) in (0..).zip(own.0.iter_mut()) {
            let wanted = match rule(number) {
                Rule::Unlimited => Limit { soft: UNLIMITED, hard: UNLIMITED },
                Rule::AtLeast(floor) => {
                    let floor = need(number, open).map_or(floor, |(_, _, needs)| floor.max(needs));
                    Limit { soft: limit.soft.max(floor), hard: limit.hard.max(floor) }
                }
                // The hard limit stays: not every process could raise it again for the command.
                Rule::Nothing => Limit { soft: 0, hard: limit.hard },
                Rule::Leave => continue,
            };
            if wanted != *limit {
                *limit = raise(number, *limit, wanted, open)?;
            }
        }
        Ok(own)
    }
}

/// Returns the limit that the process has then.
fn raise(number: u32, limit: Limit, wanted: Limit, open: u64) -> Result<Limit, LimitError> {
    let resource = usize::try_from(number).unwrap_or(COUNT);
    if set(resource, wanted).is_ok() {
        return Ok(wanted);
    }
    let possible = Limit { soft: wanted.soft.min(limit.hard), hard: limit.hard };
    set(resource, possible)?;
    match need(number, open) {
        Some((what, shown_by, needs)) if limit.hard < needs => {
            Err(LimitError::Short(Shortfall { what, shown_by, has: limit.hard, needs }))
        }
        _ => Ok(possible),
    }
}

fn get(resource: usize) -> io::Result<Limit> {
    // SAFETY: rlimit64 is two integers, for which zero is valid.
    let mut raw: libc::rlimit64 = unsafe { mem::zeroed() };
    let resource = u32::try_from(resource).map_err(io::Error::other)?;
    // SAFETY: pid 0 is this process, nothing is set, and `raw` lives through the call.
    check(unsafe { libc::prlimit64(0, resource, std::ptr::null(), &raw mut raw) })?;
    Ok(Limit { soft: raw.rlim_cur, hard: raw.rlim_max })
}

fn set(resource: usize, limit: Limit) -> io::Result<()> {
    let raw = libc::rlimit64 { rlim_cur: limit.soft, rlim_max: limit.hard };
    let resource = u32::try_from(resource).map_err(io::Error::other)?;
    // SAFETY: pid 0 is this process, `raw` lives through the call, and the old value is not requested.
    check(unsafe { libc::prlimit64(0, resource, &raw const raw, std::ptr::null_mut()) }).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_changes_by_the_session_reach_the_command() {
        let original = Limits([Limit { soft: 1, hard: 1 }; COUNT]);
        let before = Limits([Limit { soft: 2, hard: 2 }; COUNT]);
        let mut after = before.clone();
        after.0[7] = Limit { soft: 3, hard: 4 };
        let merged = original.with_changes(&before, &after);
        assert_eq!(merged.get(libc::RLIMIT_NOFILE), Some(Limit { soft: 3, hard: 4 }));
        assert_eq!(merged.get(libc::RLIMIT_CORE), Some(Limit { soft: 1, hard: 1 }));
    }

    #[test]
    fn a_limit_is_changed_by_its_name_alone() {
        let mut limits = Limits([Limit { soft: 1, hard: 1 }; COUNT]);
        limits.set("nofile", Limit { soft: 3, hard: 4 }).unwrap();
        assert_eq!(limits.get(libc::RLIMIT_NOFILE), Some(Limit { soft: 3, hard: 4 }));
        assert_eq!(
            (limits.named("nofile"), limits.named("core")),
            (limits.get(libc::RLIMIT_NOFILE), Some(Limit { soft: 1, hard: 1 }))
        );
        assert!(limits.set("files", Limit { soft: 0, hard: 0 }).is_err() && limits.named("").is_none());
    }

    #[test]
    fn applying_current_limits_changes_nothing() {
        let limits = Limits::current().unwrap();
        limits.apply(&limits).unwrap();
        assert_eq!(Limits::current().unwrap(), limits);
    }
}
