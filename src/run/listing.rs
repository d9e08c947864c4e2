//! -l: what may I run, or may I run this? In sudo's words, with the roles that could be activated after them.

use crate::activation::insight::Sight;
use crate::elevation::THIS_HOST;
use crate::elevation::{Caller, Command, CommandError, Elevation, ElevationError, RunAs};
use crate::host::Host;
use crate::judge::{Among, Judgement, judge, names, subject};
use crate::policy_index::PolicyIndex;
use crate::refusal::Refusal;
use crate::run::entries;
use crate::session::ExitStatus;
use crate::verify::{Facts, verify};
use crate::voice::Voice;
use jit_core::cli::{EnvironmentWish, Length, List};
use jit_core::clock::duration::spell;
use jit_core::escape::command_line;
use jit_core::policy::{Assignment, Role, Settings};
use sys::sanitize::Inherited;

/// Lists what the caller may run, or answers whether they may run one command now.
pub fn list(wanted: &List, inherited: &Inherited, voice: &mut Voice) -> Result<ExitStatus, Refusal> {
    let caller = Caller::identify(&inherited.identity)?;
    let host = Host::open(caller.host())?;
    let policy = host.policy(Some(&caller))?;
    let other = match &wanted.other_user {
        None => None,
        Some(name) => Some(other(name, &caller, &policy)?),
    };
    let asker = if other.is_some() { Asker::Other } else { Asker::Themselves };
    if wanted.command.is_empty() {
        everything(asker, wanted, other.as_ref().unwrap_or(&caller), &host, &policy, voice)
    } else {
        let identify = || Caller::identify(&inherited.identity);
        one(wanted, &caller, other.map_or_else(identify, Ok)?, &host, &policy, voice)
    }
}

/// -U: for root and the readers of the audit.
fn other(name: &std::ffi::OsStr, caller: &Caller, policy: &PolicyIndex<'_>) -> Result<Caller, Refusal> {
    let target = RunAs::resolve(Some(name), None, caller).map_err(ElevationError::RunAs)?;
    let reader = caller.uid() == 0 || names(&policy.settings().audit.readers, &subject(caller)?);
    if !reader && !caller.person().is(target.uid(), target.name()) {
        return Err(Refusal::NoRole(caller.name().to_string(), caller.host().to_owned()));
    }
    Ok(Caller::described(target.account().clone())?)
}

fn everything(
    asker: Asker,
    wanted: &List,
    caller: &Caller,
    host: &Host,
    policy: &PolicyIndex<'_>,
    voice: &mut Voice,
) -> Result<ExitStatus, Refusal> {
    let index = crate::host::HostError::Index;
    let subject = subject(caller)?;
    let here = |roles: Vec<Role>| {
        roles.into_iter().filter(|role| role.holds_on(caller.host(), &THIS_HOST)).collect::<Vec<Role>>()
    };
    let mut now = here(policy.roles_for(&subject, Assignment::Standing).map_err(index)?);
    let eligible = here(policy.roles_for(&subject, Assignment::Eligible).map_err(index)?);
    let (held, _) = host.store().held(caller.person(), host.now()?.seconds())?;
    let (active, later): (Vec<Role>, Vec<Role>) = eligible.into_iter().partition(|role| held.contains(&role.name));
    now.extend(active);

    let (user, name) = (caller.name(), caller.host());
    if now.is_empty() && later.is_empty() && asker == Asker::Themselves {
        return Err(Refusal::NoRole(user.to_string(), name.to_owned()));
    }
    let page = Page { length: wanted.length, width: entries::width(), settings: policy.settings() };
    let mut text = String::new();
    if now.is_empty() {
        text.push_str(&format!("User {user} is not allowed to run sudo on {name}.\n"));
    } else {
        text.push_str(&page.wrapped(&format!("Matching Defaults entries for {user} on {name}:"), 4));
        text.push_str(&page.wrapped(&entries::defaults(page.settings), 4));
        text.push('\n');
        text.push_str(&page.wrapped(&format!("User {user} may run the following commands on {name}:"), 8));
        now.iter().for_each(|role| text.push_str(&page.entry(role)));
    }
    if !later.is_empty() {
        text.push_str(&format!("\nUser {user} may activate the following roles on {name}:\n"));
        for role in &later {
            text.push_str(&format!("    {} (for at most {}):\n", role.name, spell(role.activation.maximum_duration)));
            text.push_str(&page.entry(role));
        }
    }
    voice.print(&text);
    // With -U the answer is the answer, whatever it says; that is sudo's rule.
    Ok(ExitStatus::Code(i32::from(now.is_empty() && asker == Asker::Themselves)))
}

/// Who wants to know.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asker {
    Themselves,
    Other,
}

/// How entries are written.
struct Page<'a> {
    length: Length,
    width: Option<usize>,
    settings: &'a Settings,
}

impl Page<'_> {
    fn entry(&self, role: &Role) -> String {
        match self.length {
            Length::Short => self.wrapped(&entries::short(role, self.settings), 8),
            Length::Long => entries::long(role, self.settings).lines().map(|line| self.wrapped(line, 8)).collect(),
        }
    }

    fn wrapped(&self, line: &str, indent: usize) -> String {
        entries::wrapped(line, self.width, indent)
    }
}

/// `-l CMD`: the resolved command and 0 when it may run now, else 1 and nothing.
fn one(
    wanted: &List,
    asker: &Caller,
    caller: Caller,
    host: &Host,
    policy: &PolicyIndex<'_>,
    voice: &mut Voice,
) -> Result<ExitStatus, Refusal> {
    let now = host.now()?;
    let run_as = RunAs::resolve(wanted.run_as.as_deref(), wanted.run_as_group.as_deref(), &caller)
        .map_err(ElevationError::RunAs)?;
    let path = policy.settings().options.path_variable();
    let command = match Command::find_for(&wanted.command, &path, &caller, asker) {
        Err(CommandError::Hidden(hidden)) => {
            let sight = Sight { host, policy, now: &now };
            sight.reveal::<Refusal>(hidden, asker, &run_as)?
        }
        found => found,
    };
    let command = match command {
        // As for a command that is there and not allowed.
        Err(CommandError::Hidden(_)) => return Ok(ExitStatus::Code(1)),
        found => found.map_err(ElevationError::Command)?,
    };
    let line = command_line(command.resolved_words().into_iter().map(|word| word.0));
    let holder = caller.person().clone();
    let candidates = host.store().candidates(&holder, now.seconds())?;
    let elevation = Elevation::question(caller, run_as, command, None, EnvironmentWish::default());
    let allowed = match judge(elevation, policy, Among::All(&[])) {
        Ok(Judgement::Standing(_)) => true,
        Ok(Judgement::Eligible(eligible)) => {
            let identity = host.public_identity()?;
            let vouchers = host.vouchers(eligible.roles(), &holder, now.seconds())?;
            let facts = Facts {
                key: &identity.key,
                host: &identity.id,
                now: &now,
                vouchers: vouchers.as_ref(),
                approved: &|digest| host.store().role(digest),
            };
            verify(candidates, *eligible, &facts).is_ok()
        }
        Err(crate::judge::JudgeError::NotAllowed(_)) => false,
        Err(error) => return Err(error.into()),
    };
    if allowed {
        voice.print(&format!("{line}\n"));
    }
    Ok(ExitStatus::Code(i32::from(!allowed)))
}
