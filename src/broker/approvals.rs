//! Approvals and denials. Only approvers of the role decide, and never about their own requests.

use super::Context;
use super::failure::{Refused, refused};
use super::statement::StatementAuthor;
use super::words::{described, given};
use crate::activation::{approval_event, grant};
use crate::audit;
use crate::audit::{JournalError, RecordedApprovals, approved_as, asked_since, empowered, in_force};
use crate::database::Durability;
use crate::elevation::Caller;
use crate::host::Identity;
use crate::judge::{names, still_approves, subject};
use crate::store::{GrantStore, StoredRequest, insert_approval};
use crate::verify::{ActFault, Attested, Consent};
use jit_core::clock::duration::{Seconds, spell};
use jit_core::escape::{Word, hex};
use jit_core::evidence::record::Digest;
use jit_core::grant::lifecycle::Decided;
use jit_core::grant::terms::{Extensions, Flag, VERSION, encode};
use jit_core::grant::{
    Approval, ApprovalFault, ApprovalTerms, Approvers, Quorum, RequestTerms, StatementKind, Uncounted,
    UserVerification, digest,
};
use jit_core::names::{GrantId, IdPrefix, UserName};
use jit_core::policy::{Assignment, Role};
use jit_core::wire::{Approve, GrantInfo};
use rusqlite::{Connection, Transaction, TransactionBehavior};

/// How an approver narrows a request.
pub(super) struct Narrowing {
    pub(super) duration: Option<Seconds>,
    pub(super) one_shot: bool,
    pub(super) exact: bool,
    pub(super) comment: Option<Word>,
}

impl Narrowing {
    /// Returns the narrowing of an approval.
    pub(super) fn of(approve: &Approve) -> Self {
        let Approve { duration, one_shot, exact, comment, .. } = approve.clone();
        Self { duration, one_shot, exact, comment }
    }
}

/// The approvals of a request.
#[derive(Default)]
pub(super) struct Counted {
    /// Those that count.
    pub(super) approvals: Vec<Approval>,
    /// The others, and why they do not count.
    others: Vec<(Approval, Uncounted)>,
}

/// Who may approve for a role now, of the authors of approvals. Looked up before a transaction: a name service may never answer.
struct Authors(Vec<(u32, UserName, bool)>);

impl Authors {
    fn look_up<'a>(approvals: impl IntoIterator<Item = &'a Approval>, role: &Role) -> Self {
        let author =
            |approval: &Approval| (approval.uid, approval.terms.approver.clone(), still_approves(approval, role));
        Self(approvals.into_iter().map(author).collect())
    }

    fn of(&self, approval: &Approval) -> Option<bool> {
        let is_author =
            |(uid, name, _): &&(u32, UserName, bool)| *uid == approval.uid && *name == approval.terms.approver;
        self.0.iter().find(is_author).map(|(_, _, approves)| *approves)
    }

    fn include_all(&self, approvals: &[Approval]) -> bool {
        approvals.iter().all(|approval| self.of(approval).is_some())
    }

    /// Whether the author may approve now. Who was not looked up may not.
    fn still_approve(&self, approval: &Approval) -> bool {
        self.of(approval) == Some(true)
    }
}

impl Counted {
    /// Returns whether this approval counts.
    fn has(&self, approval: &Approval) -> bool {
        self.approvals.iter().any(|counted| counted.bytes == approval.bytes)
    }
}

