//! Statements: signed records of what people do to requests and grants besides approving. This host signs each; a person who uses a
//! key signs it, too. The user who submits a signed statement is not trusted: everything is derived from its exact bytes, the
//! signature over them, the list of keys, the policy, and the request stored on this host.

use super::Context;
use super::failure::{Refused, refused};
use super::words::{described, given};
use crate::activation::WORDS_LIMIT;
use crate::audit::{
    AskedInRecords, InRecords, RequestInRecords, Written, asked_in_records, by_statements, of_this_host,
    request_in_records,
};
use crate::elevation::Caller;
use crate::host::Identity;
use crate::store::{
    Debt, FindError, GrantStore, StoredRequest, carry_out, decide_unconditionally, end_unconditionally,
};
use jit_core::clock::Now;
use jit_core::escape::{Word, hex};
use jit_core::evidence::Event;
use jit_core::evidence::record::{Cancellation, Denial, Digest, Release, Review, Revocation, Verdict};
use jit_core::grant::sshsig::dearmor;
use jit_core::grant::terms::{Extensions, VERSION};
use jit_core::grant::{
    CarriedStatement, GrantTerms, RequestTerms, SignedStatement, StatementKind, StatementTerms, TermsFault,
    VouchedStatement, digest,
};
use jit_core::names::{GrantId, RoleName, UserName};
use jit_core::wire::StatedInfo;
use rusqlite::Connection;

/// The longest statement in bytes: its reason with every byte escaped, and the other fields.
const STATEMENT_LIMIT: usize = 32 << 10;

/// Allowed clock difference to another machine, in seconds.
const SKEW: i64 = 300;

/// The author of a statement, and how the author is known.
#[derive(Clone, Copy)]
pub(super) enum StatementAuthor<'a> {
    /// The caller, identified by the kernel.
    Here(&'a Caller),
    /// A user whose key has signed the statement.
    Elsewhere(&'a Caller, &'a VouchedStatement),
}

impl<'a> StatementAuthor<'a> {
    /// Returns the author.
    pub(super) fn who(self) -> &'a Caller {
        match self {
            Self::Here(who) | Self::Elsewhere(who, _) => who,
        }
    }
}

/// The request or grant that a statement is about.
pub(super) struct StatementSubject {
    id: GrantId,
    /// SHA-256 of the exact bytes of the request, lower-case hexadecimal.
    request: String,
    role: RoleName,
    holder: UserName,
    holder_uid: u32,
}

impl From<&StoredRequest> for StatementSubject {
    fn from(request: &StoredRequest) -> Self {
        let RequestTerms { id, role, user, uid, .. } = &request.terms;
        let request = hex(&digest(&request.bytes));
        Self { id: id.clone(), request, role: role.clone(), holder: user.clone(), holder_uid: *uid }
    }
}

impl From<&GrantTerms> for StatementSubject {
    fn from(terms: &GrantTerms) -> Self {
        Self {
            id: terms.id.clone(),
            request: terms.request.clone(),
            role: terms.role.clone(),
            holder: terms.user.clone(),
            holder_uid: terms.uid,
        }
    }
}

