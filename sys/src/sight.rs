//! What somebody else may see of the file system: the kernel answers, with their identity on this process for the moment of
//! the question.

use std::fs;
use std::io;
use std::path::Path;

use crate::kernel::check;

/// Whether a user with these ids may look a path up, and it is there (stat(2) as them). Every error is a no.
///
/// # Errors
/// Only when our own identity could not be lent or taken back; after the latter nothing should go on.
pub fn can_see(uid: u32, gid: u32, groups: &[u32], path: &Path) -> io::Result<bool> {
    let own = crate::sanitize::supplementary_groups()?;
    set_groups(groups)?;
    set_filesystem_ids(uid, gid);
    let seen = fs::metadata(path).is_ok();
    set_filesystem_ids(0, 0);
    set_groups(&own)?;
    if filesystem_ids() == (0, 0) {
        Ok(seen)
    } else {
        Err(io::Error::other("the file system identity could not be taken back"))
    }
}

fn set_groups(groups: &[u32]) -> io::Result<()> {
    // SAFETY: pointer and count describe the slice.
    check(unsafe { libc::setgroups(groups.len(), groups.as_ptr()) }).map(drop)
}

/// setfsuid(2) away from 0 takes the capabilities that would let root see everything, and back to 0 returns them.
fn set_filesystem_ids(uid: u32, gid: u32) {
    if uid == 0 {
        // SAFETY: takes an integer; the group follows, since only root may set it.
        unsafe { libc::setfsuid(uid) };
    }
    // SAFETY: takes an integer.
    unsafe { libc::setfsgid(gid) };
    if uid != 0 {
        // SAFETY: takes an integer.
        unsafe { libc::setfsuid(uid) };
    }
}

/// An id that cannot be set leaves the present one and returns it.
fn filesystem_ids() -> (i32, i32) {
    // SAFETY: takes integers; u32::MAX is no id, so that nothing changes.
    unsafe { (libc::setfsuid(u32::MAX), libc::setfsgid(u32::MAX)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn only_what_the_user_could_look_up_is_seen() {
        let hidden = std::env::temp_dir().join(format!("sight-{}", std::process::id()));
        fs::create_dir(&hidden).unwrap();
        fs::write(hidden.join("file"), "").unwrap();
        fs::set_permissions(&hidden, fs::Permissions::from_mode(0o700)).unwrap();
        assert!(can_see(0, 0, &[], &hidden.join("file")).unwrap());
        assert!(can_see(65534, 65534, &[65534], &hidden).unwrap());
        assert!(!can_see(65534, 65534, &[65534], &hidden.join("file")).unwrap());
        assert!(!can_see(65534, 65534, &[65534], &hidden.join("nothing")).unwrap());
        fs::write(hidden.join("more"), "").unwrap();
        fs::remove_dir_all(&hidden).unwrap();
    }
}
