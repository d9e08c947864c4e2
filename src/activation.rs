//! Requests grants and issues them. Used by the broker, and by `run.rs` where the caller gives all that a role requires. Each
//! change is written to the journal in the same transaction.

pub mod apart;
mod error;
pub mod extension;
pub mod insight;
pub mod wish;

use std::ffi::OsString;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

pub use error::ActivationError;
use rusqlite::Connection;
use serde::{Deserialize, Serialize};

use crate::audit::bucket::Charge;
use crate::audit::{InRecords, VerifiedRecords, Written, asked_since, base_in_records, empowered, in_force};
use crate::database::Durability;
use crate::elevation::{Caller, Elevation, RunAs};
use crate::host::{Host, HostError, Identity};
use crate::policy_index::PolicyIndex;
use crate::store;
use crate::verify::Attested;
use crate::verify::command_terms;
use jit_core::budget::REQUEST_WORDS;
use jit_core::clock::duration::{Seconds, spell};
use jit_core::clock::{Moment, Now, Timestamp};
use jit_core::escape::Word;
use jit_core::evidence::Event;
use jit_core::evidence::record::{self, Digest, Limit};
use jit_core::grant::lifecycle::{Decided, RequestState, grant_terms};
use jit_core::grant::terms::{CommandTerms, Extensions, Flag, VERSION, encode};
use jit_core::grant::{Approval, GrantTerms, HostDescriptor, RequestTerms, SignedGrant, Uncounted, digest};
use jit_core::names::{GrantId, RoleName};
use jit_core::policy::Role;
use sys::poll::{PollEntry, poll};
use wish::served;

/// How many requests of one user may be pending.
pub const PENDING_LIMIT: u32 = 20;

/// The time within which the policy's `request_rate` is counted, in seconds.
const RATE_WINDOW: i64 = 3600;

/// The maximum length of a reason, ticket or comment in bytes.
pub const WORDS_LIMIT: usize = 4096;

/// What the requester asks for.
pub struct Wanted<'a> {
    /// The role, for which the caller is eligible.
    pub role: &'a Role,
    /// The command for which the role is requested.
    pub elevation: Option<&'a Elevation>,
    /// The run-as user.
    pub run_as: &'a RunAs,
    /// In seconds; the role's maximum when absent.
    pub duration: Option<Seconds>,
    /// The earliest start, in seconds since 1970.
    pub start: Option<i64>,
    /// The reason.
    pub reason: Option<Word>,
    /// The ticket.
    pub ticket: Option<Word>,
    /// Whether the grant is for one run only.
    pub one_shot: bool,
    /// Whether the request waits for approvers.
    pub urgency: Urgency,
}

/// How a role that requires approval is requested.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Urgency {
    /// Its approvers decide.
    #[default]
    Ordinary,
    /// Granted at once without approvers, where the role allows it; alerted, and reviewed afterwards.
    BreakGlass,
}

/// The result of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Activation {
    /// A grant was issued.
    Granted(GrantId),
    /// Approvers have to decide.
    Pending(GrantId),
}

/// Records the request, and grants it at once where the role needs no approver.
pub fn request(
    host: &Host,
    policy: &PolicyIndex<'_>,
    caller: &Caller,
    wanted: &Wanted<'_>,
    now: &Now,
) -> Result<Activation, ActivationError> {
    let identity = host.record_identity()?;
    let terms = request_terms(caller, wanted, &identity.host, now)?;
    submit(host, policy, wanted.role, &terms, &identity, now, || true)
}