impl Context<'_> {
    pub(super) fn approve(
        &self,
        id: &IdPrefix,
        narrowing: &Narrowing,
        consent: Option<Consent>,
    ) -> Result<GrantInfo, Refused> {
        let (request, role) = self.approvable(id)?;
        let identity = self.host.record_identity()?;
        let terms = self.approval(&request, narrowing, &role, identity.id.as_str())?;
        let approval = Approval { bytes: encode(&terms)?, terms, uid: self.caller.uid(), signature: None };
        let attested = Attested::in_person(approval, &request.bytes, &role.activation, consent)
            .map_err(|fault| unattested(fault).hint(format!("jitctl approve {}", request.terms.id)))?;
        self.add(&attested, &request, &role, &identity)?;
        self.info_of(&request.terms.id)
    }

    /// Returns the request that the caller would approve without a signature, and its role. Fails when the caller cannot approve it
    /// now; it runs before the password prompt that the role may demand, so that the caller does not type a password for nothing.
    pub(super) fn approvable(&self, id: &IdPrefix) -> Result<(StoredRequest, Role), Refused> {
        let request = self.visible(id)?;
        let role = self.decidable(&request, self.caller)?;
        self.still_pending(&request)?;
        if request.terms.host.id != self.host.record_public_identity()?.id.as_str() {
            return Err(JournalError::AskedElsewhere.into());
        }
        if role.activation.signed_approvals {
            let id = &request.terms.id;
            return Err(refused("unsigned", format!("role {} takes signed approvals only", role.name))
                .hint(format!("jitctl approve {id} --key FILE")));
        }
        as_requested(&request, &role)?;
        self.still_eligible(&request, &role)?;
        self.still_extends(&request)?;
        // One state of rows and records: another approver may add both at any moment.
        let snapshot = Transaction::new_unchecked(self.host.database().connection(), TransactionBehavior::Deferred)?;
        let (given, _) = self.recorded_approvals(&snapshot, &request.terms.id)?;
        drop(snapshot);
        let authors = Authors::look_up(&given, &role);
        let before = self.counting(given, &request, &role, &authors)?;
        not_again(&before.approvals, self.caller.uid(), self.caller.name(), &request)?;
        Ok((request, role))
    }

    /// Returns the approvals of a pending request, for display, and the digests of those that count now: none where the rows are not
    /// those of the journal, or the policy has no such role.
    pub(super) fn given_and_counting(
        &self,
        request: &StoredRequest,
        role: Option<&Role>,
    ) -> Result<(Vec<Approval>, Vec<String>), Refused> {
        let snapshot = Transaction::new_unchecked(self.host.database().connection(), TransactionBehavior::Deferred)?;
        let given = GrantStore::new(&snapshot).approvals(&request.terms.id)?;
        let Some(role) = role.filter(|_| !given.is_empty()) else { return Ok((given, Vec::new())) };
        let recorded = approved_as(&snapshot, &request.terms.id, &given);
        drop(snapshot);
        let counting = match recorded {
            Ok(_) => self.counting(given.clone(), request, role, &Authors::look_up(&given, role))?.approvals,
            Err(JournalError::OtherApprovals(_)) => Vec::new(),
            Err(error) => return Err(contradicted(error)),
        };
        let digests = counting.iter().map(|approval| hex(&digest(&approval.bytes))).collect();
        Ok((given, digests))
    }

    /// Adds an approval, issues the grant when it is the last one needed, and returns the number of approvals that count.
    pub(super) fn add(
        &self,
        attested: &Attested,
        request: &StoredRequest,
        role: &Role,
        identity: &Identity,
    ) -> Result<usize, Refused> {
        loop {
            let given = self.host.store().approvals(&request.terms.id)?;
            let authors = Authors::look_up(given.iter().chain([attested.approval()]), role);
            // Each repetition knows one more approver.
            if let Some(count) = self.add_beside(attested, request, role, identity, &authors)? {
                return Ok(count);
            }
        }
    }

    /// Does so; `None` if somebody has approved meanwhile who is not among `authors`.
    fn add_beside(
        &self,
        attested: &Attested,
        request: &StoredRequest,
        role: &Role,
        identity: &Identity,
        authors: &Authors,
    ) -> Result<Option<usize>, Refused> {
        let approval = attested.approval();
        same_role(&approval.terms, &request.terms)?;
        as_requested(request, role)?;
        self.still_eligible(request, role)?;
        self.still_extends(request)?;
        let about = std::iter::once(&request.terms.id).chain(&request.terms.extends);
        let verified = self.journal.verified_about(about).map_err(contradicted)?;
        let added = self.host.database().write(Durability::Synced, |tx| {
            // The checks are repeated inside the transaction: another approver may have approved or the request may have been
            // cancelled.
            let store = GrantStore::new(tx);
            let now = audit::now(tx, self.now.moment().clone())?;
            self.still_pending(&store.request(&request.terms.id, now.seconds())?)?;
            in_force(tx, role.policy.map(Digest))?;
            empowered(tx, &request.terms.host, &identity.id)?;
            asked_since(tx, &request.terms.id)?;
            verified.unaltered(tx, &request.terms.id).map_err(contradicted)?;
            let (given, recorded) = self.recorded_approvals(tx, &request.terms.id)?;
            if !authors.include_all(&given) {
                return Ok(None);
            }
            let before = self.counting(given, request, role, authors)?;
            not_again(&before.approvals, approval.uid, &approval.terms.approver, request)?;
            not_wider(&recorded, approval, request)?;
            insert_approval(tx, attested, now.moment().wall.seconds())?;
            let mut written = vec![self.journal.append(tx, self.now.moment(), approval_event(attested, role))?];
            let (given, recorded) = self.recorded_approvals(tx, &request.terms.id)?;
            let Counted { approvals, others } = self.counting(given, request, role, authors)?;
            // Two that do not count together: the rule keeps one, which may be the new one.
            let is_due = |other: &Approval| other.bytes == approval.bytes || before.has(other);
            if let Some((_, why)) = others.iter().find(|(other, _)| is_due(other)) {
                return Err(uncounted(*why));
            }
            let quorum = usize::try_from(request.terms.needed.max(role.activation.approvals)).unwrap_or(usize::MAX);
            if approvals.len() >= quorum {
                let decided = Decided {
                    not_counted: &others,
                    superseded: &recorded.superseded(),
                    ..Decided::new(&request.terms, &request.bytes, &approvals, role)
                };
                written.push(grant(tx, self.journal, &decided, &verified, identity, &now)?);
            }
            Ok::<_, Refused>(Some((approvals.len(), written)))
        })?;
        let Some((count, written)) = added else { return Ok(None) };
        self.host.announce(self.journal, &written);
        Ok(Some(count))
    }

    /// Returns which approvals count now. Their authors are still approvers, and gave them as the role demands now. A signed approval
    /// counts only while its key is still listed for the approver; two approvals with one key count once.
    fn counting(
        &self,
        approvals: Vec<Approval>,
        request: &StoredRequest,
        role: &Role,
        authors: &Authors,
    ) -> Result<Counted, Refused> {
        let signed_only = role.activation.signed_approvals;
        let approvers = if signed_only || approvals.iter().any(|approval| approval.signature.is_some()) {
            self.host.approvers()?
        } else {
            Approvers::default()
        };
        let by_password = match role.activation.approval_authentication {
            true => Some(self.journal.approvals_by_password(&request.terms.id)?),
            false => None,
        };
        let in_person = |approval: &Approval| match &by_password {
            Some(digests) => digests.contains(&Digest(digest(&approval.bytes))),
            None => true,
        };
        let (verification, now) = (UserVerification::of(&role.activation), self.now.seconds());
        let (user, uid) = (&request.terms.user, i64::from(request.terms.uid));
        let mut quorum = Quorum::new(uid, user.as_str().as_bytes());
        let alone = |approval: &Approval| {
            if approval.terms.role_digest != request.terms.role_digest {
                return Err(Uncounted::OtherRole);
            }
            if !authors.still_approve(approval) {
                return Err(Uncounted::NotAnApprover);
            }
            match approval.signer_for(user, &approvers, verification, now) {
                Ok(key) => Ok(Some(key)),
                Err(ApprovalFault::Unsigned(_)) if signed_only => Err(Uncounted::Unsigned),
                Err(ApprovalFault::Unsigned(_)) if in_person(approval) => Ok(None),
                Err(ApprovalFault::Unsigned(_) | ApprovalFault::NotVerified(_)) => Err(Uncounted::NotAuthenticated),
                Err(_) => Err(Uncounted::NotValid),
            }
        };
        let whether: Vec<Result<(), Uncounted>> = approvals
            .iter()
            .map(|approval| {
                let name = approval.terms.approver.as_str().as_bytes();
                quorum.admit(i64::from(approval.uid), name, alone(approval)?)
            })
            .collect();
        let mut counted = Counted::default();
        for (approval, whether) in approvals.into_iter().zip(whether) {
            match whether {
                Ok(()) => counted.approvals.push(approval),
                Err(why) => counted.others.push((approval, why)),
            }
        }
        Ok(counted)
    }

    /// Returns the approvals of a request from the database, which are those of the journal. `connection` has a transaction open, so
    /// that both are of one state.
    fn recorded_approvals(
        &self,
        connection: &Connection,
        id: &GrantId,
    ) -> Result<(Vec<Approval>, RecordedApprovals), Refused> {
        let given = GrantStore::new(connection).approvals(id)?;
        let recorded = approved_as(connection, id, &given);
        Ok((given, recorded.map_err(contradicted)?))
    }

    pub(super) fn deny(&self, id: &IdPrefix, reason: &Word) -> Result<GrantInfo, Refused> {
        let request = self.visible(id)?;
        self.deny_as(StatementAuthor::Here(self.caller), &request, reason)?;
        self.info_of(&request.terms.id)
    }

    pub(super) fn deny_as(
        &self,
        author: StatementAuthor<'_>,
        request: &StoredRequest,
        reason: &Word,
    ) -> Result<(), Refused> {
        self.decidable(request, author.who())?;
        self.decide(author, StatementKind::Denial, request, given("reason", reason)?)
    }

    /// Returns the role of a request if `approver` may decide about it.
    pub(super) fn decidable(&self, request: &StoredRequest, approver: &Caller) -> Result<Role, Refused> {
        let terms = &request.terms;
        let role = self
            .policy
            .role(&terms.role)?
            .ok_or_else(|| refused("unknown-role", format!("the policy no longer knows the role {}", terms.role)))?;
        if approver.person().shares(terms.uid, &terms.user) {
            return Err(refused("own-request", "nobody decides about their own request"));
        }
        if !names(&role.activation.approvers, &subject(approver)?) {
            let (name, role) = (approver.name(), &role.name);
            return Err(refused("not-an-approver", format!("{name} is not an approver of role {role}")));
        }
        Ok(role)
    }

    /// Fails when the requester is no longer eligible for the role.
    fn still_eligible(&self, request: &StoredRequest, role: &Role) -> Result<(), Refused> {
        let requester = described(request.terms.uid)?;
        let eligible = match &requester {
            Some(requester) if !requester.person().is(request.terms.uid, &request.terms.user) => false,
            Some(requester) => role.assigns(&subject(requester)?, Assignment::Eligible),
            None => false,
        };
        if eligible {
            Ok(())
        } else {
            let (user, role) = (&request.terms.user, &role.name);
            Err(refused("not-eligible", format!("{user} is no longer eligible for role {role}")))
        }
    }

    /// Returns the terms that the caller approves: narrowed by the caller and by the role as it is now, so that the grant contains
    /// what the caller read.
    pub(super) fn approval(
        &self,
        request: &StoredRequest,
        narrowing: &Narrowing,
        role: &Role,
        host: &str,
    ) -> Result<ApprovalTerms, Refused> {
        let (asked, rules) = (&request.terms, &role.activation);
        if narrowing.duration == Some(Seconds::ZERO) {
            return Err(refused("duration", "the duration must be longer than 0"));
        }
        let comment = match &narrowing.comment {
            Some(comment) => given("comment", comment)?.clone(),
            None => Word::default(),
        };
        let given = self.host.store().approvals(&asked.id)?;
        let own = given.iter().filter(|approval| approval.uid == self.caller.uid());
        // Later than an approval that it replaces, so that its bytes are others: within one second, and while the clock is set back.
        let after = own.map(|approval| approval.terms.at.saturating_add(1)).max();
        let terms = ApprovalTerms {
            approver: self.caller.name().clone(),
            at: self.now.seconds().max(after.unwrap_or(i64::MIN)),
            comment,
            critical: Vec::new(),
            duration: narrowing
                .duration
                .or_else(|| (rules.maximum_duration < asked.duration).then_some(rules.maximum_duration))
                .unwrap_or_default(),
            exact: Flag::from(narrowing.exact || rules.exact_command),
            extensions: Extensions::new(),
            host: host.to_owned(),
            id: asked.id.clone(),
            one_shot: Flag::from(narrowing.one_shot || rules.one_shot),
            request: hex(&digest(&request.bytes)),
            role_digest: asked.role_digest.clone(),
            version: VERSION,
        };
        narrows(&terms, asked, role)?;
        Ok(terms)
    }
}

