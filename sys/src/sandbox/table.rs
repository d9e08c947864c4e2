//! The table of system calls that the sandbox permits, for which process and why. A call that is not in it is denied.

use libc::c_long;

use Answer::{Fatal, Only, Passes, Refused};
use Condition::{Not, NotBoth, OneOf, Without};

/// What happens with a system call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Answer {
    /// It is permitted.
    Passes,
    /// It is permitted if its arguments meet the condition, else denied.
    Only(Condition),
    /// It is denied with EPERM.
    Refused,
    /// The process is killed: neither our code nor a library makes this call, so an attacker has taken the process
    /// over.
    Fatal,
}

/// A condition on one argument, counted from 0; the kernel reads 32 bits of each of these.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Condition {
    /// It is one of these.
    OneOf(u32, &'static [u32]),
    /// It is anything but this.
    Not(u32, u32),
    /// It has none of these bits.
    Without(u32, u32),
    /// It has not both of these bits.
    NotBoth(u32, u32, u32),
}

/// Some calls, and what happens with them for each kind of process ([`super::Post`]).
pub(super) struct Row {
    pub(super) calls: &'static [(&'static str, c_long)],
    pub(super) relay_process: Answer,
    pub(super) enforcer: Answer,
    pub(super) worker: Answer,
    /// The reason, for readers of the table.
    #[allow(dead_code, reason = "for the reader")]
    pub(super) why: &'static str,
}

const PROT_WRITE: u32 = libc::PROT_WRITE as u32;
const PROT_EXEC: u32 = libc::PROT_EXEC as u32;

/// -1 for kill(2): every process.
const EVERYBODY: u32 = u32::MAX;

/// Local sockets, and netlink.
const FAMILIES: [u32; 2] = [libc::AF_UNIX as u32, libc::AF_NETLINK as u32];

/// TCGETS2, which newer C libraries use to read a terminal's settings (asm-generic/ioctls.h).
const TCGETS2: u32 = 0x802c_542a;

/// TCSETS2, with which they set them.
const TCSETS2: u32 = 0x402c_542b;

const TERMINAL: [u32; 8] = [
    libc::TCGETS as u32,
    TCGETS2,
    libc::TCSETS as u32,
    TCSETS2,
    libc::TIOCGPGRP as u32,
    libc::TIOCSPGRP as u32,
    libc::TIOCGWINSZ as u32,
    libc::TIOCSWINSZ as u32,
];

macro_rules! row {
    ($relay_process:expr, $enforcer:expr, $worker:expr, $why:literal; $($call:ident),+) => {
        Row {
            calls: &[$((stringify!($call), libc::$call)),+],
            relay_process: $relay_process,
            enforcer: $enforcer,
            worker: $worker,
            why: $why,
        }
    };
}

