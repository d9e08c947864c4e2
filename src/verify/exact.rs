//! The command of an elevation as it is written in a request, and the comparison with the command of an exact grant.

use std::fmt;

use crate::elevation::{CommandError, Elevation, Naming};
use crate::judge::{RunOptions, WantedDirectory, WorkingDirectory};
use jit_core::escape::{Word, command_line, hex};
use jit_core::grant::{CommandTerms, GrantTerms};
use jit_core::names::UserName;
use jit_core::policy::Role;

/// Returns the command of `elevation` as it is requested; `role` would allow it. Directories reveal no more than the requester may
/// see.
///
/// # Errors
/// Fails when the program or the groups of the run-as user cannot be read, or the directory has no name or cannot be entered.
pub fn command_terms(elevation: &Elevation, role: &Role) -> Result<CommandTerms, CommandError> {
    terms_within(elevation, asked_directory(elevation, role)?)
}

fn terms_within(elevation: &Elevation, cwd: Word) -> Result<CommandTerms, CommandError> {
    let (command, run_as) = (elevation.command(), elevation.run_as());
    Ok(CommandTerms {
        argv: command.argv(Naming::Place).words().map(Word::from).collect(),
        cwd,
        environment: elevation.environment().map(|callers| callers.named()).unwrap_or_default(),
        path: Word::from(command.canonical().as_os_str()),
        program: hex(&command.digest()?),
        run_as_gid: run_as.gid(),
        run_as_groups: sorted(elevation.supplementary_groups().map_err(CommandError::RunAs)?),
        run_as_uid: run_as.uid(),
    })
}

/// How a run differs from the command of an exact grant. As a sentence it follows the id of the grant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Differs {
    /// The program or the arguments.
    Words,
    /// The program file or its contents.
    Program,
    /// The owner of the program can rewrite it.
    Writable,
    /// The run-as user; that of the grant.
    User(UserName),
    /// The uid, gid or groups of the run-as user.
    Ids,
    /// The directory: that of the grant, and the one where the run would start, if it can be entered and has a name.
    Directory(Word, Option<Word>),
    /// The variables; those of the grant.
    Environment(Vec<Word>),
    /// The program or the groups cannot be read.
    Unread,
}

impl fmt::Display for Differs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quoted = |word: &Word| command_line([word.as_os_str()]);
        match self {
            Self::Words => f.write_str("serves exactly one command, and this is another"),
            Self::Program => f.write_str("serves this command with the program as it was when it was requested"),
            Self::Writable => f.write_str("serves this command only while root alone can rewrite the program"),
            Self::User(user) => write!(f, "serves this command as {user}"),
            Self::Ids => f.write_str("serves this command with the ids and groups as they were when it was requested"),
            Self::Directory(approved, None) => {
                write!(f, "serves this command in {}, and this run does not begin there", quoted(approved))
            }
            Self::Directory(approved, Some(present)) => {
                write!(f, "serves this command in {}, and you are in {}", quoted(approved), quoted(present))
            }
            Self::Environment(named) if named.is_empty() => {
                f.write_str("serves this command without variables of yours")
            }
            Self::Environment(named) => {
                let line = command_line(named.iter().map(Word::as_os_str));
                write!(f, "serves this command with these variables of yours and no others: {line}")
            }
            Self::Unread => f.write_str("serves exactly one command, and this one cannot be read"),
        }
    }
}

/// Compares `elevation` with what `terms` were issued for, in everything that an exact grant binds. The directory is the opened one
/// that the run will enter.
///
/// # Errors
/// Returns the first difference. The arguments are compared first, because when they differ, the rest says little.
pub(super) fn compare(terms: &GrantTerms, elevation: &Elevation, role: &Role) -> Result<(), Differs> {
    let approved = terms.command.as_ref().ok_or(Differs::Words)?;
    let cwd = opened_directory(elevation, role);
    let found = terms_within(elevation, cwd.clone().unwrap_or_default()).map_err(|_| Differs::Unread)?;
    let environment = || Differs::Environment(approved.environment.clone());
    let checks: [(bool, &dyn Fn() -> Differs); 7] = [
        (approved.argv == found.argv, &|| Differs::Words),
        (&terms.run_as == elevation.run_as().name(), &|| Differs::User(terms.run_as.clone())),
        // A file that its owner can rewrite between the check and the exec does not count as the same binary (CVE-2015-8239).
        (!elevation.command().is_writable_by_others(), &|| Differs::Writable),
        ((&approved.path, &approved.program) == (&found.path, &found.program), &|| Differs::Program),
        (cwd.as_ref() == Some(&approved.cwd), &|| {
            Differs::Directory(approved.cwd.clone(), present(elevation, cwd.clone()))
        }),
        (elevation.environment().is_some_and(|callers| !callers.wants_everything()), &environment),
        (approved.environment == found.environment, &environment),
    ];
    if let Some((_, differs)) = checks.iter().find(|(is_the_same, _)| !is_the_same) {
        return Err(differs());
    }
    // Compares everything, so that fields added later are compared too.
    if *approved == found { Ok(()) } else { Err(Differs::Ids) }
}

/// Returns the caller's directory, if the command would run there.
fn present(elevation: &Elevation, cwd: Option<Word>) -> Option<Word> {
    cwd.filter(|cwd| callers(elevation).is_ok_and(|callers| callers == *cwd))
}

/// Returns the directory where the command would run. It is empty for an edit, whose files have absolute names and whose editor has
/// no privileges, and where the role does not allow the command at all.
fn asked_directory(elevation: &Elevation, role: &Role) -> Result<Word, CommandError> {
    let wanted = elevation.command().program().and_then(|_| RunOptions::wanted_directory(role, elevation).ok());
    match wanted {
        None => Ok(Word::default()),
        Some(WantedDirectory::Callers) => callers(elevation),
        Some(WantedDirectory::Path(path) | WantedDirectory::Home(path)) => match elevation.name_of_directory(&path) {
            Ok(name) => Ok(Word::from(name.as_os_str())),
            Err(reason) => Err(CommandError::Directory(Word::from(path.as_os_str()), reason)),
        },
    }
}

/// Returns the directory where the command runs; `None` for one that cannot be entered.
fn opened_directory(elevation: &Elevation, role: &Role) -> Option<Word> {
    if elevation.command().program().is_none() {
        return Some(Word::default());
    }
    match RunOptions::working_directory(role, elevation).ok()? {
        WorkingDirectory::Callers => callers(elevation).ok(),
        WorkingDirectory::Opened(directory) => Some(Word::from(directory.path().as_os_str())),
        WorkingDirectory::Instead(_) => None,
    }
}

fn callers(elevation: &Elevation) -> Result<Word, CommandError> {
    let path = elevation.caller().whereabouts().map_err(CommandError::Nowhere)?;
    Ok(Word::from(path.as_os_str()))
}

fn sorted(groups: &[u32]) -> Vec<u32> {
    let mut groups = groups.to_vec();
    groups.sort_unstable();
    groups
}