/// Stores checked terms, appends them to the journal, and grants them at once where the role needs no approver. Calls `is_awaited`
/// last, before the transaction is committed.
fn submit(
    host: &Host,
    policy: &PolicyIndex<'_>,
    role: &Role,
    terms: &RequestTerms,
    identity: &Identity,
    now: &Now,
    is_awaited: impl Fn() -> bool,
) -> Result<Activation, ActivationError> {
    // What is granted now is what the policy says now: an older text would come back into force with the policy.
    if role.digest != terms.role_digest {
        return Err(ActivationError::RoleChanged(role.name.clone(), terms.extends.clone()));
    }
    let words = terms.command.as_ref().map_or(0, CommandTerms::written_length);
    if words > REQUEST_WORDS {
        return Err(ActivationError::TooLarge(words));
    }
    let bytes = encode(terms)?;
    // Applies to break-glass too: it must be alerted or denied.
    if let Some(limit) = host.deafening_limit() {
        return Err(ActivationError::Unheard(limit));
    }
    let journal = host.journal(&policy.settings().audit);
    let needed = needed(role, terms.break_glass);
    if needed != terms.needed {
        return Err(ActivationError::RoleChanged(role.name.clone(), terms.extends.clone()));
    }
    // Root's requests and break-glass do not wait for a budget.
    let urgent = terms.break_glass.is_set() || terms.uid == 0;
    let (person, storage) = (terms.person(), policy.settings().audit.storage);
    let charge = Charge { person: &person, bytes: bytes.len(), urgent, storage };
    let rate = policy.settings().request_rate;
    let is_room = |connection: &Connection| {
        if store::GrantStore::new(connection).pending_of(&person, terms.created)? >= PENDING_LIMIT as usize {
            return Err(ActivationError::TooMany(PENDING_LIMIT));
        }
        // Break-glass does not wait; it is limited by the review that it leaves open.
        if terms.break_glass.is_set() {
            return Ok(());
        }
        let until = crate::audit::now(connection, now.moment().clone())?.seconds();
        within_rate(connection, terms, rate, until)
    };
    let beyond = |seconds| ActivationError::Budget(storage, seconds);
    // Checked without a lock first: a requester who is denied for a limit delays no other user.
    let connection = host.database().connection();
    is_room(connection)?;
    if let Err(seconds) = charge.fits(connection, now.moment())? {
        let _ = journal.tell_full(now.moment(), &person).map(|told| journal.mirror(&told));
        return Err(beyond(seconds));
    }
    let verified = journal.verified_about(&terms.extends)?;
    let stored = host.database().write(Durability::Synced, |tx| {
        in_force(tx, role.policy.map(Digest))?;
        empowered(tx, &terms.host, &identity.id)?;
        let now = &crate::audit::now(tx, now.moment().clone())?;
        let moment = now.moment();
        is_room(tx)?;
        charge.put(tx, moment)?.map_err(beyond)?;
        store::insert_request(tx, terms, &bytes, needed)?;
        store::keep_role(tx, &terms.role_digest, role)?;
        let mut written = vec![journal.append(tx, moment, request_event(terms, &bytes, needed, role))?];
        let activation = if needed > 0 {
            Activation::Pending(terms.id.clone())
        } else {
            if terms.break_glass.is_set() {
                written.push(break_glass(tx, &journal, terms, moment)?);
            }
            let decided = Decided::new(terms, &bytes, &[], role);
            written.push(grant(tx, &journal, &decided, &verified, identity, now)?);
            Activation::Granted(terms.id.clone())
        };
        if is_awaited() { Ok((activation, written)) } else { Err(ActivationError::Left) }
    });
    let (activation, written) = stored?;
    host.announce(&journal, &written);
    Ok(activation)
}

/// Denies a request beyond `rate` in an hour. `until` is the latest time in the journal, in seconds since 1970. Where the clock was
/// set back, requests made before that count; later ones were made before root accepted the corrected clock.
fn within_rate(connection: &Connection, terms: &RequestTerms, rate: u32, until: i64) -> Result<(), ActivationError> {
    let between = (terms.created.saturating_sub(RATE_WINDOW), until);
    match store::GrantStore::new(connection).nth_newest_request_of(&terms.person(), rate, between)? {
        Some(made) => {
            let free = made.saturating_add(RATE_WINDOW);
            Err(ActivationError::TooOften(rate, Timestamp::from_seconds(free)))
        }
        None => Ok(()),
    }
}

/// Waits on behalf of the user `uid` until a request is no longer pending, at most for `limit`. The bell wakes it.
pub fn wait(host: &Host, uid: u32, id: &GrantId, limit: Duration) -> Result<RequestState, ActivationError> {
    wait_beside(host, uid, id, limit, None)
}

