//! An approval as it was given, and whether its signature, if any, is still valid for its approver. An approval without
//! a signature counts by what the broker learnt from the kernel; for a role that requires signed approvals it counts
//! for nothing.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::approvers::{Approvers, KeyFault};
use super::digest;
use super::public_key::PublicKey;
use super::sshsig::{Namespace, SignatureFault, SignedBy, claimed_key, signed_by};
use super::terms::{ApprovalTerms, GrantTerms};
use crate::escape::hex;
use crate::names::UserName;
use crate::policy::Activation;

/// How an approval was proved to be its approver's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Means {
    /// PAM authenticated the approver for this request.
    Password,
    /// The approver's key signed it.
    Key,
    /// The kernel gave the uid of the approver; the role requires no more.
    None,
}

/// The approval of one user.
#[derive(Debug, Clone)]
pub struct Approval {
    /// Its terms.
    pub terms: ApprovalTerms,
    /// Its exact bytes.
    pub bytes: Vec<u8>,
    /// The approver's uid on this host.
    pub uid: u32,
    /// The approver's own signature of the bytes (binary SSHSIG), if any.
    pub signature: Option<Vec<u8>>,
}

/// Why a signed approval does not count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ApprovalFault {
    /// It has no signature.
    Unsigned(UserName),
    /// Its signature is not valid.
    Signature(UserName, SignatureFault),
    /// The key with this fingerprint is not valid for the approver.
    Key(UserName, String, KeyFault),
    /// The key with this fingerprint is the requester's.
    OwnKey(String),
    /// The role requires a security key that verifies its user, and the signature does not say that it did.
    NotVerified(UserName),
    /// A grant names an approval that does not exist, or none at all.
    Missing,
}

/// What a signature must prove about the signer, besides the touch that every security key requires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UserVerification {
    /// Nothing.
    NotDemanded,
    /// That a security key has verified its user; a plain key cannot prove that.
    Demanded,
}

impl UserVerification {
    /// Returns what a role with these rules requires.
    pub fn of(rules: &Activation) -> Self {
        if rules.user_verification { Self::Demanded } else { Self::NotDemanded }
    }
}

impl fmt::Display for ApprovalFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsigned(name) => write!(f, "the approval of {name} is not signed"),
            Self::Signature(name, fault) => write!(f, "the approval of {name} does not hold: {fault}"),
            Self::Key(name, key, fault) => write!(f, "the approval of {name} does not hold: the key {key} {fault}"),
            Self::OwnKey(key) => write!(f, "users cannot approve their own requests, and {key} is the requester's key"),
            Self::NotVerified(name) => {
                write!(f, "the approval of {name} must be signed with a security key that verified its user")
            }
            Self::Missing => f.write_str("it has no signed approval"),
        }
    }
}

impl Approval {
    /// Returns the key that signed the approval, if it is valid for the approver at `now` (seconds since 1970).
    pub fn signer(
        &self,
        approvers: &Approvers,
        verification: UserVerification,
        now: i64,
    ) -> Result<PublicKey, ApprovalFault> {
        let name = &self.terms.approver;
        let signature = self.signature.as_ref().ok_or_else(|| ApprovalFault::Unsigned(name.clone()))?;
        let SignedBy { key, user_verified } = signed_by(Namespace::Approval, &self.bytes, signature)
            .map_err(|fault| ApprovalFault::Signature(name.clone(), fault))?;
        approvers
            .speaks(&key, name, Namespace::Approval, now)
            .map_err(|fault| ApprovalFault::Key(name.clone(), key.fingerprint(), fault))?;
        match verification {
            UserVerification::Demanded if !user_verified => Err(ApprovalFault::NotVerified(name.clone())),
            UserVerification::Demanded | UserVerification::NotDemanded => Ok(key),
        }
    }

    /// Returns the same key, if it is not one of the requester's.
    pub fn signer_for(
        &self,
        requester: &UserName,
        approvers: &Approvers,
        verification: UserVerification,
        now: i64,
    ) -> Result<PublicKey, ApprovalFault> {
        let key = self.signer(approvers, verification, now)?;
        if approvers.is_of(&key, requester) { Err(ApprovalFault::OwnKey(key.fingerprint())) } else { Ok(key) }
    }

    /// Returns the fingerprint of the key in the signature, for display: the signature was checked when the approval
    /// was given, and [`Approval::signer`] checks it again.
    pub fn fingerprint(&self) -> Option<String> {
        claimed_key(self.signature.as_ref()?).map(|key| key.fingerprint())
    }
}

/// What grants of roles with `signed_approvals` depend on, read again for each use: removing a key from the file
/// invalidates its grants.
pub struct Vouchers {
    /// The present keys of approvers.
    pub approvers: Approvers,
    /// The approvals of these grants.
    pub approvals: Vec<Approval>,
}

