//! Which descriptors close without waiting for a user. close(2), dup2(2), execve(2) and the end of a process all ask the file system
//! of a file to flush it, and FUSE asks a program, which need not answer. The process then waits for ever, even for SIGKILL, so a
//! process that ends others must never have such a descriptor.

use std::ffi::CStr;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

use nix::sys::statfs::{FUSE_SUPER_MAGIC, OVERLAYFS_SUPER_MAGIC, fstatfs};

use crate::disk::statx_at;

/// Whether no user can delay the closing of a descriptor: of the file systems that an ordinary user can mount only FUSE does, and
/// overlayfs above it.
///
/// # Errors
/// The file system of the descriptor, or the mounts of this process, cannot be read.
pub(crate) fn is_closable(fd: BorrowedFd<'_>) -> io::Result<bool> {
    match fstatfs(fd)?.filesystem_type() {
        FUSE_SUPER_MAGIC => Ok(false),
        OVERLAYFS_SUPER_MAGIC => is_mounted_here(fd),
        _ => Ok(true),
    }
}

/// Whether the file of a descriptor is on a mount of this process. Those are root's; an ordinary user mounts an overlayfs only in a
/// mount namespace of their own.
fn is_mounted_here(fd: BorrowedFd<'_>) -> io::Result<bool> {
    // Before Linux 5.8, which tells no mount, no ordinary user can mount an overlayfs.
    let Some(mount) = mount_of(fd.as_raw_fd(), c"", libc::AT_EMPTY_PATH)? else { return Ok(true) };
    // In a container nearly everything is on one mount, and the list may be long.
    if mount_of(libc::AT_FDCWD, c"/", 0)? == Some(mount) {
        return Ok(true);
    }
    let (mounts, mount) = (fs::read("/proc/self/mountinfo")?, mount.to_string());
    Ok(mounts.split(|byte| *byte == b'\n').any(|line| begins_with(line, &mount)))
}

/// Returns the id of the mount of a file (statx(2), since Linux 5.8).
fn mount_of(directory: RawFd, path: &CStr, flags: libc::c_int) -> io::Result<Option<u64>> {
    let found = statx_at(directory, path, flags, libc::STATX_MNT_ID)?;
    Ok((found.stx_mask & libc::STATX_MNT_ID != 0).then_some(found.stx_mnt_id))
}

/// Whether the first word of a line is this one.
fn begins_with(line: &[u8], word: &str) -> bool {
    line.strip_prefix(word.as_bytes()).is_some_and(|rest| rest.first() == Some(&b' '))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn files_pipes_and_devices_of_this_machine_are_closable() {
        let (reader, writer) = crate::poll::pipe().unwrap();
        let [file, null] = ["/etc/passwd", "/dev/null"].map(|path| fs::File::open(path).unwrap());
        for fd in [reader.as_fd(), writer.as_fd(), file.as_fd(), null.as_fd()] {
            assert!(is_closable(fd).unwrap());
        }
        assert!(is_mounted_here(file.as_fd()).unwrap());
    }

    #[test]
    fn a_mount_is_found_by_its_whole_number() {
        assert!(begins_with(b"36 35 98:0 / /mnt rw", "36"));
        assert!(!begins_with(b"36 35 98:0 / /mnt rw", "3") && !begins_with(b"36", "36"));
    }
}