/// Waits like [`wait`], but returns as soon as `other` is readable; the request may then still be pending.
pub fn wait_beside(
    host: &Host,
    uid: u32,
    id: &GrantId,
    limit: Duration,
    other: Option<BorrowedFd<'_>>,
) -> Result<RequestState, ActivationError> {
    let failed = |error| HostError::System("wait for the bell", error);
    let deadline = Instant::now() + limit;
    let bell = host.bell()?;
    let mut waiter = bell.waiter(uid).map_err(failed)?;
    let mut interrupted = false;
    loop {
        let now = host.now()?.seconds();
        let request = host.store().request(id, now).map_err(|_| ActivationError::Lost(id.clone()))?;
        let left = deadline.saturating_duration_since(Instant::now());
        if request.state != RequestState::Pending || left.is_zero() || interrupted {
            return Ok(request.state);
        }
        // The request's own deadline rings no bell, so this checks every second.
        let patience = left.min(Duration::from_secs(1));
        let mut entries: Vec<PollEntry<'_>> =
            other.into_iter().chain(waiter.descriptor()).map(PollEntry::reading).collect();
        poll(&mut entries, Some(patience)).map_err(failed)?;
        interrupted = other.is_some() && entries.first().is_some_and(|entry| entry.ready_read);
        drop(entries);
        waiter.rung().map_err(failed)?;
    }
}

/// Signs and stores the grant of a decided request, in the transaction that decided it. `verified` has the records about the grant
/// that it extends.
pub fn grant(
    tx: &rusqlite::Transaction<'_>,
    journal: &crate::audit::Journal<'_>,
    decided: &Decided<'_>,
    verified: &VerifiedRecords,
    identity: &Identity,
    now: &Now,
) -> Result<Written, ActivationError> {
    empowered(tx, &decided.request.host, &identity.id)?;
    asked_since(tx, &decided.request.id)?;
    // The end of a grant ends the extensions that it finds: it finds this one, or is found here.
    if let Some(old) = &decided.request.extends {
        if let InRecords::Ended(end) = base_in_records(tx, old)? {
            return Err(ActivationError::Ended(old.clone(), end));
        }
        verified.unaltered(tx, old)?;
    }
    let terms = grant_terms(decided, &identity.id, now);
    // Signs only what the approvers read: a grant for an exact command has one.
    if terms.exact.is_set() {
        decided.request.exactly().map_err(|why| ActivationError::NotExact(terms.role.clone(), why))?;
    }
    let signed = SignedGrant::issue(&terms, &identity.key)?;
    store::approve_request(tx, &terms.id)?;
    store::insert_grant(tx, &terms, &signed)?;
    Ok(journal.append(tx, now.moment(), grant_event(&terms, signed.bytes(), decided))?)
}

/// Records the open review of an activation without approval, and the alert. Denies it when the user has an open review already.
fn break_glass(
    tx: &rusqlite::Transaction<'_>,
    journal: &crate::audit::Journal<'_>,
    terms: &RequestTerms,
    moment: &Moment,
) -> Result<Written, ActivationError> {
    if let Some(open) = store::GrantStore::new(tx).open_debt_of(&terms.person())? {
        return Err(ActivationError::Unreviewed(open));
    }
    store::insert_debt(tx, terms)?;
    let mut sentence =
        OsString::from(format!("{} used break-glass for role {} without approval: ", terms.user, terms.role));
    sentence.push(terms.reason.as_os_str());
    let alert = record::Alert {
        grant: Some(terms.id.clone()),
        ..record::Alert::new("break-glass", Word(sentence)).about(terms.uid, Word::from(terms.user.as_str()))
    };
    Ok(journal.append(tx, moment, Event::Alert(Box::new(alert)))?)
}

/// Returns the record of an approval.
pub fn approval_event(attested: &Attested, role: &Role) -> Event {
    let approval = attested.approval();
    let terms = &approval.terms;
    Event::Approval(Box::new(record::Approval {
        grant: terms.id.clone(),
        uid: approval.uid,
        user: Word::from(terms.approver.as_str()),
        role: role.name.clone(),
        duration: terms.duration.positive(),
        limits: limits(terms.one_shot, terms.exact),
        comment: (!terms.comment.as_bytes().is_empty()).then(|| terms.comment.clone()),
        key: approval.fingerprint().map(Word::from),
        authenticated: Some(attested.means()),
        sha256: Digest(digest(&approval.bytes)),
        policy: role.policy.map(Digest),
        role_sha256: role.compiled.map(Digest),
    }))
}

