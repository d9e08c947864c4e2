//! The caller (sudo's invoking user), as the kernel and NSS report it: never from argv or the environment.

use std::cell::OnceCell;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use jit_core::escape::{Word, escape};
use jit_core::names::{InvalidName, Person, UserName};
use sys::machine::host_name;
use sys::process::working_directory;
use sys::sanitize::KernelIdentity;
use sys::terminal::Terminal;
use sys::users::{Account, account_by_name, account_by_uid, group_by_gid};

/// The caller: identity, terminal and working directory.
pub struct Caller {
    person: Person,
    account: Account,
    gid: u32,
    group_ids: Vec<u32>,
    named_groups: OnceCell<Vec<(u32, Option<String>)>>,
    tty: Option<Tty>,
    directory: Result<PathBuf, Nowhere>,
    host: String,
}

/// The controlling terminal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tty {
    /// `/dev/pts/3`
    pub name: PathBuf,
    /// Its device number.
    pub device: u64,
}

/// Why the caller's working directory has no name here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nowhere {
    /// It was removed.
    Removed,
    /// It cannot be reached from our root, as in a mount namespace of the caller's own: its path would name another directory.
    Unreachable,
    /// Its name cannot be read.
    Nameless,
}

impl Nowhere {
    fn of(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::Removed,
            io::ErrorKind::Unsupported => Self::Unreachable,
            _ => Self::Nameless,
        }
    }

    /// Returns a text for records in place of a path.
    fn word(self) -> Word {
        Word::from(match self {
            Self::Removed => "(removed)",
            Self::Unreachable => "(unreachable)",
            Self::Nameless => "(unknown)",
        })
    }
}

impl fmt::Display for Nowhere {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Removed => "the working directory was removed",
            Self::Unreachable => "the working directory cannot be reached from the root of this system",
            Self::Nameless => "the name of the working directory cannot be read",
        })
    }
}

/// Why the caller cannot be identified.
#[derive(Debug)]
pub enum CallerError {
    /// The account database does not know the uid.
    Unknown(u32),
    /// The account's name cannot be handled safely.
    Name(InvalidName),
    /// The account database maps the account's name to another uid, so the name would mean another user.
    OtherAccount(UserName, u32, u32),
    /// The account database lists another name for the uid first, and the kernel knows only the uid.
    OtherName(UserName, u32, String),
    /// The account database, the host name or procfs could not be read.
    Lookup(&'static str, io::Error),
}

impl fmt::Display for CallerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(uid) => write!(f, "you do not exist in the passwd database (uid {uid})"),
            Self::Name(error) => error.fmt(f),
            Self::OtherAccount(name, uid, other) => write!(
                f,
                "the name {name} of uid {uid} belongs to uid {other}; ask the administrator to rename one of them"
            ),
            Self::OtherName(name, uid, first) => write!(
                f,
                "{name} has the uid {uid} of {}; ask the administrator to give each of them a uid",
                escape(first.as_bytes())
            ),
            Self::Lookup(what, error) => write!(f, "unable to look up {what}: {error}"),
        }
    }
}

impl Caller {
    /// Identifies the caller of this process.
    pub fn identify(identity: &KernelIdentity) -> Result<Self, CallerError> {
        let tty = Terminal::controlling()
            .ok()
            .and_then(|terminal| Some(Tty { name: terminal.name()?, device: terminal.device() }));
        let mut group_ids = vec![identity.gid()];
        group_ids.extend(identity.groups().iter().filter(|gid| **gid != identity.gid()));
        Self::build(identity.uid(), identity.gid(), group_ids, tty)
    }

    /// Describes the same user for a question, with the groups of this login.
    pub fn as_logged_in(&self) -> Result<Self, CallerError> {
        Self::build(self.uid(), self.gid, self.group_ids.clone(), None)
    }

    /// Describes another user, as the account database does: for questions about them, never for a run.
    pub fn described(account: Account) -> Result<Self, CallerError> {
        let lookup = |error| CallerError::Lookup("groups", error);
        let group_ids = sys::users::groups_of(&account.name, account.gid).map_err(lookup)?;
        let caller = Self::build(account.uid, account.gid, group_ids, None)?;
        // Of two names for one uid the kernel cannot tell the second from the first.
        if caller.account.name != account.name {
            let name = UserName::parse(&account.name).map_err(CallerError::Name)?;
            return Err(CallerError::OtherName(name, account.uid, caller.account.name));
        }
        Ok(caller)
    }

