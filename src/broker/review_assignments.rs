//! Reviews of assignments: when each was last used, and whether a reviewer confirms it. A proposal does not change the policy; only
//! root edits the policy.

use std::collections::HashMap;

use super::Context;
use super::failure::{Refused, refused};
use super::words::given;
use crate::database::Durability;
use crate::elevation::{Caller, CallerError};
use crate::judge::{counts_here, subject};
use crate::policy_index::Next;
use crate::store::{Certification, certify};
use jit_core::clock::duration::Seconds;
use jit_core::escape::Word;
use jit_core::evidence::Event;
use jit_core::evidence::record::{Review, Verdict};
use jit_core::names::{Person, RoleName, UserName};
use jit_core::policy::{Assignment, Principal, Role};
use jit_core::wire::{AssignmentInfo, Certify, EndedInfo};

/// Accounts by uid, looked up once; `None` when the account no longer exists.
type People = HashMap<u32, Option<Caller>>;

/// A user or group whose assignment is reviewed.
struct Holder {
    /// The name in the policy, or the user name of a group member.
    name: String,
    uid: Option<u32>,
}

impl Context<'_> {
    /// Returns eligible assignments that led to no grant for as long as `since`: per user where the policy names users, else per
    /// group.
    pub(super) fn review_unused(&self, since: Seconds) -> Result<Vec<AssignmentInfo>, Refused> {
        let limit = self.now.seconds().saturating_sub(since.signed());
        let mut people = People::new();
        let mut found = Vec::new();
        for role in self.roles_to_review()? {
            let rows = self.assignments(&role, &mut people)?;
            let unused = |row: &AssignmentInfo| row.last_used.is_none_or(|used| used < limit);
            found.extend(rows.into_iter().filter(|row| row.assignment == ELIGIBLE && unused(row)));
        }
        Ok(found)
    }

    pub(super) fn review_assignments(&self, role: Option<&RoleName>) -> Result<Vec<AssignmentInfo>, Refused> {
        let mut roles = self.roles_to_review()?;
        if let Some(name) = role {
            roles.retain(|role| &role.name == name);
            if roles.is_empty() {
                return Err(refused("unknown-role", format!("there is no role {name} for you to review")));
            }
        }
        let mut people = People::new();
        let mut found = Vec::new();
        for role in roles {
            found.extend(self.assignments(&role, &mut people)?);
        }
        Ok(found)
    }

    pub(super) fn review_certify(
        &self,
        role: &RoleName,
        holder: Option<&str>,
        verdict: Certify,
        comment: &Word,
    ) -> Result<Vec<AssignmentInfo>, Refused> {
        let comment = given("comment", comment)?;
        let role = self.reviewable(role)?;
        let holders = match holder {
            Some(text) => vec![self.holder(&role, text)?],
            None => self.holders_but_oneself(&role)?,
        };
        if holders.is_empty() {
            return Err(refused("own-assignment", format!("role {} has no assignment but your own", role.name)));
        }
        let verdict = match verdict {
            Certify::Confirm => Verdict::Confirmed,
            Certify::Remove => Verdict::RemovalProposed,
        };
        let written = self.host.database().write(Durability::Synced, |tx| {
            let mut written = Vec::new();
            for holder in &holders {
                let answer = Certification {
                    holder: holder.name.clone(),
                    verdict: verdict.as_str().to_owned(),
                    reviewer: self.caller.name().to_string(),
                    at: self.now.moment().wall.seconds(),
                    comment: comment.as_bytes().to_vec(),
                };
                certify(tx, &role.name, &answer)?;
                let event = self.certified(&role.name, holder, verdict, comment);
                written.push(self.journal.append(tx, self.now.moment(), event)?);
            }
            Ok::<_, Refused>(written)
        })?;
        let _ = self.journal.mirror(&written);
        self.assignments(&role, &mut People::new())
    }

    fn certified(&self, role: &RoleName, holder: &Holder, verdict: Verdict, comment: &Word) -> Event {
        Event::Review(Box::new(Review {
            grant: None,
            uid: self.caller.uid(),
            user: Word::from(self.caller.name().as_str()),
            holder: Word::from(holder.name.as_str()),
            holder_uid: holder.uid,
            role: role.clone(),
            verdict,
            comment: comment.clone(),
            key: None,
            sha256: None,
        }))
    }

    /// Returns the roles of this host that the caller may review: all for root and readers, else those that the caller approves.
    fn roles_to_review(&self) -> Result<Vec<Role>, Refused> {
        let mut roles = Vec::new();
        self.policy.each_role(|role| {
            if counts_here(&role, self.caller) {
                roles.push(role);
            }
            Next::Continue
        })?;
        if self.is_reader()? {
            return Ok(roles);
        }
        let subject = subject(self.caller)?;
        roles.retain(|role| role.may_approve(&subject));
        if roles.is_empty() {
            return Err(refused(
                "not-a-reviewer",
                "only root, readers of the policy and approvers of a role review it",
            ));
        }
        Ok(roles)
    }

    /// Returns the assignments of a role as written in the policy, and the group members whom a reviewer has certified.
    fn assignments(&self, role: &Role, people: &mut People) -> Result<Vec<AssignmentInfo>, Refused> {
        let uses = self.host.store().last_uses(&role.name, self.now.seconds())?;
        let mut answers: HashMap<String, Certification> = HashMap::new();
        for answer in self.host.store().certifications(&role.name)? {
            answers.insert(answer.holder.clone(), answer);
        }
        let mut rows = Vec::new();
        for (assignment, word) in [(Assignment::Eligible, ELIGIBLE), (Assignment::Standing, "standing")] {
            for principal in role.assigned(assignment).named() {
                let holder = principal.to_string();
                let last_used = match assignment {
                    Assignment::Eligible => last_use(principal, &uses, people)?,
                    Assignment::Standing => None,
                };
                let answer = answers.get(&holder).cloned();
                rows.push(row(&role.name, holder, word.to_owned(), last_used, answer));
            }
        }
        let written: Vec<String> = rows.iter().map(|row| row.holder.clone()).collect();
        let mut members: Vec<Certification> =
            answers.into_values().filter(|answer| !written.contains(&answer.holder)).collect();
        members.sort_by(|a, b| a.holder.cmp(&b.holder));
        for answer in members {
            // Members who left the group, and assignments that left the policy, are no longer reviewed.
            let Some((member, principal)) = member(role, &answer.holder)? else { continue };
            let last_used = uses.iter().find(|(person, _)| person == member.person()).map(|(_, at)| *at);
            let through = format!("through {principal}");
            rows.push(row(&role.name, answer.holder.clone(), through, last_used, Some(answer)));
        }
        Ok(rows)
    }

    /// Returns the assignment that `text` names: an entry of the policy, or a user who has the role through one.
    fn holder(&self, role: &Role, text: &str) -> Result<Holder, Refused> {
        let own = || refused("own-assignment", "you cannot review your own assignment");
        if let Some(principal) = lines(role).find(|principal| principal.to_string() == text) {
            return if self.is_oneself(principal)? { Err(own()) } else { holder_of(principal) };
        }
        match member(role, text)? {
            Some((member, _)) if member.uid() == self.caller.uid() && self.caller.uid() != 0 => Err(own()),
            Some((member, _)) => Ok(Holder { name: member.name().to_string(), uid: Some(member.uid()) }),
            None => {
                let shown = jit_core::escape::escape(text.as_bytes());
                Err(refused("not-assigned", format!("role {} is not assigned to {shown}", role.name))
                    .hint(format!("jitctl review --recertify {}", role.name)))
            }
        }
    }

    fn holders_but_oneself(&self, role: &Role) -> Result<Vec<Holder>, Refused> {
        let mut holders: Vec<Holder> = Vec::new();
        for principal in lines(role) {
            let known = holders.iter().any(|holder| holder.name == principal.to_string());
            if !known && !self.is_oneself(principal)? {
                holders.push(holder_of(principal)?);
            }
        }
        Ok(holders)
    }

    /// Returns whether an entry of the policy includes the caller. Never for root, who may review every entry.
    fn is_oneself(&self, principal: &Principal) -> Result<bool, Refused> {
        Ok(self.caller.uid() != 0 && principal.matches(&subject(self.caller)?))
    }
}

