//! Resource limits (getrlimit(2)): read all, set all, and a state in which a privileged program can finish its work.

use std::io;
use std::mem;

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

/// Lifts the limits that the caller could use against a privileged program; gives those of before.
///
/// Without CAP_SYS_RESOURCE (many containers) a limit is raised as far as its hard limit allows; that is not an error:
/// writes then fail, and being killed at any moment has to be survived anyway. Also the way back for a privileged
/// process after a PAM session set limits on it.
pub fn lift() -> io::Result<Limits> {
    let before = Limits::current()?;
    for (number, limit) in (0..).zip(before.0.iter()) {
        let wanted = match rule(number) {
            Rule::Unlimited => Limit { soft: UNLIMITED, hard: UNLIMITED },
            Rule::AtLeast(floor) => Limit { soft: limit.soft.max(floor), hard: limit.hard.max(floor) },
            // The hard limit stays: lowering it could not be taken back for the command everywhere.
            Rule::Nothing => Limit { soft: 0, hard: limit.hard },
            Rule::Leave => continue,
        };
        if wanted != *limit {
            let resource = usize::try_from(number).unwrap_or(COUNT);
            set(resource, wanted)
                .or_else(|_| set(resource, Limit { soft: wanted.soft.min(limit.hard), hard: limit.hard }))?;
        }
    }
    Ok(before)
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
