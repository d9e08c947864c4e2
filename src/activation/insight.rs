//! Who is told what lies in a directory that they may not look into: root, and whoever may run it now, by a standing
//! role or by a grant that holds. Somebody who may only ask for a role learns nothing, and cannot: for them a program
//! that is there costs what one costs that is not.

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

/// What the question is answered from.
pub struct Sight<'a> {
    /// This host.
    pub host: &'a Host,
    /// Its policy.
    pub policy: &'a PolicyIndex<'a>,
    /// Now.
    pub now: &'a Now,
}

impl Sight<'_> {
    /// What is there, for `asker` who may run it as `run_as`; else what was sealed comes back.
    ///
    /// # Errors
    /// Where the policy, the store or the asker's groups cannot be read.
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
        // What the target user cannot reach does not run, and its refusal would tell.
        if !reaches(run_as, hidden) {
            return Ok(false);
        }
        let who = subject(asker)?;
        let standing = self.policy.roles_for(&who, Assignment::Standing).map_err(HostError::from)?;
        Ok(standing.iter().any(|role| allows(role, hidden, asker, run_as))
            || self.is_granted(hidden, &who, asker, run_as)?)
    }

    /// Whether a grant of theirs that holds now covers it.
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
            // A grant for one command is no power over another, nor over one that is not there.
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

/// Whether the role allows what was typed, as far as that can be said without what is there.
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

/// Root reaches everything, also a directory that is not there: then it is that which is told.
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
