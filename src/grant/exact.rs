//! The command of an elevation as it stands in a request, and whether an elevation is the very one of an exact grant.

use super::terms::{CommandTerms, GrantTerms};
use crate::elevation::{CommandError, Elevation, Naming};
use crate::escape::{Word, hex};
use crate::policy::{Manner, Role, WantedDirectory, WorkingDirectory};

impl CommandTerms {
    /// The command of `elevation`, as it is asked for: `role` would let it run so. Of directories it tells no more than the
    /// requester may see.
    ///
    /// # Errors
    /// The program or the groups of the run-as user cannot be read; the directory has no name or cannot be entered.
    pub fn of(elevation: &Elevation, role: &Role) -> Result<Self, CommandError> {
        Self::within(elevation, asked_directory(elevation, role)?)
    }

    fn within(elevation: &Elevation, cwd: Word) -> Result<Self, CommandError> {
        let (command, run_as) = (elevation.command(), elevation.run_as());
        Ok(Self {
            argv: command.argv(Naming::Bound).asked_for(),
            cwd,
            environment: elevation.environment().map(|callers| callers.named()).unwrap_or_default(),
            path: Word::from(command.canonical().as_os_str()),
            program: hex(&command.digest()?),
            run_as_gid: run_as.gid(),
            run_as_groups: sorted(elevation.supplementary_groups().map_err(CommandError::RunAs)?),
            run_as_uid: run_as.uid(),
        })
    }
}

/// Whether `elevation` is what `terms` were asked for, in all that an exact grant binds. The directory is the one that was
/// opened and will be entered.
pub(super) fn is_the_very_command(terms: &GrantTerms, elevation: &Elevation, role: &Role) -> bool {
    let wants_more = elevation.environment().is_none_or(|callers| callers.wants_everything());
    !wants_more
        && &terms.run_as == elevation.run_as().name()
        // A file that its owner can rewrite between the check and the exec is never the very binary (CVE-2015-8239).
        && !elevation.command().is_writable_by_others()
        && opened_directory(elevation, role)
            .and_then(|cwd| CommandTerms::within(elevation, cwd).ok())
            .is_some_and(|command| terms.command.as_ref() == Some(&command))
}

/// Where the command would run. Files to edit are named by where they lie, and their editor has no power; and nowhere is where
/// the role does not let the command run at all.
fn asked_directory(elevation: &Elevation, role: &Role) -> Result<Word, CommandError> {
    let wanted = elevation.command().program().and_then(|_| Manner::wanted_directory(role, elevation).ok());
    match wanted {
        None => Ok(Word::default()),
        Some(WantedDirectory::Callers) => callers(elevation),
        Some(WantedDirectory::Path(path) | WantedDirectory::Home(path)) => match elevation.name_of_directory(&path) {
            Ok(name) => Ok(Word::from(name.as_os_str())),
            Err(reason) => Err(CommandError::Directory(Word::from(path.as_os_str()), reason)),
        },
    }
}

/// Where the command runs; `None` for a directory that cannot be entered.
fn opened_directory(elevation: &Elevation, role: &Role) -> Option<Word> {
    if elevation.command().program().is_none() {
        return Some(Word::default());
    }
    match Manner::working_directory(role, elevation).ok()? {
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
