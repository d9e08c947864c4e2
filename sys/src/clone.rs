//! Starts children: as copies, or in borrowed memory until they execute another program; where asked, as members of a
//! control group from the start (moving a process later can take milliseconds).

use std::fs::File;
use std::io::{self, PipeReader, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::kernel::check;
use crate::process::{Pid, Waiting, wait};

/// Since Linux 5.7; not in every libc.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// Whether a sandbox denies this process the start of others.
static IS_DENIED: AtomicBool = AtomicBool::new(false);

/// Notes that this process can start no other one any more: trying it would end this process.
pub(crate) fn deny() {
    IS_DENIED.store(true, Ordering::Relaxed);
}

/// Returns whether that was noted.
pub(crate) fn is_denied() -> bool {
    IS_DENIED.load(Ordering::Relaxed)
}

/// The function that a child runs in borrowed memory; it must not return.
pub(crate) type Entry = extern "C" fn(*mut libc::c_void) -> libc::c_int;

/// Calls fork(2), with the child in `cgroup` if one is given: from the start or, without clone3(2), before it does
/// anything else. If the group does not accept the child, there is none. Returns 0 in the child.
///
/// # Safety
/// For a process with one thread, or a child that needs no more than fork(2) promises to a process with several.
pub(crate) unsafe fn fork(cgroup: Option<BorrowedFd<'_>>) -> io::Result<libc::c_int> {
    if let Some(cgroup) = cgroup {
        let arguments = arguments(0, cgroup);
        // SAFETY: the arguments are complete and live through the call; without CLONE_VM the child has a copy of our
        // memory and continues here, as after fork(2). libc's own work at a fork is not needed by a process with one
        // thread.
        let answer = unsafe { libc::syscall(libc::SYS_clone3, &raw const arguments, size_of_val(&arguments)) };
        match check(answer as libc::c_int) {
            Err(error) if is_missing(&error) => {}
            done => return done,
        }
        // SAFETY: the caller's promise.
        return unsafe { fork_moved(cgroup) };
    }
    // SAFETY: the caller's promise.
    check(unsafe { libc::fork() })
}

/// Forks a child that first enters the group, and exits if it cannot.
///
/// # Safety
/// As [`fork`].
unsafe fn fork_moved(cgroup: BorrowedFd<'_>) -> io::Result<libc::c_int> {
    let (told, mut tell) = io::pipe()?;
    // SAFETY: the caller's promise.
    let child = check(unsafe { libc::fork() })?;
    if child == 0 {
        drop(tell);
        await_word(told);
        return Ok(0);
    }
    drop(told);
    match enter(cgroup, &child.to_string()).and_then(|()| tell.write_all(b"!")) {
        Ok(()) => Ok(child),
        Err(error) => {
            drop(tell);
            reap(child);
            Err(error)
        }
    }
}

fn await_word(mut told: PipeReader) {
    if !told.read(&mut [0]).is_ok_and(|length| length == 1) {
        // SAFETY: takes an integer and does not return.
        unsafe { libc::_exit(1) };
    }
}

fn reap(child: libc::c_int) {
    let _ = Pid::new(child).map(|child| wait(child, Waiting::ForEnd)); // its status does not matter
}

/// Calls vfork(2) on a separate stack: runs `entry` in a child that shares our memory, and returns when the child has
/// executed another program or ended. The child is in `cgroup` if one is given, as in [`fork`].
///
/// # Safety
/// `entry` leaves by exec or _exit, without unwinding; `argument` is what it expects; all signals are blocked, so that
/// no handler runs in the child.
pub(crate) unsafe fn vfork(
    entry: Entry,
    argument: *mut libc::c_void,
    stack: &mut [MaybeUninit<u128>],
    cgroup: Option<BorrowedFd<'_>>,
) -> io::Result<libc::c_int> {
    const BORROWED: libc::c_int = libc::CLONE_VM | libc::CLONE_VFORK;
    if let Some(cgroup) = cgroup {
        let mut arguments = arguments(BORROWED, cgroup);
        arguments.stack = stack.as_mut_ptr().addr() as u64;
        arguments.stack_size = size_of_val(stack) as u64;
        // SAFETY: the stack is exclusively ours and outlives the child's use of it, which CLONE_VFORK bounds; the
        // caller promises the rest.
        match unsafe { clone3_with_stack(&arguments, entry, argument) } {
            Err(error) if is_missing(&error) => {}
            done => return done,
        }
    }
    let top = stack.as_mut_ptr_range().end;
    let mut entrance = Entrance { cgroup, entry, argument, refused: None };
    // SAFETY: as above; the entrance lives as long as the child uses our stack.
    let child =
        check(unsafe { libc::clone(enter_first, top.cast(), BORROWED | libc::SIGCHLD, (&raw mut entrance).cast()) })?;
    match entrance.refused {
        None => Ok(child),
        Some(errno) => {
            reap(child);
            Err(io::Error::from_raw_os_error(errno))
        }
    }
}

/// Returns whether clone3(2) cannot start a child in a group here: an older kernel lacks the call or does not know
/// groups, and the filter of a container denies it (EPERM). Any other error concerns the group: it was removed, is
/// full, or accepts no process. Then the child must not run elsewhere.
fn is_missing(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::E2BIG | libc::EINVAL | libc::EPERM))
}

