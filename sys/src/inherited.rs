//! The table of the attributes that a process keeps over exec, so that a caller can set them before a set-user-ID
//! program starts: what the kernel clears, what this crate resets before anything that other processes wait for, and
//! what the command gets back. Based on execve(2), prctl(2), getrlimit(2), sched(7), ioprio_set(2), set_mempolicy(2),
//! personality(2) and capabilities(7).

use std::io;

use crate::kernel::check;

/// What happens to one attribute.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// The kernel clears it when it honours the set-user-ID bit.
    Kernel,
    /// [`sanitize`](crate::sanitize()) resets it; the command starts with the default.
    Reset,
    /// [`sanitize`](crate::sanitize()) resets it; the command starts with the caller's value.
    Returned,
    /// The program does not start when it is set.
    Refused,
    /// It stays, for this reason.
    Stays(&'static str),
}

/// One attribute of a process.
#[derive(Clone, Copy, Debug)]
pub struct Attribute {
    /// Its name.
    pub name: &'static str,
    /// The manual page that describes it.
    pub page: &'static str,
    /// What happens to it.
    pub fate: Fate,
}

const fn row(name: &'static str, page: &'static str, fate: Fate) -> Attribute {
    Attribute { name, page, fate }
}

/// Every attribute that an exec keeps.
pub const TABLE: [Attribute; 42] = [
    row("scheduling policy, priority, reset-on-fork, clamps", "sched_setattr(2)", Fate::Returned),
    row("nice value", "setpriority(2)", Fate::Returned),
    row("CPU affinity", "sched_setaffinity(2)", Fate::Returned),
    row("I/O class and priority", "ioprio_set(2)", Fate::Returned),
    row("NUMA memory policy", "set_mempolicy(2)", Fate::Returned),
    row("personality", "personality(2)", Fate::Returned),
    row("resource limits", "getrlimit(2)", Fate::Returned),
    row("resource limits that cannot be raised", "getrlimit(2)", Fate::Refused),
    row("ignored signals", "sigaction(2)", Fate::Returned),
    row("blocked signals", "sigprocmask(2)", Fate::Returned),
    row("file mode mask", "umask(2)", Fate::Returned),
    row("out-of-memory score", "proc_pid_oom_score_adj(5)", Fate::Returned),
    row("environment and arguments", "execve(2)", Fate::Reset),
    row("timer slack", "PR_SET_TIMERSLACK(2const)", Fate::Reset),
    row(
        "time stamp counter that raises SIGSEGV",
        "PR_SET_TSC(2const)",
        Fate::Stays("the loader is killed by it at once"),
    ),
    row("child subreaper", "PR_SET_CHILD_SUBREAPER(2const)", Fate::Reset),
    row("core scheduling cookie", "PR_SCHED_CORE(2const)", Fate::Reset),
    row("transparent huge pages disabled", "PR_SET_THP_DISABLE(2const)", Fate::Reset),
    row("memory merging (KSM)", "PR_SET_MEMORY_MERGE(2const)", Fate::Reset),
    row("early kill on memory failure", "PR_MCE_KILL(2const)", Fate::Reset),
    row("interval timers and alarm", "setitimer(2)", Fate::Reset),
    row("descriptors", "open(2)", Fate::Reset),
    row("descriptors that a user can keep from being closed", "fuse(4)", Fate::Refused),
    row("supplementary groups and ids", "credentials(7)", Fate::Reset),
    row("name in syslog, and of the process", "syslog(3)", Fate::Reset),
    row("control group of an ordinary user", "cgroups(7)", Fate::Reset),
    row("dumpable", "PR_SET_DUMPABLE(2const)", Fate::Reset),
    row("signal at the parent's death", "PR_SET_PDEATHSIG(2const)", Fate::Reset), // root's own exec keeps it
    row("keep capabilities", "PR_SET_KEEPCAPS(2const)", Fate::Kernel),
    row("ambient capabilities", "capabilities(7)", Fate::Kernel),
    row("POSIX timers, robust futexes, alternate signal stack", "execve(2)", Fate::Kernel),
    row("dangerous bits of the personality", "personality(2)", Fate::Kernel),
    row("no new privileges, and with it seccomp and Landlock", "PR_SET_NO_NEW_PRIVS(2const)", Fate::Refused),
    row("securebits and bounding set", "capabilities(7)", Fate::Refused), // where they keep us from becoming root
    row("user namespace", "user_namespaces(7)", Fate::Refused), // the bit counts only in its owner's namespace
    row("pending signals", "signal(7)", Fate::Stays("a fatal one kills the process before it does anything")),
    row("keyrings", "keyrings(7)", Fate::Stays("we ask for no key; pam_keyinit(8) gives the command its own")),
    row("speculation control", "PR_SET_SPECULATION_CTRL(2const)", Fate::Stays("it cannot be made less strict")),
    row(
        "memory-deny-write-execute",
        "PR_SET_MDWE(2const)",
        Fate::Stays("we make no such mapping, and it cannot be reset"),
    ),
    row(
        "I/O context shared by CLONE_IO",
        "clone(2)",
        Fate::Stays("no call leaves it: the sharer can set our I/O priority later, which only delays us"),
    ),
    row("filter of core dumps", "core(5)", Fate::Stays("we leave no core dump, and one of the command is its user's")),
    row("nice value of the session", "sched(7), autogroup", Fate::Stays("it is shared with the session")),
];

