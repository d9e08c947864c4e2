//! The run-as user (sudo's target user), from NSS.

use std::cell::OnceCell;
use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::elevation::Caller;
use jit_core::escape::Word;
use jit_core::names::{InvalidName, UserName};
use sys::users::{Account, Group, account_by_name, account_by_uid, group_by_gid, group_by_name, groups_of};

/// The account, and the group given by -g.
pub struct RunAs {
    name: UserName,
    account: Account,
    group: Option<Group>,
    group_ids: OnceCell<Vec<u32>>,
}

/// Why the run-as user cannot be resolved.
#[derive(Debug)]
pub enum RunAsError {
    /// No such account.
    UnknownUser(Word),
    /// No such group.
    UnknownGroup(Word),
    /// The account's name cannot be handled safely.
    Name(InvalidName),
    /// The name of this id maps to another id.
    NotTheirs(UserName, u32),
    /// The account database could not be read.
    Lookup(&'static str, io::Error),
}

impl fmt::Display for RunAsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownUser(name) => write!(f, "unknown user {name}"),
            Self::UnknownGroup(name) => write!(f, "unknown group {name}"),
            Self::Name(error) => error.fmt(f),
            Self::NotTheirs(name, id) => write!(f, "the name {name} of id {id} belongs to another account or group"),
            Self::Lookup(what, error) => write!(f, "unable to look up the {what}: {error}"),
        }
    }
}

impl RunAs {
    /// Resolves -u and -g as typed; the default is root, or the caller where only a group is given.
    pub fn resolve(user: Option<&OsStr>, group: Option<&OsStr>, caller: &Caller) -> Result<Self, RunAsError> {
        let account = match (user, group) {
            (Some(user), _) => find_account(user)?,
            (None, Some(_)) => caller.account().clone(),
            (None, None) => find_account(OsStr::new("root"))?,
        };
        let name = UserName::parse(&account.name).map_err(RunAsError::Name)?;
        let named = || account_by_name(name.as_str()).map_err(|error| RunAsError::Lookup("target user", error));
        // A typed name has been mapped to its uid; any other name must map back to it, because the policy uses the name.
        if user.is_some_and(|user| user != name.as_str()) && named()?.is_none_or(|named| named.uid != account.uid) {
            return Err(RunAsError::NotTheirs(name, account.uid));
        }
        let group = group.map(find_group).transpose()?;
        Ok(Self { name, account, group, group_ids: OnceCell::new() })
    }

    /// Returns the login name.
    pub fn name(&self) -> &UserName {
        &self.name
    }

    /// Returns the entry of the account database.
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// Returns the uid.
    pub fn uid(&self) -> u32 {
        self.account.uid
    }

    /// Returns the primary gid of the command: -g, else the account's.
    pub fn gid(&self) -> u32 {
        self.group.as_ref().map_or(self.account.gid, |group| group.gid)
    }

    /// Returns the group given by -g.
    pub fn group(&self) -> Option<&Group> {
        self.group.as_ref()
    }

    /// Returns the login shell.
    pub fn shell(&self) -> &Path {
        &self.account.shell
    }

    /// Returns the supplementary groups of the account including its primary one, whatever -g says (as sudo does). They are looked
    /// up once, so that the command gets the recorded ones.
    pub fn group_ids(&self) -> Result<&[u32], RunAsError> {
        if let Some(groups) = self.group_ids.get() {
            return Ok(groups);
        }
        let groups = groups_of(&self.account.name, self.account.gid)
            .map_err(|error| RunAsError::Lookup("groups of the target", error))?;
        Ok(self.group_ids.get_or_init(|| groups))
    }
}

fn find_account(typed: &OsStr) -> Result<Account, RunAsError> {
    let unknown = || RunAsError::UnknownUser(Word::from(typed));
    let lookup = |error| RunAsError::Lookup("target user", error);
    let text = typed.to_str().ok_or_else(unknown)?;
    let account = match text.strip_prefix('#') {
        Some(number) => account_by_uid(parse_id(number).ok_or_else(unknown)?).map_err(lookup)?,
        // A number, an option or a path is no user name, whatever NSS would return for it (CVE-2023-42456).
        None => account_by_name(UserName::parse(text).map_err(|_| unknown())?.as_str()).map_err(lookup)?,
    };
    account.ok_or_else(unknown)
}

fn find_group(typed: &OsStr) -> Result<Group, RunAsError> {
    let unknown = || RunAsError::UnknownGroup(Word::from(typed));
    let lookup = |error| RunAsError::Lookup("target group", error);
    let text = typed.to_str().ok_or_else(unknown)?;
    let group = match text.strip_prefix('#') {
        Some(number) => group_by_gid(parse_id(number).ok_or_else(unknown)?).map_err(lookup)?,
        None => group_by_name(UserName::parse(text).map_err(|_| unknown())?.as_str()).map_err(lookup)?,
    };
    let group = group.ok_or_else(unknown)?;
    let named = || group_by_name(&group.name).map_err(lookup);
    if text != group.name && named()?.is_none_or(|named| named.gid != group.gid) {
        return Err(RunAsError::NotTheirs(UserName::parse(&group.name).map_err(RunAsError::Name)?, group.gid));
    }
    Ok(group)
}

/// Parses a decimal id. -1 means "no change" to the kernel and 4294967295 is the same number (CVE-2019-14287): neither is an id.
fn parse_id(text: &str) -> Option<u32> {
    let plain = !text.is_empty() && text.as_bytes().iter().all(u8::is_ascii_digit);
    let number = if plain { text.parse::<u32>().ok()? } else { return None };
    (number != u32::MAX).then_some(number)
}

/// Returns a typed name, for records.
pub fn typed_word(typed: Option<&OsStr>) -> Word {
    Word::from(typed.unwrap_or(OsStr::from_bytes(b"root")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_that_mean_something_else_are_refused() {
        for text in ["-1", "4294967295", "4294967296", "", "+0", "0x0", " 0", "0 ", "1e3"] {
            assert_eq!(parse_id(text), None, "{text:?}");
        }
        assert_eq!(parse_id("0"), Some(0));
        assert_eq!(parse_id("4294967294"), Some(4_294_967_294));
    }

    #[test]
    fn numbers_and_options_are_not_names() {
        for text in ["0", "-u", "#-1", "#", "%root", "a/b", "root:x"] {
            assert!(matches!(find_account(OsStr::new(text)), Err(RunAsError::UnknownUser(_))), "{text:?}");
        }
        assert!(find_account(OsStr::new("#0")).is_ok_and(|account| account.uid == 0));
    }
}
