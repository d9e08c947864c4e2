//! Approvals and denials: by approvers of the role, never by the requester.

use super::Desk;
use super::failure::{Refused, refused};
use super::wire::Answer;
use crate::activation::{WORDS_LIMIT, approval_event, grant};
use crate::audit::Event;
use crate::audit::record::Denial;
use crate::clock::duration::spell;
use crate::database::Durability;
use crate::elevation::Caller;
use crate::escape::{Word, hex};
use crate::grant::lifecycle::{Decided, RequestState};
use crate::grant::terms::{Flag, VERSION, encode};
use crate::grant::{ApprovalTerms, digest};
use crate::names::IdPrefix;
use crate::policy::Role;
use crate::policy::judge::{names, subject};
use crate::store::{GrantStore, StoredRequest, insert_approval};

/// How an approver narrows what was asked.
pub(super) struct Narrowing {
    pub(super) duration: Option<u64>,
    pub(super) one_shot: bool,
    pub(super) exact: bool,
    pub(super) comment: Option<Word>,
}

impl Desk<'_> {
    pub(super) fn approve(&self, id: &IdPrefix, narrowing: &Narrowing) -> Result<Answer, Refused> {
        let request = self.visible(id)?;
        let role = self.decidable(&request)?;
        self.still_eligible(&request, &role)?;
        self.still_extends(&request)?;
        let identity = self.host.identity()?;
        let terms = self.approval(&request, narrowing, identity.id.as_str())?;
        let bytes = encode(&terms)?;

        let written = self.host.database().write(Durability::Synced, |tx| {
            // Read again inside: two approvers may come at once, and a request may be cancelled meanwhile.
            let store = GrantStore::new(tx);
            self.still_pending(&store.request(&request.terms.id, self.now())?)?;
            insert_approval(tx, &terms, &bytes)?;
            let mut written = vec![self.journal.append(tx, self.moment, approval_event(&terms, &role.name, &bytes))?];
            let mut approvals = store.approvals(&request.terms.id)?;
            approvals.retain(|(approval, _)| still_approves(approval, &role));
            let quorum = usize::try_from(request.needed.max(role.activation.approvals)).unwrap_or(usize::MAX);
            if approvals.len() >= quorum {
                let decided = Decided::new(&request.terms, &request.bytes, &approvals, &role);
                written.push(grant(tx, self.journal, &decided, &identity, self.moment)?);
            }
            Ok::<_, Refused>(written)
        })?;
        let _ = self.journal.mirror(&written);
        self.host.ring();
        Ok(Answer::Grant(Box::new(self.info_of(&request.terms.id)?)))
    }

    pub(super) fn deny(&self, id: &IdPrefix, reason: &Word) -> Result<Answer, Refused> {
        let request = self.visible(id)?;
        let role = self.decidable(&request)?;
        let reason = given("reason", reason)?;
        let event = Event::Denial(Box::new(Denial {
            grant: request.terms.id.clone(),
            uid: self.caller.uid(),
            user: Word::from(self.caller.name().as_str()),
            role: role.name,
            reason: reason.clone(),
        }));
        let ended = self.ended(reason);
        self.decide(&request, RequestState::Denied, &ended, event)
    }

    /// The role of a pending request that the caller may decide.
    fn decidable(&self, request: &StoredRequest) -> Result<Role, Refused> {
        let terms = &request.terms;
        let role = self
            .policy
            .role(&terms.role)?
            .ok_or_else(|| refused("unknown-role", format!("the policy no longer knows the role {}", terms.role)))?;
        if terms.uid == self.caller.uid() {
            return Err(refused("own-request", "nobody decides about their own request"));
        }
        if !names(&role.activation.approvers, &subject(self.caller)?) {
            return Err(refused("not-an-approver", format!("you are not an approver of role {}", role.name)));
        }
        self.still_pending(request)?;
        Ok(role)
    }

    /// The requester must be eligible today, not only on the day of the request.
    fn still_eligible(&self, request: &StoredRequest, role: &Role) -> Result<(), Refused> {
        let requester = described(request.terms.uid)?;
        let eligible = match &requester {
            Some(requester) => names(&role.eligible, &subject(requester)?),
            None => false,
        };
        if eligible {
            Ok(())
        } else {
            let (user, role) = (&request.terms.user, &role.name);
            Err(refused("not-eligible", format!("{user} is no longer eligible for role {role}")))
        }
    }

    fn approval(&self, request: &StoredRequest, narrowing: &Narrowing, host: &str) -> Result<ApprovalTerms, Refused> {
        let asked = &request.terms;
        match narrowing.duration {
            Some(0) => return Err(refused("duration", "a duration of 0 is no grant")),
            Some(duration) if duration > asked.duration => {
                let (most, wanted) = (spell(asked.duration), spell(duration));
                let sentence = format!("an approver may only shorten: {most} was asked, not {wanted}");
                return Err(refused("duration", sentence));
            }
            _ => {}
        }
        if narrowing.exact && asked.argv.is_empty() {
            return Err(refused("no-command", "the request names no command, so it cannot be narrowed to one"));
        }
        let comment = match &narrowing.comment {
            Some(comment) => given("comment", comment)?.clone(),
            None => Word::default(),
        };
        Ok(ApprovalTerms {
            approver: self.caller.name().clone(),
            approver_uid: self.caller.uid(),
            at: self.now(),
            comment,
            duration: narrowing.duration.unwrap_or(0),
            exact: Flag::from(narrowing.exact),
            host: host.to_owned(),
            id: asked.id.clone(),
            one_shot: Flag::from(narrowing.one_shot),
            request: hex(&digest(&request.bytes)),
            version: VERSION,
        })
    }
}

/// An approver who has left the role's list since does not count.
fn still_approves(approval: &ApprovalTerms, role: &Role) -> bool {
    match described(approval.approver_uid) {
        Ok(Some(approver)) => {
            approver.name() == &approval.approver
                && subject(&approver).is_ok_and(|subject| names(&role.activation.approvers, &subject))
        }
        Ok(None) | Err(_) => false,
    }
}

fn described(uid: u32) -> Result<Option<Caller>, Refused> {
    let account = sys::users::account_by_uid(uid)
        .map_err(|error| refused("lookup", format!("unable to look up uid {uid}: {error}")))?;
    Ok(account.map(Caller::described).transpose()?)
}

/// Words that must be there and not too many.
pub(super) fn given<'w>(what: &str, word: &'w Word) -> Result<&'w Word, Refused> {
    if word.as_bytes().trim_ascii().is_empty() {
        Err(refused("empty", format!("the {what} is empty")))
    } else if word.as_bytes().len() > WORDS_LIMIT {
        Err(refused("too-long", format!("the {what} is longer than {WORDS_LIMIT} bytes")))
    } else {
        Ok(word)
    }
}