/// Fails when an approval asks for more than the request, or for an exact command that the request does not have.
pub(super) fn narrows(approval: &ApprovalTerms, asked: &RequestTerms, role: &Role) -> Result<(), Refused> {
    if approval.duration > asked.duration {
        let (most, wanted) = (spell(asked.duration), spell(approval.duration));
        return Err(refused("duration", format!("an approver may only shorten: {most} was asked, not {wanted}")));
    }
    let by_role = role.activation.exact_command;
    match asked.exactly() {
        Err(why) if by_role => {
            let sentence = format!("role {} is granted for an exact command only by now, and {why}", role.name);
            Err(refused("no-command", sentence).hint(format!("jitctl deny {}", asked.id)))
        }
        Err(why) if approval.exact.is_set() => Err(refused("no-command", why.to_string())),
        Err(_) | Ok(()) => Ok(()),
    }
}

/// Fails when the role has changed since the request. Otherwise an approval of the old role would give that power back as soon as
/// the policy contains the old role again.
fn as_requested(request: &StoredRequest, role: &Role) -> Result<(), Refused> {
    if role.digest == request.terms.role_digest {
        return Ok(());
    }
    let sentence = format!("role {} has changed since this was requested", role.name);
    Err(refused("role-changed", sentence)
        .hint(format!("jitctl deny {}, and have it requested again", request.terms.id)))
}

