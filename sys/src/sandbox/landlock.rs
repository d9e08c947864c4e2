//! Restricts the files that a process may still open, by Landlock (landlock(7)), since Linux 5.13.

use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;

use super::AllowedPath;
use crate::kernel::check;

// LANDLOCK_ACCESS_FS_* of linux/landlock.h.
const WRITE_FILE: u64 = 1 << 1;
const READ_FILE: u64 = 1 << 2;
const READ_DIR: u64 = 1 << 3;
const REMOVE_DIR: u64 = 1 << 4;
const REMOVE_FILE: u64 = 1 << 5;
const MAKE_DIR: u64 = 1 << 7;
const MAKE_REG: u64 = 1 << 8;
const REFER: u64 = 1 << 13;
const TRUNCATE: u64 = 1 << 14;

/// All access rights of the first version, and those that later versions added.
const FIRST: u64 = (1 << 13) - 1;
const ADDED: [(i64, u64); 3] = [(2, REFER), (3, TRUNCATE), (5, 1 << 15)];

/// LANDLOCK_ACCESS_NET_BIND_TCP and _CONNECT_TCP, since version 4.
const NETWORK: (i64, u64) = (4, 3);

const READ: u64 = READ_FILE | READ_DIR;
const WRITE: u64 = READ | WRITE_FILE | REMOVE_DIR | REMOVE_FILE | MAKE_DIR | MAKE_REG | REFER | TRUNCATE;

const CREATE_RULESET_VERSION: u32 = 1;
const RULE_PATH_BENEATH: libc::c_int = 1;

/// struct landlock_ruleset_attr; fields that the kernel does not know must be zero.
#[repr(C)]
struct Ruleset {
    files: u64,
    network: u64,
    scoped: u64,
}

/// struct landlock_path_beneath_attr.
#[repr(C, packed)]
struct Beneath {
    allowed: u64,
    parent: i32,
}

/// Returns the version of the kernel's Landlock, from 1 on.
///
/// # Errors
/// `ENOSYS` or `EOPNOTSUPP` without Landlock.
pub(super) fn version() -> io::Result<i64> {
    let nothing = std::ptr::null::<Ruleset>();
    // SAFETY: without attributes and with this flag the call takes integers only.
    let answer = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, nothing, 0_usize, CREATE_RULESET_VERSION) };
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(answer) }
}

/// Restricts this process to files below `grounds`; a path that does not exist is ignored.
///
/// # Errors
/// As [`version`], and `EPERM` without CAP_SYS_ADMIN and `no_new_privs`.
pub(super) fn restrict(grounds: &[AllowedPath<'_>]) -> io::Result<()> {
    let version = version()?;
    let handled = ADDED.iter().filter(|(since, _)| version >= *since).fold(FIRST, |all, (_, right)| all | right);
    let network = if version >= NETWORK.0 { NETWORK.1 } else { 0 };
    let ruleset = create(&Ruleset { files: handled, network, scoped: 0 })?;
    for ground in grounds {
        let (path, wanted) = match ground {
            AllowedPath::Read(path) => (path, READ),
            AllowedPath::Write(path) => (path, WRITE),
        };
        let opened = OpenOptions::new().read(true).custom_flags(libc::O_PATH).open(path);
        let Ok(place) = opened else { continue };
        let is_directory = place.metadata()?.is_dir();
        let fitting = if is_directory { wanted } else { wanted & (READ_FILE | WRITE_FILE | TRUNCATE) };
        add(&ruleset, &Beneath { allowed: fitting & handled, parent: place.as_raw_fd() })?;
    }
    // SAFETY: takes a descriptor that is open through the call, and an integer.
    let answer = unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset.as_raw_fd(), 0) };
    check(answer as libc::c_int).map(drop)
}

fn create(attributes: &Ruleset) -> io::Result<OwnedFd> {
    let size = size_of::<Ruleset>();
    // SAFETY: pointer and size describe the attributes, which live through the call.
    let answer = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, std::ptr::from_ref(attributes), size, 0) };
    let fd = check(answer as libc::c_int)?;
    // SAFETY: the kernel has just made the descriptor and nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn add(ruleset: &OwnedFd, rule: &Beneath) -> io::Result<()> {
    let (fd, rule) = (ruleset.as_raw_fd(), std::ptr::from_ref(rule));
    // SAFETY: the rule is of the given kind and lives through the call; its descriptor is open.
    let answer = unsafe { libc::syscall(libc::SYS_landlock_add_rule, fd, RULE_PATH_BENEATH, rule, 0) };
    check(answer as libc::c_int).map(drop)
}