/// The kernel's own default, in nanoseconds.
const TIMER_SLACK: libc::c_ulong = 50_000;

/// Not in every libc; since Linux 6.4.
const PR_SET_MEMORY_MERGE: libc::c_int = 67;

const PR_SCHED_CORE: libc::c_int = 62;
const PR_SCHED_CORE_GET: libc::c_ulong = 0;
const PR_SCHED_CORE_SHARE_FROM: libc::c_ulong = 3;

/// The scheduling of the process as far as it was not the default, to be restored for the command.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SchedulingState {
    scheduling: Option<Scheduling>,
    cpus: Option<CpuSet>,
    io_priority: Option<libc::c_int>,
    memory: Option<Memory>,
    persona: Option<libc::c_int>,
}

impl SchedulingState {
    /// Resets this process to the defaults: SCHED_OTHER, nice 0, all CPUs, default I/O class and memory policy, and
    /// default timer slack. Returns what differed. For root in all ids.
    ///
    /// An attribute that the kernel does not support cannot have been set. Without CAP_SYS_NICE (many containers) a
    /// nice value, a realtime policy or a clamp stays as it is, which is slow but no error.
    pub(crate) fn reset() -> Self {
        let kept = Self {
            // First, because a realtime process has no timer slack that could be set.
            scheduling: Scheduling::reset(),
            cpus: CpuSet::reset(),
            io_priority: reset_io_priority(),
            memory: Memory::reset(),
            persona: reset_persona(),
        };
        reset_by_prctl();
        kept
    }

    /// Restores the saved attributes, in a child that is about to execute the command. Ignores errors: they only affect
    /// speed.
    pub(crate) fn resume(&self) {
        if let Some(cpus) = &self.cpus {
            cpus.apply();
        }
        if let Some(memory) = &self.memory {
            memory.apply();
        }
        if let Some(priority) = self.io_priority {
            set_io_priority(priority);
        }
        if let Some(persona) = self.persona {
            set_persona(persona);
        }
        // Last: under SCHED_IDLE the other calls would be slow.
        if let Some(scheduling) = self.scheduling {
            let _ = scheduling.apply();
        }
    }
}

/// sched_attr of sched_setattr(2), which not every libc defines.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Scheduling {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime: u64,
    deadline: u64,
    period: u64,
    util_min: u32,
    util_max: u32,
}

const SIZE: u32 = size_of::<Scheduling>() as u32;
const FLAG_RESET_ON_FORK: u64 = 1;
const FLAG_UTIL_CLAMP: u64 = 0x20 | 0x40;
const UTIL_LARGEST: u32 = 1024;