const ELIGIBLE: &str = "eligible";

fn lines(role: &Role) -> impl Iterator<Item = &Principal> {
    role.eligible.named().chain(role.standing.named())
}

fn row(
    role: &RoleName,
    holder: String,
    assignment: String,
    last_used: Option<i64>,
    answer: Option<Certification>,
) -> AssignmentInfo {
    let verdict = answer.as_ref().map(|answer| answer.verdict.clone());
    let reviewed = answer.map(|answer| EndedInfo {
        by: answer.reviewer,
        at: answer.at,
        reason: Word(std::os::unix::ffi::OsStringExt::from_vec(answer.comment)),
        key: None,
    });
    AssignmentInfo { role: role.clone(), holder, assignment, last_used, verdict, reviewed }
}

/// Returns the latest use by any user whom `principal` includes today.
fn last_use(principal: &Principal, uses: &[(Person, i64)], people: &mut People) -> Result<Option<i64>, Refused> {
    let mut latest = None;
    for (used, at) in uses {
        let uid = &used.uid;
        if latest.is_some_and(|latest| latest >= *at) {
            continue;
        }
        if !people.contains_key(uid) {
            people.insert(*uid, person(sys::users::account_by_uid(*uid), &format!("uid {uid}"))?);
        }
        if let Some(Some(user)) = people.get(uid)
            && user.person() == used
            && principal.matches(&subject(user)?)
        {
            latest = Some(*at);
        }
    }
    Ok(latest)
}

/// Returns the user of this name, and the entry of the role that includes the user.
fn member<'r>(role: &'r Role, name: &str) -> Result<Option<(Caller, &'r Principal)>, Refused> {
    if UserName::parse(name).is_err() {
        return Ok(None);
    }
    let Some(user) = person(sys::users::account_by_name(name), name)? else { return Ok(None) };
    let subject = subject(&user)?;
    // One entry may exclude a user whom another names.
    let assigned = [Assignment::Eligible, Assignment::Standing].iter().any(|kind| role.assigns(&subject, *kind));
    let line = lines(role).find(|principal| assigned && principal.matches(&subject));
    Ok(line.map(|line| (user, line)))
}

fn holder_of(principal: &Principal) -> Result<Holder, Refused> {
    let uid = match principal {
        Principal::Uid(uid) => Some(*uid),
        Principal::User(user) => {
            person(sys::users::account_by_name(user.as_str()), user.as_str())?.map(|user| user.uid())
        }
        Principal::All | Principal::Group(_) | Principal::Gid(_) | Principal::Netgroup(_) => None,
    };
    Ok(Holder { name: principal.to_string(), uid })
}

fn person(found: std::io::Result<Option<sys::users::Account>>, who: &str) -> Result<Option<Caller>, Refused> {
    let account = found.map_err(|error| refused("lookup", format!("unable to look up {who}: {error}")))?;
    match account.map(Caller::described).transpose() {
        // An account whose name or uid also belongs to another account is not accepted.
        Err(CallerError::OtherAccount(..) | CallerError::OtherName(..)) => Ok(None),
        described => Ok(described?),
    }
}
