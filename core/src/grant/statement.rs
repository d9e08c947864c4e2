//! Acts of a user on a request or grant other than approving it, as exact bytes: the host signs each, and so does the
//! user if they use a key. So a statement can be transferred and verified as an approval can.

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

/// The kind of act.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StatementKind {
    /// An approver denied a request.
    Denial,
    /// The requester cancelled a pending request.
    Cancellation,
    /// Another user revoked a grant.
    Revocation,
    /// The holder released a grant.
    Release,
    /// An approver reviewed a break-glass grant.
    Review,
}

impl StatementKind {
    /// Returns the name used in the document and in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Denial => "denial",
            Self::Cancellation => "cancellation",
            Self::Revocation => "revocation",
            Self::Release => "release",
            Self::Review => "review",
        }
    }

    /// Returns the kind whose records have this name too.
    pub fn of_record(word: &str) -> Option<Self> {
        let kinds = [Self::Denial, Self::Cancellation, Self::Revocation, Self::Release, Self::Review];
        kinds.into_iter().find(|kind| kind.as_str() == word)
    }
}

/// The contents of a statement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StatementTerms {
    /// The time in seconds since 1970, by the clock of the machine on which it was made.
    pub at: i64,
    /// The user who made it: an account of the host, which alone determines the uid.
    pub by: UserName,
    /// The names of extensions that every reader must know.
    pub critical: Vec<String>,
    /// Additions of later versions.
    pub extensions: Extensions,
    /// SHA-256 of the exact bytes of the statement that caused this one: ending a grant also ends its extensions. Only
    /// a host sets it; absent otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub follows: Option<String>,
    /// The id of the host it is for ([`super::HostId`]).
    pub host: String,
    /// The id of the request and its grant.
    pub id: GrantId,
    /// What was done.
    pub kind: StatementKind,
    /// The reason; empty if none was given. For a review: the result.
    pub reason: Word,
    /// SHA-256 of the exact bytes of the request, lower-case hexadecimal.
    pub request: String,
    /// [`super::terms::VERSION`].
    pub version: u32,
}

terms!(StatementTerms);

/// Why an imported statement does not count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StatementFault {
    /// Its signature is not valid.
    Signature(SignatureFault),
    /// The key with this fingerprint is not valid for the user who is said to have made it.
    Key(UserName, String, KeyFault),
    /// The role requires a security key that verifies its user, and the signature does not say that it did.
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

/// An imported statement with a user's signature, which is not verified yet.
#[must_use = "an imported statement must be verified"]
pub struct CarriedStatement {
    terms: StatementTerms,
    bytes: Vec<u8>,
    signature: Vec<u8>,
}

impl CarriedStatement {
    /// Parses exact bytes; `signature` is a binary SSHSIG.
    pub fn read(bytes: Vec<u8>, signature: Vec<u8>) -> Result<Self, TermsFault> {
        let terms: StatementTerms = decode(&bytes)?;
        // Only the host may say that one statement causes another.
        if terms.follows.is_some() { Err(TermsFault::Malformed) } else { Ok(Self { terms, bytes, signature }) }
    }

    /// Returns its unverified contents.
    pub fn terms(&self) -> &StatementTerms {
        &self.terms
    }

    /// Returns the key that made its signature. The list of a host determines the owner of the key
    /// ([`CarriedStatement::vouch`]).
    pub fn key(&self) -> Result<PublicKey, StatementFault> {
        self.signed_by().map(|signed| signed.key)
    }

    fn signed_by(&self) -> Result<SignedBy, StatementFault> {
        signed_by(Namespace::Statement, &self.bytes, &self.signature).map_err(StatementFault::Signature)
    }

    /// Checks that its signature is by a key that is valid for the user whom it names, at `now` (seconds since 1970).
    pub fn vouch(self, approvers: &Approvers, now: i64) -> Result<VouchedStatement, StatementFault> {
        let (SignedBy { key, user_verified }, by) = (self.signed_by()?, &self.terms.by);
        approvers
            .speaks(&key, by, Namespace::Statement, now)
            .map_err(|fault| StatementFault::Key(by.clone(), key.fingerprint(), fault))?;
        Ok(VouchedStatement { carried: self, key, user_verified })
    }
}

/// A statement whose signature is by a key of the user whom it names.
pub struct VouchedStatement {
    carried: CarriedStatement,
    key: PublicKey,
    user_verified: bool,
}

impl VouchedStatement {
    /// Returns its contents.
    pub fn terms(&self) -> &StatementTerms {
        &self.carried.terms
    }

    /// Returns the key that signed it.
    pub fn key(&self) -> &PublicKey {
        &self.key
    }

    /// Checks what a role may additionally require of a signature.
    pub fn verified(&self, verification: UserVerification) -> Result<(), StatementFault> {
        match verification {
            UserVerification::Demanded if !self.user_verified => {
                Err(StatementFault::NotVerified(self.carried.terms.by.clone()))
            }
            UserVerification::Demanded | UserVerification::NotDemanded => Ok(()),
        }
    }
}

/// A statement with the host's signature. Every change in the database that denies or cancels a request, revokes or
/// releases a grant, or settles a debt requires one, and only the host's key can make it.
#[must_use = "a signed statement must be executed"]
pub struct SignedStatement {
    terms: StatementTerms,
    bytes: Vec<u8>,
    uid: u32,
    host_signature: Vec<u8>,
    personal: Option<(Vec<u8>, PublicKey)>,
}

impl SignedStatement {
    /// Signs a statement that a user made on this host; the kernel gave the `uid`.
    pub fn spoken(terms: StatementTerms, uid: u32, key: &HostKey) -> Result<Self, serde_json::Error> {
        let bytes = encode(&terms)?;
        let host_signature = key.sign(Namespace::Statement, &bytes);
        Ok(Self { terms, bytes, uid, host_signature, personal: None })
    }

    /// Signs the exact bytes of a statement that a user signed elsewhere; `uid` is that user's on this host.
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

    /// Returns its contents.
    pub fn terms(&self) -> &StatementTerms {
        &self.terms
    }

    /// Returns its exact bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns the SHA-256 digest of its exact bytes, lower-case hexadecimal.
    pub fn digest(&self) -> String {
        hex(&digest(&self.bytes))
    }

    /// Returns the uid of the user who made it, on this host.
    pub fn uid(&self) -> u32 {
        self.uid
    }

    /// Returns the host's binary SSHSIG over the bytes.
    pub fn host_signature(&self) -> &[u8] {
        &self.host_signature
    }

    /// Returns the user's own binary SSHSIG over the bytes, if they used a key.
    pub fn signature(&self) -> Option<&[u8]> {
        self.personal.as_ref().map(|(signature, _)| signature.as_slice())
    }

    /// Returns the fingerprint of the key that they used.
    pub fn fingerprint(&self) -> Option<String> {
        self.personal.as_ref().map(|(_, key)| key.fingerprint())
    }
}

#[cfg(test)]
mod tests;