impl StatementSubject {
    /// Returns the subject for a grant whose bytes cannot be read, from its records, or else from its request: holder and role are
    /// the same. Returns `None` when the request cannot be read either.
    pub(super) fn by_request(connection: &Connection, id: &str, now: i64) -> Result<Option<Self>, Refused> {
        let Ok(id) = GrantId::parse(id) else { return Ok(None) };
        if let Some(subject) = Self::by_records(connection, &id)? {
            return Ok(Some(subject));
        }
        match GrantStore::new(connection).request(&id, now) {
            Ok(request) => Ok(Some(Self::from(&request))),
            Err(FindError::Unknown | FindError::Damaged(_) | FindError::Terms(..)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Returns the subject as the record of the request has it, whatever the rows say.
    pub(super) fn by_records(connection: &Connection, id: &GrantId) -> Result<Option<Self>, Refused> {
        let Some(asked) = asked_in_records(connection, id)? else { return Ok(None) };
        let AskedInRecords { request, role, holder, holder_uid } = asked;
        let subject = |request: Digest| Self { id: id.clone(), request: hex(&request.0), role, holder, holder_uid };
        Ok(request.map(subject))
    }

    /// Returns the id of the request and its grant.
    pub(super) fn id(&self) -> &GrantId {
        &self.id
    }

    /// Returns the role.
    pub(super) fn role(&self) -> &RoleName {
        &self.role
    }

    /// Returns the uid of the holder.
    pub(super) fn holder_uid(&self) -> u32 {
        self.holder_uid
    }

    /// Returns the holder.
    pub(super) fn holder(&self) -> &UserName {
        &self.holder
    }

    /// Returns the subject of a pending break-glass review, with the role and the holder of that time.
    pub(super) fn of_debt(debt: &Debt, request: &StoredRequest) -> Self {
        let (role, holder) = (debt.role.clone(), debt.user.clone());
        Self { role, holder, holder_uid: debt.uid, ..Self::from(request) }
    }
}

impl Context<'_> {
    /// Returns the author's statement about a request or grant, signed by this host.
    pub(super) fn stated(
        &self,
        author: StatementAuthor<'_>,
        kind: StatementKind,
        subject: &StatementSubject,
        reason: &Word,
        identity: &Identity,
    ) -> Result<SignedStatement, Refused> {
        match author {
            StatementAuthor::Here(who) => {
                let terms = self.statement(who, kind, subject, reason, identity);
                Ok(SignedStatement::spoken(terms, who.uid(), &identity.key)?)
            }
            StatementAuthor::Elsewhere(who, vouched) => Ok(SignedStatement::carried(vouched, who.uid(), &identity.key)),
        }
    }

    /// Returns the statement that follows from `cause` for a grant that extends the grant of `cause`. The host makes it in the name
    /// of the same author.
    pub(super) fn followed(
        &self,
        author: StatementAuthor<'_>,
        cause: &SignedStatement,
        subject: &StatementSubject,
        identity: &Identity,
    ) -> Result<SignedStatement, Refused> {
        let (said, who) = (cause.terms(), author.who());
        let terms = StatementTerms {
            follows: Some(cause.digest()),
            ..self.statement(who, said.kind, subject, &said.reason, identity)
        };
        Ok(SignedStatement::spoken(terms, who.uid(), &identity.key)?)
    }

    fn statement(
        &self,
        who: &Caller,
        kind: StatementKind,
        subject: &StatementSubject,
        reason: &Word,
        identity: &Identity,
    ) -> StatementTerms {
        StatementTerms {
            at: self.now.seconds(),
            by: who.name().clone(),
            critical: Vec::new(),
            extensions: Extensions::new(),
            follows: None,
            host: identity.id.as_str().to_owned(),
            id: subject.id.clone(),
            kind,
            reason: reason.clone(),
            request: subject.request.clone(),
            version: VERSION,
        }
    }

    /// Executes and records the statement, both or neither. Returns `None` when there was nothing to change.
    pub(super) fn carry_out(
        &self,
        tx: &rusqlite::Transaction<'_>,
        statement: &SignedStatement,
        subject: &StatementSubject,
    ) -> Result<Option<Written>, Refused> {
        let (terms, at) = (statement.terms(), self.now.moment().wall.seconds());
        let is_by_row = match terms.kind {
            StatementKind::Denial | StatementKind::Cancellation => match request_in_records(tx, &terms.id)? {
                RequestInRecords::Pending => {
                    decide_unconditionally(tx, statement, at)?;
                    return self.recorded(tx, true, statement, subject);
                }
                RequestInRecords::Granted => return Err(granted(statement)),
                // A row that was put back is no reason for a second decision.
                RequestInRecords::Decided | RequestInRecords::Ended => false,
                RequestInRecords::Unknown => true,
            },
            StatementKind::Revocation | StatementKind::Release => match by_statements(tx, &terms.id)? {
                InRecords::Open => {
                    end_unconditionally(tx, statement, at)?;
                    return self.recorded(tx, true, statement, subject);
                }
                // Neither for a second end.
                InRecords::Ended(_) => false,
                InRecords::Unknown => true,
            },
            StatementKind::Review => true,
        };
        let changed = is_by_row && carry_out(tx, statement, at)?;
        self.recorded(tx, changed, statement, subject)
    }

    /// Records a statement, if it has changed anything.
    pub(super) fn recorded(
        &self,
        tx: &rusqlite::Transaction<'_>,
        changed: bool,
        statement: &SignedStatement,
        subject: &StatementSubject,
    ) -> Result<Option<Written>, Refused> {
        if !changed {
            return Ok(None);
        }
        of_this_host(tx, &statement.terms().host)?;
        Ok(Some(self.journal.append(tx, self.now.moment(), event(statement, subject))?))
    }

    /// Accepts a statement that was signed elsewhere.
    pub(super) fn import_statement(&self, text: &str, signature: &str) -> Result<StatedInfo, Refused> {
        let carried = read(text, signature)?;
        let identity = self.host.record_identity_for_statements()?;
        if carried.terms().host != identity.id.as_str() {
            return Err(refused("other-host", "the statement was made for another host"));
        }
        let approvers = self.host.approvers()?;
        // The signature is verified first, so that a caller without a listed key learns nothing about existing requests.
        let vouched = carried.vouch(&approvers, self.now.seconds()).map_err(|fault| refused("bad-statement", fault))?;
        let terms = vouched.terms();
        let request = self.stated_about(terms)?;
        self.in_time(terms.kind.as_str(), &terms.id, terms.at, request.terms.created)?;
        let name = &terms.by;
        let unknown = || refused("unknown-user", format!("{name} is not a user of this host"));
        let account = sys::users::account_by_name(name.as_str())
            .map_err(|error| refused("lookup", format!("unable to look up {name}: {error}")))?
            .ok_or_else(unknown)?;
        // Looks the account up again by uid: two names of one uid are one person.
        let who = described(account.uid)?.filter(|who| who.name() == name).ok_or_else(unknown)?;
        let judges = matches!(terms.kind, StatementKind::Denial | StatementKind::Review);
        if judges && approvers.is_of(vouched.key(), &request.terms.user) {
            let key = vouched.key().fingerprint();
            return Err(refused("own-request", format!("{key} is the requester's own key")));
        }
        let ended = self.act(&who, &vouched, &request)?;
        let now = self.info_of(&request.terms.id)?;
        Ok(StatedInfo {
            id: request.terms.id,
            kind: terms.kind,
            by: terms.by.clone(),
            key: vouched.key().fingerprint(),
            state: now.grant.unwrap_or(now.state),
            ended,
        })
    }

    /// Executes a signed statement by the same rules as one made on this host, and returns the grants that it ended.
    fn act(&self, who: &Caller, vouched: &VouchedStatement, request: &StoredRequest) -> Result<Vec<GrantId>, Refused> {
        let (terms, author) = (vouched.terms(), StatementAuthor::Elsewhere(who, vouched));
        match terms.kind {
            StatementKind::Denial => self.deny_as(author, request, &terms.reason).map(|()| Vec::new()),
            StatementKind::Cancellation => self.cancel_as(author, request).map(|()| Vec::new()),
            StatementKind::Review => self.settle_as(author, request, &terms.reason, None).map(|()| Vec::new()),
            StatementKind::Release => {
                self.issued_before(terms)?;
                self.release_as(author, request)
            }
            StatementKind::Revocation => {
                self.issued_before(terms)?;
                self.revoke_as(author, &terms.id, given("reason", &terms.reason)?)
            }
        }
    }

    /// Returns the request that the statement names; its bytes must be identical.
    fn stated_about(&self, terms: &StatementTerms) -> Result<StoredRequest, Refused> {
        let id = &terms.id;
        let request = self.host.store().request(id, self.now.seconds()).map_err(|error| match error {
            FindError::Unknown => refused("unknown-id", format!("there is no request {id}")),
            error => error.into(),
        })?;
        if terms.request == hex(&digest(&request.bytes)) {
            Ok(request)
        } else {
            Err(refused("other-request", format!("the statement was made for another request than {id} of this host")))
        }
    }

    /// Fails when a statement about a grant is older than the grant.
    fn issued_before(&self, terms: &StatementTerms) -> Result<(), Refused> {
        match self.host.store().grant(&terms.id)? {
            Some(grant) => self.in_time(terms.kind.as_str(), &terms.id, terms.at, grant.terms.issued),
            None => Ok(()),
        }
    }

    /// Fails when the date is in the future, or before the object of the statement, beyond the allowed clock difference.
    pub(super) fn in_time(&self, what: &str, id: &GrantId, at: i64, since: i64) -> Result<(), Refused> {
        let sentence = match dated(at, since, self.now) {
            Dated::InTime => return Ok(()),
            Dated::Ahead => {
                format!("the {what} of {id} is dated in the future: the clock of one of the machines is wrong")
            }
            Dated::Before => format!("the {what} of {id} is dated before what it is about"),
        };
        Err(refused("other-time", sentence))
    }
}

/// How the date of a statement from elsewhere compares with this host's clock.
#[derive(Debug, PartialEq, Eq)]
enum Dated {
    InTime,
    /// In the future by the wall clock. The journal's latest time does not count: it may be ahead.
    Ahead,
    /// Before the object of the statement.
    Before,
}

fn dated(at: i64, since: i64, now: &Now) -> Dated {
    if at > now.moment().wall.seconds().saturating_add(SKEW) {
        Dated::Ahead
    } else if at < since.saturating_sub(SKEW) {
        Dated::Before
    } else {
        Dated::InTime
    }
}

/// Returns whether the text is a statement that ends a grant. Whether it may is not checked.
pub(super) fn ends_grant(text: &str, signature: &str) -> bool {
    let is_end = |kind| matches!(kind, StatementKind::Release | StatementKind::Revocation);
    read(text, signature).is_ok_and(|carried| is_end(carried.terms().kind))
}

/// Parses a statement. Does not verify its signature.
fn read(text: &str, signature: &str) -> Result<CarriedStatement, Refused> {
    let malformed = |what: &str| refused("malformed", what);
    if text.len() > STATEMENT_LIMIT || signature.len() > STATEMENT_LIMIT {
        return Err(refused("too-large", format!("the statement is longer than {STATEMENT_LIMIT} bytes")));
    }
    let signature = dearmor(signature).ok_or_else(|| malformed("the signature is not in OpenSSH's format"))?;
    let carried = CarriedStatement::read(text.as_bytes().to_vec(), signature).map_err(|fault| match fault {
        TermsFault::Malformed => malformed("the text is not a statement"),
        fault => refused("other-version", format!("the statement cannot be used: {fault}")),
    })?;
    let StatementTerms { kind, reason, .. } = carried.terms();
    let silent = matches!(kind, StatementKind::Cancellation | StatementKind::Release);
    if silent && !reason.as_bytes().is_empty() {
        // The records of these two have no field for a reason.
        return Err(malformed("a cancellation or release gives no reason"));
    }
    if reason.as_bytes().len() > WORDS_LIMIT {
        return Err(refused("too-long", format!("the reason is longer than {WORDS_LIMIT} bytes")));
    }
    Ok(carried)
}

/// Returns the error for the denial or cancellation of a request that was granted.
fn granted(statement: &SignedStatement) -> Refused {
    let terms = statement.terms();
    let (id, done, hint) = match terms.kind {
        StatementKind::Cancellation => (&terms.id, "cancelled", format!("jitctl release {}", terms.id)),
        _ => (&terms.id, "denied", format!("jitctl revoke {} --reason 'WHY'", terms.id)),
    };
    let sentence = format!("request {id} cannot be {done}: a grant was issued for it, by the records");
    refused("granted", sentence).hint(hint)
}

/// Returns the record of a statement.
fn event(statement: &SignedStatement, subject: &StatementSubject) -> Event {
    let terms = statement.terms();
    let (grant, uid, user) = (terms.id.clone(), statement.uid(), Word::from(terms.by.as_str()));
    let (holder, holder_uid) = (Word::from(subject.holder.as_str()), subject.holder_uid);
    let (role, reason) = (subject.role.clone(), terms.reason.clone());
    let (key, sha256) = (statement.fingerprint().map(Word::from), Some(Digest(digest(statement.bytes()))));
    match terms.kind {
        StatementKind::Denial => Event::Denial(Box::new(Denial { grant, uid, user, role, reason, key, sha256 })),
        StatementKind::Cancellation => {
            Event::Cancellation(Box::new(Cancellation { grant, uid, user, role, key, sha256 }))
        }
        StatementKind::Revocation => {
            Event::Revocation(Box::new(Revocation { grant, uid, user, holder_uid, holder, role, reason, key, sha256 }))
        }
        StatementKind::Release => Event::Release(Box::new(Release { grant, uid, user, role, key, sha256 })),
        StatementKind::Review => Event::Review(Box::new(Review {
            grant: Some(grant),
            uid,
            user,
            holder,
            holder_uid: Some(holder_uid),
            role,
            verdict: Verdict::Settled,
            comment: reason,
            key,
            sha256,
        })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jit_core::clock::{BootTime, Moment, Timestamp};

    #[test]
    fn a_future_date_is_detected_by_the_wall_clock() {
        let wall = Timestamp::from_seconds(10_000);
        let moment = Moment { wall, boot: BootTime(1), boot_id: "b".to_owned() };
        for seen in [None, Some(Timestamp::from_seconds(900_000))] {
            let now = Now::of(moment.clone(), seen);
            assert_eq!(dated(10_300, 9_000, &now), Dated::InTime, "{seen:?}");
            assert_eq!(dated(10_301, 9_000, &now), Dated::Ahead, "{seen:?}");
            assert_eq!(dated(8_699, 9_000, &now), Dated::Before, "{seen:?}");
        }
    }
}