/// What a child needs that enters its group by itself.
struct Entrance<'a> {
    cgroup: Option<BorrowedFd<'a>>,
    entry: Entry,
    argument: *mut libc::c_void,
    /// The error with which the group rejected it.
    refused: Option<libc::c_int>,
}

extern "C" fn enter_first(entrance: *mut libc::c_void) -> libc::c_int {
    // SAFETY: `vfork` passes its own `Entrance` and does not touch it before the child has left.
    let entrance = unsafe { &mut *entrance.cast::<Entrance<'_>>() };
    if let Some(error) = entrance.cgroup.and_then(|cgroup| enter(cgroup, "0").err()) {
        entrance.refused = Some(error.raw_os_error().unwrap_or(libc::EIO));
        // SAFETY: takes an integer and does not return.
        unsafe { libc::_exit(1) };
    }
    (entrance.entry)(entrance.argument)
}

/// Moves a process to the group, or the calling one if `who` is "0". For a process that is still root.
fn enter(cgroup: BorrowedFd<'_>, who: &str) -> io::Result<()> {
    // SAFETY: the name ends in NUL and lives through the call.
    let members =
        check(unsafe { libc::openat(cgroup.as_raw_fd(), c"cgroup.procs".as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC) })?;
    // SAFETY: the kernel has just made the descriptor and nothing else owns it.
    File::from(unsafe { OwnedFd::from_raw_fd(members) }).write_all(who.as_bytes())
}

fn arguments(flags: libc::c_int, cgroup: BorrowedFd<'_>) -> libc::clone_args {
    libc::clone_args {
        flags: u64::from(flags.unsigned_abs()) | CLONE_INTO_CGROUP,
        pidfd: 0,
        child_tid: 0,
        parent_tid: 0,
        exit_signal: u64::from(libc::SIGCHLD.unsigned_abs()),
        stack: 0,
        stack_size: 0,
        tls: 0,
        set_tid: 0,
        set_tid_size: 0,
        cgroup: u64::from(cgroup.as_raw_fd().unsigned_abs()),
    }
}

/// Calls clone3(2) with a child that starts on another stack. libc has no wrapper for that.
#[cfg(target_arch = "x86_64")]
unsafe fn clone3_with_stack(
    arguments: &libc::clone_args,
    entry: Entry,
    argument: *mut libc::c_void,
) -> io::Result<libc::c_int> {
    let answer: i64;
    // SAFETY: clone3 takes the arguments and their size; the parent continues after it with everything but rax, rcx and
    // r11 unchanged. The child continues with the same registers but the new stack, whose top is aligned to 16 bytes:
    // it marks the outermost frame, calls `entry` and never passes the trap.
    unsafe {
        std::arch::asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "mov rdi, {argument}",
            "call {entry}",
            "ud2",
            "2:",
            entry = in(reg) entry,
            argument = in(reg) argument,
            inlateout("rax") libc::SYS_clone3 => answer,
            in("rdi") std::ptr::from_ref(arguments),
            in("rsi") size_of_val(arguments),
            out("rcx") _,
            out("r11") _,
        );
    }
    match libc::c_int::try_from(answer) {
        Ok(child @ 1..) => Ok(child),
        Ok(error) => Err(io::Error::from_raw_os_error(error.saturating_neg())),
        Err(_) => Err(io::Error::from_raw_os_error(libc::EINVAL)),
    }
}

