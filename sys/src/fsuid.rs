//! Runs one file operation with a user's identity, so that the kernel checks that user's permissions.

use std::io;

use crate::exec::Credentials;
use crate::kernel::check;

/// Runs `act` with the file-system ids and groups of `who`, and without the capabilities that let root pass every check
/// (setfsuid(2) to a user other than 0 drops them, and back to 0 restores them). For root, in a program with one
/// thread.
///
/// # Errors
/// When the identity could not be taken on, and then `act` did not run, or when it could not be restored: then the
/// process must not go on.
pub fn as_user<T>(who: &Credentials, act: impl FnOnce() -> T) -> io::Result<T> {
    let own = crate::sanitize::supplementary_groups()?;
    set_groups(&who.groups)?;
    set_ids(who.uid, who.gid);
    let done = if ids() == (who.uid, who.gid) { Some(act()) } else { None };
    set_ids(0, 0);
    set_groups(&own)?;
    match done {
        Some(done) if ids() == (0, 0) => Ok(done),
        _ => Err(io::Error::other("the file system identity could not be changed")),
    }
}

/// Runs `act` with only the effective user id of `uid`: the kernel then counts what it counts for each user, such as
/// inotify(7) instances, for that user and not for root. For root, in a program with one thread.
///
/// # Errors
/// When the identity could not be taken on, and then `act` did not run, or when it could not be restored: then the
/// process must not go on.
pub fn on_account_of<T>(uid: u32, act: impl FnOnce() -> T) -> io::Result<T> {
    if uid == 0 {
        return Ok(act());
    }
    set_effective(uid)?;
    let done = act();
    set_effective(0)?;
    Ok(done)
}

fn set_effective(uid: u32) -> io::Result<()> {
    // The system call, for this thread alone, as above. The real and the saved id stay root's: other users may not send
    // signals. SAFETY: takes integers; u32::MAX leaves an id as it is.
    let answer = unsafe { libc::syscall(libc::SYS_setresuid, u32::MAX, uid, u32::MAX) };
    check(answer as libc::c_int).map(drop)
}

fn set_groups(groups: &[u32]) -> io::Result<()> {
    // The system call, for this thread alone as setfsuid(2) is: libc's function would change every thread of a test
    // harness. SAFETY: pointer and count describe the slice.
    let answer = unsafe { libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()) };
    check(answer as libc::c_int).map(drop)
}

fn set_ids(uid: u32, gid: u32) {
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

/// Returns the present ids: setting an invalid id leaves the present one and returns it.
fn ids() -> (u32, u32) {
    // SAFETY: takes integers; u32::MAX is no id, so that nothing changes.
    unsafe { (libc::setfsuid(u32::MAX).cast_unsigned(), libc::setfsgid(u32::MAX).cast_unsigned()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    #[test]
    fn as_user_runs_with_only_the_permissions_of_that_user() {
        let place = std::env::temp_dir().join(format!("fsuid-{}", std::process::id()));
        fs::create_dir(&place).unwrap();
        fs::set_permissions(&place, fs::Permissions::from_mode(0o1777)).unwrap();
        fs::write(place.join("secret"), "x").unwrap();
        fs::set_permissions(place.join("secret"), fs::Permissions::from_mode(0o600)).unwrap();
        let nobody = Credentials { uid: 65534, gid: 65533, groups: vec![4242] };
        let read = as_user(&nobody, || fs::read(place.join("secret"))).unwrap();
        assert_eq!(read.unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        as_user(&nobody, || fs::write(place.join("own"), "x")).unwrap().unwrap();
        let own = fs::metadata(place.join("own")).unwrap();
        assert_eq!((own.uid(), own.gid()), (65534, 65533));
        assert_eq!(fs::read(place.join("secret")).unwrap(), b"x");
        assert!(as_user(&Credentials { uid: u32::MAX, gid: 0, groups: vec![] }, || ()).is_err());
        fs::remove_dir_all(&place).unwrap();
    }
}
