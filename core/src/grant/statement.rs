//! What a person did to a request or grant besides approving it, as exact bytes: the host signs each, and the person where
//! they use a key. So it can travel, and be checked, as an approval can.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::approval::UserVerification;
use super::approvers::{Approvers, KeyFault};
use super::public_key::PublicKey;
use super::sshsig::{Namespace, SignatureFault, SignedBy, signed_by};
use super::terms::{Extensions, TermsFault, decode, encode, terms};
use super::{HostKey, digest};
use crate::escape::{Word, hex};
use crate::names::{GrantId, UserName};

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StatementKind {
    /// An approver said no.
    Denial,
    /// The requester took a pending request back.
    Cancellation,
    /// Somebody ended a grant of others.
    Revocation,
    /// The holder gave a grant back.
    Release,
    /// An approver settled the debt of a break-glass grant.
    Review,
}

impl StatementKind {
    /// The word on document and in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Denial => "denial",
            Self::Cancellation => "cancellation",
            Self::Revocation => "revocation",
            Self::Release => "release",
            Self::Review => "review",
        }
    }

    /// The kind whose records have this word too.
    pub fn of_record(word: &str) -> Option<Self> {
        let kinds = [Self::Denial, Self::Cancellation, Self::Revocation, Self::Release, Self::Review];
        kinds.into_iter().find(|kind| kind.as_str() == word)
    }
}

/// One such statement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StatementTerms {
    /// Seconds since 1970, by the clock of the machine on which it was said.
    pub at: i64,
    /// By whom: an account of the host, which alone says which uid that is.
    pub by: UserName,
    /// Names of extensions that every reader must know.
    pub critical: Vec<String>,
    /// Additions of later versions.
    pub extensions: Extensions,
    /// SHA-256 of the exact bytes of the statement that brought this one about: who ends a grant ends what extends it. Only a
    /// host writes it; absent otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub follows: Option<String>,
    /// The id of the host it is for ([`super::HostId`]).
    pub host: String,
    /// The id of the request and its grant.
    pub id: GrantId,
    /// What was done.
    pub kind: StatementKind,
    /// Why; empty when nothing was said. Of a review: what was found.
    pub reason: Word,
    /// SHA-256 of the exact bytes of the request, lower-case hexadecimal.
    pub request: String,
    /// [`super::terms::VERSION`].
    pub version: u32,
}

terms!(StatementTerms);

/// Why a statement that was carried here is worth nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StatementFault {
    /// Its signature does not hold.
    Signature(SignatureFault),
    /// The key, by its fingerprint, does not speak for who is said to have made it.
    Key(UserName, String, KeyFault),
    /// The role demands a security key that verifies its user, and the signature does not say so.
    NotVerified(UserName),
}

impl fmt::Display for StatementFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Signature(fault) => write!(f, "the statement does not hold: {fault}"),
            Self::NotVerified(name) => {
                write!(f, "the statement of {name} must be signed with a security key that verified its user")
            }
            Self::Key(name, key, KeyFault::OtherPurpose) => {
                write!(f, "the statement of {name} does not hold: the key {key} is not for statements")
            }
            Self::Key(name, key, fault) => {
                write!(f, "the statement of {name} does not hold: the key {key} {fault}")
            }
        }
    }
}

/// A statement that somebody signed, as it was carried here: nothing until its signature is checked.
#[must_use = "a carried statement has one use: to be vouched for"]
pub struct CarriedStatement {
    terms: StatementTerms,
    bytes: Vec<u8>,
    signature: Vec<u8>,
}

impl CarriedStatement {
    /// Reads exact bytes; `signature` is a binary SSHSIG.
    pub fn read(bytes: Vec<u8>, signature: Vec<u8>) -> Result<Self, TermsFault> {
        let terms: StatementTerms = decode(&bytes)?;
        // That one statement follows from another is the host's to say.
        if terms.follows.is_some() { Err(TermsFault::Malformed) } else { Ok(Self { terms, bytes, signature }) }
    }

    /// What it claims.
    pub fn terms(&self) -> &StatementTerms {
        &self.terms
    }

