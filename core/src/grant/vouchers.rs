//! What a grant with signed approvals depends on: its request and the approvals that it names, with keys that are still valid.

use super::approval::{Approval, ApprovalFault, UserVerification};
use super::approvers::Approvers;
use super::digest;
use super::quorum::Quorum;
use super::terms::{GrantTerms, RequestTerms, decode};
use super::within::Limits;
use crate::escape::hex;
use crate::policy::Activation;

/// What grants of roles with `signed_approvals` depend on, read again for each use: removing a key from the file
/// invalidates its grants.
pub struct Vouchers {
    /// The present keys of approvers.
    pub approvers: Approvers,
    /// The approvals of these grants.
    pub approvals: Vec<Approval>,
    /// The exact bytes of the requests of these grants.
    pub requests: Vec<Vec<u8>>,
}

impl Vouchers {
    /// Checks that the grant allows nothing beyond its request and the approvals that it names. These exist, unchanged, are signed as
    /// the role requires today with keys that are still valid, by as many different approvers as the request and the role require.
    /// `is_approver` returns whether the author of an approval is an approver of the role today. A break-glass request has no
    /// approvals, where the role permits it.
    pub fn vouch(
        &self,
        grant: &GrantTerms,
        rules: &Activation,
        now: i64,
        is_approver: impl Fn(&Approval) -> bool,
    ) -> Result<(), ApprovalFault> {
        // The approvals are signed over the digest of the request.
        let request = self.requests.iter().find(|bytes| hex(&digest(bytes)) == grant.request);
        let asked: RequestTerms = request.and_then(|bytes| decode(bytes).ok()).ok_or(ApprovalFault::NoRequest)?;
        let by_glass = rules.break_glass && asked.break_glass.is_set();
        let limits = if by_glass { Vec::new() } else { self.limits(grant, &asked, (rules, now), is_approver)? };
        grant.is_within(&asked, &limits).map_err(ApprovalFault::Wider)
    }

