//! Writing to the disk ahead of a sync.

use std::fs::File;
use std::os::fd::AsRawFd;

/// Has the kernel write what the file holds in memory, without waiting for it (sync_file_range(2)): a sync that comes later
/// has less to wait for. It is no sync: nothing is promised, so an error is nobody's.
pub fn write_out(file: &File) {
    // SAFETY: takes integers; the descriptor is open through the call.
    unsafe { libc::sync_file_range(file.as_raw_fd(), 0, 0, libc::SYNC_FILE_RANGE_WRITE) };
}
