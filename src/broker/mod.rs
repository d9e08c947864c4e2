//! The only door from the unprivileged tools to the grant database: one question, one answer, and the table of who may
//! ask what. Who asks is what the kernel says; nothing in the question names them.

pub mod wire;

mod decisions;
mod evidence;
mod extend;
mod failure;
mod grants;
mod import;
mod papers;
mod questions;
mod recertify;
mod requests;
mod review;
mod view;

use std::io::{Read, Write};

use crate::audit::Journal;
use crate::clock::Moment;
use crate::elevation::Caller;
use crate::host::Host;
use crate::policy::PolicyIndex;
use crate::policy::judge::{names, subject};
use failure::{Refused, refused};
use sys::sanitize::Inherited;
use wire::{Answer, Ask, KeyInfo, REQUEST_LIMIT, Reply};

/// Everything that one answer is made from.
pub(crate) struct Desk<'a> {
    pub(crate) host: &'a Host,
    pub(crate) policy: &'a PolicyIndex<'a>,
    pub(crate) journal: &'a Journal<'a>,
    pub(crate) caller: &'a Caller,
    pub(crate) moment: &'a Moment,
    pub(crate) secure_path: &'a str,
}

/// Reads one question from standard input, answers it on standard output, and returns the exit status.
pub fn serve(inherited: &Inherited) -> i32 {
    let reply = match read_question().and_then(|ask| answer(ask, inherited)) {
        Ok(answer) => Reply::Ok(answer),
        Err(refused) => Reply::Error(refused.0),
    };
    let status = match &reply {
        Reply::Ok(_) => 0,
        Reply::Error(failure) => i32::from(failure.exit),
    };
    let Ok(mut line) = serde_json::to_vec(&reply) else { return 1 };
    line.push(b'\n');
    match std::io::stdout().write_all(&line) {
        Ok(()) => status,
        Err(_) => 1,
    }
}

fn read_question() -> Result<Ask, Refused> {
    let mut bytes = Vec::new();
    let limit = u64::try_from(REQUEST_LIMIT).unwrap_or(u64::MAX);
    std::io::stdin()
        .take(limit + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| refused("malformed", format!("the request cannot be read: {error}")))?;
    if bytes.len() > REQUEST_LIMIT {
        return Err(refused("too-large", format!("the request is longer than {REQUEST_LIMIT} bytes")));
    }
    serde_json::from_slice(&bytes).map_err(|error| {
        let shown = crate::escape::escape(error.to_string().as_bytes());
        refused("malformed", format!("the request is not understood: {shown}"))
    })
}

fn answer(ask: Ask, inherited: &Inherited) -> Result<Answer, Refused> {
    let caller = Caller::identify(&inherited.identity)?;
    if let Ask::KeyInit {} = ask {
        // The one verb that works on a host that has nothing yet.
        return key_init(&caller);
    }
    let host = Host::open(caller.host())?;
    let policy = host.policy()?;
    let journal = host.journal(policy.settings().audit.syslog);
    host.close_lost_runs(&journal)?;
    let moment = host.now()?;
    let secure_path = policy.settings().path_variable();
    let desk = Desk {
        host: &host,
        policy: &policy,
        journal: &journal,
        caller: &caller,
        moment: &moment,
        secure_path: &secure_path,
    };
    desk.answer(ask)
}

impl Desk<'_> {
    /// THE TABLE: each verb, who may use it, and where it is answered.
    fn answer(&self, ask: Ask) -> Result<Answer, Refused> {
        match ask {
            // Anyone, about themselves.
            Ask::Roles {} => self.roles(),
            Ask::Request(new) => self.request(new),
            Ask::Requests { all } => self.requests(all),
            Ask::Grants { all } => self.grants(all),
            Ask::Release { id } => self.release(id.as_ref()),
            Ask::Cancel { id } => self.cancel(&id),
            Ask::KeyShow {} => self.key_show(),
            Ask::Extend { id, duration, reason } => self.extend(&id, duration, reason.as_ref()),
            // Anyone about themselves; about others root and readers.
            Ask::Why { user, command } => self.why(user.as_ref(), &command),
            Ask::AuditList { after, limit, newest, kind, user } => {
                self.audit_list(&evidence::Listing { after, limit, newest, kind, user })
            }
            Ask::AuditShow { what } => self.audit_show(&what),
            // Anyone who carries it: whose approval it is, its signature says.
            Ask::Import { approval, signature } => self.import(&approval, &signature),
            // Who made the request, who may decide it, root and readers.
            Ask::Show { id } => self.show(&id),
            Ask::Papers { id } => self.papers(&id),
            Ask::Wait { id, seconds } => self.wait(&id, seconds),
            // Approvers of the role, and never the requester.
            Ask::Approve { id, duration, one_shot, exact, comment } => {
                self.approve(&id, &decisions::Narrowing { duration, one_shot, exact, comment })
            }
            Ask::Deny { id, reason } => self.deny(&id, &reason),
            // Approvers of the role, and root.
            Ask::Revoke { target, reason } => self.revoke(&target, &reason),
            // Root and readers.
            Ask::PolicyCheck {} => self.reading()?.policy_check(),
            Ask::AuditVerify {} => self.reading()?.audit_verify(),
            // Approvers of the role, about others; root and readers see everything.
            Ask::ReviewDebts {} => self.review_debts(),
            Ask::ReviewSettle { id, comment } => self.review_settle(&id, &comment),
            Ask::ReviewUnused { since } => self.review_unused(since),
            Ask::ReviewAssignments { role } => self.review_assignments(role.as_ref()),
            Ask::ReviewCertify { role, holder, verdict, comment } => {
                self.review_certify(&role, holder.as_deref(), verdict, &comment)
            }
            // Answered before.
            Ask::KeyInit {} => key_init(self.caller),
        }
    }

    /// True for root and for `[audit] readers`.
    fn is_reader(&self) -> Result<bool, Refused> {
        Ok(self.caller.uid() == 0 || names(&self.policy.settings().audit.readers, &subject(self.caller)?))
    }

    fn reading(&self) -> Result<&Self, Refused> {
        if self.is_reader()? {
            Ok(self)
        } else {
            Err(refused("not-a-reader", "only root and the readers of the policy may do this"))
        }
    }

    fn key_show(&self) -> Result<Answer, Refused> {
        let key = self.host.identity()?.key;
        Ok(Answer::HostKey(KeyInfo { public_key: key.public_line(), fingerprint: key.fingerprint(), created: false }))
    }
}

fn key_init(caller: &Caller) -> Result<Answer, Refused> {
    if caller.uid() != 0 {
        return Err(refused("not-root", "only root may make the host key"));
    }
    let created = Host::set_up()?;
    let key = Host::open(caller.host())?.identity()?.key;
    Ok(Answer::HostKey(KeyInfo { public_key: key.public_line(), fingerprint: key.fingerprint(), created }))
}