fn request_terms(
    caller: &Caller,
    wanted: &Wanted<'_>,
    host: &HostDescriptor,
    now: &Now,
) -> Result<RequestTerms, ActivationError> {
    let role = wanted.role;
    let (rules, created) = (&role.activation, now.seconds());
    let urgent = wanted.urgency == Urgency::BreakGlass;
    if urgent && !(rules.break_glass && rules.require_approval) {
        return Err(ActivationError::NoBreakGlass(role.name.clone()));
    }
    if urgent && wanted.start.is_some() {
        return Err(ActivationError::BreakGlassLater);
    }
    let (reason, ticket) = justification(role, wanted.reason.as_ref(), wanted.ticket.as_ref())?;
    if urgent && reason.as_bytes().trim_ascii().is_empty() {
        return Err(ActivationError::ReasonMissing(role.name.clone()));
    }
    let duration = within_maximum(role, wanted.duration)?;
    let deadline = created.saturating_add(rules.request_lifetime.signed());
    let needed = needed(role, Flag::from(urgent));
    let decide = (needed > 0).then_some((&role.name, role.activation.request_lifetime));
    let start = start(wanted.start, created, decide)?;
    let command = match wanted.elevation {
        Some(elevation) => {
            served(role, elevation).map_err(|error| ActivationError::Wish(role.name.clone(), error))?;
            Some(command_terms(elevation, role).map_err(ActivationError::Command)?)
        }
        None if rules.exact_command => return Err(ActivationError::CommandMissing(role.name.clone())),
        None => None,
    };
    let random = sys::random::random().map_err(|error| HostError::System("make an id", error))?;
    Ok(RequestTerms {
        break_glass: Flag::from(urgent),
        command,
        created,
        critical: Vec::new(),
        deadline,
        duration,
        exact: Flag::from(rules.exact_command),
        extends: None,
        extensions: Extensions::new(),
        host: host.clone(),
        id: GrantId::from_random(random),
        needed,
        one_shot: Flag::from(wanted.one_shot || rules.one_shot),
        reason,
        role: role.name.clone(),
        role_digest: role.digest.clone(),
        run_as: wanted.run_as.name().clone(),
        start,
        ticket,
        uid: caller.uid(),
        user: caller.name().clone(),
        version: VERSION,
    })
}

/// Returns the number of approvals that a request for the role needs.
fn needed(role: &Role, break_glass: Flag) -> u32 {
    let rules = &role.activation;
    if rules.require_approval && !break_glass.is_set() { rules.approvals } else { 0 }
}

/// Returns reason and ticket, checked against what the role requires.
fn justification(role: &Role, reason: Option<&Word>, ticket: Option<&Word>) -> Result<(Word, Word), ActivationError> {
    let reason = words("reason", reason)?;
    if role.activation.require_justification && reason.as_bytes().trim_ascii().is_empty() {
        return Err(ActivationError::ReasonMissing(role.name.clone()));
    }
    let ticket = words("ticket", ticket)?;
    match &role.activation.ticket {
        Some(pattern) if !ticket.as_os_str().to_str().is_some_and(|text| pattern.matches(text)) => {
            Err(ActivationError::Ticket(role.name.clone(), pattern.as_str().to_owned()))
        }
        _ => Ok((reason, ticket)),
    }
}

/// Returns the requested seconds, or the role's maximum when there are none.
fn within_maximum(role: &Role, duration: Option<Seconds>) -> Result<Seconds, ActivationError> {
    let most = role.activation.maximum_duration;
    match duration.unwrap_or(most) {
        Seconds::ZERO => Err(ActivationError::NoDuration),
        duration if duration > most => Err(ActivationError::TooLong(role.name.clone(), duration, most)),
        duration => Ok(duration),
    }
}

