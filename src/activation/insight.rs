//! Decides who learns what is in a directory that they may not look into: root, and a user who may run it now, by a standing
//! assignment or a valid grant. A user who may only request a role learns nothing, and cannot measure anything: for them an
//! existing program takes as long as a missing one.

use crate::elevation::THIS_HOST;
use crate::elevation::argv::Naming;
use crate::elevation::edit::credentials_of_run_as;
use crate::elevation::hidden::{Hidden, Insight};
use crate::elevation::{Caller, CallerError, Command, CommandError, RunAs};
use crate::host::{Host, HostError};
use crate::judge::{computed, subject};
use crate::policy_index::PolicyIndex;
use crate::verify::good_for;
use jit_core::clock::Now;
use jit_core::escape::Word;
use jit_core::policy::ProgramNames;
use jit_core::policy::{Answer, Assignment, Question, Role, Subject, Target};

/// What the decision is based on.
pub struct Disclosure<'a> {
    /// This host.
    pub host: &'a Host,
    /// Its policy.
    pub policy: &'a PolicyIndex<'a>,
    /// Now.
    pub now: &'a Now,
}

impl Disclosure<'_> {
    /// Returns what is there if `asker` may run it as `run_as`; otherwise returns it sealed.
    ///
    /// # Errors
    /// Fails when the policy, the store or the asker's groups cannot be read.
    pub fn reveal<E: From<HostError> + From<CallerError>>(
        &self,
        hidden: Box<Hidden>,
        asker: &Caller,
        run_as: &RunAs,
    ) -> Result<Result<Command, CommandError>, E> {
        if self.may_run::<E>(&hidden, asker, run_as)? {
            Ok(hidden.open(&Insight::proven()))
        } else {
            Ok(Err(CommandError::Hidden(hidden)))
        }
    }

    fn may_run<E: From<HostError> + From<CallerError>>(
        &self,
        hidden: &Hidden,
        asker: &Caller,
        run_as: &RunAs,
    ) -> Result<bool, E> {
        if asker.uid() == 0 {
            return Ok(true);
        }
        // What the run-as user cannot reach does not run, and that error would reveal whether it exists.
        if !reaches(run_as, hidden) {
            return Ok(false);
        }
        let who = subject(asker)?;
        let standing = self.policy.roles_for(&who, Assignment::Standing).map_err(HostError::from)?;
        Ok(standing.iter().any(|role| allows(role, hidden, asker, run_as))
            || self.is_granted(hidden, &who, asker, run_as)?)
    }

    /// Whether one of their valid grants covers it.
    fn is_granted(
        &self,
        hidden: &Hidden,
        who: &Subject<'_>,
        asker: &Caller,
        run_as: &RunAs,
    ) -> Result<bool, HostError> {
        let (names, grants) = self.host.store().held(asker.person(), self.now.seconds())?;
        if names.is_empty() {
            return Ok(false);
        }
        let roles = names.iter().map(|name| self.policy.role(name)).collect::<Result<Vec<_>, _>>()?;
        let held: Vec<Role> =
            roles.into_iter().flatten().filter(|role| role.assigns(who, Assignment::Eligible)).collect();
        let known = self.host.knowledge(&held, asker.person(), self.now)?;
        Ok(good_for(&grants, asker, &held, &known.facts(self.now)).any(|good| {
            // A grant for one command does not cover another, nor a missing one.
            let covers = match (good.terms.exact.is_set(), hidden.judged()) {
                (false, _) => true,
                (true, Some(command)) => good.terms.command.as_ref().is_some_and(|bound| {
                    bound.argv.iter().map(Word::as_os_str).eq(command.argv(Naming::Place).words())
                }),
                (true, None) => false,
            };
            covers && good.roles().all(|role| allows(role, hidden, asker, run_as))
        }))
    }
}

/// Whether the role allows the typed command, as far as that can be decided without revealing what is there.
fn allows(role: &Role, hidden: &Hidden, asker: &Caller, run_as: &RunAs) -> bool {
    let command = hidden.judged();
    let question = Question {
        run_as: Target {
            name: run_as.name().as_str(),
            uid: run_as.uid(),
            groups: &|| sys::lookup::named_groups(run_as.account()),
            is_caller: run_as.uid() == asker.uid(),
            lookup: &THIS_HOST,
        },
        run_as_group: run_as.group().map(|group| (group.name.as_str(), group.gid)),
        host: asker.host(),
        program: command.map_or(
            ProgramNames { place: hidden.path(), canonical: hidden.path(), lookup: &THIS_HOST },
            Command::names,
        ),
        arguments: hidden.arguments(),
        digest: &|algorithm| computed(command?, algorithm),
    };
    matches!(role.answers(&question), Answer::Allowed { .. })
}

/// Whether the run-as user can reach the directory. Root can reach any, even a missing one: then that is reported.
fn reaches(run_as: &RunAs, hidden: &Hidden) -> bool {
    if run_as.uid() == 0 {
        return true;
    }
    let path = hidden.judged().map_or(hidden.path(), Command::path);
    match (credentials_of_run_as(run_as), path.parent()) {
        (Ok(who), Some(directory)) if directory.is_absolute() => {
            sys::access::can_see(who.uid, who.gid, &who.groups, &directory.join(".")).unwrap_or(false)
        }
        _ => false,
    }
}