    /// Returns the account with this uid; `None` if there is none, or its name or uid also belongs to another account.
    ///
    /// # Errors
    /// The account database could not be read, or the name cannot be handled.
    pub fn of_uid(uid: u32) -> Result<Option<Self>, CallerError> {
        let account = account_by_uid(uid).map_err(|error| CallerError::Lookup("an account", error))?;
        match account.map(Self::described).transpose() {
            Err(CallerError::OtherAccount(..) | CallerError::OtherName(..)) => Ok(None),
            described => described,
        }
    }

    fn build(uid: u32, gid: u32, group_ids: Vec<u32>, tty: Option<Tty>) -> Result<Self, CallerError> {
        let account = account_by_uid(uid)
            .map_err(|error| CallerError::Lookup("your account", error))?
            .ok_or(CallerError::Unknown(uid))?;
        let person = Person { uid, name: UserName::parse(&account.name).map_err(CallerError::Name)? };
        leads_back(&person)?;
        Ok(Self {
            person,
            account,
            gid,
            group_ids,
            named_groups: OnceCell::new(),
            tty,
            directory: working_directory().map_err(|error| Nowhere::of(&error)),
            host: host_name().map_err(|error| CallerError::Lookup("the host name", error))?,
        })
    }

    /// Returns the login name.
    pub fn name(&self) -> &UserName {
        &self.person.name
    }

    /// Returns uid and name.
    pub fn person(&self) -> &Person {
        &self.person
    }

    /// Returns the entry of the account database.
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// Returns the real uid.
    pub fn uid(&self) -> u32 {
        self.person.uid
    }

    /// Returns the real gid.
    pub fn gid(&self) -> u32 {
        self.gid
    }

    /// Returns the real gid and the supplementary groups.
    pub fn group_ids(&self) -> &[u32] {
        &self.group_ids
    }

    /// Returns the groups with their names. They are looked up when first needed: most runs are decided by the user name alone.
    pub fn named_groups(&self) -> Result<&[(u32, Option<String>)], CallerError> {
        if let Some(groups) = self.named_groups.get() {
            return Ok(groups);
        }
        let mut groups = Vec::with_capacity(self.group_ids.len());
        for gid in &self.group_ids {
            let group = group_by_gid(*gid).map_err(|error| CallerError::Lookup("your groups", error))?;
            groups.push((*gid, group.map(|group| group.name)));
        }
        Ok(self.named_groups.get_or_init(|| groups))
    }

    /// Returns the controlling terminal.
    pub fn tty(&self) -> Option<&Tty> {
        self.tty.as_ref()
    }

    /// Returns the working directory; `None` when it has no name here.
    pub fn directory(&self) -> Option<&Path> {
        self.directory.as_deref().ok()
    }

    /// Returns the working directory, or why it has no name here.
    pub fn whereabouts(&self) -> Result<&Path, Nowhere> {
        self.directory.as_deref().map_err(|nowhere| *nowhere)
    }

    /// Returns the working directory for records.
    pub fn directory_word(&self) -> Word {
        self.whereabouts().map_or_else(Nowhere::word, |path| Word::from(path.as_os_str()))
    }

    /// Returns the name of this host.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns the shell for -s: `SHELL` from the caller's environment, else the account's.
    pub fn preferred_shell(&self, environment: &[OsString]) -> PathBuf {
        environment
            .iter()
            .find_map(|entry| entry.as_bytes().strip_prefix(b"SHELL="))
            .filter(|shell| shell.first() == Some(&b'/'))
            .map_or_else(|| self.account.shell.clone(), |shell| PathBuf::from(OsStr::from_bytes(shell)))
    }
}

/// Checks that the name maps back to its uid, because PAM and the policy use the name: glibc also reads the name root from the line
/// " root:x:1234:…". Root is identified by the uid alone.
fn leads_back(person: &Person) -> Result<(), CallerError> {
    let Person { uid, name } = person;
    if *uid == 0 {
        return Ok(());
    }
    let account = account_by_name(name.as_str()).map_err(|error| CallerError::Lookup("your account", error))?;
    match account {
        Some(account) if account.uid != *uid => Err(CallerError::OtherAccount(name.clone(), *uid, account.uid)),
        Some(_) => Ok(()),
        None => Err(CallerError::Unknown(*uid)),
    }
}
