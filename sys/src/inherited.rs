//! THE TABLE of what a process keeps over exec, so that a caller can set it before a set-user-ID program begins: what the
//! kernel takes away, what we take away before anything that others wait for, and what the command gets back. Made by
//! reading execve(2), prctl(2), getrlimit(2), sched(7), ioprio_set(2), set_mempolicy(2), personality(2) and capabilities(7).

use std::io;

use crate::kernel::check;

/// What becomes of one attribute.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// The kernel clears it when it honours the set-user-ID bit.
    Kernel,
    /// [`sanitize`](crate::sanitize()) resets it; the command begins with the default.
    Reset,
    /// [`sanitize`](crate::sanitize()) resets it; the command begins with what the caller had.
    Returned,
    /// The program does not begin where it is set.
    Refused,
    /// It stays, for this reason.
    Stays(&'static str),
}

/// One attribute of a process.
#[derive(Clone, Copy, Debug)]
pub struct Attribute {
    /// Its name.
    pub name: &'static str,
    /// Where it is described.
    pub page: &'static str,
    /// What becomes of it.
    pub fate: Fate,
}

const fn row(name: &'static str, page: &'static str, fate: Fate) -> Attribute {
    Attribute { name, page, fate }
}

/// Every attribute that an exec keeps.
pub const TABLE: [Attribute; 38] = [
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
    row("time stamp counter that raises SIGSEGV", "PR_SET_TSC(2const)", Fate::Stays("the loader ends by it at once")),
    row("child subreaper", "PR_SET_CHILD_SUBREAPER(2const)", Fate::Reset),
    row("core scheduling cookie", "PR_SCHED_CORE(2const)", Fate::Reset),
    row("transparent huge pages disabled", "PR_SET_THP_DISABLE(2const)", Fate::Reset),
    row("early kill on memory failure", "PR_MCE_KILL(2const)", Fate::Reset),
    row("interval timers and alarm", "setitimer(2)", Fate::Reset),
    row("descriptors", "open(2)", Fate::Reset),
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
    row("user namespace", "user_namespaces(7)", Fate::Refused), // the bit counts in the namespace of its owner alone
    row("pending signals", "signal(7)", Fate::Stays("those that end a process end it before it has done anything")),
    row("keyrings", "keyrings(7)", Fate::Stays("we ask for no key; pam_keyinit(8) gives the command its own")),
    row("speculation control", "PR_SET_SPECULATION_CTRL(2const)", Fate::Stays("nobody can make it less strict")),
    row("memory-deny-write-execute", "PR_SET_MDWE(2const)", Fate::Stays("we map nothing so, and it is for good")),
    row("nice value of the session", "sched(7), autogroup", Fate::Stays("it is shared with the session")),
];

/// The kernel's own default, in nanoseconds.
const TIMER_SLACK: libc::c_ulong = 50_000;

const PR_SCHED_CORE: libc::c_int = 62;
const PR_SCHED_CORE_GET: libc::c_ulong = 0;
const PR_SCHED_CORE_SHARE_FROM: libc::c_ulong = 3;

/// How the process was scheduled, as far as it was not the default, for whoever gets it back.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SchedulingState {
    scheduling: Option<Scheduling>,
    cpus: Option<CpuSet>,
    io_priority: Option<libc::c_int>,
    memory: Option<Memory>,
    persona: Option<libc::c_int>,
}

impl SchedulingState {
    /// Makes this process one as every other: SCHED_OTHER, nice 0, all CPUs, default I/O class and memory, timers that fire in
    /// time. Gives what was otherwise. For root in all ids.
    ///
    /// What the kernel does not have cannot have been set. Without CAP_SYS_NICE (many containers) a nice value, a realtime
    /// policy or a clamp stays as it is, which is slow but no error.
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

    /// Takes it on, in a child that is about to become the command; what cannot be had any more is only slower or faster.
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
        // Last: as SCHED_IDLE the rest would take its time.
        if let Some(scheduling) = self.scheduling {
            let _ = scheduling.apply();
        }
    }
}