impl Scheduling {
    fn reset() -> Option<Self> {
        let mut found = Self::default();
        // SAFETY: pid 0 is this process; the structure lives through the call and the kernel is told its size.
        check(unsafe { libc::syscall(libc::SYS_sched_getattr, 0, &raw mut found, SIZE, 0) as libc::c_int }).ok()?;
        let clamped = (found.util_min, found.util_max) != (0, UTIL_LARGEST);
        let usual = Self { size: SIZE, policy: libc::SCHED_OTHER.cast_unsigned(), ..Self::default() };
        // The runtime of the default policy is its slice; 0 means the default slice.
        let is_usual = found.policy == usual.policy && found.nice == 0 && found.flags & FLAG_RESET_ON_FORK == 0;
        if clamped {
            // All bits set mean the default; a kernel without clamps reports 0 for both and rejects the flag.
            let free = Self { flags: FLAG_UTIL_CLAMP, util_min: u32::MAX, util_max: u32::MAX, ..usual };
            if free.apply().is_ok() {
                return Some(Self { size: SIZE, flags: found.flags | FLAG_UTIL_CLAMP, ..found });
            }
        }
        // Set even if it looks like the default: a custom slice cannot be distinguished from the default one. Only a
        // process with CAP_SYS_NICE may lower a nice value; any process may change the policy.
        let _ = usual.apply().or_else(|_| Self { nice: found.nice, ..usual }.apply());
        (!is_usual).then_some(Self { size: SIZE, util_min: 0, util_max: 0, ..found })
    }

    fn apply(self) -> io::Result<()> {
        // SAFETY: pid 0 is this process; the structure lives through the call and says its size.
        check(unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const self, 0) as libc::c_int }).map(drop)
    }
}

/// Room for 8,192 CPUs, the maximum for which kernels are built.
#[derive(Clone, PartialEq, Eq, Debug)]
struct CpuSet([u64; 128]);

impl CpuSet {
    /// Resets the affinity, and returns the previous set if it was narrower than all available CPUs.
    fn reset() -> Option<Self> {
        let before = Self::current()?;
        Self([u64::MAX; 128]).apply();
        (before != Self::current()?).then_some(before)
    }

    fn current() -> Option<Self> {
        let mut set = Self([0; 128]);
        // SAFETY: pid 0 is this process; pointer and size describe the array. The kernel's call needs no larger set.
        let answer = unsafe { libc::syscall(libc::SYS_sched_getaffinity, 0, size_of_val(&set.0), set.0.as_mut_ptr()) };
        (answer >= 0).then_some(set)
    }

    fn apply(&self) {
        // SAFETY: as above; the set is only read. It fails only when none of the CPUs is available any more.
        unsafe { libc::syscall(libc::SYS_sched_setaffinity, 0, size_of_val(&self.0), self.0.as_ptr()) };
    }
}

const IOPRIO_WHO_PROCESS: libc::c_int = 1;

fn reset_io_priority() -> Option<libc::c_int> {
    // SAFETY: takes integers; 0 is this process.
    let found = unsafe { libc::syscall(libc::SYS_ioprio_get, IOPRIO_WHO_PROCESS, 0) as libc::c_int };
    if found <= 0 {
        return None;
    }
    set_io_priority(0);
    Some(found)
}

fn set_io_priority(priority: libc::c_int) {
    // SAFETY: takes integers; 0 is this process.
    unsafe { libc::syscall(libc::SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, priority) };
}

/// A memory policy and its set of nodes.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Memory {
    mode: libc::c_int,
    nodes: [u64; 64],
}

/// The bits of the set plus one, because the kernel subtracts one (get_mempolicy(2), BUGS).
const NODES: libc::c_ulong = 64 * 64 + 1;

impl Memory {
    fn reset() -> Option<Self> {
        let mut found = Self { mode: 0, nodes: [0; 64] };
        let (mode, nodes) = (&raw mut found.mode, found.nodes.as_mut_ptr());
        // SAFETY: mode and set live through the call, and the number of bits is what fits into the set.
        let answer = unsafe { libc::syscall(libc::SYS_get_mempolicy, mode, nodes, NODES - 1, 0, 0) };
        if answer != 0 || found.mode == 0 {
            return None; // also on a kernel without NUMA support
        }
        Self { mode: 0, nodes: [0; 64] }.apply();
        Some(found)
    }

    fn apply(&self) {
        let (nodes, count) = if self.mode == 0 { (std::ptr::null(), 0) } else { (self.nodes.as_ptr(), NODES) };
        // SAFETY: the set is only read and has the given number of bits.
        unsafe { libc::syscall(libc::SYS_set_mempolicy, self.mode, nodes, count) };
    }
}

fn reset_persona() -> Option<libc::c_int> {
    // SAFETY: takes an integer and returns the previous value.
    let before = unsafe { libc::personality(0) };
    (before > 0).then_some(before)
}

fn set_persona(persona: libc::c_int) {
    // SAFETY: as above.
    unsafe { libc::personality(libc::c_ulong::from(persona.cast_unsigned())) };
}

