//! Which descriptors close without waiting for a user. close(2), dup2(2), execve(2) and the end of a process all ask the file system
//! of a file to flush it, and FUSE asks a program, which need not answer. The process then waits for ever, even for SIGKILL, so a
//! process that ends others must never have such a descriptor.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::sys::statfs::{FUSE_SUPER_MAGIC, OVERLAYFS_SUPER_MAGIC, fstatfs};

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
    let information = fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.as_raw_fd()))?;
    let mount = information.lines().find_map(|line| line.strip_prefix("mnt_id:")).map(str::trim);
    let mounts = fs::read("/proc/self/mountinfo")?;
    let is_listed = |mount: &str| mounts.split(|byte| *byte == b'\n').any(|line| begins_with(line, mount));
    Ok(mount.is_some_and(is_listed))
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