/// sched_attr of sched_setattr(2), which libc does not have everywhere.
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
        // The runtime of the default policy is its slice, and 0 the default one.
        let is_usual = found.policy == usual.policy && found.nice == 0 && found.flags & FLAG_RESET_ON_FORK == 0;
        if clamped {
            // All bits set mean the default; a kernel without clamps says 0 for both and refuses the flag.
            let free = Self { flags: FLAG_UTIL_CLAMP, util_min: u32::MAX, util_max: u32::MAX, ..usual };
            if free.apply().is_ok() {
                return Some(Self { size: SIZE, flags: found.flags | FLAG_UTIL_CLAMP, ..found });
            }
        }
        // Set although it looks usual: a slice of one's own cannot be told from the default one.
        // Only who has CAP_SYS_NICE may lower a nice value; the policy is everybody's to change.
        let _ = usual.apply().or_else(|_| Self { nice: found.nice, ..usual }.apply());
        (!is_usual).then_some(Self { size: SIZE, util_min: 0, util_max: 0, ..found })
    }

    fn apply(self) -> io::Result<()> {
        // SAFETY: pid 0 is this process; the structure lives through the call and says its size.
        check(unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const self, 0) as libc::c_int }).map(drop)
    }
}

/// Room for 8,192 CPUs, which is what kernels are built for at most.
#[derive(Clone, PartialEq, Eq, Debug)]
struct CpuSet([u64; 128]);

impl CpuSet {
    /// The set of before, where it was narrower than all that are to be had.
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
        // SAFETY: as above; the set is only read. It fails only where none of the CPUs is to be had any more.
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

/// On which nodes memory is taken.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Memory {
    mode: libc::c_int,
    nodes: [u64; 64],
}

/// The bits of the set, and one more: the kernel takes one off (get_mempolicy(2), BUGS).
const NODES: libc::c_ulong = 64 * 64 + 1;

impl Memory {
    fn reset() -> Option<Self> {
        let mut found = Self { mode: 0, nodes: [0; 64] };
        let (mode, nodes) = (&raw mut found.mode, found.nodes.as_mut_ptr());
        // SAFETY: mode and set live through the call, and the number of bits is what fits into the set.
        let answer = unsafe { libc::syscall(libc::SYS_get_mempolicy, mode, nodes, NODES - 1, 0, 0) };
        if answer != 0 || found.mode == 0 {
            return None; // also where the kernel knows no nodes
        }
        Self { mode: 0, nodes: [0; 64] }.apply();
        Some(found)
    }

    fn apply(&self) {
        let (nodes, count) = if self.mode == 0 { (std::ptr::null(), 0) } else { (self.nodes.as_ptr(), NODES) };
        // SAFETY: the set is only read and has as many bits as is said.
        unsafe { libc::syscall(libc::SYS_set_mempolicy, self.mode, nodes, count) };
    }
}

fn reset_persona() -> Option<libc::c_int> {
    // SAFETY: takes an integer and gives the one of before.
    let before = unsafe { libc::personality(0) };
    (before > 0).then_some(before)
}

fn set_persona(persona: libc::c_int) {
    // SAFETY: as above.
    unsafe { libc::personality(libc::c_ulong::from(persona.cast_unsigned())) };
}

fn reset_by_prctl() {
    for (option, value) in [
        // A value, not 0: that would mean the slack that this process was born with, which its parent had chosen.
        (libc::PR_SET_TIMERSLACK, TIMER_SLACK),
        (libc::PR_SET_CHILD_SUBREAPER, 0),
        (libc::PR_SET_THP_DISABLE, 0),
        (libc::PR_MCE_KILL, libc::PR_MCE_KILL_CLEAR as libc::c_ulong),
    ] {
        let value: libc::c_ulong = value;
        // SAFETY: these take one integer each. Where the kernel knows one of them not, it cannot have been set.
        unsafe { libc::prctl(option, value, 0, 0, 0) };
    }
    let mut cookie: u64 = 0;
    // SAFETY: the place for the cookie lives through the call; pid 0 and scope 0 are this thread.
    let answer = unsafe { libc::prctl(PR_SCHED_CORE, PR_SCHED_CORE_GET, 0, 0, &raw mut cookie) };
    if answer == 0 && cookie != 0 {
        // SAFETY: takes integers: what the first process of the system has, that is none.
        unsafe { libc::prctl(PR_SCHED_CORE, PR_SCHED_CORE_SHARE_FROM, 1, 0, 0) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In a thread of its own, whose attributes are its own.
    fn aside(test: impl FnOnce() + Send + 'static) {
        std::thread::spawn(test).join().unwrap();
    }

    #[test]
    fn a_usual_process_has_nothing_to_get_back() {
        aside(|| {
            SchedulingState::reset();
            assert_eq!(SchedulingState::reset(), SchedulingState::default());
        });
    }

    #[test]
    fn a_manner_is_reset_and_resumed() {
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
    fn each_attribute_stands_once_in_the_table() {
        let mut names: Vec<_> = TABLE.iter().map(|attribute| attribute.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), TABLE.len());
    }
}
