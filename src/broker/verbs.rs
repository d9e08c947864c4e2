//! THE TABLE: one row for each verb says who may use it, what it needs of the host, and which function answers it. Which requests,
//! grants and runs of others a caller may see or decide about depends on the object that a question names; the function checks
//! that.

use std::io::Write;
use std::rc::Rc;

use super::Context;
use super::approvals::Narrowing;
use super::audit::Listing;
use super::backup::{restore, salvage};
use super::consent::{ConsentRequest, Consenting};
use super::failure::{Refused, refused};
use super::host::examine;
use super::statement::ends_grant;
use super::who::Who;
use super::{key_init, line};
use crate::elevation::Caller;
use crate::verify::Consent;
use jit_core::evidence::record::Act;
use jit_core::policy::PolicyReader;
use jit_core::wire::{
    Approve, AuditExport, AuditList, AuditProve, AuditPrune, AuditSalvage, AuditShow, AuditVerify, Cancel,
    CloseSession, Deny, Documents, Examine, Extend, Grants, Import, ImportStatement, Intervene, KeyAccept, KeyInit,
    KeyRetire, KeyRotate, KeyShow, Membership, NewBackup, NewRequest, NewSession, PolicyCheck, PolicyShow, PolicyTest,
    Question, Recording, Recordings, Release, Requests, Restore, ReviewAssignments, ReviewCertify, ReviewDebts,
    ReviewSettle, ReviewUnused, Revoke, Roles, Sessions, Show, Sweep, Verb, Wait, Why,
};

/// What must be available to answer a verb.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Needs {
    /// Database and policy.
    Policy,
    /// The database. With a broken policy root can still see and end what happened before.
    Database,
    /// The database; if the policy has an error, the error is the answer.
    Verdict,
}

/// Side effects of a verb on the host.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Touch {
    /// Due maintenance: lost runs are closed, counted refusals are recorded, checkpoints are signed.
    Tends,
    /// None: a new record would be based on records that may have been tampered with.
    Nothing,
}

/// One row.
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) who: Who,
    pub(super) needs: Needs,
    pub(super) touch: Touch,
    /// A program asks this for a user and logs the answer, so the answer never quotes the policy.
    pub(super) is_logged: bool,
    /// A timer asks this, and nobody may read the answer: a failure is an alert.
    pub(super) alerts: bool,
    bind: Box<dyn Fn(Question) -> serde_json::Result<Answered>>,
}