    /// The key that made its signature. Whose key that is, the list of a host tells ([`CarriedStatement::vouch`]).
    pub fn key(&self) -> Result<PublicKey, StatementFault> {
        self.signed_by().map(|signed| signed.key)
    }

    fn signed_by(&self) -> Result<SignedBy, StatementFault> {
        signed_by(Namespace::Statement, &self.bytes, &self.signature).map_err(StatementFault::Signature)
    }

    /// Checks that a key made its signature that speaks for whoever it names, at `now` (seconds since 1970).
    pub fn vouch(self, approvers: &Approvers, now: i64) -> Result<VouchedStatement, StatementFault> {
        let (SignedBy { key, user_verified }, by) = (self.signed_by()?, &self.terms.by);
        approvers
            .speaks(&key, by, Namespace::Statement, now)
            .map_err(|fault| StatementFault::Key(by.clone(), key.fingerprint(), fault))?;
        Ok(VouchedStatement { carried: self, key, user_verified })
    }
}

/// A statement whose signature is by a key of the person whom it names.
pub struct VouchedStatement {
    carried: CarriedStatement,
    key: PublicKey,
    user_verified: bool,
}

impl VouchedStatement {
    /// What it says.
    pub fn terms(&self) -> &StatementTerms {
        &self.carried.terms
    }

    /// The key that signed it.
    pub fn key(&self) -> &PublicKey {
        &self.key
    }

    /// Checks what a role may demand of a signature besides.
    pub fn verified(&self, verification: UserVerification) -> Result<(), StatementFault> {
        match verification {
            UserVerification::Demanded if !self.user_verified => {
                Err(StatementFault::NotVerified(self.carried.terms.by.clone()))
            }
            UserVerification::Demanded | UserVerification::NotDemanded => Ok(()),
        }
    }
}

/// A statement under the host's signature. Without one no request is denied or cancelled, no grant revoked or released, and no
/// debt settled: whatever does that in the store takes this, and only the host's key makes it.
#[must_use = "a signed statement is carried out"]
pub struct SignedStatement {
    terms: StatementTerms,
    bytes: Vec<u8>,
    uid: u32,
    host_signature: Vec<u8>,
    personal: Option<(Vec<u8>, PublicKey)>,
}

impl SignedStatement {
    /// What somebody says here; the kernel says that `uid` does.
    pub fn spoken(terms: StatementTerms, uid: u32, key: &HostKey) -> Result<Self, serde_json::Error> {
        let bytes = encode(&terms)?;
        let host_signature = key.sign(Namespace::Statement, &bytes);
        Ok(Self { terms, bytes, uid, host_signature, personal: None })
    }

    /// What somebody signed elsewhere, as its exact bytes stand; `uid` is who they are on this host.
    pub fn carried(vouched: &VouchedStatement, uid: u32, key: &HostKey) -> Self {
        let VouchedStatement { carried, key: theirs, .. } = vouched;
        Self {
            terms: carried.terms.clone(),
            host_signature: key.sign(Namespace::Statement, &carried.bytes),
            bytes: carried.bytes.clone(),
            uid,
            personal: Some((carried.signature.clone(), theirs.clone())),
        }
    }

    /// What it says.
    pub fn terms(&self) -> &StatementTerms {
        &self.terms
    }

    /// Its exact bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// SHA-256 of its exact bytes, lower-case hexadecimal.
    pub fn digest(&self) -> String {
        hex(&digest(&self.bytes))
    }

    /// Who said it, on this host.
    pub fn uid(&self) -> u32 {
        self.uid
    }

    /// The host's binary SSHSIG over the bytes.
    pub fn host_signature(&self) -> &[u8] {
        &self.host_signature
    }

    /// The person's own binary SSHSIG over the bytes, where they used a key.
    pub fn signature(&self) -> Option<&[u8]> {
        self.personal.as_ref().map(|(signature, _)| signature.as_slice())
    }

    /// The fingerprint of the key that they used.
    pub fn fingerprint(&self) -> Option<String> {
        self.personal.as_ref().map(|(_, key)| key.fingerprint())
    }
}

#[cfg(test)]
mod tests;
