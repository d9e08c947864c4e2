//! Which host the checkpoints of a journal may state: its id belongs to the host key of that time, and to a machine that the journal
//! names.

use serde::Deserialize;

use super::record::parse;
use crate::escape::unhex;
use crate::grant::{HostDescriptor, HostId, PublicKey};

/// The machines that records name, and the host ids that checkpoints state.
#[derive(Debug, Clone, Default)]
pub(super) struct Hosts {
    machines: Vec<[u8; 32]>,
    /// The first record that names the host.
    first: Option<u64>,
    /// Whether a record says that the host has changed, and does not say to which.
    is_open: bool,
    /// The keys and host ids that checkpoints state, each with the number of the first one.
    stated: Vec<(u64, PublicKey, String)>,
}

#[derive(Deserialize)]
struct Named {
    code: Option<String>,
    identity: Option<HostDescriptor>,
}

impl Hosts {
    /// Processes a record that may name the host: an alert, or a pruning.
    pub(super) fn record(&mut self, seq: u64, kind: &str, body: &[u8]) {
        if kind != "alert" && kind != "prune" {
            return;
        }
        let Ok(named) = parse::<Named>(body) else { return };
        let changes = named.code.as_deref().is_some_and(|code| ["host-changed", "state-accepted"].contains(&code));
        match &named.identity {
            Some(host) => self.machine(seq, host),
            None => self.is_open |= changes,
        }
    }

    /// Processes record `seq`, which names the host.
    pub(super) fn named(&mut self, seq: u64, body: &[u8]) {
        let host = parse::<Named>(body).ok().and_then(|named| named.identity);
        host.iter().for_each(|host| self.machine(seq, host));
    }

    fn machine(&mut self, seq: u64, host: &HostDescriptor) {
        let Some(machine) = unhex(&host.machine).filter(|_| host.host_id().is_some()) else { return };
        self.first = self.first.or(Some(seq));
        if !self.machines.contains(&machine) {
            self.machines.push(machine);
        }
    }

    /// Processes a checkpoint of record `seq` that states this host, by this host key.
    pub(super) fn stated(&mut self, seq: u64, key: &PublicKey, host: &str) {
        if !self.stated.iter().any(|(_, by, id)| id == host && by == key) {
            self.stated.push((seq, key.clone(), host.to_owned()));
        }
    }

    /// Returns the host ids of this key.
    pub(super) fn ids(&self, key: &PublicKey) -> impl Iterator<Item = HostId> {
        let blob = key.blob();
        self.machines.iter().map(move |machine| HostId::of(&blob, machine))
    }

    /// Returns the first checkpoint by a key that counts that states a host that this was not. Before a record names the host, one machine
    /// is not known: the checkpoints of a key then state one host that no record explains.
    pub(super) fn misnamed(&self, counts: impl Fn(&PublicKey) -> bool) -> Option<u64> {
        let is_named = |key: &PublicKey, host: &str| self.ids(key).any(|id| id.as_str() == host);
        let mut unknown: Vec<&PublicKey> = Vec::new();
        for (seq, key, host) in &self.stated {
            if is_named(key, host) || !counts(key) {
                continue;
            }
            let is_late = !self.is_open && self.first.is_some_and(|first| first <= *seq);
            if is_late || (!self.is_open && unknown.contains(&key)) {
                return Some(*seq);
            }
            unknown.push(key);
        }
        None
    }
}