/// On other architectures the child enters the group by itself.
#[cfg(not(target_arch = "x86_64"))]
unsafe fn clone3_with_stack(_: &libc::clone_args, _: Entry, _: *mut libc::c_void) -> io::Result<libc::c_int> {
    Err(io::Error::from_raw_os_error(libc::ENOSYS))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroup::Cgroup;
    use crate::descendants::descendants;
    use crate::process::{self, Pid, WaitEvent, Waiting, exit_now, fork_into};
    use std::fs;
    use std::os::fd::AsFd;

    extern "C" fn end(_: *mut libc::c_void) -> libc::c_int {
        exit_now(9)
    }

    /// Calls `vfork` as on a kernel without clone3(2).
    fn enter_as(entrance: &mut Entrance<'_>) -> io::Result<libc::c_int> {
        let mut stack = Vec::<u128>::with_capacity(1 << 12);
        let top = stack.spare_capacity_mut().as_mut_ptr_range().end;
        let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
        // SAFETY: stack and entrance outlive the child's use of them, which CLONE_VFORK bounds.
        check(unsafe { libc::clone(enter_first, top.cast(), flags, std::ptr::from_mut(entrance).cast()) })
    }

    fn status(child: libc::c_int) -> WaitEvent {
        process::wait(Pid::new(child).unwrap(), Waiting::ForEnd).unwrap().unwrap().0
    }

    #[test]
    fn no_child_starts_elsewhere_when_the_group_rejects_it() {
        // One group that holds groups of threads and so accepts no processes, and one that was removed.
        let Some(outer) = Cgroup::create("sys-tests", "closed").ok() else { return };
        let [threads, closed, gone] = ["threads", "closed", "gone"].map(|name| outer.path().join(name));
        for path in [&threads, &closed, &gone] {
            fs::create_dir(path).unwrap();
        }
        fs::write(threads.join("cgroup.type"), "threaded").unwrap();
        let [closed, gone] = [&closed, &gone].map(|path| Cgroup::open("sys-tests", path).unwrap());
        fs::remove_dir(gone.path()).unwrap();
        // In another process, so that this test does not reap the children of other tests.
        let other = fork_into(None, || {
            for group in [&closed, &gone] {
                let born = fork_into(Some(group), || exit_now(9));
                let mut stack = Vec::<u128>::with_capacity(1 << 12);
                // SAFETY: `end` leaves by _exit, and so do the forked children.
                let borrowed =
                    unsafe { vfork(end, std::ptr::null_mut(), stack.spare_capacity_mut(), Some(group.as_fd())) };
                // SAFETY: as above.
                let moved = match unsafe { fork_moved(group.as_fd()) } {
                    Ok(0) => exit_now(9),
                    moved => moved,
                };
                let argument = std::ptr::null_mut();
                let mut entrance = Entrance { cgroup: Some(group.as_fd()), entry: end, argument, refused: None };
                let entered = enter_as(&mut entrance).map(status);
                let none = born.is_err() && borrowed.is_err() && moved.is_err() && entrance.refused.is_some();
                if !none || entered.is_ok_and(|event| event != WaitEvent::Exited(1)) {
                    exit_now(1);
                }
            }
            exit_now(if descendants(Pid::own()).is_ok_and(|left| left.is_empty()) { 0 } else { 2 })
        });
        assert_eq!(status(other.unwrap().raw()), WaitEvent::Exited(0));
        outer.remove();
    }

    #[test]
    fn without_clone3_a_child_is_in_its_group_before_it_does_anything() {
        let Some(group) = Cgroup::create("sys-tests", "moved").ok() else { return };
        // SAFETY: the child leaves by _exit and needs no more than fork(2) promises.
        let child = match unsafe { fork_moved(group.as_fd()) }.unwrap() {
            0 => exit_now(i32::from(!group.holds(Pid::own()))),
            child => child,
        };
        assert_eq!(status(child), WaitEvent::Exited(0));
        let mut entrance =
            Entrance { cgroup: Some(group.as_fd()), entry: end, argument: std::ptr::null_mut(), refused: None };
        assert_eq!(status(enter_as(&mut entrance).unwrap()), WaitEvent::Exited(9));
        assert_eq!(entrance.refused, None);
        group.remove();
    }
}
