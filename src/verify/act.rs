//! The proof that a decision was made by its approver, in the way that the role requires: by a password that PAM has just accepted,
//! by a signature, or by neither where the role requires neither. The store accepts no decision without it.

use std::fmt;

use crate::auth::{AuthMethod, Authenticated};
use jit_core::clock::duration::Seconds;
use jit_core::grant::{
    Approval, ApprovalFault, ApprovalTerms, Approvers, Means, PublicKey, StatementFault, UserVerification,
    VouchedStatement, digest,
};
use jit_core::names::UserName;
use jit_core::policy::Activation;

/// What an approver reads before typing the password: one request, and how it is narrowed. The decision must be about the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    request: [u8; 32],
    /// In seconds; 0 means as long as requested.
    duration: Seconds,
    exact: bool,
    one_shot: bool,
}

/// The consent of a user whom PAM has authenticated after they were shown one request; valid for that alone.
#[must_use = "a password was typed for this"]
pub struct Consent {
    uid: u32,
    shown: Shown,
}

/// One approver's decision in favour of a request.
#[must_use = "the store wants to see it"]
pub struct Act {
    uid: u32,
    means: Means,
}

/// An approval with the proof that its approver made it.
#[must_use = "an approval counts when it is stored"]
pub struct Attested {
    approval: Approval,
    act: Act,
}

/// Why a decision cannot be attributed to the approver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ActFault {
    /// The role requires that PAM authenticates the approver, and it did not.
    NotAuthenticated,
    /// Another user was authenticated, or was shown something else.
    OtherConsent,
    /// The signature is missing or invalid.
    Approval(ApprovalFault),
}

impl fmt::Display for ActFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAuthenticated => f.write_str("the role requires the password of its approvers"),
            Self::OtherConsent => f.write_str("what was shown before the password has changed since"),
            Self::Approval(fault) => fault.fmt(f),
        }
    }
}

impl From<ApprovalFault> for ActFault {
    fn from(fault: ApprovalFault) -> Self {
        Self::Approval(fault)
    }
}

impl Shown {
    /// The request with these exact bytes, not narrowed.
    pub fn whole(request: &[u8]) -> Self {
        Self { request: digest(request), duration: Seconds::ZERO, exact: false, one_shot: false }
    }

    /// The request with these bytes, narrowed by this approval.
    pub fn narrowed(request: &[u8], by: &ApprovalTerms) -> Self {
        Self { duration: by.duration, exact: by.exact.is_set(), one_shot: by.one_shot.is_set(), ..Self::whole(request) }
    }
}

impl Consent {
    /// Creates the consent to what was shown before the password was asked for. Returns `None` for an authentication that was
    /// cached or not required: no person has answered.
    pub fn to(shown: Shown, proof: &Authenticated) -> Option<Self> {
        match proof.how() {
            AuthMethod::Password => Some(Self { uid: proof.uid(), shown }),
            AuthMethod::Unasked | AuthMethod::Cache | AuthMethod::NotAsked => None,
        }
    }
}

impl Act {
    /// Creates the decision of `uid` in favour of what must have been shown, under the rules of the role.
    pub fn in_person(uid: u32, shown: &Shown, rules: &Activation, consent: Option<Consent>) -> Result<Self, ActFault> {
        match consent {
            Some(consent) if consent.uid == uid && consent.shown == *shown => Ok(Self { uid, means: Means::Password }),
            Some(_) => Err(ActFault::OtherConsent),
            None if rules.approval_authentication => Err(ActFault::NotAuthenticated),
            None => Ok(Self { uid, means: Means::None }),
        }
    }

    /// Creates root's decision about a role that the policy no longer has; no rules are left that could require more.
    pub fn of_root(uid: u32) -> Option<Self> {
        (uid == 0).then_some(Self { uid, means: Means::None })
    }

