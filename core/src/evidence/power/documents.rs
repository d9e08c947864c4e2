//! The keys of requests, approvals, grants and statements that are compared with columns, for all versions of the documents. Since
//! version 2 a document is one that can be used: it has exactly the keys and the form of its [`Terms`].

use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};

use super::command_document::CommandDocument;
use super::names::{self, Id, Names};
use crate::evidence::canonical;
use crate::grant::sshsig::{Namespace, signer};
use crate::grant::terms::{Terms, decode};
use crate::grant::{ApprovalTerms, GrantTerms, HostDescriptor, Limits, PublicKey, RequestTerms, StatementTerms};

/// The version whose grants do not name the key that signs them.
const FIRST: u32 = 1;

#[derive(Deserialize)]
pub(super) struct RequestDocument {
    pub(super) id: String,
    pub(super) uid: i64,
    pub(super) user: String,
    pub(super) role: String,
    #[serde(default)]
    pub(super) role_digest: Option<String>,
    pub(super) created: i64,
    pub(super) deadline: i64,
    #[serde(default)]
    pub(super) break_glass: u8,
    #[serde(default)]
    pub(super) extends: Option<String>,
    host: Host,
    version: u32,
    /// What it is for alone; version 1 has another form.
    #[serde(default)]
    command: Option<Words>,
    /// Absent in version 1.
    #[serde(skip)]
    pub(super) terms: Option<RequestTerms>,
}

#[derive(Deserialize)]
struct Words {
    argv: Vec<IgnoredAny>,
}

/// Reads a document of this kind, and its terms unless it is of version 1.
fn read<T: DeserializeOwned, Usable: Terms>(bytes: &[u8], what: &str) -> Result<(T, Option<Usable>), String> {
    #[derive(Deserialize)]
    struct Versioned {
        version: u32,
    }
    let is_first = serde_json::from_slice::<Versioned>(bytes).is_ok_and(|document| document.version == FIRST);
    let terms = if is_first {
        None
    } else {
        canonical::text(bytes).map_err(|why| format!("its bytes are no {what}: {why}"))?;
        Some(decode::<Usable>(bytes).map_err(|fault| format!("its bytes are no {what}: {fault}"))?)
    };
    Ok((serde_json::from_slice(bytes).map_err(|_| format!("its bytes are no {what}"))?, terms))
}

/// Version 1 has only the host id.
#[derive(Deserialize)]
#[serde(untagged)]
enum Host {
    Id(String),
    Described { id: String, key: String },
}

impl Host {
    fn id(&self) -> &str {
        match self {
            Self::Id(id) | Self::Described { id, .. } => id,
        }
    }
}

impl RequestDocument {
    pub(super) fn read(bytes: &[u8]) -> Result<Self, String> {
        let (document, terms): (Self, _) = read::<_, RequestTerms>(bytes, "request")?;
        match (&document.command, &document.host) {
            (Some(command), _) if command.argv.is_empty() => Err("its command has no words".to_owned()),
            (_, Host::Described { .. }) if document.is_of_the_first_version() => {
                Err("its bytes are no request: version 1 describes no host".to_owned())
            }
            _ => Ok(Self { terms, ..document }),
        }
    }

    pub(super) fn is_of_the_first_version(&self) -> bool {
        self.version == FIRST
    }

    /// Returns whether the uid or the name is that of the requester.
    pub(super) fn is_by(&self, uid: i64, name: &str) -> bool {
        self.uid == uid || self.user == name
    }

    /// Returns the number of approvals that it needs; version 1 does not contain it.
    pub(super) fn needed(&self) -> Option<u32> {
        self.terms.as_ref().map(|terms| terms.needed)
    }

    /// Returns the id of its host.
    pub(super) fn host_id(&self) -> &str {
        self.host.id()
    }

    /// Returns the description of its host, which version 1 lacks.
    pub(super) fn described(&self) -> Option<&HostDescriptor> {
        self.terms.as_ref().map(|terms| &terms.host)
    }

    /// Checks that the key is that of the host that the document names. Version 1 names none, so any key is accepted.
    pub(super) fn is_of(&self, key: &PublicKey) -> Result<(), String> {
        let right = match &self.host {
            Host::Id(_) => self.is_of_the_first_version(),
            Host::Described { key: words, .. } => parsed(words).is_some_and(|named| named == *key),
        };
        if right { Ok(()) } else { Err(format!("it was signed by another key, {}", key.fingerprint())) }
    }
}

fn parsed(words: &str) -> Option<PublicKey> {
    words.split_once(' ').and_then(|(kind, encoded)| PublicKey::from_words(kind, encoded))
}

#[derive(Deserialize)]
pub(super) struct ApprovalDocument {
    pub(super) approver: String,
    pub(super) id: String,
    pub(super) request: String,
    #[serde(default)]
    pub(super) role_digest: Option<String>,
    /// Version 1 names none.
    #[serde(default)]
    pub(super) host: Option<String>,
    /// Absent in version 1.
    #[serde(skip)]
    pub(super) limits: Option<Limits>,
}

