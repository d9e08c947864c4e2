//! Answers questions without running anything: whether one command may run now, and what a user's grants allow at this moment. Both
//! use the same verification as the gate.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use crate::activation::insight::Disclosure;
use crate::authorized::{Serves, may_launch};
use crate::elevation::{Caller, CallerError, Command, CommandError, Elevation, ElevationError, RunAs};
use crate::host::{Host, HostError};
use crate::judge::{Among, JudgeError, Judgement, ask, counts_here, judge, subject};
use crate::policy_index::PolicyIndex;
use crate::refusal::Refusal;
use crate::verify::{Differs, Good, GrantFault, good_for, verify};
use jit_core::cli::EnvironmentWish;
use jit_core::clock::Now;
use jit_core::escape::{Word, escape};
use jit_core::grant::{CommandTerms, GrantTerms, SignedGrant};
use jit_core::policy::{Answer, Assignment, Role};

/// A question about a user.
pub(super) struct Inquiry<'a> {
    pub(super) host: &'a Host,
    pub(super) policy: &'a PolicyIndex<'a>,
    pub(super) now: Now,
    /// Who asks.
    pub(super) asker: &'a Caller,
    /// The user in question.
    pub(super) person: &'a Caller,
    /// Looks up that user again, for each command in question.
    pub(super) again: &'a dyn Fn() -> Result<Caller, CallerError>,
}

/// What a grant lets its holder run now.
pub(super) enum Given {
    /// The commands of its role, as the policy has it.
    Role(Role),
    /// What is left of them, because the role has changed since the grant was approved.
    Part(Role),
    /// Exactly one command.
    Command(Role, Box<GrantTerms>),
}

/// What the gate would decide.
enum Allowed {
    /// The command runs.
    Now(Box<Serving>),
    /// The command runs in the directory that an exact grant names, and the user is in another one.
    Elsewhere,
    /// The command does not run.
    Not,
}

/// What lets a command run.
pub(super) struct Serving {
    pub(super) role: Role,
    /// The rule of the role that allows the command, as it is written.
    pub(super) rule: Option<String>,
}

