//! A system call filter (seccomp(2)) under which a process executes one more program, and after which neither it nor
//! its descendants can execute another. The kernel enforces it, so it also applies to static programs and to programs
//! of the 32-bit ABI.
//!
//! The filter permits an execve(2) whose sixth argument, which the kernel does not read, is a random 64-bit number. The
//! process that knows the number uses it to execute the command. exec clears registers and memory, and a process under
//! a filter cannot read filters (PTRACE_SECCOMP_GET_FILTER), so the command can only guess the number.

use std::io;

use crate::bpf::{ARCH, NUMBER, X32_BIT, answer, argument, at_least, equal, load, set};
use crate::kernel::check;
use crate::random::random;

/// The number that permits one exec.
#[derive(Debug)]
pub(crate) struct Pass(u64);

impl Pass {
    /// For a process without a filter.
    pub(crate) const NONE: Self = Self(0);

    /// Installs the filter for this process and its future children, for good.
    ///
    /// When root lacks CAP_SYS_ADMIN, as in some containers, the kernel requires `no_new_privs` first: set-user-ID bits
    /// and file capabilities then have no effect for the command.
    ///
    /// # Errors
    /// `Unsupported` on an architecture whose system calls are not known here; `ENOSYS` or `EINVAL` from a kernel
    /// without filters.
    pub(crate) fn install() -> io::Result<Self> {
        let pass = Self(u64::from_ne_bytes(random()?));
        let mut filter = filter(pass.0).ok_or_else(|| io::Error::from(io::ErrorKind::Unsupported))?;
        match set(&mut filter) {
            Err(error) if error.raw_os_error() == Some(libc::EACCES) => {
                // SAFETY: this prctl takes integers only.
                check(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) })?;
                set(&mut filter)?;
            }
            loaded => loaded?,
        }
        Ok(pass)
    }

    /// Returns the sixth argument of execve(2) and execveat(2).
    pub(crate) fn word(&self) -> libc::c_ulong {
        self.0
    }
}

/// The system calls of one ABI that execute another program.
struct Abi {
    /// AUDIT_ARCH_* of linux/audit.h.
    arch: u32,
    /// execve and execveat.
    exec: [u32; 2],
}

/// io_uring_setup has the same number everywhere. A ring bypasses the filter: no operation executes a program today,
/// but one of a later kernel could.
const IO_URING_SETUP: u32 = 425;

/// The ABI of this program, and the 32-bit one that the same kernel may support: asm/unistd_32.h and so on.
#[cfg(target_arch = "x86_64")]
const ABIS: [Abi; 2] = [Abi { arch: 0xc000_003e, exec: [59, 322] }, Abi { arch: 0x4000_0003, exec: [11, 358] }];

#[cfg(target_arch = "aarch64")]
const ABIS: [Abi; 2] = [Abi { arch: 0xc000_00b7, exec: [221, 281] }, Abi { arch: 0x4000_0028, exec: [11, 387] }];

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
const ABIS: [Abi; 0] = [];

const SIXTH: u32 = argument(5);

const REFUSE: u32 = libc::SECCOMP_RET_ERRNO | libc::EACCES as u32;
const UNKNOWN: u32 = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;

/// Compiles the filter; `None` on an unknown architecture. The numbers in the comments at the left are those of the
/// jumps.
#[rustfmt::skip]
fn filter(pass: u64) -> Option<Vec<libc::sock_filter>> {
    let [own, compatible] = <&[Abi; 2]>::try_from(ABIS.as_slice()).ok()?;
    let ([own_exec, own_execat], [compatible_exec, compatible_execat]) = (own.exec, compatible.exec);
    let [low, high] = [pass as u32, (pass >> 32) as u32];
    Some(vec![
        /*  0 */ load(ARCH),
        /*  1 */ equal(own.arch, 0, 14),
        /*  2 */ load(NUMBER),
        /*  3 */ at_least(X32_BIT, 0, 1),
        /*  4 */ answer(UNKNOWN),
        /*  5 */ equal(IO_URING_SETUP, 0, 1),
        /*  6 */ answer(UNKNOWN),
        /*  7 */ equal(own_exec, 2, 0),
        /*  8 */ equal(own_execat, 1, 0),
        /*  9 */ answer(libc::SECCOMP_RET_ALLOW),
        /* 10 */ load(SIXTH),
        /* 11 */ equal(low, 0, 3),
        /* 12 */ load(SIXTH + 4),
        /* 13 */ equal(high, 0, 1),
        /* 14 */ answer(libc::SECCOMP_RET_ALLOW),
        /* 15 */ answer(REFUSE),
        /* 16 */ equal(compatible.arch, 1, 0),
        /* 17 */ answer(REFUSE),
        /* 18 */ load(NUMBER),
        /* 19 */ equal(IO_URING_SETUP, 0, 1),
        /* 20 */ answer(UNKNOWN),
        /* 21 */ equal(compatible_exec, 2, 0),
        /* 22 */ equal(compatible_execat, 1, 0),
        /* 23 */ answer(libc::SECCOMP_RET_ALLOW),
        /* 24 */ answer(REFUSE),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Interprets the few instructions of the filter for a call. Returns its answer.
    fn judge(arch: u32, number: u32, sixth: u64) -> u32 {
        let filter = filter(0x0123_4567_89ab_cdef).unwrap();
        let (mut at, mut loaded) = (0, 0);
        loop {
            let libc::sock_filter { code, jt, jf, k } = filter[at];
            at += 1;
            let skip = |truth: bool| usize::from(if truth { jt } else { jf });
            match u32::from(code) {
                0x20 => {
                    loaded = match k {
                        NUMBER => number,
                        ARCH => arch,
                        SIXTH => sixth as u32,
                        _ => (sixth >> 32) as u32,
                    }
                }
                0x15 => at += skip(loaded == k),
                0x35 => at += skip(loaded >= k),
                0x06 => return k,
                other => panic!("{other:#x}"),
            }
        }
    }

    #[test]
    fn only_the_pass_permits_exec_and_only_in_this_abi() {
        let pass = 0x0123_4567_89ab_cdef;
        let [own, compatible] = &ABIS;
        for number in own.exec {
            assert_eq!(judge(own.arch, number, pass), libc::SECCOMP_RET_ALLOW);
            for wrong in [0, pass ^ 1, pass ^ (1 << 63), pass & 0xffff_ffff, pass << 32] {
                assert_eq!(judge(own.arch, number, wrong), REFUSE);
            }
            assert_eq!(judge(own.arch, number | X32_BIT, pass), UNKNOWN);
        }
        for number in compatible.exec {
            assert_eq!(judge(compatible.arch, number, pass), REFUSE);
        }
        for arch in [own.arch, compatible.arch] {
            assert_eq!(judge(arch, 1, 0), libc::SECCOMP_RET_ALLOW);
            assert_eq!(judge(arch, IO_URING_SETUP, pass), UNKNOWN);
        }
        assert_eq!(judge(0x1234, 1, pass), REFUSE);
        // The numbers of one ABI mean other calls in the other.
        assert_eq!(judge(own.arch, compatible.exec[0], 0), libc::SECCOMP_RET_ALLOW);
    }
}
