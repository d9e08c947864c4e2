//! The few instructions that our filters of system calls are made of (seccomp(2), linux/filter.h), and how one is set.

use std::io;

use crate::kernel::check;

// Offsets in seccomp_data: nr, arch, instruction_pointer, args[6]; both machines are little-endian.
pub(crate) const NUMBER: u32 = 0;
pub(crate) const ARCH: u32 = 4;

/// x32 calls are those of x86-64 with this bit.
pub(crate) const X32_BIT: u32 = 0x4000_0000;

/// Where the lower half of an argument lies; `index` is 0 to 5.
pub(crate) const fn argument(index: u32) -> u32 {
    16 + index * 8
}

/// Takes four bytes of the call's description.
pub(crate) fn load(offset: u32) -> libc::sock_filter {
    instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, offset)
}

/// Skips so many instructions when what was loaded is `value`, and so many when not.
pub(crate) fn equal(value: u32, then: u8, otherwise: u8) -> libc::sock_filter {
    instruction(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, then, otherwise, value)
}

/// The same when it is not below `value`.
pub(crate) fn at_least(value: u32, then: u8, otherwise: u8) -> libc::sock_filter {
    instruction(libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K, then, otherwise, value)
}

/// The same when it has one of these bits.
pub(crate) fn any_bit(bits: u32, then: u8, otherwise: u8) -> libc::sock_filter {
    instruction(libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K, then, otherwise, bits)
}

/// Skips so many instructions.
pub(crate) fn skip(count: u32) -> libc::sock_filter {
    instruction(libc::BPF_JMP | libc::BPF_JA, 0, 0, count)
}

/// The end: what becomes of the call.
pub(crate) fn answer(value: u32) -> libc::sock_filter {
    instruction(libc::BPF_RET | libc::BPF_K, 0, 0, value)
}

fn instruction(code: u32, jt: u8, jf: u8, k: u32) -> libc::sock_filter {
    libc::sock_filter { code: code as u16, jt, jf, k }
}

/// Puts this process and all that it will beget under a filter, for good.
///
/// # Errors
/// `EACCES` without CAP_SYS_ADMIN and `no_new_privs`; `ENOSYS` or `EINVAL` from a kernel without filters.
pub(crate) fn set(filter: &mut [libc::sock_filter]) -> io::Result<()> {
    let length = u16::try_from(filter.len()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    let program = libc::sock_fprog { len: length, filter: filter.as_mut_ptr() };
    // SAFETY: the program describes the slice, and both live through the call, which copies them.
    let answer = unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const program) };
    check(answer as libc::c_int).map(drop)
}
