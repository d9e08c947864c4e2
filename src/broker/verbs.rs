//! THE TABLE: each verb, who may use it, what it needs of the host, and where it is answered. What of others somebody is shown, and
//! who decides about which request, depends on the thing that is named, so the verb says it itself.

use std::io::Write;

use super::Context;
use super::decisions::Narrowing;
use super::evidence::Listing;
use super::failure::Refused;
use super::health::examine;
use super::key_init;
use crate::elevation::Caller;
use crate::verify::Consent;
use jit_core::policy::PolicyReader;
use jit_core::wire::{Answer, Ask};

/// Who may use a verb.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Who {
    /// Everybody; about themselves, unless the verb lets them see more.
    Anyone,
    /// Root and the readers of the policy's `[audit]`.
    Reader,
    /// Root; what only root may do, as a sentence says it.
    Root(&'static str),
}

/// What has to be there for an answer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Needs {
    /// Database and policy.
    Policy,
    /// The database. A broken policy must not hide from root what happened, nor keep root from ending it.
    Database,
    /// The database; an error of the policy is the answer.
    Verdict,
}

/// What a verb does to the host besides.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Touch {
    /// What is due anyway is done with it: lost runs are closed, counts are told, checkpoints signed.
    Tends,
    /// Nothing: what is added now would stand on what was perhaps tampered with.
    Nothing,
}

/// What comes with a question.
pub(super) struct Given<'a> {
    /// The approver's, where the role wanted it.
    pub(super) consent: Option<Consent>,
    /// For answers that have more behind them.
    pub(super) out: &'a mut dyn Write,
}

/// One row.
pub(super) struct Verb {
    pub(super) who: Who,
    pub(super) needs: Needs,
    pub(super) touch: Touch,
    /// Whether a program asks it for somebody, and writes what it hears into the host's log.
    pub(super) is_logged: bool,
    pub(super) answer: Answered,
}

/// Where it is answered.
pub(super) enum Answered {
    /// For root, on a host that may have nothing yet; what only root may do, as in [`Who::Root`].
    Before(&'static str, fn(&Caller, PolicyReader) -> Result<Answer, Refused>),
    /// At the context; `None` when the answer was given on [`Given::out`] already.
    At(Box<Handler>),
}

type Handler = dyn FnOnce(&Context<'_>, Given<'_>) -> Result<Option<Answer>, Refused>;

impl Verb {
    /// The row of what is asked.
    pub(super) fn of(ask: Ask) -> Self {
        match ask {
            Ask::Roles {} => anyone(|context| context.roles()),
            Ask::Why { user, command } => anyone(move |context| context.why(user.as_ref(), &command)),
            // Whose role it is.
            Ask::Membership { holder, role, wait } => {
                anyone(move |context| context.membership(holder.as_ref(), role.as_ref(), wait)).logged()
            }
            // The requester's own.
            Ask::Request(new) => anyone(move |context| context.request(new)),
            Ask::Cancel { id } => anyone(move |context| context.cancel(&id)),
            Ask::Extend { id, duration, reason } => {
                anyone(move |context| context.extend(&id, duration, reason.as_ref()))
            }
            Ask::Release { id } => anyone(move |context| context.release(id.as_ref())),
            // The requester, who may decide it, root and readers.
            Ask::Show { id } => anyone(move |context| context.show(&id)).without_policy(),
            Ask::Documents { id } => anyone(move |context| context.documents(&id)),
            Ask::Wait { id, seconds } => anyone(move |context| context.wait(&id, seconds)),
            Ask::Requests { all, before } => anyone(move |context| context.requests(all, before)).without_policy(),
            Ask::Grants { all, before } => anyone(move |context| context.grants(all, before)).without_policy(),
            // Approvers of the role, and never the requester.
            Ask::Approve { id, duration, one_shot, exact, comment } => consenting(move |context, consent| {
                context.approve(&id, &Narrowing { duration, one_shot, exact, comment }, consent)
            }),
            Ask::Deny { id, reason } => anyone(move |context| context.deny(&id, &reason)),
            // Approvers of the role, and root.
            Ask::Revoke { target, reason } => anyone(move |context| context.revoke(&target, &reason)).without_policy(),
            // Anyone who carries it: whose act it is, its signature says.
            Ask::Import { approval, signature } => anyone(move |context| context.import(&approval, &signature)),
            Ask::ImportStatement { statement, signature } => {
                anyone(move |context| context.import_statement(&statement, &signature))
            }
            // As far as it is theirs to see; root and approvers of the role may act.
            Ask::Sessions {} => anyone(|context| context.sessions()).without_policy(),
            Ask::Intervene { run, act, reason } => {
                anyone(move |context| context.intervene(&run, act, &reason)).without_policy()
            }
            // A program that root or its set-user-ID bit has started.
            Ask::OpenSession(new) => {
                streaming(ROOTS_PROGRAM, move |context, out| context.open_session(&new, out)).logged()
            }
            Ask::CloseSession { run } => at_context(ROOTS_PROGRAM, move |context| context.close_session(&run)).logged(),
            // Whose run it is, root and readers; observers of the role while it happens.
            Ask::Recording { run, purpose } => {
                streaming(Who::Anyone, move |context, out| context.recording(&run, purpose, out)).without_policy()
            }
            Ask::Recordings { purpose, after } => {
                streaming(Who::Anyone, move |context, out| context.recordings(purpose, after, out)).without_policy()
            }
            Ask::AuditList { after, limit, newest, kind, user, before, filter } => {
                anyone(move |context| context.audit_list(&Listing { after, before, limit, newest, kind, user, filter }))
                    .without_policy()
            }
            Ask::AuditShow { what } => anyone(move |context| context.audit_show(&what)).without_policy(),
            Ask::AuditVerify { anchor, keys } => {
                reader(move |context| context.audit_verify(&anchor, &keys)).without_policy().touching_nothing()
            }
            Ask::AuditExport { from, since, through } => {
                reader(move |context| context.audit_export(from, since, through)).without_policy()
            }
            Ask::AuditPrune { keep, dry_run } => {
                root("remove records", move |context| context.audit_prune(keep, dry_run))
            }
            Ask::PolicyCheck {} => Self { needs: Needs::Verdict, ..reader(|context| context.policy_check()) },
            Ask::PolicyShow { role } => reader(move |context| context.policy_show(role.as_ref())),
            Ask::PolicyTest { user, command } => reader(move |context| context.policy_test(&user, &command)),
            Ask::KeyInit {} => before("make the host key", |caller, _| key_init(caller)),
            Ask::KeyShow {} => anyone(|context| context.key_show()).without_policy(),
            Ask::KeyAccept { reason } => {
                root("accept the state of this host", move |context| context.key_accept(&reason)).without_policy()
            }
            // Approvers of the role, about others; root and readers see everything.
            Ask::ReviewDebts {} => anyone(|context| context.review_debts()),
            Ask::ReviewSettle { id, comment } => {
                consenting(move |context, consent| context.review_settle(&id, &comment, consent))
            }
            Ask::ReviewUnused { since } => anyone(move |context| context.review_unused(since)),
            Ask::ReviewAssignments { role } => anyone(move |context| context.review_assignments(role.as_ref())),
            Ask::ReviewCertify { role, holder, verdict, comment } => {
                anyone(move |context| context.review_certify(&role, holder.as_deref(), verdict, &comment))
            }
            Ask::Examine {} => before("look at the state of this host", examine),
            Ask::Sweep {} => root("sweep", |context| context.sweep()),
        }
    }

