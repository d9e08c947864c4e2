//! The capabilities that a process keeps (capabilities(7)).

use std::io;

use crate::kernel::check;

/// A capability, by its number in linux/capability.h.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Capability {
    /// Sends signals to processes of other users.
    Kill = 5,
    /// Reads processes of other users where /proc hides them.
    Ptrace = 19,
    /// Writes to the kernel's audit log.
    AuditWrite = 29,
    /// Reads the state of the audit queue.
    AuditControl = 30,
}

/// _LINUX_CAPABILITY_VERSION_3: each set has two 32-bit words.
const VERSION: u32 = 0x2008_0522;

/// An upper bound: the kernel has 41 of them, and returns EINVAL beyond its last.
const MOST: libc::c_ulong = 64;

#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Sets {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// Returns whether this process has a capability.
pub fn holds(capability: Capability) -> bool {
    held().is_ok_and(|[low, _]| low.effective & (1 << capability as u32) != 0)
}

fn held() -> io::Result<[Sets; 2]> {
    let header = Header { version: VERSION, pid: 0 };
    let mut held = [Sets { effective: 0, permitted: 0, inheritable: 0 }; 2];
    // SAFETY: header and sets are of the version that is named and live through the call.
    let answer = unsafe { libc::syscall(libc::SYS_capget, &raw const header, held.as_mut_ptr()) };
    check(answer as libc::c_int)?;
    Ok(held)
}

/// Drops all capabilities but `kept`, for good: no exec restores them.
///
/// # Errors
/// Any error of capset(2). It is no error if the process lacks one of `kept`.
pub(super) fn keep(kept: &[Capability]) -> io::Result<()> {
    let header = Header { version: VERSION, pid: 0 };
    let [low, _] = held()?;
    for capability in 0..MOST {
        // SAFETY: this prctl takes integers only.
        if unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) } != 0 {
            break; // beyond the last one, or without CAP_SETPCAP: then no later exec matters
        }
    }
    let wanted = kept.iter().fold(0, |all, capability| all | (1_u32 << *capability as u32));
    let kept = low.permitted & wanted;
    let sets = [
        Sets { effective: kept, permitted: kept, inheritable: 0 },
        Sets { effective: 0, permitted: 0, inheritable: 0 },
    ];
    // SAFETY: as above.
    let answer = unsafe { libc::syscall(libc::SYS_capset, &raw const header, sets.as_ptr()) };
    check(answer as libc::c_int).map(drop)
}
