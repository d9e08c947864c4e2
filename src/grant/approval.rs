//! An approval as it was given, and whether the signature that it may carry still speaks for its approver. An approval
//! without one is worth what the broker learnt from the kernel; where a role takes signed ones only, nothing.

use std::fmt;

use super::approvers::{Approvers, KeyFault};
use super::digest;
use super::public_key::PublicKey;
use super::sshsig::{Namespace, SignatureFault, claimed_key, signer};
use super::terms::{ApprovalTerms, GrantTerms};
use crate::escape::hex;
use crate::names::UserName;

/// One person's approval.
#[derive(Debug, Clone)]
pub struct Approval {
    /// What it says.
    pub terms: ApprovalTerms,
    /// Its exact bytes.
    pub bytes: Vec<u8>,
    /// Who the approver is on this host.
    pub uid: u32,
    /// The approver's own signature over the bytes (binary SSHSIG), where there is one.
    pub signature: Option<Vec<u8>>,
}

/// Why a signed approval is worth nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ApprovalFault {
    /// It has no signature.
    Unsigned(UserName),
    /// Its signature does not hold.
    Signature(UserName, SignatureFault),
    /// The key, by its fingerprint, does not speak for the approver.
    Key(UserName, String, KeyFault),
    /// The key, by its fingerprint, is the requester's.
    OwnKey(String),
    /// A grant names an approval that is not there, or none at all.
    Missing,
}

impl fmt::Display for ApprovalFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsigned(name) => write!(f, "the approval of {name} is not signed"),
            Self::Signature(name, fault) => write!(f, "the approval of {name} does not hold: {fault}"),
            Self::Key(name, key, fault) => write!(f, "the approval of {name} does not hold: the key {key} {fault}"),
            Self::OwnKey(key) => write!(f, "nobody approves their own request, and {key} is the requester's key"),
            Self::Missing => f.write_str("no signed approval stands behind it"),
        }
    }
}

impl Approval {
    /// The key that signed it, if that key speaks for the approver at `now` (seconds since 1970).
    pub fn signer(&self, approvers: &Approvers, now: i64) -> Result<PublicKey, ApprovalFault> {
        let name = &self.terms.approver;
        let signature = self.signature.as_ref().ok_or_else(|| ApprovalFault::Unsigned(name.clone()))?;
        let key = signer(Namespace::Approval, &self.bytes, signature)
            .map_err(|fault| ApprovalFault::Signature(name.clone(), fault))?;
        approvers
            .speaks(&key, name, Namespace::Approval, now)
            .map_err(|fault| ApprovalFault::Key(name.clone(), key.fingerprint(), fault))?;
        Ok(key)
    }

    /// The same, and the key is not one of the requester's.
    pub fn signer_for(
        &self,
        requester: &UserName,
        approvers: &Approvers,
        now: i64,
    ) -> Result<PublicKey, ApprovalFault> {
        let key = self.signer(approvers, now)?;
        if approvers.is_of(&key, requester) { Err(ApprovalFault::OwnKey(key.fingerprint())) } else { Ok(key) }
    }

    /// The fingerprint of the key that it says it was signed with, for showing: it was checked when the approval was
    /// given, and [`Approval::signer`] checks it again.
    pub fn fingerprint(&self) -> Option<String> {
        claimed_key(self.signature.as_ref()?).map(|key| key.fingerprint())
    }
}

/// What grants of roles with `signed_approvals` rest on, read anew for each use: a key that is removed from the file
/// takes its grants with it.
pub struct Vouchers {
    /// Whose key is whose, now.
    pub approvers: Approvers,
    /// The approvals of the grants in question.
    pub approvals: Vec<Approval>,
}

impl Vouchers {
    /// Checks that every approval that the grant names is there, unaltered, and signed with a key that is still good.
    pub fn vouch(&self, grant: &GrantTerms, now: i64) -> Result<(), ApprovalFault> {
        if grant.approvals.is_empty() {
            return Err(ApprovalFault::Missing);
        }
        for named in &grant.approvals {
            let approval = self.approvals.iter().find(|approval| {
                approval.terms.id == grant.id
                    && approval.terms.request == grant.request
                    && &hex(&digest(&approval.bytes)) == named
            });
            approval.ok_or(ApprovalFault::Missing)?.signer_for(&grant.user, &self.approvers, now)?;
        }
        Ok(())
    }
}