impl Vouchers {
    /// Checks that every approval that the grant names exists, unchanged, and is signed as the role requires today with
    /// a key that is still valid.
    pub fn vouch(&self, grant: &GrantTerms, rules: &Activation, now: i64) -> Result<(), ApprovalFault> {
        let verification = UserVerification::of(rules);
        if grant.approvals.is_empty() {
            return Err(ApprovalFault::Missing);
        }
        for named in &grant.approvals {
            let approval = self.approvals.iter().find(|approval| {
                approval.terms.id == grant.id
                    && approval.terms.request == grant.request
                    && &hex(&digest(&approval.bytes)) == named
            });
            let approval = approval.ok_or(ApprovalFault::Missing)?;
            approval.signer_for(&grant.user, &self.approvers, verification, now)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::escape::Word;
    use crate::grant::GrantTerms;
    use crate::grant::sshsig::sign;
    use crate::grant::terms::{Extensions, Flag, VERSION, encode};
    use crate::names::{GrantId, RoleName};
    use crate::policy::{Policy, PolicyText};
    use crate::samples::{approvers, key};

    const NOW: i64 = 1_800_000_000;
    const ANY: UserVerification = UserVerification::NotDemanded;

    /// Returns the rules of a role that accepts only signed approvals.
    fn rules(more: &str) -> Activation {
        let text = format!(
            "[roles.ops]\ncommands = [\"ALL\"]\n[roles.ops.activation]\nrequire_approval = true\n\
             approvers = [\"bob\"]\nsigned_approvals = true\n{more}"
        );
        let policy = Policy::parse(&[PolicyText { path: "policy.toml".into(), text }]).unwrap();
        policy.roles()[0].activation.clone()
    }

    fn name(text: &str) -> UserName {
        UserName::parse(text).unwrap()
    }

    fn approval(approver: &str, seed: u8) -> Approval {
        let terms = ApprovalTerms {
            approver: name(approver),
            at: NOW,
            comment: Word::from("fine"),
            critical: Vec::new(),
            duration: 600,
            exact: Flag::No,
            extensions: Extensions::new(),
            host: hex(&[1; 32]),
            id: GrantId::parse("0123456789").unwrap(),
            one_shot: Flag::Yes,
            request: hex(&[2; 32]),
            role_digest: hex(&[3; 32]),
            version: VERSION,
        };
        let bytes = encode(&terms).unwrap();
        let signature = Some(sign(&key(seed), Namespace::Approval, &bytes));
        Approval { terms, bytes, uid: 1001, signature }
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
            request: hex(&[2; 32]),
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
        Vouchers { approvers: approvers(lines), approvals: approvals.to_vec() }.vouch(grant, &rules(""), NOW)
    }

    #[test]
    fn a_signature_is_valid_for_the_owner_of_its_key() {
        let list = approvers(&[("bob", 1), ("carol", 2), ("alice", 3)]);
        assert!(approval("bob", 1).signer_for(&name("alice"), &list, ANY, NOW).is_ok());
        assert!(matches!(approval("bob", 2).signer(&list, ANY, NOW), Err(ApprovalFault::Key(_, _, KeyFault::Unknown))));
        assert!(matches!(approval("bob", 9).signer(&list, ANY, NOW), Err(ApprovalFault::Key(_, _, KeyFault::Unknown))));
        let unsigned = Approval { signature: None, ..approval("bob", 1) };
        assert!(matches!(unsigned.signer(&list, ANY, NOW), Err(ApprovalFault::Unsigned(_))));
        let mut altered = approval("bob", 1);
        altered.bytes[5] ^= 1;
        assert!(matches!(altered.signer(&list, ANY, NOW), Err(ApprovalFault::Signature(..))));
    }

    #[test]
    fn the_requesters_key_never_approves_under_any_name() {
        let list = approvers(&[("bob", 1), ("alice", 1)]);
        let signed = approval("bob", 1);
        assert!(matches!(signed.signer_for(&name("alice"), &list, ANY, NOW), Err(ApprovalFault::OwnKey(_))));
        assert!(signed.signer_for(&name("dave"), &list, ANY, NOW).is_ok());
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
        let vouchers = Vouchers { approvers: list, approvals: vec![signed.clone()] };
        assert_eq!(vouchers.vouch(&grant(&[&signed]), &rules(""), NOW), Ok(()));
        let strict = vouchers.vouch(&grant(&[&signed]), &rules("user_verification = true\n"), NOW);
        assert_eq!(strict, Err(ApprovalFault::NotVerified(name("bob"))));
    }

    #[test]
    fn an_approval_of_another_request_does_not_count() {
        let one = approval("bob", 1);
        let other = GrantTerms { id: GrantId::parse("zzzzzzzzzz").unwrap(), ..grant(&[&one]) };
        assert_eq!(vouched(&[("bob", 1)], std::slice::from_ref(&one), &other), Err(ApprovalFault::Missing));
        let other = GrantTerms { request: hex(&[3; 32]), ..grant(&[&one]) };
        assert_eq!(vouched(&[("bob", 1)], &[one], &other), Err(ApprovalFault::Missing));
    }
}