    /// Creates the decision that `uid` has signed with a key of theirs ([`VouchedStatement`]), under the rules of the role.
    pub fn signed(uid: u32, vouched: &VouchedStatement, rules: &Activation) -> Result<Self, StatementFault> {
        vouched.verified(UserVerification::of(rules))?;
        Ok(Self { uid, means: Means::Key })
    }

    #[cfg(test)]
    pub(crate) fn by_a_key(uid: u32) -> Self {
        Self { uid, means: Means::Key }
    }

    /// Returns the uid of the approver.
    pub fn uid(&self) -> u32 {
        self.uid
    }

    /// Returns how the approver was authenticated.
    pub fn means(&self) -> Means {
        self.means
    }
}

impl Attested {
    /// Accepts an approval without a signature, given on this host.
    pub fn in_person(
        approval: Approval,
        request: &[u8],
        rules: &Activation,
        consent: Option<Consent>,
    ) -> Result<Self, ActFault> {
        if rules.signed_approvals {
            return Err(ApprovalFault::Unsigned(approval.terms.approver).into());
        }
        let shown = Shown::narrowed(request, &approval.terms);
        let act = Act::in_person(approval.uid, &shown, rules, consent)?;
        // Drops a signature that was not verified.
        Ok(Self { approval: Approval { signature: None, ..approval }, act })
    }

    /// Accepts a signed approval, whoever submits it. Returns the key too.
    pub fn signed(
        approval: Approval,
        requester: &UserName,
        rules: &Activation,
        approvers: &Approvers,
        now: i64,
    ) -> Result<(Self, PublicKey), ApprovalFault> {
        let key = approval.signer_for(requester, approvers, UserVerification::of(rules), now)?;
        let act = Act { uid: approval.uid, means: Means::Key };
        Ok((Self { approval, act }, key))
    }

    /// Returns the approval.
    pub fn approval(&self) -> &Approval {
        &self.approval
    }

    /// Returns how the approver was authenticated.
    pub fn means(&self) -> Means {
        self.act.means
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jit_core::policy::{Policy, PolicyText};

    fn rules(more: &str) -> Activation {
        let text = format!(
            "[roles.ops]\ncommands = [\"ALL\"]\n[roles.ops.activation]\nrequire_approval = true\n\
             approvers = [\"%sre\"]\n{more}"
        );
        let policy = Policy::parse(&[PolicyText { path: "policy.toml".into(), text }]).unwrap();
        policy.roles()[0].activation.clone()
    }

    fn consent(uid: u32, shown: Shown) -> Option<Consent> {
        Some(Consent { uid, shown })
    }

    fn shown() -> Shown {
        Shown::whole(b"request")
    }

    #[test]
    fn a_role_that_requires_a_password_accepts_no_decision_without_one() {
        for demanding in [rules("approvals = 2"), rules("approval_authentication = true")] {
            let act = |consent| Act::in_person(1001, &shown(), &demanding, consent).map(|act| act.means());
            assert_eq!(act(None), Err(ActFault::NotAuthenticated));
            assert_eq!(act(consent(1001, shown())), Ok(Means::Password));
        }
        let act = Act::in_person(1001, &shown(), &rules(""), None);
        assert_eq!(act.map(|act| (act.uid(), act.means())), Ok((1001, Means::None)));
    }

    #[test]
    fn a_password_is_valid_for_its_user_and_what_was_shown() {
        for rules in [rules(""), rules("approvals = 2")] {
            let act = |consent| Act::in_person(1001, &shown(), &rules, consent).map(|act| act.means());
            assert_eq!(act(consent(1002, shown())), Err(ActFault::OtherConsent));
            let others = [
                Shown::whole(b"another"),
                Shown { duration: Seconds(60), ..shown() },
                Shown { exact: true, ..shown() },
                Shown { one_shot: true, ..shown() },
            ];
            for other in others {
                assert_eq!(act(consent(1001, other)), Err(ActFault::OtherConsent));
            }
        }
    }
}
