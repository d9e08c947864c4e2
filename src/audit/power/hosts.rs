//! Whose keys have signed what stands in the tables: this host's of today, or one that root has accepted since.

use super::Power;
use super::papers::{RequestPaper, StatementPaper};
use crate::audit::proof::Signers;
use crate::grant::PublicKey;
use crate::grant::sshsig::{Namespace, signer};

/// The keys that count, and those that requests name as their hosts'.
#[derive(Debug)]
pub(super) struct Hosts {
    signers: Signers,
    /// The last record by which root accepted the state of the host.
    accepted: u64,
    /// Host ids with their keys, each once: there are few.
    described: Vec<(String, PublicKey)>,
    /// The record of the newest request with the host that it names.
    pub(super) newest: Option<(u64, String)>,
}

impl Hosts {
    pub(super) fn anybody() -> Self {
        Self { signers: Signers::Anybody, accepted: 0, described: Vec::new(), newest: None }
    }

    /// The host of a request that was recorded under this number.
    pub(super) fn asked(&mut self, seq: Option<u64>, asked: &RequestPaper) -> Result<(), String> {
        // Version 1 names no key.
        let Some((id, key)) = asked.described() else { return Ok(()) };
        if let Some(seq) = seq {
            self.newest = Some((seq, id.to_owned()));
        }
        self.count(seq, &key)?;
        let known = self.described.iter().any(|(other, named)| other == id && *named == key);
        if !known {
            self.described.push((id.to_owned(), key));
        }
        Ok(())
    }

    /// The host's signature of a statement that was recorded under this number. A host that has got another key since has another
    /// id, and a statement of today names that.
    pub(super) fn stated(
        &self,
        seq: Option<u64>,
        paper: &StatementPaper,
        asked: &RequestPaper,
        (body, signature): (&[u8], &[u8]),
    ) -> Result<(), String> {
        let key = signer(Namespace::Statement, body, signature).map_err(|fault| fault.to_string())?;
        self.count(seq, &key)?;
        if asked.host_id() == paper.host {
            return asked.is_of(&key);
        }
        let named: Vec<_> = self.described.iter().filter(|(id, _)| *id == paper.host).collect();
        let own = !matches!(self.signers, Signers::Anybody) && self.signers.count(&key);
        let known = match named.as_slice() {
            [] => own || asked.would_be(&key, &paper.host) || self.described.iter().any(|(_, other)| *other == key),
            named => named.iter().any(|(_, other)| *other == key),
        };
        if known { Ok(()) } else { Err(other_key(&key)) }
    }

    /// What came after root's last consent is by a key that counts.
    fn count(&self, seq: Option<u64>, key: &PublicKey) -> Result<(), String> {
        match seq {
            Some(seq) if seq > self.accepted && !self.signers.count(key) => {
                Err(format!("{}, and root has not accepted that", other_key(key)))
            }
            Some(_) | None => Ok(()),
        }
    }
}

fn other_key(key: &PublicKey) -> String {
    format!("it was signed by another key than this host's, {}", key.fingerprint())
}

impl Power {
    /// Whose keys count, and since which record; before any row.
    pub fn keys(&mut self, signers: Signers, accepted: u64) {
        self.hosts = Hosts { signers, accepted, described: Vec::new(), newest: None };
        self.accepted = accepted;
    }
}
