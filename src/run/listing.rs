//! -l: lists what the caller may run, or answers whether they may run one command. In sudo's format, followed by the roles that
//! could be activated.

use crate::console::Console;
use crate::elevation::{Caller, CallerError, ElevationError, RunAs, THIS_HOST};
use crate::host::Host;
use crate::judge::{names, subject};
use crate::refusal::Refusal;
use crate::run::authorize::{AuthRequest, SERVICE, prove};
use crate::run::entries::{self, Entry};
use crate::run::inquiry::{Given, Inquiry};
use crate::run::{RunContext, slot_of};
use crate::session::ExitStatus;
use jit_core::cli::{Length, List};
use jit_core::clock::duration::spell;
use jit_core::escape::command_line;
use jit_core::policy::{Assignment, Role, Settings, Target};
use sys::sanitize::Inherited;

/// Lists what the caller may run, or answers whether they may run one command now.
pub fn list(wanted: &List, inherited: &Inherited, console: &mut Console) -> Result<ExitStatus, Refusal> {
    let caller = Caller::identify(&inherited.identity)?;
    let _slot = slot_of(&caller)?;
    let host = Host::open(caller.host())?;
    let policy = host.policy(Some(&caller))?;
    let journal = host.journal(&policy.settings().audit);
    let context = RunContext { host: &host, policy: &policy, journal: &journal, inherited };
    let other = match &wanted.other_user {
        None => None,
        Some(name) => Some(RunAs::resolve(Some(name), None, &caller).map_err(ElevationError::RunAs)?),
    };
    let permission = match other.as_ref().filter(|other| !caller.person().is(other.uid(), other.name())) {
        None => Permission::Given,
        Some(_) => permission(&context, &caller)?,
    };
    check_account(&permission, &caller, wanted, &context, console)?;
    let other = other.map(|other| Caller::described(other.account().clone())).transpose()?;
    let again: &dyn Fn() -> Result<Caller, CallerError> = &|| match &other {
        Some(other) => Caller::described(other.account().clone()),
        None => Caller::identify(&inherited.identity),
    };
    let person = other.as_ref().unwrap_or(&caller);
    let inquiry = Inquiry { host: &host, policy: &policy, now: host.now()?, asker: &caller, person, again };
    if wanted.command.is_empty() {
        let asker = if other.is_some() { Asker::Other } else { Asker::Themselves };
        everything(asker, wanted, &inquiry, console)
    } else {
        one(wanted, &inquiry, console)
    }
}

/// Why a user may see a listing.
enum Permission {
    /// It is their own, or they are root or a reader of the audit.
    Given,
    /// They may run every command as root now, and so `jit-sudo jit-sudo -l -U`, by this role.
    ByRole(Box<Role>),
}

/// -U: allowed for root, for readers of the audit, and for users who may run every command as root now (sudo's rule).
fn permission(context: &RunContext<'_>, caller: &Caller) -> Result<Permission, Refusal> {
    if caller.uid() == 0 || names(&context.policy.settings().audit.readers, &subject(caller)?) {
        return Ok(Permission::Given);
    }
    let again: &dyn Fn() -> Result<Caller, CallerError> = &|| Caller::identify(&context.inherited.identity);
    let (host, policy, now) = (context.host, context.policy, context.host.now()?);
    let inquiry = Inquiry { host, policy, now, asker: caller, person: caller, again };
    let groups = || Some(vec![(0, Some("root".to_owned()))]);
    let root = Target { name: "root", uid: 0, groups: &groups, is_caller: false, lookup: &THIS_HOST };
    let whole = |role: &Role| role.allows_everything() && role.run_as.allows(&root);
    let refused = || Refusal::NoRole(caller.name().to_string(), caller.host().to_owned());
    let role = inquiry.serving()?.into_iter().find(whole).ok_or_else(refused)?;
    Ok(Permission::ByRole(Box::new(role)))
}