/// For the relay process, the subreaper and the worker, in this order.
#[rustfmt::skip]
pub(super) const TABLE: &[Row] = &[
    row!(Passes, Passes, Passes,
        "Relays bytes, and communicates with its supervisor.";
        SYS_read, SYS_write, SYS_close, SYS_ppoll),
    row!(Passes, Passes, Refused,
        "Vectors of bytes, as std writes them.";
        SYS_readv, SYS_writev, SYS_pread64, SYS_pwrite64),
    row!(Only(Without(2, PROT_EXEC)), Only(NotBoth(2, PROT_EXEC, PROT_WRITE)), Only(Without(2, PROT_EXEC)),
        "Memory. No executable mapping is made, so that foreign code cannot be added.";
        SYS_mmap),
    row!(Only(Without(2, PROT_EXEC)), Only(Without(2, PROT_EXEC)), Only(Without(2, PROT_EXEC)),
        "As mmap. A module of NSS is loaded by mmap alone.";
        SYS_mprotect),
    row!(Passes, Passes, Passes,
        "The allocator's.";
        SYS_munmap, SYS_mremap, SYS_madvise, SYS_brk),
    row!(Passes, Passes, Passes,
        "The time, where the kernel provides it only by a call, and waiting.";
        SYS_clock_gettime, SYS_clock_nanosleep, SYS_nanosleep, SYS_gettimeofday, SYS_restart_syscall),
    row!(Passes, Passes, Passes,
        "Locks of the C library and of the allocator.";
        SYS_futex, SYS_sched_yield, SYS_getrandom),
    row!(Passes, Passes, Passes,
        "Signals to itself: masks, handlers, and the end of a process that has a bug.";
        SYS_rt_sigprocmask, SYS_rt_sigaction, SYS_rt_sigreturn, SYS_sigaltstack, SYS_rt_sigpending, SYS_exit,
        SYS_exit_group, SYS_getpid, SYS_gettid),
    row!(Only(OneOf(1, &TERMINAL)), Refused, Refused,
        "Both terminals: their settings and sizes, and which group owns the command's. Nothing types into one (TIOCSTI).";
        SYS_ioctl),
    row!(Passes, Passes, Refused,
        "Modes and copies of descriptors; locks of the database.";
        SYS_fcntl),
    row!(Passes, Passes, Refused,
        "The recording: its reserve, and no half line in it. The database: durable and whole.";
        SYS_fstatfs, SYS_ftruncate, SYS_fsync, SYS_fdatasync, SYS_lseek, SYS_fstat),
    row!(Only(Not(0, EVERYBODY)), Only(Not(0, EVERYBODY)), Refused,
        "Ends the command's process group and its orphans, but never all processes.";
        SYS_kill),
    row!(Passes, Passes, Refused,
        "Waits for children, and reads process groups.";
        SYS_wait4, SYS_waitid, SYS_getpgid, SYS_getsid, SYS_getppid),
    row!(Refused, Passes, Refused,
        "A signal to exactly one process of the run.";
        SYS_pidfd_open, SYS_pidfd_send_signal),
    row!(Refused, Passes, Refused,
        "Files: the database, the policy, /proc and the control group. Landlock restricts the paths.";
        SYS_openat, SYS_openat2, SYS_newfstatat, SYS_statx, SYS_faccessat, SYS_faccessat2, SYS_readlinkat,
        SYS_getdents64, SYS_getcwd, SYS_statfs, SYS_fchdir, SYS_chdir, SYS_unlinkat, SYS_renameat, SYS_renameat2, SYS_mkdirat,
        SYS_linkat, SYS_fchmod, SYS_fchmodat, SYS_fchown, SYS_fchownat, SYS_utimensat, SYS_fallocate, SYS_fadvise64,
        SYS_flock, SYS_sync_file_range, SYS_copy_file_range, SYS_umask, SYS_dup, SYS_dup3, SYS_pipe2,
        SYS_memfd_create),
    row!(Refused, Passes, Refused,
        "The timeout of a wait for a lock.";
        SYS_timer_create, SYS_timer_settime),
    row!(Passes, Passes, Refused,
        "The same; and the timer that continues a stopped process while no other does.";
        SYS_timer_delete),
    row!(Refused, Passes, Refused,
        "Its ids and the host.";
        SYS_getuid, SYS_geteuid, SYS_getgid, SYS_getegid, SYS_getgroups, SYS_uname, SYS_sysinfo, SYS_getrusage,
        SYS_times, SYS_capget, SYS_sched_getaffinity),
    row!(Refused, Only(OneOf(0, &FAMILIES)), Refused,
        "Log sinks and name services listen on local sockets, the kernel's audit log on netlink.";
        SYS_socket),
    row!(Refused, Passes, Refused,
        "The sockets of that kind.";
        SYS_connect, SYS_bind, SYS_sendto, SYS_sendmsg, SYS_sendmmsg, SYS_recvfrom, SYS_recvmsg, SYS_getsockopt,
        SYS_setsockopt, SYS_getsockname, SYS_getpeername, SYS_shutdown, SYS_epoll_create1, SYS_epoll_ctl,
        SYS_epoll_pwait, SYS_eventfd2, SYS_pselect6),
    row!(Fatal, Fatal, Fatal,
        "Another program.";
        SYS_execve, SYS_execveat),
    row!(Fatal, Fatal, Fatal,
        "Other processes' memory.";
        SYS_ptrace, SYS_process_vm_readv, SYS_process_vm_writev, SYS_process_madvise, SYS_kcmp, SYS_pidfd_getfd),
    row!(Fatal, Fatal, Fatal,
        "Mounts, and another root directory.";
        SYS_mount, SYS_umount2, SYS_pivot_root, SYS_chroot, SYS_move_mount, SYS_open_tree, SYS_fsopen, SYS_fsconfig,
        SYS_fsmount, SYS_fspick, SYS_mount_setattr),
    row!(Fatal, Fatal, Fatal,
        "Namespaces.";
        SYS_unshare, SYS_setns),
    row!(Fatal, Fatal, Fatal,
        "The kernel itself: modules, another kernel, programs in it, its events.";
        SYS_init_module, SYS_finit_module, SYS_delete_module, SYS_kexec_load, SYS_kexec_file_load, SYS_bpf, SYS_perf_event_open,
        SYS_reboot, SYS_swapon, SYS_swapoff),
    row!(Fatal, Fatal, Fatal,
        "Ways around a filter, and races in the kernel.";
        SYS_io_uring_setup, SYS_io_uring_enter, SYS_io_uring_register, SYS_userfaultfd),
    row!(Refused, Refused, Refused,
        "New processes. No other program, and no copy of this one either.";
        SYS_clone, SYS_clone3),
    row!(Refused, Refused, Refused,
        "Other ids or capabilities.";
        SYS_setuid, SYS_setgid, SYS_setreuid, SYS_setregid, SYS_setresuid, SYS_setresgid, SYS_setfsuid,
        SYS_setfsgid, SYS_setgroups, SYS_capset, SYS_prctl),
];

/// Calls that only x86-64 has.
#[cfg(target_arch = "x86_64")]
#[rustfmt::skip]
pub(super) const LEGACY: &[Row] = &[
    row!(Passes, Passes, Refused,
        "As ppoll, where the C library uses it.";
        SYS_poll, SYS_select, SYS_epoll_wait, SYS_pause),
    row!(Refused, Passes, Refused,
        "The older names of the same calls on files.";
        SYS_open, SYS_stat, SYS_lstat, SYS_access, SYS_readlink, SYS_getdents, SYS_unlink, SYS_rename, SYS_mkdir,
        SYS_rmdir, SYS_link, SYS_chmod, SYS_chown, SYS_lchown, SYS_dup2, SYS_pipe),
    row!(Passes, Passes, Refused,
        "As getpgid.";
        SYS_getpgrp),
    row!(Refused, Refused, Refused,
        "As clone.";
        SYS_fork, SYS_vfork),
    row!(Fatal, Fatal, Fatal,
        "Ports of the machine.";
        SYS_iopl, SYS_ioperm),
];

#[cfg(not(target_arch = "x86_64"))]
pub(super) const LEGACY: &[Row] = &[];
