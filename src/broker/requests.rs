//! Creates, lists, shows, awaits and cancels requests.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use super::Context;
use super::failure::{Refused, refused};
use super::page::Pager;
use super::statement::{StatementAuthor, StatementSubject};
use super::view::Decides;
use crate::activation::insight::Disclosure;
use crate::activation::wish::served;
use crate::activation::{Activation, Urgency, Wanted, request, wait};
use crate::audit::{RequestInRecords, request_in_records};
use crate::database::Durability;
use crate::elevation::environment::split;
use crate::elevation::{Command, CommandError, Elevation, RunAs};
use crate::judge::{Among, Eligible, Judgement, ask, judge, subject};
use crate::refusal::why_line;
use crate::store::{GrantScope, ListedRequest, StoredRequest};
use jit_core::cli::EnvironmentWish;
use jit_core::clock::duration::Seconds;
use jit_core::escape::Word;
use jit_core::grant::StatementKind;
use jit_core::grant::lifecycle::RequestState;
use jit_core::names::{IdPrefix, RoleName};
use jit_core::policy::{Answer as Verdict, Assignment, Role};
use jit_core::wire::{CommandWords, GrantInfo, GrantPage, NewRequest, texts};

/// The role of a request, its command, and the roles among which it was chosen (none when the caller named it).
type RoleFor = (Role, Option<Elevation>, Vec<RoleName>);

/// The longest wait per question, in seconds; a client that waits longer asks again.
const WAIT_LIMIT: Seconds = Seconds(3600);