/// Checks the account of the caller. A listing of one's own needs no password; one of another user needs that of the role by which
/// it is permitted.
fn check_account(
    permission: &Permission,
    caller: &Caller,
    wanted: &List,
    context: &RunContext<'_>,
    console: &mut Console,
) -> Result<(), Refusal> {
    let role = match permission {
        Permission::Given => None,
        Permission::ByRole(role) => Some(role.as_ref()),
    };
    let service = role.and_then(|role| role.pam_service.as_deref()).unwrap_or(SERVICE);
    let auth_request = AuthRequest {
        service,
        remembered_as: service,
        password_due: role.is_some_and(|role| role.authenticate),
        password_of: caller.name().as_str(),
        target: "root",
        options: role.map_or(&context.policy.settings().options, |role| &role.options),
    };
    prove(&auth_request, caller, &wanted.asking, context, console).map(drop)
}

fn everything(
    asker: Asker,
    wanted: &List,
    inquiry: &Inquiry<'_>,
    console: &mut Console,
) -> Result<ExitStatus, Refusal> {
    let (caller, policy) = (inquiry.person, inquiry.policy);
    let standing = inquiry.assigned(Assignment::Standing)?;
    let mut later = inquiry.assigned(Assignment::Eligible)?;
    let of = |role| Entry::of(role, caller.name().as_str());
    let mut now: Vec<Entry> = standing.into_iter().map(of).collect();
    for given in inquiry.given(&later)? {
        let entry = match given {
            Given::Role(role) => {
                later.retain(|other| other.name != role.name);
                of(role)
            }
            Given::Part(role) => of(role),
            Given::Command(role, terms) => Entry::of_command(role, &terms, policy.settings()),
        };
        if !now.contains(&entry) {
            now.push(entry);
        }
    }

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
        now.iter().for_each(|entry| text.push_str(&page.entry(entry)));
    }
    if !later.is_empty() {
        text.push_str(&format!("\nUser {user} may activate the following roles on {name}:\n"));
        for role in later {
            text.push_str(&format!("    {} (for at most {}):\n", role.name, spell(role.activation.maximum_duration)));
            text.push_str(&page.entry(&of(role)));
        }
    }
    console.print(&text);
    // With -U the exit status is 0 whatever is listed (sudo's rule).
    Ok(ExitStatus::Code(i32::from(now.is_empty() && asker == Asker::Themselves)))
}

/// Who asks for the listing.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asker {
    Themselves,
    Other,
}

/// How entries are laid out.
struct Page<'a> {
    length: Length,
    width: Option<usize>,
    settings: &'a Settings,
}

impl Page<'_> {
    fn entry(&self, entry: &Entry) -> String {
        match self.length {
            Length::Short => self.wrapped(&entries::short(entry, self.settings), 8),
            Length::Long => entries::long(entry, self.settings).lines().map(|line| self.wrapped(line, 8)).collect(),
        }
    }

    fn wrapped(&self, line: &str, indent: usize) -> String {
        entries::wrapped(line, self.width, indent)
    }
}

/// `-l CMD`: the resolved command and 0 when it may run now, else 1 and nothing. With `-ll`, first the entry that allows it.
fn one(wanted: &List, inquiry: &Inquiry<'_>, console: &mut Console) -> Result<ExitStatus, Refusal> {
    let run_as = RunAs::resolve(wanted.run_as.as_deref(), wanted.run_as_group.as_deref(), inquiry.person)
        .map_err(ElevationError::RunAs)?;
    let Some(command) = inquiry.find(&wanted.command, &run_as)? else { return Ok(ExitStatus::Code(1)) };
    let line = command_line(command.resolved_words().into_iter().map(|word| word.0));
    let Some(serving) = inquiry.serving_command(run_as, command)? else { return Ok(ExitStatus::Code(1)) };
    let text = match wanted.length {
        Length::Short => format!("{line}\n"),
        Length::Long => {
            let page = Page { length: wanted.length, width: entries::width(), settings: inquiry.policy.settings() };
            let entry = page.entry(&Entry::of_rule(serving.role, inquiry.person.name().as_str(), serving.rule));
            format!("{}{}", entry.trim_start_matches('\n'), page.wrapped(&format!("    Matched: {line}"), 8))
        }
    };
    console.print(&text);
    Ok(ExitStatus::Code(0))
}
