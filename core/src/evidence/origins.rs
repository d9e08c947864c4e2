//! Of which journal a signed tree head is: the origin and the key of a note say it together. Many hosts send to one log, and whoever has
//! the key of a host can sign a note under any origin.

use std::collections::BTreeMap;

use super::elsewhere::KnownHead;
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

/// The origins and keys of the checkpoints of a journal.
#[derive(Debug, Default)]
pub struct Origins(BTreeMap<(String, [u8; 4]), Note>);

impl Origins {
    /// Adds the note of a checkpoint.
    pub fn add(&mut self, note: &Note) {
        let Some((origin, _)) = note.head() else { return };
        for signature in note.signatures.iter().filter(|signature| signature.name == origin) {
            self.0.entry((origin.to_owned(), signature.id)).or_insert_with(|| note.clone());
        }
    }

    /// Returns the heads that may decide about this journal. `keys`: the given host keys. A head by another key than the journal's is
    /// of another host, and left out. One by its key, but of another origin, cannot confirm it; that one differs is a fault all the
    /// same, and so is any head where no given key has signed a checkpoint.
    pub fn of_journal(&self, heads: Vec<SignedHead>, keys: &[PublicKey]) -> Vec<KnownHead> {
        let own: Vec<&PublicKey> =
            keys.iter().filter(|key| self.0.keys().any(|(origin, _)| self.has(origin, key))).collect();
        let may_decide = |signed: &SignedHead| own.is_empty() || own.contains(&&signed.key);
        let known = |signed: SignedHead| KnownHead {
            is_own: self.has(&signed.origin, &signed.key),
            head: signed.head,
            cosigned: signed.cosigned,
            witnesses: signed.witnesses,
            seq: signed.seq,
        };
        heads.into_iter().filter(may_decide).map(known).collect()
    }

    fn has(&self, origin: &str, key: &PublicKey) -> bool {
        let Some(key) = NoteKey::of_host(origin, key) else { return false };
        self.0.get(&(origin.to_owned(), key.id())).is_some_and(|note| key.signed(note))
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
            origins.of_journal(heads, keys).into_iter().map(|known| (known.head.size, known.is_own)).collect::<Vec<_>>()
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