impl ApprovalDocument {
    pub(super) fn read(bytes: &[u8]) -> Result<Self, String> {
        let (document, terms): (Self, _) = read::<_, ApprovalTerms>(bytes, "approval")?;
        Ok(Self { limits: terms.as_ref().map(Limits::from), ..document })
    }
}

#[derive(Deserialize)]
pub(super) struct GrantDocument {
    pub(super) id: String,
    pub(super) uid: i64,
    pub(super) user: String,
    pub(super) role: String,
    #[serde(default)]
    pub(super) role_digest: Option<String>,
    pub(super) starts: i64,
    pub(super) expires: i64,
    pub(super) one_shot: u8,
    #[serde(default)]
    pub(super) break_glass: u8,
    #[serde(default)]
    pub(super) extends: Option<String>,
    pub(super) request: String,
    pub(super) approvals: Vec<String>,
    pub(super) approvers: Vec<String>,
    pub(super) exact: u8,
    pub(super) run_as: String,
    /// Version 1 has another form, and is no longer usable.
    #[serde(default)]
    pub(super) command: Option<CommandDocument>,
    #[serde(default)]
    pub(super) this_boot: u8,
    pub(super) boot_id: Option<String>,
    pub(super) boot_deadline: Option<i64>,
    pub(super) host: String,
    version: u32,
    /// Absent in version 1.
    #[serde(skip)]
    terms: Option<GrantTerms>,
}

impl GrantDocument {
    pub(super) fn read(bytes: &[u8]) -> Result<Self, String> {
        let (document, terms): (Self, _) = read::<_, GrantTerms>(bytes, "grant")?;
        Ok(Self { terms, ..document })
    }

    pub(super) fn is_of_the_first_version(&self) -> bool {
        self.version == FIRST
    }

    /// Returns whether the grant permits nothing: it is limited to its command, and names none.
    pub(super) fn serves_nothing(&self) -> bool {
        self.exact == 1 && self.command.is_none() && self.version != FIRST
    }

    pub(super) fn terms(&self, names: &mut Names) -> names::Terms {
        names::Terms {
            uid: self.uid,
            user: names.of(self.user.as_bytes()),
            role: names.of(self.role.as_bytes()),
            run_as: names.of(self.run_as.as_bytes()),
            starts: self.starts,
            expires: self.expires,
            one_shot: self.one_shot == 1,
            extends: self.extends.as_deref().and_then(Id::parse),
        }
    }

    /// Checks that the grant allows nothing beyond its request and these approvals, which it names. In version 1 that is not
    /// compared.
    pub(super) fn is_within(&self, asked: &RequestDocument, approvals: &[Limits]) -> Result<(), String> {
        match (&self.terms, &asked.terms) {
            (Some(terms), Some(asked)) => terms.is_within(asked, approvals).map_err(|excess| excess.to_string()),
            (None, None) => Ok(()),
            (Some(_), None) | (None, Some(_)) => Err("its request is of another version".to_owned()),
        }
    }

    /// Checks that the signature is by the key that the request names as its host's.
    pub(super) fn is_signed(&self, asked: &RequestDocument, body: &[u8], signature: &[u8]) -> Result<(), String> {
        let key = signer(Namespace::Grant, body, signature).map_err(|fault| fault.to_string())?;
        asked.is_of(&key)?;
        if asked.host.id() == self.host { Ok(()) } else { Err("it is for another host than its request".to_owned()) }
    }
}

#[derive(Deserialize)]
pub(super) struct StatementDocument {
    pub(super) by: String,
    pub(super) id: String,
    pub(super) kind: String,
    pub(super) request: String,
    pub(super) host: String,
    /// The statement about the extended grant from which it follows.
    #[serde(default)]
    pub(super) follows: Option<String>,
}

impl StatementDocument {
    pub(super) fn read(bytes: &[u8]) -> Result<Self, String> {
        Ok(read::<_, StatementTerms>(bytes, "statement")?.0)
    }
}

/// Checks that the signature of the user who made these bytes is present together with the fingerprint of the key, or
/// that both are absent.
pub(super) fn is_personal(
    namespace: Namespace,
    body: &[u8],
    signature: Option<&[u8]>,
    key: Option<&str>,
) -> Result<(), String> {
    match (signature, key) {
        (None, None) => Ok(()),
        (Some(signature), Some(named)) => {
            let key = signer(namespace, body, signature).map_err(|fault| fault.to_string())?;
            if key.fingerprint() == named { Ok(()) } else { Err("it was signed with another key".to_owned()) }
        }
        (Some(_), None) | (None, Some(_)) => Err("its signature or its key is missing".to_owned()),
    }
}