impl Inquiry<'_> {
    /// Finds a command for the user; `None` for one that is hidden from the asker, whether it exists or not.
    pub(super) fn find(&self, words: &[OsString], run_as: &RunAs) -> Result<Option<Command>, Refusal> {
        let path = self.policy.settings().options.path_variable();
        let found = match Command::find_for(words, &path, self.person, self.asker) {
            Err(CommandError::Hidden(hidden)) => {
                let disclosure = Disclosure { host: self.host, policy: self.policy, now: &self.now };
                disclosure.reveal::<Refusal>(hidden, self.asker, run_as)?
            }
            found => found,
        };
        match found {
            Err(CommandError::Hidden(_)) => Ok(None),
            found => Ok(Some(found.map_err(ElevationError::Command)?)),
        }
    }

    /// Returns what lets the user run it now; `None` if nothing does.
    pub(super) fn serving_command(&self, run_as: RunAs, command: Command) -> Result<Option<Serving>, Refusal> {
        let candidates = self.host.store().candidates(self.person.person(), self.now.seconds())?;
        Ok(match self.verdict(run_as, command, candidates, EnvironmentWish::default())? {
            Allowed::Now(serving) => Some(*serving),
            Allowed::Elsewhere | Allowed::Not => None,
        })
    }

    /// Returns the roles that allow commands now: standing ones, and those of active grants that are not for one command only.
    pub(super) fn serving(&self) -> Result<Vec<Role>, Refusal> {
        let mut roles = self.assigned(Assignment::Standing)?;
        let given = self.given(&self.assigned(Assignment::Eligible)?)?;
        roles.extend(given.into_iter().filter_map(|given| match given {
            Given::Role(role) | Given::Part(role) => Some(role),
            Given::Command(..) => None,
        }));
        Ok(roles)
    }

    /// Returns the roles of the user that count on this host.
    pub(super) fn assigned(&self, assignment: Assignment) -> Result<Vec<Role>, Refusal> {
        let roles = self.policy.roles_for(&subject(self.person)?, assignment).map_err(HostError::Index)?;
        Ok(roles.into_iter().filter(|role| counts_here(role, self.person)).collect())
    }

    /// Returns what each grant of the user that activates one of `roles` allows now.
    pub(super) fn given(&self, roles: &[Role]) -> Result<Vec<Given>, Refusal> {
        let (held, grants) = self.host.store().held(self.person.person(), self.now.seconds())?;
        if held.is_empty() {
            return Ok(Vec::new());
        }
        let known = self.host.knowledge(roles, self.person.person(), &self.now)?;
        let facts = known.facts(&self.now);
        Ok(good_for(&grants, self.person, roles, &facts).filter_map(|good| self.of(&good)).collect())
    }

    fn of(&self, good: &Good<'_>) -> Option<Given> {
        let terms = &good.terms;
        if !terms.exact.is_set() {
            return good.common().map(if good.is_changed() { Given::Part } else { Given::Role });
        }
        // A command that cannot be found, or is denied, is nothing that the grant allows.
        let serves = self.serves(good.signed, terms.command.as_ref()?, terms).unwrap_or(Allowed::Not);
        (!matches!(serves, Allowed::Not)).then(|| Given::Command(good.both().clone(), Box::new(terms.clone())))
    }

    fn serves(&self, signed: &SignedGrant, approved: &CommandTerms, terms: &GrantTerms) -> Result<Allowed, Refusal> {
        let resolve = |group: Option<&OsStr>| {
            RunAs::resolve(Some(OsStr::new(terms.run_as.as_str())), group, self.person).map_err(ElevationError::RunAs)
        };
        let mut run_as = resolve(None)?;
        if run_as.gid() != approved.run_as_gid {
            run_as = resolve(Some(OsStr::new(&format!("#{}", approved.run_as_gid))))?;
        }
        let words: Vec<OsString> = approved.argv.iter().map(|word| word.0.clone()).collect();
        let Some(command) = self.find(&words, &run_as)? else { return Ok(Allowed::Not) };
        let signed = SignedGrant::from_stored(signed.bytes().to_vec(), signed.signature().to_vec());
        self.verdict(run_as, command, vec![signed], wish(&approved.environment))
    }

    fn verdict(
        &self,
        run_as: RunAs,
        command: Command,
        candidates: Vec<SignedGrant>,
        wish: EnvironmentWish,
    ) -> Result<Allowed, Refusal> {
        let elevation = Elevation::question((self.again)()?, run_as, command, None, wish);
        // What the launch refuses does not run, whoever allows it.
        let launched = |role: &Role, serves, elevation: &Elevation| match may_launch(role, serves, elevation) {
            Ok(()) => {
                let rule = match ask(role, elevation) {
                    Answer::Allowed { rule } => Some(escape(rule.to_string().as_bytes())),
                    _ => None,
                };
                Allowed::Now(Box::new(Serving { role: role.clone(), rule }))
            }
            Err(_) => Allowed::Not,
        };
        let eligible = match judge(elevation, self.policy, Among::All(&[])) {
            Ok(Judgement::Standing(standing)) => {
                return Ok(launched(standing.role(), Serves::ItsRole, standing.elevation()));
            }
            Ok(Judgement::Eligible(eligible)) => eligible,
            Err(JudgeError::NotAllowed(_)) => return Ok(Allowed::Not),
            Err(error) => return Err(error.into()),
        };
        let known = self.host.knowledge(eligible.roles(), self.person.person(), &self.now)?;
        Ok(match verify(candidates, *eligible, &known.facts(&self.now)) {
            Ok(grant) => launched(grant.role(), Serves::of(grant.terms()), grant.elevation()),
            Err(none) if none.faults.iter().any(|(_, fault)| is_elsewhere(fault)) => Allowed::Elsewhere,
            Err(_) => Allowed::Not,
        })
    }
}

/// Converts variables of a request, `NAME=VALUE`.
fn wish(variables: &[Word]) -> EnvironmentWish {
    let split = |word: &Word| {
        let bytes = word.as_bytes();
        let (name, value) = bytes.split_at_checked(bytes.iter().position(|byte| *byte == b'=')?)?;
        Some((OsStr::from_bytes(name).to_owned(), OsStr::from_bytes(value.get(1..)?).to_owned()))
    };
    EnvironmentWish { set: variables.iter().filter_map(split).collect(), ..EnvironmentWish::default() }
}

/// Whether only the current directory differs from that of the exact grant.
fn is_elsewhere(fault: &GrantFault) -> bool {
    matches!(fault, GrantFault::OtherCommand(Differs::Directory(..)))
}