/// The functions that answer one question.
pub(super) enum Answered {
    /// For a host that may not be set up.
    Before(&'static str, Box<Early>),
    /// Uses the [`Context`].
    At {
        /// Whether the question ends something that a user may do: it must not fail because it cannot be recorded.
        is_end: bool,
        /// Reads what the caller has to consent to, for verbs that may demand a password.
        consent: Option<Box<Consenting>>,
        /// Returns the answer, or `None` when it has written the answer and further data to the output.
        handler: Box<Handler>,
    },
}

/// The reply to one question, as a line.
type Reply = Vec<u8>;

type Early = dyn FnOnce(&Caller, PolicyReader) -> Result<Reply, Refused>;
type Handler = dyn FnOnce(&Context<'_>, Option<Consent>, &mut dyn Write) -> Result<Option<Reply>, Refused>;

/// Returns the row of a question, and the functions that answer it.
pub(super) fn of(question: Question) -> Result<(Row, Answered), Refused> {
    let not_understood = |error: String| {
        let shown = jit_core::escape::escape(error.as_bytes());
        refused("malformed", format!("the request is not understood: {shown}"))
    };
    let Some(row) = table().into_iter().find(|row| row.name == question.verb()) else {
        let known = table().map(|row| format!("`{}`", row.name)).join(", ");
        return Err(not_understood(format!("unknown verb `{}`, expected one of {known}", question.verb())));
    };
    let answered = (row.bind)(question).map_err(|error| not_understood(error.to_string()))?;
    Ok((row, answered))
}

/// Returns the rows of all verbs. The compiler checks that each closure takes one verb and returns its answer.
#[rustfmt::skip]
pub(super) fn table() -> [Row; 47] {
    [
        anyone(|context, Roles {}| context.roles()),
        anyone(|context, Why { user, command }| context.why(user.as_ref(), &command)),

        // The caller's own requests; `show` also admits those who may decide about the request, root and readers.
        anyone(|context, new: NewRequest| context.request(new)),
        anyone(|context, Cancel { id }| context.cancel(&id)),
        anyone(|context, Wait { id, seconds }| context.wait(&id, seconds)),
        anyone(|context, Show { id }| context.show(&id)).without_policy(),
        anyone(|context, Requests { all, before }| context.requests(all, before)).without_policy(),

        // Approvers of the role, never the requester. Any user may submit a signed document.
        consenting(
            |context, approve: &Approve| context.approval_due(&approve.id, &Narrowing::of(approve)),
            |context, approve, consent| context.approve(&approve.id, &Narrowing::of(approve), consent),
        ),
        anyone(|context, Deny { id, reason }| context.deny(&id, &reason)),
        anyone(|context, Documents { id }| context.documents(&id)),
        anyone(|context, Import { approval, signature }| context.import(&approval, &signature)),
        ending(
            Who::Anyone,
            |import: &ImportStatement| ends_grant(&import.statement, &import.signature),
            |context, ImportStatement { statement, signature }| context.import_statement(&statement, &signature),
        ),

        // The caller's own grants; `revoke` admits approvers of the role and root.
        anyone(|context, Grants { all, before }| context.grants(all, before)).without_policy(),
        ending(Who::Anyone, |_| true, |context, Release { id }| context.release(id.as_ref())),
        anyone(|context, Extend { id, duration, reason }| context.extend(&id, duration, reason.as_ref())),
        ending(Who::Anyone, |_| true, |context, Revoke { target, reason }| context.revoke(&target, &reason)).without_policy(),

        // As far as the caller may see them; root and approvers of the role may intervene.
        anyone(|context, Sessions {}| context.sessions()).without_policy(),
        ending(
            Who::Anyone,
            |intervene: &Intervene| intervene.act != Act::Thaw,
            |context, Intervene { run, act, reason }| context.intervene(&run, act, &reason),
        ).without_policy(),

        // The caller's own runs, root and readers; observers of the role while the run lasts.
        streaming(Who::Anyone, |context, Recording { run, purpose }, out| context.recording(&run, purpose, out)).without_policy(),
        streaming(Who::Anyone, |context, Recordings { purpose, after }, out| context.recordings(purpose, after, out)).without_policy(),

        anyone(|context, AuditList { after, limit, newest, kind, user, before, filter }| {
            context.audit_list(&Listing { after, before, limit, newest, kind, user, filter })
        }).without_policy(),
        anyone(|context, AuditShow { what }| context.audit_show(&what)).without_policy(),
        reader(|context, asked: AuditVerify| context.audit_verify(&asked)).without_policy().touching_nothing(),
        reader(|context, what: AuditProve| context.audit_prove(&what)).without_policy(),
        reader(|context, AuditExport { from, since, through }| context.audit_export(from, since, through)).without_policy(),
        root("remove records", |context, AuditPrune { keep, dry_run }| context.audit_prune(keep, dry_run)),

        before("save the records of a damaged journal", |caller, _, AuditSalvage { from }| salvage(caller, from)),
        root("make a backup", |context, NewBackup { file }| context.back_up(&file)).without_policy(),
        before("restore a backup", |caller, _, Restore { file }| restore(caller, &file)),

        reader(|context, PolicyCheck {}| context.policy_check()).for_its_verdict(),
        reader(|context, PolicyShow { role }| context.policy_show(role.as_ref())),
        reader(|context, PolicyTest { user, command }| context.policy_test(&user, &command)),

        before("make the host key", |caller, _, KeyInit {}| key_init(caller)),
        // A verification asks for it, and changes nothing.
        anyone(|context, KeyShow {}| context.key_show()).without_policy().touching_nothing(),
        ending(
            Who::Root("accept the state of this host"),
            |_| true,
            |context, KeyAccept { reason }| context.key_accept(&reason),
        ).without_policy(),
        root("replace the host key", |context, KeyRotate { reason, dry_run }| context.key_rotate(&reason, dry_run)).without_policy(),
        root("retire this host", |context, KeyRetire { reason, dry_run }| context.key_retire(&reason, dry_run)).without_policy(),

        // Approvers of the role, about others; root and readers see everything.
        anyone(|context, ReviewDebts {}| context.review_debts()),
        consenting(
            |context, ReviewSettle { id, comment }| context.review_due(id, comment),
            |context, ReviewSettle { id, comment }, consent| context.review_settle(id, comment, consent),
        ),
        anyone(|context, ReviewUnused { since }| context.review_unused(since)),
        anyone(|context, ReviewAssignments { role }| context.review_assignments(role.as_ref())),
        anyone(|context, ReviewCertify { role, holder, verdict, comment }| {
            context.review_certify(&role, holder.as_deref(), verdict, &comment)
        }),

        before("look at the state of this host", |caller, reader, Examine {}| examine(caller, reader)),
        root("sweep", |context, Sweep {}| context.sweep()).alerting(),

        // A program that runs as root (started by root or set-user-ID), for the user whom it serves.
        anyone(|context, Membership { holder, role, wait }| context.membership(holder.as_ref(), role.as_ref(), wait)).logged(),
        streaming(ROOTS_PROGRAM, |context, new: NewSession, out| context.open_session(&new, out)).logged(),
        at_context(ROOTS_PROGRAM, |context, CloseSession { run }| context.close_session(&run)).logged(),
    ]
}

const ROOTS_PROGRAM: Who = Who::Root("open and close sessions");

impl Row {
    fn new<V: Verb>(who: Who, answered: impl Fn(V) -> Answered + 'static) -> Self {
        let bind = Box::new(move |question: Question| question.read().map(&answered));
        Self { name: V::NAME, who, needs: Needs::Policy, touch: Touch::Tends, is_logged: false, alerts: false, bind }
    }

    fn without_policy(self) -> Self {
        Self { needs: Needs::Database, ..self }
    }

    fn for_its_verdict(self) -> Self {
        Self { needs: Needs::Verdict, ..self }
    }

    fn touching_nothing(self) -> Self {
        Self { touch: Touch::Nothing, ..self }
    }

    fn alerting(self) -> Self {
        Self { alerts: true, ..self }
    }

    fn logged(self) -> Self {
        Self { is_logged: true, ..self }
    }
}

fn reply<V: Verb>(answer: V::Answer) -> Result<Reply, Refused> {
    line::<V>(answer).map_err(|error| refused("host", format!("the answer cannot be written: {error}")))
}

type Due<V> = fn(&Context<'_>, &V) -> Result<Option<ConsentRequest>, Refused>;
type Decides<V> = fn(&Context<'_>, &V, Option<Consent>) -> Result<<V as Verb>::Answer, Refused>;
type Answers<V> = fn(&Context<'_>, V) -> Result<<V as Verb>::Answer, Refused>;

fn at_context<V: Verb + 'static>(who: Who, answer: Answers<V>) -> Row {
    ending(who, |_| false, answer)
}

/// Builds the row of a verb that ends something, for some of its questions at least.
fn ending<V: Verb + 'static>(who: Who, is_end: fn(&V) -> bool, answer: Answers<V>) -> Row {
    Row::new(who, move |verb| Answered::At {
        is_end: is_end(&verb),
        consent: None,
        handler: Box::new(move |context, _, _| reply::<V>(answer(context, verb)?).map(Some)),
    })
}

fn anyone<V: Verb + 'static>(answer: Answers<V>) -> Row {
    at_context(Who::Anyone, answer)
}

fn reader<V: Verb + 'static>(answer: Answers<V>) -> Row {
    at_context(Who::Reader, answer)
}

fn root<V: Verb + 'static>(what: &'static str, answer: Answers<V>) -> Row {
    at_context(Who::Root(what), answer)
}

