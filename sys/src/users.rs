//! Accounts and groups from the system's name service (nsswitch.conf(5)). A service that fails is an error, never "no
//! such user", so that the caller can deny access.

use std::ffi::CString;
use std::io;
use std::path::PathBuf;

use nix::unistd::{Gid, Uid};

use crate::no_wait::may_wait_for;

/// A user.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Account {
    /// The login name, as the name service spells it.
    pub name: String,
    /// User id.
    pub uid: u32,
    /// Primary group.
    pub gid: u32,
    /// The home directory; possibly empty or relative.
    pub home: PathBuf,
    /// The login shell; empty means `/bin/sh` (passwd(5)).
    pub shell: PathBuf,
    /// The comment field, of any bytes.
    pub gecos: Vec<u8>,
}

/// A group.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// Group id.
    pub gid: u32,
    /// The users that the group lists. Users whose primary group it is may be missing, and so are names that are not UTF-8.
    pub members: Vec<String>,
}

/// Looks a user up by login name; `None` when there is none.
///
/// # Errors
/// Those of the name service; a name that contains NUL; an account whose name is not UTF-8 or whose id means "no id" to
/// the kernel (CVE-2019-14287).
pub fn account_by_name(name: &str) -> io::Result<Option<Account>> {
    plain(name)?;
    may_wait_for("an account");
    nix::unistd::User::from_name(name)?.map(account).transpose()
}

/// Looks a user up by id; `None` when there is none.
///
/// # Errors
/// As [`account_by_name`]; the id `u32::MAX`.
pub fn account_by_uid(uid: u32) -> io::Result<Option<Account>> {
    real_id(uid)?;
    may_wait_for("an account");
    nix::unistd::User::from_uid(Uid::from_raw(uid))?.map(account).transpose()
}

/// Looks a group up by name; `None` when there is none.
///
/// # Errors
/// As [`account_by_name`].
pub fn group_by_name(name: &str) -> io::Result<Option<Group>> {
    plain(name)?;
    may_wait_for("a group");
    nix::unistd::Group::from_name(name)?.map(group).transpose()
}

/// Looks a group up by id; `None` when there is none.
///
/// # Errors
/// As [`account_by_name`]; the id `u32::MAX`.
pub fn group_by_gid(gid: u32) -> io::Result<Option<Group>> {
    real_id(gid)?;
    may_wait_for("a group");
    nix::unistd::Group::from_gid(Gid::from_raw(gid))?.map(group).transpose()
}

/// Enough for the groups of nearly every user.
const FEW_GROUPS: usize = 64;

/// NGROUPS_MAX (limits.h): the kernel accepts no more.
const MOST_GROUPS: usize = 65_536;

/// Returns every group of a user, the given primary one included (getgrouplist(3)).
///
/// # Errors
/// A name that contains NUL; more groups than the kernel accepts; a group whose id means "no id".
pub fn groups_of(name: &str, gid: u32) -> io::Result<Vec<u32>> {
    real_id(gid)?;
    may_wait_for("the groups of an account");
    let name = CString::new(name).map_err(|_| refused("a name contains NUL"))?;
    let mut groups = vec![0; FEW_GROUPS];
    loop {
        let room = libc::c_int::try_from(groups.len()).map_err(io::Error::other)?;
        let mut count = room;
        // SAFETY: the name ends in NUL, and `groups` has room for `count` ids, of which libc writes no more; in `count`
        // it returns how many there are.
        let answer = unsafe { libc::getgrouplist(name.as_ptr(), gid, groups.as_mut_ptr(), &raw mut count) };
        let found = usize::try_from(count).map_err(io::Error::other)?;
        if answer >= 0 {
            groups.truncate(found);
            return groups.into_iter().map(real_id).collect();
        }
        // The list may have grown since it was counted.
        if found <= groups.len() || found > MOST_GROUPS {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        groups.resize(found, 0);
    }
}

fn account(user: nix::unistd::User) -> io::Result<Account> {
    Ok(Account {
        name: whole(user.name)?,
        uid: real_id(user.uid.as_raw())?,
        gid: real_id(user.gid.as_raw())?,
        home: user.dir,
        shell: user.shell,
        gecos: user.gecos.into_bytes(),
    })
}

fn group(group: nix::unistd::Group) -> io::Result<Group> {
    let members = group.mem.into_iter().filter(|name| !name.contains(char::REPLACEMENT_CHARACTER)).collect();
    Ok(Group { name: whole(group.name)?, gid: real_id(group.gid.as_raw())?, members })
}

/// Rejects names that are not UTF-8: they arrive with replacement characters, under which two users could look alike.
fn whole(name: String) -> io::Result<String> {
    if name.contains(char::REPLACEMENT_CHARACTER) { Err(refused("a name is not UTF-8")) } else { Ok(name) }
}

fn real_id(id: u32) -> io::Result<u32> {
    if id == u32::MAX { Err(refused("the id 4294967295 is not a user or group")) } else { Ok(id) }
}

fn plain(name: &str) -> io::Result<()> {
    if name.contains('\0') { Err(refused("a name contains NUL")) } else { Ok(()) }
}

fn refused(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_is_found_by_name_and_by_id() {
        let root = account_by_name("root").unwrap().unwrap();
        assert_eq!((root.uid, root.gid), (0, 0));
        assert_eq!(account_by_uid(0).unwrap().unwrap(), root);
        assert_eq!(group_by_gid(0).unwrap(), group_by_name("root").unwrap());
        assert!(groups_of("root", 0).unwrap().contains(&0));
    }

    #[test]
    fn a_missing_user_is_not_an_error() {
        assert_eq!(account_by_name("no-such-user-here").unwrap(), None);
        assert_eq!(account_by_name("").unwrap(), None);
        assert_eq!(group_by_name("no-such-group-here").unwrap(), None);
    }

    #[test]
    fn the_primary_group_is_a_group_of_the_user() {
        assert!(groups_of("nobody", 4242).unwrap().contains(&4242));
    }

    #[test]
    fn minus_one_and_nul_are_rejected() {
        assert!(account_by_uid(u32::MAX).is_err());
        assert!(group_by_gid(u32::MAX).is_err());
        assert!(groups_of("root", u32::MAX).is_err());
        assert!(account_by_name("root\0x").is_err());
    }
}
