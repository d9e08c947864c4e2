//! The proof that a decision is its approver's own act, in the way that the role demands: a password that PAM has just
//! accepted, a signature, or neither where the role asks for neither. The store takes nothing without it.

use std::fmt;

use crate::auth::{AuthMethod, Authenticated};
use jit_core::grant::{
    Approval, ApprovalFault, ApprovalTerms, Approvers, Means, PublicKey, StatementFault, UserVerification,
    VouchedStatement, digest,
};
use jit_core::names::UserName;
use jit_core::policy::Activation;

/// What a person reads before the password: one request, and how far it is narrowed. What is decided must be the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    request: [u8; 32],
    /// In seconds; 0 is as long as was asked.
    duration: u64,
    exact: bool,
    one_shot: bool,
}

/// A person whom PAM has authenticated after they were shown one thing; good for that alone.
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

/// An approval that is its approver's act.
#[must_use = "an approval counts when it is stored"]
pub struct Attested {
    approval: Approval,
    act: Act,
}

/// Why a decision is not known to be the approver's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ActFault {
    /// The role demands that PAM authenticates the approver, and it did not.
    NotAuthenticated,
    /// Somebody else was authenticated, or was shown something else.
    OtherConsent,
    /// The signature.
    Approval(ApprovalFault),
}

impl fmt::Display for ActFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAuthenticated => f.write_str("the role demands the password of its approvers"),
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
    /// The request of these exact bytes, narrowed by nobody.
    pub fn whole(request: &[u8]) -> Self {
        Self { request: digest(request), duration: 0, exact: false, one_shot: false }
    }

    /// The same as this approval narrows it.
    pub fn narrowed(request: &[u8], by: &ApprovalTerms) -> Self {
        Self { duration: by.duration, exact: by.exact.is_set(), one_shot: by.one_shot.is_set(), ..Self::whole(request) }
    }
}

impl Consent {
    /// To what was shown before the password was asked for. `None` for an authentication that was remembered or not asked
    /// for: it is no answer of a person.
    pub fn to(shown: Shown, proof: &Authenticated) -> Option<Self> {
        match proof.how() {
            AuthMethod::Password => Some(Self { uid: proof.uid(), shown }),
            AuthMethod::Unasked | AuthMethod::Cache | AuthMethod::NotAsked => None,
        }
    }
}

impl Act {
    /// The decision of `uid` in favour of what must have been shown, under the rules of its role.
    pub fn in_person(uid: u32, shown: &Shown, rules: &Activation, consent: Option<Consent>) -> Result<Self, ActFault> {
        match consent {
            Some(consent) if consent.uid == uid && consent.shown == *shown => Ok(Self { uid, means: Means::Password }),
            Some(_) => Err(ActFault::OtherConsent),
            None if rules.approval_authentication => Err(ActFault::NotAuthenticated),
            None => Ok(Self { uid, means: Means::None }),
        }
    }

    /// What root decides about a role that the policy no longer has: there are no rules left that could ask for more.
    pub fn of_root(uid: u32) -> Option<Self> {
        (uid == 0).then_some(Self { uid, means: Means::None })
    }

    /// What `uid` has signed with a key that speaks for them ([`VouchedStatement`]), under the rules of its role.
    pub fn signed(uid: u32, vouched: &VouchedStatement, rules: &Activation) -> Result<Self, StatementFault> {
        vouched.verified(UserVerification::of(rules))?;
        Ok(Self { uid, means: Means::Key })
    }

    #[cfg(test)]
    pub(crate) fn by_a_key(uid: u32) -> Self {
        Self { uid, means: Means::Key }
    }

    /// Whose it is.
    pub fn uid(&self) -> u32 {
        self.uid
    }

    /// By what it is known.
    pub fn means(&self) -> Means {
        self.means
    }
}

impl Attested {
    /// An approval without a signature, given on this host.
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
        // A signature that nobody has looked at is none.
        Ok(Self { approval: Approval { signature: None, ..approval }, act })
    }

    /// A signed approval, whoever brought it; with the key.
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

    /// The approval.
    pub fn approval(&self) -> &Approval {
        &self.approval
    }

    /// By what it is known to be the approver's.
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
    fn a_role_that_demands_a_password_takes_nothing_without_one() {
        for demanding in [rules("approvals = 2"), rules("approval_authentication = true")] {
            let act = |consent| Act::in_person(1001, &shown(), &demanding, consent).map(|act| act.means());
            assert_eq!(act(None), Err(ActFault::NotAuthenticated));
            assert_eq!(act(consent(1001, shown())), Ok(Means::Password));
        }
        let act = Act::in_person(1001, &shown(), &rules(""), None);
        assert_eq!(act.map(|act| (act.uid(), act.means())), Ok((1001, Means::None)));
    }

    #[test]
    fn a_password_serves_its_person_and_what_was_shown() {
        for rules in [rules(""), rules("approvals = 2")] {
            let act = |consent| Act::in_person(1001, &shown(), &rules, consent).map(|act| act.means());
            assert_eq!(act(consent(1002, shown())), Err(ActFault::OtherConsent));
            let others = [
                Shown::whole(b"another"),
                Shown { duration: 60, ..shown() },
                Shown { exact: true, ..shown() },
                Shown { one_shot: true, ..shown() },
            ];
            for other in others {
                assert_eq!(act(consent(1001, other)), Err(ActFault::OtherConsent));
            }
        }
    }
}