impl Context<'_> {
    pub(super) fn request(&self, new: NewRequest) -> Result<GrantInfo, Refused> {
        let (role, elevation, chosen_among) = self.role_for(&new)?;
        let run_as;
        let target = match &elevation {
            Some(elevation) => elevation.run_as(),
            None => {
                run_as = self.run_as_of(&role, new.command.run_as.as_ref())?;
                &run_as
            }
        };
        let wanted = Wanted {
            role: &role,
            elevation: elevation.as_ref(),
            run_as: target,
            duration: new.duration,
            start: new.start,
            reason: new.reason,
            ticket: new.ticket,
            one_shot: new.one_shot,
            urgency: if new.break_glass { Urgency::BreakGlass } else { Urgency::Ordinary },
        };
        match request(self.host, self.policy, self.caller, &wanted, self.now)? {
            Activation::Granted(id) | Activation::Pending(id) => self.told_new(&id, chosen_among),
        }
    }

    pub(super) fn requests(&self, all: bool, before: Option<i64>) -> Result<GrantPage, Refused> {
        let rows = self.rows(all, before)?;
        let (everything, mut decides) = (self.is_reader()?, Decides::default());
        let mut page = Pager::default();
        for row in rows {
            if !all && row.state != RequestState::Pending {
                continue;
            }
            let may_be_own = row.uid == self.caller.uid();
            if !everything && !may_be_own && !decides.whether(self, &row.role)? {
                continue;
            }
            if page.is_full() {
                return Ok(page.ending_before(row.row));
            }
            let found = self.legible(row.id.as_str(), self.host.store().usable(&row.id, self.now.seconds()))?;
            let Some(request) = found.flatten() else { continue };
            if (everything || self.is_own(&request) || decides.whether(self, &row.role)?)
                && let Some(info) = self.legible(row.id.as_str(), self.info(&request))?
            {
                page.take(info);
            }
        }
        Ok(page.last())
    }

    /// Returns the requests that may be listed, newest first, without reading their bodies.
    fn rows(&self, all: bool, before: Option<i64>) -> Result<Vec<ListedRequest>, Refused> {
        let (store, now) = (self.host.store(), self.now.seconds());
        match (all, self.is_reader()?) {
            (false, _) => Ok(store.listed(GrantScope::Pending, before, now)?),
            (true, true) => Ok(store.listed(GrantScope::Everybody, before, now)?),
            (true, false) => {
                let mut rows = store.listed(GrantScope::Of(self.caller.person()), before, now)?;
                let own = self.caller.uid();
                rows.extend(store.listed(GrantScope::Pending, before, now)?.into_iter().filter(|row| row.uid != own));
                rows.sort_by_key(|row| std::cmp::Reverse(row.row));
                Ok(rows)
            }
        }
    }

    pub(super) fn show(&self, id: &IdPrefix) -> Result<GrantInfo, Refused> {
        self.told(&self.visible(id)?)
    }

    pub(super) fn wait(&self, id: &IdPrefix, limit: Seconds) -> Result<GrantInfo, Refused> {
        let request = self.visible(id)?;
        wait(self.host, self.caller.uid(), &request.terms.id, limit.min(WAIT_LIMIT).into())?;
        let later = Context { now: &self.host.now()?, ..*self };
        later.info_of(&request.terms.id)
    }

    pub(super) fn cancel(&self, id: &IdPrefix) -> Result<GrantInfo, Refused> {
        let request = self.visible(id)?;
        self.cancel_as(StatementAuthor::Here(self.caller), &request)?;
        self.info_of(&request.terms.id)
    }

    pub(super) fn cancel_as(&self, author: StatementAuthor<'_>, request: &StoredRequest) -> Result<(), Refused> {
        let terms = &request.terms;
        if !author.who().person().is(terms.uid, &terms.user) {
            return Err(refused("not-yours", format!("request {} was made by {}", terms.id, terms.user))
                .hint(format!("jitctl deny {} --reason WHY", terms.id)));
        }
        self.decide(author, StatementKind::Cancellation, request, &Word::default())
    }

    /// Denies or cancels a request, with a statement and a record.
    pub(super) fn decide(
        &self,
        author: StatementAuthor<'_>,
        kind: StatementKind,
        request: &StoredRequest,
        reason: &Word,
    ) -> Result<(), Refused> {
        self.undecided(request)?;
        let (id, subject) = (&request.terms.id, StatementSubject::from(request));
        let statement = self.stated(author, kind, &subject, reason, &self.host.record_identity_for_statements()?)?;
        let written = self.host.database().write(Durability::Synced, |tx| {
            let written = self.carry_out(tx, &statement, &subject)?;
            written.ok_or_else(|| refused("not-pending", format!("request {id} was decided meanwhile")))
        })?;
        self.host.announce(self.journal, &[written]);
        Ok(())
    }

    pub(super) fn still_pending(&self, request: &StoredRequest) -> Result<(), Refused> {
        if request.state == RequestState::Pending { Ok(()) } else { Err(not_pending(request)) }
    }

    /// Fails when the request is decided. An expired request can be denied and cancelled: a corrected clock may make it pending
    /// again.
    fn undecided(&self, request: &StoredRequest) -> Result<(), Refused> {
        let recorded = request_in_records(self.host.database().connection(), &request.terms.id)?;
        match request.state {
            _ if recorded == RequestInRecords::Pending => Ok(()),
            RequestState::Pending | RequestState::Expired => Ok(()),
            RequestState::Approved | RequestState::Denied | RequestState::Cancelled => Err(not_pending(request)),
        }
    }

    /// Returns the role that the caller named, or the narrowest role that allows the command; the resolved command, if any; and the
    /// names of the roles among which the role was chosen.
    fn role_for(&self, new: &NewRequest) -> Result<RoleFor, Refused> {
        let subject = subject(self.caller)?;
        let named = match &new.role {
            Some(name) => {
                let role = self.policy.role(name)?.filter(|role| role.assigns(&subject, Assignment::Eligible));
                Some(role.ok_or_else(|| {
                    refused("not-eligible", format!("you are not eligible for a role {name}")).hint("jitctl roles")
                })?)
            }
            None => None,
        };
        if new.command.command.is_empty() {
            return match named {
                Some(role) => Ok((role, None, Vec::new())),
                None => {
                    let role = self.only_role()?;
                    let name = role.name.clone();
                    Ok((role, None, vec![name]))
                }
            };
        }
        let elevation = self.elevation(&new.command)?;
        match named {
            Some(role) => match ask(&role, &elevation) {
                Verdict::Allowed { .. } => Ok((role, Some(elevation), Vec::new())),
                verdict => Err(refused("not-allowed", format!("role {} {}", role.name, refusal_words(&verdict)))
                    .hint(why_line(&elevation))),
            },
            None => match judge(elevation, self.policy, Among::All(&[]))? {
                Judgement::Standing(standing) => Err(refused(
                    "standing",
                    format!("no grant is needed: role {} is standing for you", standing.role().name),
                )),
                Judgement::Eligible(eligible) => match fitting(&eligible, new).cloned() {
                    Some(role) => {
                        // Break-glass needs a role that permits it, which need not be the narrowest.
                        let elevation = eligible.elevation();
                        let would_do = |other: &&Role| {
                            !new.break_glass && (other.name == role.name || served(other, elevation).is_ok())
                        };
                        let among = eligible.roles().iter().filter(would_do).map(|role| role.name.clone()).collect();
                        Ok((role, Some(eligible.into_elevation()), among))
                    }
                    None => Err(refused("not-eligible", "no role allows this command")),
                },
            },
        }
    }

    fn only_role(&self) -> Result<Role, Refused> {
        let mut roles = self.policy.roles_for(&subject(self.caller)?, Assignment::Eligible)?;
        match (roles.pop(), roles.is_empty()) {
            (Some(role), true) => Ok(role),
            (Some(role), false) => {
                roles.push(role);
                let names = texts(&roles.iter().map(|role| role.name.clone()).collect::<Vec<_>>());
                Err(refused("which-role", format!("name a role or a command; you may ask for {}", names.join(", ")))
                    .hint("jitctl request --role ROLE --reason 'WHY'"))
            }
            (None, _) => Err(refused("not-eligible", "you are not eligible for any role")),
        }
    }

    /// Returns the command as an elevation of the caller.
    pub(super) fn elevation(&self, words: &CommandWords) -> Result<Elevation, Refused> {
        let caller = crate::elevation::Caller::described(self.caller.account().clone())?;
        self.elevation_of(caller, words)
    }

    pub(super) fn elevation_of(
        &self,
        caller: crate::elevation::Caller,
        words: &CommandWords,
    ) -> Result<Elevation, Refused> {
        let typed: Vec<OsString> = words.command.iter().map(|word| word.0.clone()).collect();
        if words.command.iter().any(|word| word.as_bytes().contains(&0)) {
            return Err(refused("malformed", "an argument of the command contains a NUL byte"));
        }
        let (user, group) = (words.run_as.as_ref(), words.run_as_group.as_ref());
        let run_as = RunAs::resolve(user.map(Word::as_os_str), group.map(Word::as_os_str), &caller)?;
        let command = match Command::find_for(&typed, self.secure_path, &caller, self.caller) {
            Err(CommandError::Hidden(hidden)) => {
                let disclosure = Disclosure { host: self.host, policy: self.policy, now: self.now };
                disclosure.reveal::<Refused>(hidden, self.caller, &run_as)?
            }
            found => found,
        };
        let directory = words.directory.as_ref().map(|word| PathBuf::from(word.as_os_str()));
        Ok(Elevation::question(caller, run_as, command?, directory, wished(&words.environment)?))
    }

    /// Returns the run-as user of a request for a whole role: the user that the caller named, else root if the role allows it, else
    /// the role's first user.
    fn run_as_of(&self, role: &Role, typed: Option<&Word>) -> Result<RunAs, Refused> {
        if let Some(word) = typed {
            return Ok(RunAs::resolve(Some(word.as_os_str()), None, self.caller)?);
        }
        let root = RunAs::resolve(None, None, self.caller)?;
        match role.run_as.default_user().as_str() {
            "root" => Ok(root),
            user => Ok(RunAs::resolve(Some(OsStr::new(user)), None, self.caller)?),
        }
    }
}

