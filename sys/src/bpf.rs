//! The few instructions that our system call filters consist of (seccomp(2), linux/filter.h), and their installation.

use std::io;

use crate::kernel::check;

// Offsets in seccomp_data: nr, arch, instruction_pointer, args[6]; both architectures are little-endian.
pub(crate) const NUMBER: u32 = 0;
pub(crate) const ARCH: u32 = 4;

/// x32 calls are those of x86-64 with this bit.
pub(crate) const X32_BIT: u32 = 0x4000_0000;

/// Returns the offset of the lower half of an argument; `index` is 0 to 5.
pub(crate) const fn argument(index: u32) -> u32 {
    16 + index * 8
}

/// Loads four bytes of seccomp_data.
pub(crate) fn load(offset: u32) -> libc::sock_filter {
    instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, offset)
}

/// Skips `then` instructions when the loaded value is `value`, else `otherwise`.
pub(crate) fn equal(value: u32, then: u8, otherwise: u8) -> libc::sock_filter {
    instruction(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, then, otherwise, value)
}

/// Skips `then` instructions when the loaded value is at least `value`, else `otherwise`.
pub(crate) fn at_least(value: u32, then: u8, otherwise: u8) -> libc::sock_filter {
    instruction(libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K, then, otherwise, value)
}

/// Skips `then` instructions when the loaded value has one of these bits, else `otherwise`.
pub(crate) fn any_bit(bits: u32, then: u8, otherwise: u8) -> libc::sock_filter {
    instruction(libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K, then, otherwise, bits)
}

/// Skips `count` instructions.
pub(crate) fn skip(count: u32) -> libc::sock_filter {
    instruction(libc::BPF_JMP | libc::BPF_JA, 0, 0, count)
}

/// Ends the filter with this result.
pub(crate) fn answer(value: u32) -> libc::sock_filter {
    instruction(libc::BPF_RET | libc::BPF_K, 0, 0, value)
}

fn instruction(code: u32, jt: u8, jf: u8, k: u32) -> libc::sock_filter {
    libc::sock_filter { code: code as u16, jt, jf, k }
}

/// Installs a filter for this process and its future children, for good.
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
