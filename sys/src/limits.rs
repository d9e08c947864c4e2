//! Resource limits (getrlimit(2)): read all, set all, and a state in which a privileged program can finish its work.

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
    /// What is enforced.
    pub soft: u64,
    /// How far the soft limit may be raised.
    pub hard: u64,
}

/// Every limit of a process.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Limits([Limit; COUNT]);

impl Limits {
    /// Those in force now.
    pub fn current() -> io::Result<Self> {
        let mut limits = [Limit { soft: 0, hard: 0 }; COUNT];
        for (resource, limit) in limits.iter_mut().enumerate() {
            *limit = get(resource)?;
        }
        Ok(Self(limits))
    }

    /// Puts them in force; those that are so already cost nothing but the question.
    ///
    /// # Errors
    /// `EPERM` where a hard limit would have to be raised without CAP_SYS_RESOURCE.
    pub fn apply(&self) -> io::Result<()> {
        for (resource, limit) in self.0.iter().enumerate() {
            if get(resource)? != *limit {
                set(resource, *limit)?;
            }
        }
        Ok(())
    }

    /// One limit, by its `libc::RLIMIT_*` number.
    pub fn get(&self, resource: u32) -> Option<Limit> {
        self.0.get(usize::try_from(resource).ok()?).copied()
    }

    /// Changes one limit, by the name that stands behind `RLIMIT_` in getrlimit(2), in lower case.
    ///
    /// # Errors
    /// `InvalidInput` for a name that we do not know.
    pub fn set(&mut self, name: &str, limit: Limit) -> io::Result<()> {
        let place = number(name).and_then(|number| self.0.get_mut(number));
        *place.ok_or(io::ErrorKind::InvalidInput)? = limit;
        Ok(())
    }

    /// One limit, by its name as in [`Self::set`].
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

/// Names of resources, with their numbers.
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

/// What the caller's limit on one resource may do to a privileged program.
enum Rule {
    /// Could kill or starve us in the middle of a write (SIGXFSZ, SIGXCPU, ENOMEM): no limit.
    Unlimited,
    /// Must be at least this much.
    AtLeast(u64),
    /// No core dumps: they would hold passwords.
    Nothing,
    /// Bounds nothing that we use.
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

/// A hard limit that is too low to work under, and that only CAP_SYS_RESOURCE could raise.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shortfall {
    /// What is limited, in words.
    pub what: &'static str,
    /// How a shell shows it.
    pub shown_by: &'static str,
    /// What there is.
    pub has: u64,
    /// What it has to be at least; `u64::MAX` is "no limit".
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

/// Why limits are not as a privileged program needs them.
#[derive(Debug)]
pub enum LimitError {
    /// They could not be read or set.
    System(io::Error),
    /// One is too low: work would break off in the middle of a write, or its supervisor would be killed.
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

/// What a privileged program cannot do without, in words, how a shell shows it, and how much of it.
fn need(resource: u32, open: u64) -> Option<(&'static str, &'static str, u64)> {
    Some(match resource {
        // Recordings are as long as sessions are.
        libc::RLIMIT_FSIZE => ("file size", "ulimit -Hf, in bytes", UNLIMITED),
        // The kernel ends with SIGKILL who reaches it: the supervisor of a command that goes on.
        libc::RLIMIT_CPU => ("CPU time", "ulimit -Ht, in seconds", UNLIMITED),
        libc::RLIMIT_AS => ("address space", "ulimit -Hv, in bytes", 1 << 30),
        libc::RLIMIT_DATA => ("data size", "ulimit -Hd, in bytes", 256 << 20),
        libc::RLIMIT_STACK => ("stack size", "ulimit -Hs, in bytes", 1 << 20),
        libc::RLIMIT_NOFILE => ("open files", "ulimit -Hn", open.saturating_add(SPARE_DESCRIPTORS)),
        libc::RLIMIT_NPROC => ("processes", "ulimit -Hu", 64), // hooks are no processes of root's
        libc::RLIMIT_SIGPENDING => ("pending signals", "ulimit -Hi", 64), // a timer is one
        _ => return None,
    })
}

/// How many descriptors we may need beside those that the caller has left open, which stay so until the command begins.
const SPARE_DESCRIPTORS: u64 = 48;

/// Lifts the limits that the caller could use against a privileged program that has so many descriptors `open`; gives those
/// of before.
///
/// # Errors
/// Without CAP_SYS_RESOURCE (many containers) a limit is raised as far as its hard limit allows; where that is too low to
/// work under, nothing may begin.
pub fn lift(open: usize) -> Result<Limits, LimitError> {
    OPEN.store(open, Ordering::Relaxed);
    let open = u64::try_from(open).unwrap_or(u64::MAX);
    let before = Limits::current()?;
    for (number, limit) in (0..).zip(before.0.iter()) {
        let wanted = match rule(number) {
            Rule::Unlimited => Limit { soft: UNLIMITED, hard: UNLIMITED },
            Rule::AtLeast(floor) => {
                let floor = need(number, open).map_or(floor, |(_, _, needs)| floor.max(needs));
                Limit { soft: limit.soft.max(floor), hard: limit.hard.max(floor) }
            }
            // The hard limit stays: lowering it could not be taken back for the command everywhere.
            Rule::Nothing => Limit { soft: 0, hard: limit.hard },
            Rule::Leave => continue,
        };
        if wanted != *limit {
            raise(number, *limit, wanted, open)?;
        }
    }
    Ok(before)
}

/// The way back for a privileged process after a PAM session set limits on it.
///
/// # Errors
/// As [`lift`].
pub fn lift_again() -> Result<(), LimitError> {
    lift(OPEN.load(Ordering::Relaxed)).map(drop)
}

/// How many descriptors the caller has left open, as [`lift`] was told first: they stay so until the command begins.
static OPEN: AtomicUsize = AtomicUsize::new(0);

fn raise(number: u32, limit: Limit, wanted: Limit, open: u64) -> Result<(), LimitError> {
    let resource = usize::try_from(number).unwrap_or(COUNT);
    if set(resource, wanted).is_ok() {
        return Ok(());
    }
    set(resource, Limit { soft: wanted.soft.min(limit.hard), hard: limit.hard })?;
    match need(number, open) {
        Some((what, shown_by, needs)) if limit.hard < needs => {
            Err(LimitError::Short(Shortfall { what, shown_by, has: limit.hard, needs }))
        }
        _ => Ok(()),
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
    // SAFETY: pid 0 is this process, `raw` lives through the call, and the old value is not asked for.
    check(unsafe { libc::prlimit64(0, resource, &raw const raw, std::ptr::null_mut()) }).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_of_a_session_reach_the_command_and_nothing_else_does() {
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
    fn applying_what_is_in_force_changes_nothing() {
        let limits = Limits::current().unwrap();
        limits.apply().unwrap();
        assert_eq!(Limits::current().unwrap(), limits);
    }
}