/// Fails when an approval names another text of the role than the request.
pub(super) fn same_role(approval: &ApprovalTerms, asked: &RequestTerms) -> Result<(), Refused> {
    if approval.role_digest == asked.role_digest {
        return Ok(());
    }
    let sentence = format!("the approval is for another text of role {} than request {} names", asked.role, asked.id);
    Err(refused("other-role", sentence))
}

/// Fails when the approver has already approved the request.
fn not_again(before: &[Approval], uid: u32, name: &UserName, request: &StoredRequest) -> Result<(), Refused> {
    if before.iter().any(|other| other.uid == uid) {
        return Err(already_approved(name, request));
    }
    Ok(())
}

/// Returns the error for a request that the journal contradicts.
fn contradicted(error: JournalError) -> Refused {
    Refused::from(error).hint("jitctl audit verify")
}

fn already_approved(name: &UserName, request: &StoredRequest) -> Refused {
    refused("already-approved", format!("{name} has approved request {} already", request.terms.id))
}

/// Fails when the approver has given this approval before, or one that was narrower: it would take the limits back, and an older
/// approval could be brought by anyone.
fn not_wider(before: &RecordedApprovals, approval: &Approval, request: &StoredRequest) -> Result<(), Refused> {
    let (name, id) = (&approval.terms.approver, &request.terms.id);
    if before.has(approval) {
        let sentence = format!("{name} has given this approval of request {id} already, and it does not count");
        return Err(refused("already-approved", sentence).hint(format!("make a new one: jitctl approve {id}")));
    }
    if before.is_wider(approval) {
        let sentence = format!("{name} has approved request {id} before, with narrower limits, which stay");
        return Err(
            refused("wider", sentence).hint(format!("jitctl approve {id} with these limits, or jitctl deny {id}"))
        );
    }
    Ok(())
}

/// Returns the error for an approval that would not count.
fn uncounted(why: Uncounted) -> Refused {
    let code = match why {
        Uncounted::SameKey => "same-key",
        Uncounted::SamePerson | Uncounted::Superseded => "already-approved",
        Uncounted::OwnRequest => "own-request",
        Uncounted::NotAnApprover => "not-an-approver",
        Uncounted::OtherRole => "other-role",
        Uncounted::Unsigned => "unsigned",
        Uncounted::NotAuthenticated => "password-required",
        Uncounted::NotValid => "bad-approval",
    };
    refused(code, format!("the approval would not count: {why}"))
}

/// Returns the error for an approval or review that lacks a proof or whose request changed meanwhile.
pub(super) fn unattested(fault: ActFault) -> Refused {
    let code = match &fault {
        ActFault::NotAuthenticated => "password-required",
        ActFault::OtherConsent => "other-request",
        ActFault::Approval(_) => "bad-approval",
    };
    refused(code, fault)
}
