//! The keys that signed the contents of the tables: this host's present key, or one that root has accepted since.

use serde::Deserialize;

use super::Power;
use super::acts::inconsistency;
use super::documents::{RequestDocument, StatementDocument};
use crate::evidence::faults::FirstBad;
use crate::evidence::record::parse;
use crate::evidence::signers::Signers;
use crate::grant::sshsig::{Namespace, signer};
use crate::grant::{HostDescriptor, PublicKey};

/// The accepted keys, and the hosts that records and requests name.
#[derive(Debug)]
pub(super) struct Hosts {
    signers: Signers,
    /// The last record after which only signatures by the accepted keys are valid: root's acceptance, or a rotation.
    accepted: u64,
    /// Which host this was from the record with this number on, if the record says so.
    became: Vec<(u64, Option<Host>)>,
    /// Which host this was before the first such record: the host of the first request with a record.
    first: Option<Host>,
    /// The hosts that requests name, each once: there are few.
    described: Vec<Host>,
    /// The newest request: its record, and the host that it names.
    pub(super) newest: Option<(u64, String)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Host {
    id: String,
    key: PublicKey,
}

/// The host at a given record.
enum Then<'h> {
    /// It is this one.
    This(&'h Host),
    /// It is that of the first request, which is not known yet.
    First,
    /// Unknown.
    Unknown,
}

impl Default for Hosts {
    fn default() -> Self {
        Self {
            signers: Signers::Anybody,
            accepted: 0,
            became: Vec::new(),
            first: None,
            described: Vec::new(),
            newest: None,
        }
    }
}

impl Hosts {
    /// Processes the `prune` record `seq`, which names the host of the removed records.
    pub(super) fn began(&mut self, seq: u64, prune: &[u8]) -> Result<(), FirstBad> {
        #[derive(Deserialize)]
        struct Prune {
            identity: Option<HostDescriptor>,
        }
        let Some(host) = parse::<Prune>(prune).ok().and_then(|prune| prune.identity) else { return Ok(()) };
        let host = Host::of(&host);
        self.became.insert(0, (0, host.as_ref().ok().cloned()));
        host.map(drop).map_err(|why| inconsistency(seq, format!("names a host of which {why}")))
    }

    /// Processes record `seq`, which names this host, or leaves it open.
    pub(super) fn became(&mut self, seq: u64, host: Option<&HostDescriptor>) -> Result<(), FirstBad> {
        let host = host.map(Host::of).transpose();
        self.became.push((seq, host.as_ref().ok().cloned().flatten()));
        host.map(drop).map_err(|why| inconsistency(seq, format!("names a host of which {why}")))
    }

    fn then(&self, seq: u64) -> Then<'_> {
        match self.became.iter().rev().find(|(since, _)| *since < seq) {
            Some((_, Some(host))) => Then::This(host),
            Some((_, None)) => Then::Unknown,
            None => self.first.as_ref().map_or(Then::First, Then::This),
        }
    }

    /// Checks the host of a request that has this record.
    pub(super) fn asked(&mut self, seq: Option<u64>, asked: &RequestDocument) -> Result<(), String> {
        // Version 1 names no key.
        let Some(described) = asked.described() else { return Ok(()) };
        if let Some(seq) = seq {
            self.newest = Some((seq, described.id.clone()));
        }
        let host = Host::of(described).map_err(|why| format!("it names a host of which {why}"))?;
        self.count(seq, &host.key)?;
        match seq.map(|seq| self.then(seq)) {
            Some(Then::This(this)) if *this != host => return Err(ANOTHER.to_owned()),
            Some(Then::First) => self.first = Some(host.clone()),
            Some(Then::This(_) | Then::Unknown) | None => {}
        }
        if !self.described.contains(&host) {
            self.described.push(host);
        }
        Ok(())
    }

    /// Checks the host that a grant with this record names.
    pub(super) fn granted(&self, seq: u64, host: &str) -> Result<(), String> {
        match self.then(seq) {
            Then::This(this) if this.id != host => Err(ANOTHER.to_owned()),
            Then::This(_) | Then::First | Then::Unknown => Ok(()),
        }
    }

    /// Checks the host's signature of a statement with this record, by the key that the host had then. If the statement
    /// has lost its record, only its request can tell the host.
    pub(super) fn stated(
        &self,
        seq: Option<u64>,
        document: &StatementDocument,
        asked: &RequestDocument,
        (body, signature): (&[u8], &[u8]),
    ) -> Result<(), String> {
        let key = signer(Namespace::Statement, body, signature).map_err(|fault| fault.to_string())?;
        self.count(seq, &key)?;
        match seq.map(|seq| self.then(seq)) {
            Some(Then::This(this)) if this.id != document.host => return Err(ANOTHER.to_owned()),
            Some(Then::This(this)) if this.key != key => return Err(other_key(&key)),
            Some(Then::This(_)) => return Ok(()),
            Some(Then::First) if asked.host_id() != document.host => return Err(ANOTHER.to_owned()),
            Some(Then::First | Then::Unknown) | None => {}
        }
        if asked.host_id() == document.host {
            return asked.is_of(&key);
        }
        let mut named = self.described.iter().filter(|host| host.id == document.host).peekable();
        if named.peek().is_none() || named.any(|host| host.key == key) { Ok(()) } else { Err(other_key(&key)) }
    }

    /// Checks that whatever came after root's last acceptance is signed with an accepted key.
    fn count(&self, seq: Option<u64>, key: &PublicKey) -> Result<(), String> {
        match seq {
            Some(seq) if seq > self.accepted && !self.signers.count(key) => {
                Err(format!("{}, and root has not accepted that", other_key(key)))
            }
            Some(_) | None => Ok(()),
        }
    }
}

impl Host {
    fn of(described: &HostDescriptor) -> Result<Self, &'static str> {
        let key = described.public_key().ok_or("the key is none")?;
        let id = described.host_id().ok_or("the id does not belong to the key and the machine")?;
        Ok(Self { id: id.as_str().to_owned(), key })
    }
}

const ANOTHER: &str = "it names another host than this was by then";

fn other_key(key: &PublicKey) -> String {
    format!("it was signed by another key than this host's, {}", key.fingerprint())
}

impl Power {
    /// Sets the accepted keys, the record from which on they count, and that of root's acceptance; called before any row.
    pub fn keys(&mut self, signers: Signers, since: u64, accepted: u64) {
        (self.hosts.signers, self.hosts.accepted) = (signers, since);
        self.accepted = accepted;
    }
}
