//! The command of an elevation as it stands in a request, and whether an elevation is the very one of an exact grant.

use std::ffi::OsStr;

use super::terms::{CommandTerms, GrantTerms};
use crate::elevation::{Command, CommandError, Elevation};
use crate::escape::{Word, hex};
use crate::policy::{Manner, Role, WorkingDirectory};
use sys::program::OpenedProgram;

impl CommandTerms {
    /// The command of `elevation`, as `role` would let it run.
    ///
    /// # Errors
    /// The program or the groups of the run-as user cannot be read; the directory has no name.
    pub fn of(elevation: &Elevation, role: &Role) -> Result<Self, CommandError> {
        let (command, run_as) = (elevation.command(), elevation.run_as());
        Ok(Self {
            argv: command.resolved_words(),
            cwd: directory(elevation, role)?,
            environment: elevation.environment().map(|callers| callers.named()).unwrap_or_default(),
            path: Word::from(canonical(command)),
            program: hex(&command.digest()?),
            run_as_gid: run_as.gid(),
            run_as_groups: sorted(elevation.supplementary_groups().map_err(CommandError::RunAs)?),
            run_as_uid: run_as.uid(),
        })
    }
}

/// Whether `elevation` is what `terms` were asked for, in all that an exact grant binds.
pub(super) fn is_the_very_command(terms: &GrantTerms, elevation: &Elevation, role: &Role) -> bool {
    let wants_more = elevation.environment().is_none_or(|callers| callers.wants_everything());
    !wants_more
        && &terms.run_as == elevation.run_as().name()
        // A file that its owner can rewrite between the check and the exec is never the very binary (CVE-2015-8239).
        && !elevation.command().is_writable_by_others()
        && CommandTerms::of(elevation, role).is_ok_and(|command| terms.command.as_ref() == Some(&command))
}

fn canonical(command: &Command) -> &OsStr {
    command.program().map_or(command.path(), OpenedProgram::path).as_os_str()
}

/// Where the command would run. Files to edit are named by where they lie, and their editor has no power; and nowhere is where
/// the role does not let the command run at all.
fn directory(elevation: &Elevation, role: &Role) -> Result<Word, CommandError> {
    let wanted = elevation.command().program().and_then(|_| Manner::working_directory(role, elevation).ok());
    match wanted {
        None => Ok(Word::default()),
        Some(WorkingDirectory::Callers) => {
            let path = elevation.caller().whereabouts().map_err(CommandError::Nowhere)?;
            Ok(Word::from(path.as_os_str()))
        }
        Some(elsewhere) => Ok(elsewhere.word(elevation.caller())),
    }
}

fn sorted(groups: &[u32]) -> Vec<u32> {
    let mut groups = groups.to_vec();
    groups.sort_unstable();
    groups
}