    /// Checks the approvals that the grant names. Returns how they narrow the request.
    fn limits(
        &self,
        grant: &GrantTerms,
        asked: &RequestTerms,
        (rules, now): (&Activation, i64),
        is_approver: impl Fn(&Approval) -> bool,
    ) -> Result<Vec<Limits>, ApprovalFault> {
        let verification = UserVerification::of(rules);
        if grant.approvals.is_empty() {
            return Err(ApprovalFault::Missing);
        }
        let mut quorum = Quorum::new(i64::from(grant.uid), grant.user.as_str().as_bytes());
        let mut limits = Vec::new();
        for named in &grant.approvals {
            let approval = self.approvals.iter().find(|approval| {
                approval.terms.id == grant.id
                    && approval.terms.request == grant.request
                    && approval.terms.role_digest == asked.role_digest
                    && &hex(&digest(&approval.bytes)) == named
            });
            let approval = approval.ok_or(ApprovalFault::Missing)?;
            let name = &approval.terms.approver;
            let key = approval.signer_for(&grant.user, &self.approvers, verification, now)?;
            quorum
                .admit(i64::from(approval.uid), name.as_str().as_bytes(), Some(key))
                .map_err(|why| ApprovalFault::Uncounted(name.clone(), why))?;
            if !is_approver(approval) {
                return Err(ApprovalFault::NotAnApprover(name.clone()));
            }
            limits.push(Limits::from(&approval.terms));
        }
        let needed = asked.needed.max(rules.approvals);
        if quorum.reaches(needed) { Ok(limits) } else { Err(ApprovalFault::TooFew(quorum.count(), needed)) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::approval::tests::{ANY, NOW, approval, asked, name, request_digest};
    use super::*;
    use crate::clock::duration::Seconds;
    use crate::grant::quorum::Uncounted;
    use crate::grant::sshsig::{Namespace, sign};
    use crate::grant::terms::{Extensions, Flag, VERSION, encode};
    use crate::grant::within::Excess;
    use crate::names::{GrantId, RoleName};
    use crate::policy::{Policy, PolicyText};
    use crate::samples::{approvers, key};

    /// Returns the rules of a role that accepts only signed approvals.
    fn rules(more: &str) -> Activation {
        let text = format!(
            "[roles.ops]\ncommands = [\"ALL\"]\n[roles.ops.activation]\nrequire_approval = true\n\
             approvers = [\"bob\", \"carol\", \"dave\"]\nsigned_approvals = true\n{more}"
        );
        let policy = Policy::parse(&[PolicyText { path: "policy.toml".into(), text }]).unwrap();
        policy.roles()[0].activation.clone()
    }

    fn grant(approvals: &[&Approval]) -> GrantTerms {
        GrantTerms {
            break_glass: Flag::No,
            approvals: approvals.iter().map(|approval| hex(&digest(&approval.bytes))).collect(),
            approvers: approvals.iter().map(|approval| approval.terms.approver.clone()).collect(),
            boot_deadline: 0,
            boot_id: String::new(),
            command: None,
            critical: Vec::new(),
            exact: Flag::No,
            expires: NOW + 600,
            extends: None,
            extensions: Extensions::new(),
            host: hex(&[1; 32]),
            id: GrantId::parse("0123456789").unwrap(),
            issued: NOW,
            one_shot: Flag::Yes,
            request: request_digest(),
            role: RoleName::parse("ops").unwrap(),
            role_digest: hex(&[3; 32]),
            run_as: name("root"),
            starts: NOW,
            this_boot: Flag::No,
            uid: 1000,
            user: name("alice"),
            version: VERSION,
        }
    }

    fn vouched(lines: &[(&str, u8)], approvals: &[Approval], grant: &GrantTerms) -> Result<(), ApprovalFault> {
        let requests = vec![encode(&asked()).unwrap()];
        Vouchers { approvers: approvers(lines), approvals: approvals.to_vec(), requests }.vouch(
            grant,
            &rules(""),
            NOW,
            |_| true,
        )
    }

    #[test]
    fn a_grant_is_valid_while_all_of_its_approvals_are() {
        let (one, two) = (approval("bob", 1), approval("carol", 2));
        let both = grant(&[&one, &two]);
        let all = [one.clone(), two.clone()];
        let keys = [("bob", 1), ("carol", 2)];
        assert_eq!(vouched(&keys, &all, &both), Ok(()));
        assert!(matches!(vouched(&keys[..1], &all, &both), Err(ApprovalFault::Key(..))));
        assert_eq!(vouched(&keys, &all[..1], &both), Err(ApprovalFault::Missing));
        assert_eq!(vouched(&keys, &all, &grant(&[])), Err(ApprovalFault::Missing));
        let unsigned = [one, Approval { signature: None, ..two }];
        assert!(matches!(vouched(&keys, &unsigned, &both), Err(ApprovalFault::Unsigned(_))));
    }

    #[test]
    fn a_plain_key_does_not_prove_user_verification() {
        let list = approvers(&[("bob", 1)]);
        let signed = approval("bob", 1);
        assert!(signed.signer(&list, ANY, NOW).is_ok());
        let demanded = signed.signer(&list, UserVerification::Demanded, NOW);
        assert_eq!(demanded, Err(ApprovalFault::NotVerified(name("bob"))));
        let requests = vec![encode(&asked()).unwrap()];
        let vouchers = Vouchers { approvers: list, approvals: vec![signed.clone()], requests };
        assert_eq!(vouchers.vouch(&grant(&[&signed]), &rules(""), NOW, |_| true), Ok(()));
        let strict = vouchers.vouch(&grant(&[&signed]), &rules("user_verification = true\n"), NOW, |_| true);
        assert_eq!(strict, Err(ApprovalFault::NotVerified(name("bob"))));
    }

    #[test]
    fn an_approval_of_another_request_does_not_count() {
        let one = approval("bob", 1);
        let other = GrantTerms { id: GrantId::parse("zzzzzzzzzz").unwrap(), ..grant(&[&one]) };
        assert_eq!(vouched(&[("bob", 1)], std::slice::from_ref(&one), &other), Err(ApprovalFault::Missing));
        let other = GrantTerms { request: hex(&[3; 32]), ..grant(&[&one]) };
        assert_eq!(vouched(&[("bob", 1)], &[one], &other), Err(ApprovalFault::NoRequest));
    }

    #[test]
    fn a_grant_allows_nothing_that_its_signed_approvals_do_not_allow() {
        let (one, two) = (approval("bob", 1), approval("carol", 2));
        let keys = [("bob", 1), ("carol", 2)];
        let wider = |change: fn(&mut GrantTerms)| {
            let mut other = grant(&[&one, &two]);
            change(&mut other);
            vouched(&keys, &[one.clone(), two.clone()], &other)
        };
        let excess = |excess| Err(ApprovalFault::Wider(excess));
        assert_eq!(wider(|_| {}), Ok(()));
        assert_eq!(wider(|grant| grant.exact = Flag::Yes), Ok(()), "the role may narrow it");
        assert_eq!(wider(|grant| grant.expires -= 1), Ok(()));
        assert_eq!(wider(|grant| grant.one_shot = Flag::No), excess(Excess::NotOneShot));
        assert_eq!(wider(|grant| grant.expires += 1), excess(Excess::Longer(Seconds(601), Seconds(600))));
        assert_eq!(wider(|grant| grant.starts -= 86_400), excess(Excess::Start));
        assert_eq!(wider(|grant| (grant.starts, grant.expires) = (NOW + 60, NOW + 660)), excess(Excess::Start));
        let later = |grant: &mut GrantTerms| {
            (grant.issued, grant.starts, grant.expires) = (NOW + 900, NOW + 900, NOW + 1500);
        };
        assert_eq!(wider(later), excess(Excess::Late));
        assert_eq!(wider(|grant| grant.run_as = name("carol")), excess(Excess::Key("run_as")));
        assert_eq!(wider(|grant| grant.role_digest = hex(&[4; 32])), excess(Excess::Key("role_digest")));
        assert_eq!(wider(|grant| grant.uid = 0), excess(Excess::Key("uid")));
        assert_eq!(wider(|grant| grant.break_glass = Flag::Yes), excess(Excess::Key("break_glass")));
        assert_eq!(wider(|grant| grant.extends = Some(grant.id.clone())), excess(Excess::Key("extends")));
        // One approval that limits it to the command is enough.
        let mut exact = approval("carol", 2);
        exact.terms.exact = Flag::Yes;
        exact.bytes = encode(&exact.terms).unwrap();
        exact.signature = Some(sign(&key(2), Namespace::Approval, &exact.bytes));
        let named = grant(&[&one, &exact]);
        assert_eq!(vouched(&keys, &[one, exact], &named), excess(Excess::NotExact));
    }

    #[test]
    fn a_grant_without_its_request_is_not_vouched_for() {
        let one = approval("bob", 1);
        let vouchers = Vouchers { approvers: approvers(&[("bob", 1)]), approvals: vec![one.clone()], requests: vec![] };
        assert_eq!(vouchers.vouch(&grant(&[&one]), &rules(""), NOW, |_| true), Err(ApprovalFault::NoRequest));
    }

    /// Returns a request with other contents, an approval of it by each of these users, and the grant that names them.
    fn changed(change: fn(&mut RequestTerms), approvers: &[(&str, u8)]) -> (Vec<Vec<u8>>, Vec<Approval>, GrantTerms) {
        let mut terms = asked();
        change(&mut terms);
        let bytes = encode(&terms).unwrap();
        let request = hex(&digest(&bytes));
        let approvals: Vec<Approval> = approvers
            .iter()
            .map(|(name, seed)| {
                let mut one = approval(name, *seed);
                one.uid = 1000 + u32::from(name.as_bytes()[0]);
                one.terms.request.clone_from(&request);
                one.bytes = encode(&one.terms).unwrap();
                one.signature = Some(sign(&key(*seed), Namespace::Approval, &one.bytes));
                // Two people may share a key.
                one.uid = 2000 + u32::from(name.as_bytes()[0]);
                one
            })
            .collect();
        let named = grant(&approvals.iter().collect::<Vec<_>>());
        (vec![bytes], approvals, GrantTerms { request, break_glass: terms.break_glass, ..named })
    }

    #[test]
    fn a_grant_needs_as_many_people_and_keys_as_its_request_and_its_role() {
        let keys = [("bob", 1), ("carol", 2), ("dave", 1)];
        let list = approvers(&keys);
        let said = |needed: fn(&mut RequestTerms), given: &[(&str, u8)], more: &str| {
            let (requests, approvals, grant) = changed(needed, given);
            let vouchers = Vouchers { approvers: approvers(&keys), approvals, requests };
            vouchers.vouch(&grant, &rules(more), NOW, |_| true)
        };
        let one: fn(&mut RequestTerms) = |_| {};
        let two: fn(&mut RequestTerms) = |asked| asked.needed = 2;
        let few = Err(ApprovalFault::TooFew(1, 2));
        assert_eq!(said(two, &keys[..2], ""), Ok(()));
        assert_eq!(said(two, &keys[1..2], ""), few, "the request needs two");
        assert_eq!(said(one, &keys[1..2], "approvals = 2\n"), few, "the role needs two by now");
        let twice = Err(ApprovalFault::Uncounted(name("carol"), Uncounted::SamePerson));
        assert_eq!(said(two, &[keys[1], keys[1]], ""), twice);
        let same = Err(ApprovalFault::Uncounted(name("dave"), Uncounted::SameKey));
        assert_eq!(said(two, &[keys[0], keys[2]], ""), same);
        let (requests, approvals, grant) = changed(one, &keys[..1]);
        let vouchers = Vouchers { approvers: list, approvals, requests };
        let outsider = vouchers.vouch(&grant, &rules(""), NOW, |approval| approval.terms.approver != name("bob"));
        assert_eq!(outsider, Err(ApprovalFault::NotAnApprover(name("bob"))));
    }

    #[test]
    fn only_a_break_glass_request_leads_to_a_grant_without_approvals() {
        let said = |change: fn(&mut RequestTerms), glass: Flag, more: &str| {
            let (requests, approvals, grant) = changed(change, &[]);
            let vouchers = Vouchers { approvers: approvers(&[]), approvals, requests };
            vouchers.vouch(&GrantTerms { break_glass: glass, ..grant }, &rules(more), NOW, |_| true)
        };
        let glass = |asked: &mut RequestTerms| (asked.break_glass, asked.needed) = (Flag::Yes, 0);
        let allowed = "break_glass = true\n";
        let wider = |excess| Err(ApprovalFault::Wider(excess));
        assert_eq!(said(glass, Flag::Yes, allowed), Ok(()));
        assert_eq!(said(glass, Flag::Yes, ""), Err(ApprovalFault::Missing), "the role no longer permits it");
        assert_eq!(said(|_| {}, Flag::Yes, allowed), Err(ApprovalFault::Missing), "the request is not for it");
        assert_eq!(said(glass, Flag::No, allowed), wider(Excess::Key("break_glass")));
        let once = |asked: &mut RequestTerms| {
            (asked.break_glass, asked.needed, asked.duration) = (Flag::Yes, 0, Seconds(60));
        };
        assert_eq!(said(once, Flag::Yes, allowed), wider(Excess::Longer(Seconds(600), Seconds(60))));
    }
}
