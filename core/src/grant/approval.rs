//! An approval as it was given, and whether its signature, if any, is still valid for its approver. An approval without
//! a signature counts by what the broker learnt from the kernel; for a role that requires signed approvals it counts
//! for nothing.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::approvers::{Approvers, KeyFault};
use super::public_key::PublicKey;
use super::quorum::Uncounted;
use super::sshsig::{Namespace, SignatureFault, SignedBy, claimed_key, signed_by};
use super::terms::ApprovalTerms;
use super::within::Excess;
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
    /// Its author is not an approver of the role.
    NotAnApprover(UserName),
    /// It does not count beside the others that the grant names.
    Uncounted(UserName, Uncounted),
    /// A grant names this many approvals, and needs more.
    TooFew(usize, u32),
    /// A grant names an approval that does not exist, or none at all.
    Missing,
    /// The request of a grant is missing, or not readable.
    NoRequest,
    /// A grant allows more than its request and its approvals.
    Wider(Excess),
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
            Self::NotAnApprover(name) => write!(f, "{name}, who approved it, is not an approver of its role"),
            Self::Uncounted(name, why) => write!(f, "the approval of {name} does not count: {why}"),
            Self::TooFew(given, needed) => write!(f, "it names {given} approvals and needs {needed}"),
            Self::Missing => f.write_str("it has no signed approval"),
            Self::NoRequest => f.write_str("its request is missing"),
            Self::Wider(excess) => excess.fmt(f),
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

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::clock::duration::Seconds;
    use crate::escape::{Word, hex};
    use crate::grant::sshsig::sign;
    use crate::grant::terms::{Extensions, Flag, RequestTerms, VERSION, encode};
    use crate::grant::{HostDescriptor, digest};
    use crate::names::{GrantId, RoleName};
    use crate::samples::{approvers, key};

    pub(in crate::grant) const NOW: i64 = 1_800_000_000;
    pub(in crate::grant) const ANY: UserVerification = UserVerification::NotDemanded;

    pub(in crate::grant) fn name(text: &str) -> UserName {
        UserName::parse(text).unwrap()
    }

    pub(in crate::grant) fn approval(approver: &str, seed: u8) -> Approval {
        let terms = ApprovalTerms {
            approver: name(approver),
            at: NOW,
            comment: Word::from("fine"),
            critical: Vec::new(),
            duration: Seconds(600),
            exact: Flag::No,
            extensions: Extensions::new(),
            host: hex(&[1; 32]),
            id: GrantId::parse("0123456789").unwrap(),
            one_shot: Flag::Yes,
            request: request_digest(),
            role_digest: hex(&[3; 32]),
            version: VERSION,
        };
        let bytes = encode(&terms).unwrap();
        let signature = Some(sign(&key(seed), Namespace::Approval, &bytes));
        Approval { terms, bytes, uid: 1000 + u32::from(seed), signature }
    }

    /// Returns the request that the approvals and grants of these tests name.
    pub(in crate::grant) fn asked() -> RequestTerms {
        let [id, key, machine, name] = [&hex(&[1; 32]), "k", "m", "web1"].map(str::to_owned);
        RequestTerms {
            break_glass: Flag::No,
            command: None,
            created: NOW,
            critical: Vec::new(),
            deadline: NOW + 900,
            duration: Seconds(3600),
            exact: Flag::No,
            extends: None,
            extensions: Extensions::new(),
            host: HostDescriptor { id, key, machine, name },
            id: GrantId::parse("0123456789").unwrap(),
            needed: 1,
            one_shot: Flag::No,
            reason: Word::default(),
            role: RoleName::parse("ops").unwrap(),
            role_digest: hex(&[3; 32]),
            run_as: self::name("root"),
            start: 0,
            ticket: Word::default(),
            uid: 1000,
            user: self::name("alice"),
            version: VERSION,
        }
    }

    pub(in crate::grant) fn request_digest() -> String {
        hex(&digest(&encode(&asked()).unwrap()))
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
}