    fn without_policy(self) -> Self {
        Self { needs: Needs::Database, ..self }
    }

    fn touching_nothing(self) -> Self {
        Self { touch: Touch::Nothing, ..self }
    }

    fn logged(self) -> Self {
        Self { is_logged: true, ..self }
    }
}

const ROOTS_PROGRAM: Who = Who::Root("open and close sessions");

fn row(who: Who, answer: Answered) -> Verb {
    Verb { who, needs: Needs::Policy, touch: Touch::Tends, is_logged: false, answer }
}

fn at_context(who: Who, handler: impl FnOnce(&Context<'_>) -> Result<Answer, Refused> + 'static) -> Verb {
    row(who, Answered::At(Box::new(|context, _| handler(context).map(Some))))
}

fn anyone(handler: impl FnOnce(&Context<'_>) -> Result<Answer, Refused> + 'static) -> Verb {
    at_context(Who::Anyone, handler)
}

fn reader(handler: impl FnOnce(&Context<'_>) -> Result<Answer, Refused> + 'static) -> Verb {
    at_context(Who::Reader, handler)
}

fn root(what: &'static str, handler: impl FnOnce(&Context<'_>) -> Result<Answer, Refused> + 'static) -> Verb {
    at_context(Who::Root(what), handler)
}

/// By somebody whose password the role may want.
fn consenting(handler: impl FnOnce(&Context<'_>, Option<Consent>) -> Result<Answer, Refused> + 'static) -> Verb {
    row(Who::Anyone, Answered::At(Box::new(|context, given| handler(context, given.consent).map(Some))))
}

/// With more behind the answer.
fn streaming(who: Who, handler: impl FnOnce(&Context<'_>, &mut dyn Write) -> Result<(), Refused> + 'static) -> Verb {
    row(who, Answered::At(Box::new(|context, given| handler(context, given.out).map(|()| None))))
}

fn before(what: &'static str, answer: fn(&Caller, PolicyReader) -> Result<Answer, Refused>) -> Verb {
    row(Who::Root(what), Answered::Before(what, answer))
}