/// Builds the row of a verb for which the role may demand the caller's password; `due` returns what to show first.
fn consenting<V: Verb + 'static>(due: Due<V>, answer: Decides<V>) -> Row {
    Row::new(Who::Anyone, move |verb| {
        let verb = Rc::new(verb);
        let shown = Rc::clone(&verb);
        Answered::At {
            is_end: false,
            consent: Some(Box::new(move |context| due(context, &shown))),
            handler: Box::new(move |context, consent, _| reply::<V>(answer(context, &verb, consent)?).map(Some)),
        }
    })
}

/// Builds the row of a verb whose function writes its reply and the following frames to the output itself.
fn streaming<V: Verb + 'static>(who: Who, answer: fn(&Context<'_>, V, &mut dyn Write) -> Result<(), Refused>) -> Row {
    Row::new(who, move |verb| Answered::At {
        is_end: false,
        consent: None,
        handler: Box::new(move |context, _, out| answer(context, verb, out).map(|()| None)),
    })
}

fn before<V: Verb + 'static>(
    what: &'static str,
    answer: fn(&Caller, PolicyReader, V) -> Result<V::Answer, Refused>,
) -> Row {
    Row::new(Who::Root(what), move |verb| {
        Answered::Before(what, Box::new(move |caller, reader| reply::<V>(answer(caller, reader, verb)?)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_verb_has_one_row() {
        let mut names: Vec<_> = table().iter().map(|row| row.name).collect();
        names.sort_unstable();
        let all = names.len();
        names.dedup();
        assert_eq!(names.len(), all);
    }
}
