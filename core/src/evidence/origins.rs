//! Of which journal a signed tree head is: the origin and the key of a note say it together. Many hosts send to one log, and whoever has
//! the key of a host can sign a note under any origin.

use std::collections::BTreeMap;

use super::elsewhere::KnownHead;
use super::lineage::Lineage;
use super::note::{Note, NoteKey};
use super::tree::TreeHead;
use crate::grant::PublicKey;

/// A tree head in a note that was kept elsewhere, and that a host key has signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedHead {
    /// Size and root.
    pub head: TreeHead,
    /// The origin of the note.
    pub origin: String,
    /// The key that signed it.
    pub key: PublicKey,
    /// When a witness cosigned it, in seconds since 1970; `None` if none did.
    pub cosigned: Option<u64>,
    /// Which witnesses did, one bit for each.
    pub witnesses: u64,
    /// The number of the last record that it covers, as the lines say that have it. No signature of the note proves it.
    pub seq: Option<u64>,
}

/// The origins and keys of the checkpoints of a journal, and the host keys that it names.
#[derive(Debug, Default)]
pub struct Origins {
    notes: BTreeMap<(String, [u8; 4]), Note>,
    lineage: Lineage,
}

impl Origins {
    /// Adds the note of a checkpoint.
    pub fn add(&mut self, note: &Note) {
        let Some((origin, _)) = note.head() else { return };
        for signature in note.signatures.iter().filter(|signature| signature.name == origin) {
            self.notes.entry((origin.to_owned(), signature.id)).or_insert_with(|| note.clone());
        }
    }

    /// Adds the exact bytes of an `epoch`, `rotation` or `retirement` record, or of any other. The latest checkpoint of each thousand
    /// records is kept, so a key may have none that is left.
    pub fn record(&mut self, body: &[u8]) {
        self.lineage.learn(body);
    }

    /// Returns the host keys that the journal names.
    pub fn lineage(&self) -> &Lineage {
        &self.lineage
    }

    /// Returns the heads that were given about this journal. `keys`: the given host keys. A head by a key that is not given is left out.
    /// One by a given key that this journal is not by is counted, if it is by another given one: it is of another host, or of another
    /// journal of this host. One by a key of the journal, but of another origin, cannot confirm it; that one differs is a fault all the
    /// same, and so is any head where the journal is by no given key.
    pub fn of_journal(&self, heads: Vec<SignedHead>, keys: &[PublicKey]) -> Vec<KnownHead> {
        let is_by =
            |key: &PublicKey| self.lineage.has(key) || self.notes.keys().any(|(origin, _)| self.has(origin, key));
        let own: Vec<&PublicKey> = keys.iter().filter(|key| is_by(key)).collect();
        let is_given = |signed: &SignedHead| own.is_empty() || keys.contains(&signed.key);
        let known = |signed: SignedHead| KnownHead {
            is_own: self.has(&signed.origin, &signed.key) || self.lineage.is_origin(&signed.origin, &signed.key),
            is_other: !own.is_empty() && !own.contains(&&signed.key),
            end: self.lineage.end(&signed.key),
            head: signed.head,
            cosigned: signed.cosigned,
            witnesses: signed.witnesses,
            seq: signed.seq,
        };
        heads.into_iter().filter(is_given).map(known).collect()
    }

    fn has(&self, origin: &str, key: &PublicKey) -> bool {
        let Some(key) = NoteKey::of_host(origin, key) else { return false };
        self.notes.get(&(origin.to_owned(), key.id())).is_some_and(|note| key.signed(note))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::Digest;
    use crate::evidence::note::{origin, signed_by_host};
    use crate::grant::HostKey;

    fn key(seed: u8) -> HostKey {
        HostKey::from_seed([seed; 32])
    }

    fn signed(seed: u8, host: &str) -> SignedHead {
        let head = TreeHead { size: u64::from(seed), root: Digest([seed; 32]) };
        SignedHead {
            head,
            origin: origin(host),
            key: key(seed).public_key(),
            cosigned: Some(9),
            witnesses: 1,
            seq: None,
        }
    }

    #[test]
    fn only_the_origin_and_the_key_of_the_checkpoints_confirm_a_journal() {
        let mut origins = Origins::default();
        let tree = TreeHead { size: 1, root: Digest([1; 32]) };
        origins.add(&signed_by_host(&key(7), "aa", &tree).unwrap());
        let keys = [key(7).public_key(), key(8).public_key()];
        let own = |heads: Vec<SignedHead>, keys: &[PublicKey]| {
            let known = origins.of_journal(heads, keys).into_iter();
            known.filter(|known| !known.is_other).map(|known| (known.head.size, known.is_own)).collect::<Vec<_>>()
        };
        assert_eq!(
            own(vec![signed(7, "aa"), signed(7, "bb"), signed(8, "bb"), signed(8, "aa")], &keys),
            [(7, true), (7, false)]
        );
        assert_eq!(
            own(vec![signed(8, "aa"), signed(8, "bb")], &keys[1..]),
            [(8, false), (8, false)],
            "another signs it"
        );
        assert_eq!(Origins::default().of_journal(vec![signed(7, "aa")], &keys).len(), 1);
    }
}