fn not_pending(request: &StoredRequest) -> Refused {
    let (id, state) = (&request.terms.id, request.state.as_str());
    refused("not-pending", format!("request {id} is not pending: it is {state}"))
}

/// Explains why the named role does not allow the command.
fn refusal_words(verdict: &Verdict<'_>) -> &'static str {
    match verdict {
        Verdict::OtherRunAs => "does not run commands as that user",
        Verdict::OtherGroup => "does not run commands with that group",
        Verdict::OtherHost => "is for other hosts",
        Verdict::Allowed { .. } | Verdict::Denied { .. } | Verdict::NoRule => "does not allow this command",
    }
}

/// Parses the variables of a request.
fn wished(entries: &[Word]) -> Result<EnvironmentWish, Refused> {
    let mut set = Vec::with_capacity(entries.len());
    for entry in entries {
        let no_variable = || refused("variable", format!("{entry} is not a variable; write NAME=VALUE"));
        let (name, value) = split(entry.as_os_str()).ok_or_else(no_variable)?;
        set.push((OsString::from_vec(name.to_vec()), OsString::from_vec(value.to_vec())));
    }
    Ok(EnvironmentWish { set, ..EnvironmentWish::default() })
}

/// Returns the narrowest role that also lets the caller have the directory and the variables, or the narrowest if none does. For
/// break-glass, roles that permit it come first.
fn fitting<'r>(eligible: &'r Eligible, new: &NewRequest) -> Option<&'r Role> {
    let (roles, elevation) = (eligible.roles(), eligible.elevation());
    let urgent = |role: &&Role| !new.break_glass || role.activation.break_glass;
    let serves = |role: &&Role| served(role, elevation).is_ok();
    let mut some = roles.iter().filter(urgent);
    some.clone().find(serves).or_else(|| some.next()).or(roles.first())
}
