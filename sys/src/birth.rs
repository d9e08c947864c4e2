//! How children are made: as copies, or in borrowed memory until they have become another program; where wanted, as
//! members of a control group from their first moment on (moving a process later can cost milliseconds).

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};

use crate::cgroup::is_gone;
use crate::kernel::check;

/// Since Linux 5.7; not in every libc.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// What a child runs that borrows our memory; it must not come back.
pub(crate) type Entry = extern "C" fn(*mut libc::c_void) -> libc::c_int;

/// fork(2), with the child in `cgroup` where one is given and the kernel agrees: from its first moment on, or, where there is
/// no clone3(2), before it does anything else. 0 in the child.
///
/// # Safety
/// For a process with one thread, or a child that is content with what fork(2) promises to others.
pub(crate) unsafe fn fork(cgroup: Option<BorrowedFd<'_>>) -> io::Result<libc::c_int> {
    if let Some(cgroup) = cgroup {
        let arguments = arguments(0, cgroup);
        // SAFETY: the arguments are complete and live through the call; without CLONE_VM the child has a copy of our
        // memory and goes on in this very place, as after fork(2). libc's own list of things to do at a fork is empty
        // of anything that a process with one thread needs.
        let answer = unsafe { libc::syscall(libc::SYS_clone3, &raw const arguments, size_of_val(&arguments)) };
        match check(answer as libc::c_int) {
            Err(error) if !is_final(&error) => {}
            done => return done,
        }
    }
    // SAFETY: the caller's promise.
    let child = check(unsafe { libc::fork() })?;
    if let (0, Some(cgroup)) = (child, cgroup) {
        enter(cgroup);
    }
    Ok(child)
}

/// vfork(2) on a stack of its own: runs `entry` in a child that shares our memory, and returns when it has become another
/// program or has ended. In `cgroup` where one is given and the kernel agrees, as in [`fork`].
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
        // SAFETY: the stack is exclusively ours and outlives the child's stay on it, which CLONE_VFORK bounds; the rest
        // is the caller's promise.
        match unsafe { clone3_with_stack(&arguments, entry, argument) } {
            Err(error) if !is_final(&error) => {}
            done => return done,
        }
    }
    let top = stack.as_mut_ptr_range().end;
    let mut entrance = Entrance { cgroup, entry, argument };
    // SAFETY: as above; the entrance lives as long as the child stays on our stack.
    check(unsafe { libc::clone(enter_first, top.cast(), BORROWED | libc::SIGCHLD, (&raw mut entrance).cast()) })
}

/// Where the group was removed meanwhile, or is full, nothing that is to be born there may live elsewhere.
fn is_final(error: &io::Error) -> bool {
    is_gone(error) || error.raw_os_error() == Some(libc::EAGAIN)
}

/// What a child does that could not be begotten in its group.
struct Entrance<'a> {
    cgroup: Option<BorrowedFd<'a>>,
    entry: Entry,
    argument: *mut libc::c_void,
}

extern "C" fn enter_first(entrance: *mut libc::c_void) -> libc::c_int {
    // SAFETY: `vfork` passes its own `Entrance` and does not touch it before we are gone.
    let Entrance { cgroup, entry, argument } = unsafe { &*entrance.cast::<Entrance<'_>>() };
    if let Some(cgroup) = cgroup {
        enter(*cgroup);
    }
    entry(*argument)
}

/// While we are root still. Where it fails there is no group for the child, which is followed as a descendant then.
fn enter(cgroup: BorrowedFd<'_>) {
    // SAFETY: the name ends in NUL, the text lives through the call, and the descriptor is closed by whoever opened it.
    unsafe {
        let members = libc::openat(cgroup.as_raw_fd(), c"cgroup.procs".as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
        if members >= 0 {
            libc::write(members, b"0".as_ptr().cast(), 1);
            libc::close(members);
        }
    }
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

/// libc has no wrapper that could start a child of clone3(2) on another stack.
#[cfg(target_arch = "x86_64")]
unsafe fn clone3_with_stack(
    arguments: &libc::clone_args,
    entry: Entry,
    argument: *mut libc::c_void,
) -> io::Result<libc::c_int> {
    let answer: i64;
    // SAFETY: clone3 takes the arguments and their size; the parent goes on behind it with everything but rax, rcx and
    // r11 as it was. The child goes on with the same registers but the new stack, whose top is aligned to 16 bytes: it
    // marks the outermost frame, calls `entry` and never passes the trap.
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

/// Elsewhere the child enters the group by itself.
#[cfg(not(target_arch = "x86_64"))]
unsafe fn clone3_with_stack(_: &libc::clone_args, _: Entry, _: *mut libc::c_void) -> io::Result<libc::c_int> {
    Err(io::Error::from_raw_os_error(libc::ENOSYS))
}