fn reset_by_prctl() {
    for (option, value) in [
        // A value, not 0: that would restore the slack with which this process was created, which its parent chose.
        (libc::PR_SET_TIMERSLACK, TIMER_SLACK),
        (libc::PR_SET_CHILD_SUBREAPER, 0),
        (libc::PR_SET_THP_DISABLE, 0),
        (PR_SET_MEMORY_MERGE, 0),
        (libc::PR_MCE_KILL, libc::PR_MCE_KILL_CLEAR as libc::c_ulong),
    ] {
        let value: libc::c_ulong = value;
        // SAFETY: these take one integer each. One that the kernel does not support cannot have been set.
        unsafe { libc::prctl(option, value, 0, 0, 0) };
    }
    let mut cookie: u64 = 0;
    // SAFETY: the variable for the cookie lives through the call; pid 0 and scope 0 are this thread.
    let answer = unsafe { libc::prctl(PR_SCHED_CORE, PR_SCHED_CORE_GET, 0, 0, &raw mut cookie) };
    if answer == 0 && cookie != 0 {
        // SAFETY: takes integers: this thread gets the cookie of the first process of the system, which has none.
        unsafe { libc::prctl(PR_SCHED_CORE, PR_SCHED_CORE_SHARE_FROM, 1, 0, 0) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a test in a thread, which has attributes of its own.
    fn aside(test: impl FnOnce() + Send + 'static) {
        std::thread::spawn(test).join().unwrap();
    }

    #[test]
    fn a_default_process_has_nothing_to_restore() {
        aside(|| {
            SchedulingState::reset();
            assert_eq!(SchedulingState::reset(), SchedulingState::default());
        });
    }

    #[test]
    fn scheduling_is_reset_and_restored() {
        aside(|| {
            let mut first = CpuSet([0; 128]);
            let cpus = CpuSet::current().unwrap();
            let (word, bits) = cpus.0.iter().enumerate().find(|(_, bits)| **bits != 0).unwrap();
            first.0[word] = 1 << bits.trailing_zeros();
            let idle = Scheduling { size: SIZE, policy: libc::SCHED_IDLE as u32, ..Scheduling::default() };
            idle.apply().unwrap();
            first.apply();
            set_io_priority(3 << 13);
            let state = SchedulingState::reset();
            assert!(state.scheduling.is_some() && state.io_priority == Some(3 << 13), "{state:?}");
            assert_eq!(state.cpus.is_some(), first != cpus, "{state:?}");
            assert_eq!(SchedulingState::reset(), SchedulingState::default());
            state.resume();
            assert_eq!(SchedulingState::reset(), state);
        });
    }

    #[test]
    fn attributes_of_prctl_are_reset() {
        const PR_GET_MEMORY_MERGE: libc::c_int = 68;
        const KILL_SET: libc::c_ulong = libc::PR_MCE_KILL_SET as libc::c_ulong;
        const KILL_EARLY: libc::c_ulong = libc::PR_MCE_KILL_EARLY as libc::c_ulong;
        // SAFETY: these take integers only.
        let call =
            |option, first: libc::c_ulong, second: libc::c_ulong| unsafe { libc::prctl(option, first, second, 0, 0) };
        let none: libc::c_ulong = 0;
        aside(move || {
            for (name, option, first, second, look, expected) in [
                ("merging", PR_SET_MEMORY_MERGE, 1, none, PR_GET_MEMORY_MERGE, 0),
                ("huge pages", libc::PR_SET_THP_DISABLE, 1, none, libc::PR_GET_THP_DISABLE, 0),
                ("timer slack", libc::PR_SET_TIMERSLACK, 77, none, libc::PR_GET_TIMERSLACK, 50_000),
                (
                    "memory failure",
                    libc::PR_MCE_KILL,
                    KILL_SET,
                    KILL_EARLY,
                    libc::PR_MCE_KILL_GET,
                    libc::PR_MCE_KILL_DEFAULT,
                ),
            ] {
                // A kernel without the attribute has nothing to reset.
                if call(option, first, second) == 0 {
                    assert_ne!(call(look, none, none), expected, "{name} was not set");
                    reset_by_prctl();
                    assert_eq!(call(look, none, none), expected, "{name}");
                }
            }
        });
    }

    #[test]
    fn each_attribute_occurs_once_in_the_table() {
        let mut names: Vec<_> = TABLE.iter().map(|attribute| attribute.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), TABLE.len());
    }
}