/// Returns the requested start, which must not be in the past, nor after the deadline of a request that approvers `decide`: the role
/// and its `request_lifetime`. 0 means at once.
fn start(wanted: Option<i64>, now: i64, decide: Option<(&RoleName, Seconds)>) -> Result<i64, ActivationError> {
    let Some(start) = wanted else { return Ok(0) };
    if start < now {
        return Err(ActivationError::Start("lies in the past".to_owned()));
    }
    match decide {
        Some((role, lifetime)) if start > now.saturating_add(lifetime.signed()) => Err(ActivationError::Start(
            format!("lies after the request's own lifetime: request_lifetime of role {role} is {}", spell(lifetime)),
        )),
        _ => Ok(start),
    }
}

fn words(what: &'static str, typed: Option<&Word>) -> Result<Word, ActivationError> {
    let typed = typed.cloned().unwrap_or_default();
    if typed.as_bytes().len() > WORDS_LIMIT { Err(ActivationError::Words(what, WORDS_LIMIT)) } else { Ok(typed) }
}

fn request_event(terms: &RequestTerms, bytes: &[u8], needed: u32, role: &Role) -> Event {
    Event::Request(Box::new(record::Request {
        grant: terms.id.clone(),
        uid: terms.uid,
        user: Word::from(terms.user.as_str()),
        role: terms.role.clone(),
        run_as: Word::from(terms.run_as.as_str()),
        argv: terms.argv().to_vec(),
        duration: terms.duration,
        starts: (terms.start > 0).then(|| Timestamp::from_seconds(terms.start)),
        deadline: Timestamp::from_seconds(terms.deadline),
        limits: limits(terms.one_shot, terms.exact),
        reason: terms.reason.clone(),
        ticket: (!terms.ticket.as_bytes().is_empty()).then(|| terms.ticket.clone()),
        sha256: Digest(digest(bytes)),
        break_glass: terms.break_glass.is_set().then_some(1),
        extends: terms.extends.clone(),
        needed: Some(needed),
        policy: role.policy.map(Digest),
        role_sha256: role.compiled.map(Digest),
    }))
}

fn grant_event(terms: &GrantTerms, bytes: &[u8], decided: &Decided<'_>) -> Event {
    Event::Grant(Box::new(record::Grant {
        grant: terms.id.clone(),
        uid: terms.uid,
        user: Word::from(terms.user.as_str()),
        role: terms.role.clone(),
        run_as: Word::from(terms.run_as.as_str()),
        starts: Timestamp::from_seconds(terms.starts),
        expires: Timestamp::from_seconds(terms.expires),
        limits: limits(terms.one_shot, terms.exact),
        approvers: terms.approvers.iter().map(|name| Word::from(name.as_str())).collect(),
        sha256: Digest(digest(bytes)),
        break_glass: terms.break_glass.is_set().then_some(1),
        extends: terms.extends.clone(),
        not_counted: decided
            .not_counted
            .iter()
            .map(uncounted)
            .chain(decided.superseded.iter().map(superseded))
            .collect(),
        policy: decided.policy.map(Digest),
        role_sha256: decided.role_sha256.map(Digest),
    }))
}

fn uncounted((approval, why): &(Approval, Uncounted)) -> record::UncountedApproval {
    record::UncountedApproval {
        sha256: Digest(digest(&approval.bytes)),
        user: Word::from(approval.terms.approver.as_str()),
        why: *why,
    }
}

fn superseded((sha256, user): &([u8; 32], Word)) -> record::UncountedApproval {
    record::UncountedApproval { sha256: Digest(*sha256), user: user.clone(), why: Uncounted::Superseded }
}

fn limits(one_shot: Flag, exact: Flag) -> Vec<Limit> {
    let mut limits = Vec::new();
    if one_shot.is_set() {
        limits.push(Limit::OneShot);
    }
    if exact.is_set() {
        limits.push(Limit::Exact);
    }
    limits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_lies_between_now_and_the_deadline() {
        let role = RoleName::parse("web").unwrap();
        let decide = Some((&role, Seconds(100)));
        assert!(matches!(start(None, 100, decide), Ok(0)));
        assert!(matches!(start(Some(150), 100, decide), Ok(150)));
        assert!(start(Some(99), 100, decide).is_err());
        assert!(start(Some(201), 100, decide).is_err());
        assert!(matches!(start(Some(201), 100, None), Ok(201)));
    }
}
