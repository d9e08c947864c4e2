//! What a journal proves by its chain, its checkpoints and heads that were kept elsewhere together. This module needs
//! no SQLite, no privilege and no clock: jitctl verifies exported records with the same code.

use super::chain::{Begin, Chain, Row};
use super::checkpoint::{Checkpoint, EVERY_SECONDS, Statement};
use super::elsewhere::Elsewhere;
use super::epochs::{Epochs, Sealing, Standing};
use super::faults::{Cause, FirstBad};
use super::foreign::Foreign;
use super::forks::{Forks, FoundFork, Heads};
use super::key_event::ROTATION;
use super::lineage::Lineage;
use super::mark::Mark;
use super::policy_history::PolicyHistory;
use super::power::Compared;
use super::prunings::Prunings;
use super::record::Record;
pub use super::signed::Signed;
pub use super::signers::Signers;
use super::tree::Frontier;
use super::tree_check::{Compared as ComparedHeads, Stored, TreeCheck};
use super::unsigned::Unsigned;
use crate::clock::Timestamp;
use crate::grant::sshsig::{Namespace, signer};

/// What was proved.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Proven {
    /// The number before the first record: 0, or that of the last record that was pruned or skipped.
    pub before: u64,
    /// The number of records.
    pub records: u64,
    /// The last record.
    pub last: Mark,
    /// The last checkpoint that counts.
    pub signed: Option<Signed>,
    /// The number of checkpoints by other keys.
    pub foreign: u64,
    /// The highest number on which the anchor agrees.
    pub anchored: Option<u64>,
    /// What the heads that were kept elsewhere show, besides those of `anchored`.
    pub heads: ComparedHeads,
    /// Whether the tree heads of the checkpoints were compared with the records.
    pub tree: bool,
    /// The number of heads elsewhere of records that were pruned: they are not compared, except that of the last one.
    pub pruned_heads: u64,
    /// The forks: where records were lost, and the journal went on behind their numbers.
    pub forks: Vec<FoundFork>,
    /// The sealing keys.
    pub sealing: Sealing,
    /// The rows of the database that agree with the records; `None` without a database.
    pub compared: Option<Compared>,
}

/// A verification in progress: it gets records in the order of their numbers, and each checkpoint after its record.
pub struct Proof {
    chain: Chain,
    signers: Signers,
    epochs: Epochs,
    /// What keys have signed that do not count so far.
    foreign: Foreign,
    /// Heads kept elsewhere that are still to be compared.
    marks: Heads,
    forks: Forks,
    tree: TreeCheck,
    hearsay: Unsigned,
    prunings: Prunings,
    /// The number of records so far, and of those up to the last checkpoint that counts.
    read: u64,
    signed: u64,
    /// The time of the first record, µs.
    first: Option<i64>,
    found: Proven,
}

impl Proof {
    /// Starts the verification. `anchor`: heads that were kept elsewhere, in any order.
    pub fn new(begin: Begin, signers: Signers, anchor: impl IntoIterator<Item = Mark>) -> Self {
        let chain = Chain::new(begin);
        let last = chain.last();
        let mut found = Proven {
            before: last.seq,
            records: 0,
            last,
            signed: None,
            foreign: 0,
            anchored: None,
            heads: ComparedHeads::default(),
            tree: begin == Begin::First,
            pruned_heads: 0,
            forks: Vec::new(),
            sealing: Sealing::default(),
            compared: None,
        };
        let (mut marks, mut forks) = (Forks::heads(anchor), Forks::default());
        let pruned = match begin {
            Begin::Pruned(mark) => Some(mark),
            Begin::First | Begin::Part(_) => None,
        };
        let behind = marks.split_off(&last.seq.saturating_add(1));
        let before = std::mem::replace(&mut marks, behind);
        if let Some(pruned) = pruned {
            found.pruned_heads = before.values().map(|heads| heads.len() as u64).sum();
            if let Some(heads) = before.get(&pruned.seq).filter(|heads| heads.iter().any(|head| *head != pruned.hash)) {
                forks.differ(pruned.seq, heads.clone());
            }
        }
        let prunings = Prunings::behind(pruned);
        let tree = TreeCheck::new((begin == Begin::First).then(Frontier::default));
        let hearsay = Unsigned::default();
        let epochs = Epochs::new(matches!(begin, Begin::Part(_)), Vec::new());
        Self {
            chain,
            signers,
            epochs,
            foreign: Foreign::default(),
            marks,
            forks,
            tree,
            hearsay,
            prunings,
            read: 0,
            signed: 0,
            first: None,
            found,
        }
    }

    /// Sets the tree of the records before the first one. Checkpoints and the record of the pruning must confirm it.
    #[must_use]
    pub fn after(mut self, removed: Frontier) -> Self {
        (self.tree, self.found.tree) = (TreeCheck::new(Some(removed)), true);
        self
    }

    /// Sets what else was kept elsewhere; comes after [`Self::after`] and [`Self::with_sealing_keys`].
    #[must_use]
    pub fn with(mut self, elsewhere: Elsewhere) -> Self {
        self.tree.expect(elsewhere.heads);
        self.epochs.expect(elsewhere.epochs);
        self.hearsay = Unsigned::new(elsewhere.unsigned, self.found.before);
        self
    }

    /// Demands that sealing keys with these fingerprints, which are known from elsewhere, have signed the journal; called before any
    /// record. At least one of them must have signed something, and one in each line of sealing keys from it on.
    #[must_use]
    pub fn with_sealing_keys(self, begin: Begin, given: Vec<String>) -> Self {
        Self { epochs: Epochs::new(matches!(begin, Begin::Part(_)), given), ..self }
    }

    /// Processes the exact bytes of an `epoch` record of an earlier part; called before any record and checkpoint, in their order.
    pub fn certificate(&mut self, body: &[u8]) -> Result<(), FirstBad> {
        let seq = self.epochs.certificate(body, &self.signers)?;
        if seq > self.chain.last().seq {
            let why = "is behind the beginning of this part".to_owned();
            return Err(FirstBad { seq, cause: Cause::Epoch(why) });
        }
        self.prunings.certified(self.epochs.latest());
        Ok(())
    }

    /// Verifies the next record as it is stored. [`Chain::feed`] documents the result, and after which errors the
    /// caller may continue.
    pub fn record<'r>(&mut self, row: &Row<'r>) -> Result<Option<&'r str>, FirstBad> {
        let told = self.chain.feed(row);
        if told.as_ref().is_err_and(|bad| !bad.cause.is_of_the_replay()) {
            return told.map_err(|bad| self.first_of(bad));
        }
        self.first = self.first.or(row.copies.map(|copies| copies.at));
        self.compare(row.body)?;
        let Some(copies) = row.copies else { return told };
        let of_kind = self.is_of(copies.kind, row.body);
        self.seal(copies.kind, row.body)?;
        let pruned = self.prunings.record(self.chain.last().seq, copies.kind, row.body);
        of_kind.and(pruned).and(told)
    }

    /// Verifies the next record of an export, which has no columns.
    pub fn bare_record(&mut self, body: &[u8]) -> Result<(), FirstBad> {
        let kind = self.chain.feed_bare(body).map_err(|bad| self.first_of(bad))?;
        self.compare(body)?;
        self.seal(kind, body)?;
        self.is_of(kind, body)?;
        self.prunings.record(self.chain.last().seq, kind, body)
    }

    /// Processes the last record for the sealing keys. The signature of an `epoch` record covers all records up to it.
    fn seal(&mut self, kind: &str, body: &[u8]) -> Result<(), FirstBad> {
        let (last, accepted) = (self.chain.last(), self.chain.accepted());
        let by = self.epochs.record(last.seq, kind, body, (Some(accepted), &self.signers));
        let Some(key) = by.map_err(|bad| self.first_of(bad))? else {
            return if kind == ROTATION { self.vouched() } else { Ok(()) };
        };
        let at = Record::decode(&String::from_utf8_lossy(body)).map_or(0, |record| record.time.seconds());
        let signed = Signed { through: last.seq, at, key };
        match self.epochs.line_standing(&self.signers) {
            Standing::Counts => self.counts(signed),
            Standing::Foreign | Standing::Wrong | Standing::Early => self.is_foreign(signed, Ok(())),
        }
        Ok(())
    }

    /// The new key of a rotation that counts vouches for what the old one has signed.
    fn vouched(&mut self) -> Result<(), FirstBad> {
        let lineage = self.epochs.lineage();
        let last = self.foreign.vouched(|key| lineage.counts(key, &self.signers));
        let Some((signed, records)) = last.map_err(|bad| self.first_of(bad))? else { return Ok(()) };
        if self.found.signed.as_ref().is_none_or(|last| last.through < signed.through) {
            (self.found.signed, self.signed) = (Some(signed), records);
        }
        Ok(())
    }

    fn counts(&mut self, signed: Signed) {
        (self.found.signed, self.signed) = (Some(signed), self.read);
    }

    fn is_foreign(&mut self, signed: Signed, checked: Result<(), FirstBad>) {
        self.foreign.add(self.epochs.lineage().key(), signed, self.read, checked);
    }

    /// Checks that the last record has the contents of its kind.
    fn is_of(&self, kind: &str, body: &[u8]) -> Result<(), FirstBad> {
        let lacks =
            |error: serde_json::Error| FirstBad { seq: self.chain.last().seq, cause: Cause::Lacks(error.to_string()) };
        Record::is_of(kind, body).map_err(lacks)?;
        if kind != "prune" {
            return Ok(());
        }
        let (seq, pruning) = (self.chain.last().seq, self.tree.pruning(self.found.before, body));
        pruning.map_err(|cause| FirstBad { seq, cause })
    }

    /// Returns the subtrees that a database stores with the records so far.
    pub fn stored(&self) -> &[Stored] {
        self.tree.stored()
    }

    fn compare(&mut self, body: &[u8]) -> Result<(), FirstBad> {
        let last = self.chain.last();
        self.read = self.read.saturating_add(1);
        match self.chain.fork() {
            Some(fork) => self.forks.fork(last.seq, fork, body, &mut self.marks)?,
            None => self.forks.record(body),
        }
        self.tree.record(last, self.chain.fork());
        self.hearsay.record(last, self.chain.fork(), body);
        if self.chain.accepted() == last.seq {
            self.forks.accepted(last.seq, body);
        }
        match self.marks.remove(&last.seq) {
            Some(heads) if heads.iter().any(|head| *head != last.hash) => self.forks.differ(last.seq, heads),
            Some(_) => self.found.anchored = Some(last.seq),
            None => {}
        }
        Ok(())
    }

    /// Returns the fault that comes first: this one, or an earlier head elsewhere that differs.
    fn first_of(&self, bad: FirstBad) -> FirstBad {
        let differing = self.forks.differing().into_iter().chain(self.tree.differing());
        let first = differing.min_by_key(|differing| differing.seq);
        first.filter(|differing| differing.seq <= bad.seq).unwrap_or(bad)
    }

    /// Verifies the checkpoint of the last record.
    pub fn checkpoint(&mut self, checkpoint: &Checkpoint) -> Result<(), FirstBad> {
        let last = self.chain.last();
        if checkpoint.seq > last.seq {
            let cut_off = FirstBad { seq: last.seq.saturating_add(1), cause: Cause::CutOff(checkpoint.seq) };
            return Err(self.first_of(cut_off));
        }
        let Some(statement) = Statement::decode(&checkpoint.body) else {
            return self.bad_checkpoint(
                checkpoint,
                Cause::Checkpoint("is not in the format that this version knows".to_owned()),
            );
        };
        if statement.seq != checkpoint.seq || checkpoint.seq != last.seq {
            return self.bad_checkpoint(checkpoint, Cause::Checkpoint("is in the wrong place".to_owned()));
        }
        let key = match signer(Namespace::Checkpoint, &checkpoint.body, &checkpoint.signature) {
            Ok(key) => key,
            Err(fault) => return self.bad_checkpoint(checkpoint, Cause::Checkpoint(format!("does not hold: {fault}"))),
        };
        let standing = self.epochs.checkpoint((checkpoint.seq, statement.at), &key, &self.signers);
        let pruned = self.prunings.checkpoint(checkpoint.seq, statement.at, matches!(standing, Standing::Counts));
        pruned.map_err(|bad| self.first_of(bad))?;
        let signed = Signed { through: statement.seq, at: statement.at, key };
        match standing {
            Standing::Counts => {}
            Standing::Foreign => {
                let checked = self.agrees(checkpoint, &statement);
                self.epochs.stated(statement.seq, &statement.host);
                self.is_foreign(signed, checked);
                return Ok(());
            }
            Standing::Early => {
                let why = "states a time at which its key was not certified yet".to_owned();
                return self.bad_checkpoint(checkpoint, Cause::Checkpoint(why));
            }
            Standing::Wrong => {
                let why = "is not signed with the sealing key of its epoch".to_owned();
                return self.bad_checkpoint(checkpoint, Cause::Checkpoint(why));
            }
        }
        self.agrees(checkpoint, &statement).map_err(|bad| self.first_of(bad))?;
        self.epochs.stated(statement.seq, &statement.host);
        self.counts(signed);
        Ok(())
    }

    /// Checks what a checkpoint states of the records, and its note.
    fn agrees(&self, checkpoint: &Checkpoint, statement: &Statement) -> Result<(), FirstBad> {
        let bad = |cause| FirstBad { seq: checkpoint.seq, cause };
        if statement.head != self.chain.last().hash {
            return Err(bad(Cause::OtherSigned));
        }
        self.tree.checkpoint(checkpoint, statement, self.epochs.lineage().key(), &self.signers).map_err(bad)
    }

    fn bad_checkpoint(&self, checkpoint: &Checkpoint, cause: Cause) -> Result<(), FirstBad> {
        Err(self.first_of(FirstBad { seq: checkpoint.seq, cause }))
    }

    /// Returns the roles of the policies so far; `None` when a part is verified.
    pub fn policies(&self) -> Option<&PolicyHistory> {
        self.chain.policies()
    }

    /// Returns the last record with which root accepted the state of the host; 0 without one.
    pub fn accepted(&self) -> u64 {
        self.chain.accepted()
    }

    /// Returns the last record after which only signatures by keys that count are valid: root's acceptance, or a rotation.
    pub fn accepted_keys(&self) -> u64 {
        self.chain.accepted().max(self.lineage().vouched(&self.signers))
    }

    /// Returns the keys whose signatures are valid after that record.
    pub fn present_keys(&self) -> Signers {
        self.lineage().present(&self.signers)
    }

    fn lineage(&self) -> &Lineage {
        self.epochs.lineage()
    }

    /// Ends the verification. At most `tail` records at the end may lack a checkpoint. `now`: given on the journal's
    /// own host, where the journal must have a checkpoint of the host one minute after its first record.
    pub fn end(self, tail: u64, now: Option<Timestamp>) -> Result<Proven, FirstBad> {
        let (accepted_keys, misnamed) = (self.accepted_keys(), self.lineage().misnamed(&self.signers));
        // Nobody can sign what follows a retirement. That of this host has a checkpoint of its own, or of a record behind it.
        let signed = self.found.signed.as_ref().map_or(0, |signed| signed.through);
        let is_over = self.lineage().retired().is_some_and(|retired| retired.seq <= signed);
        let tail = if is_over { u64::MAX } else { tail };
        let verified = self.chain.end()?;
        let last = self.chain.last();
        if let Some(differing) = self.forks.differing() {
            return Err(differing);
        }
        if let Some(unexplained) = self.forks.unexplained() {
            return Err(unexplained);
        }
        let mut heads = self.tree.end(last.seq, &self.forks)?;
        let lost = self.hearsay.end(&mut heads);
        if let Some(known) = self.marks.keys().next_back() {
            return Err(FirstBad { seq: last.seq.saturating_add(1), cause: Cause::CutOff(*known) });
        }
        if let Some(seq) = misnamed {
            let why = "states a host that this was not by then".to_owned();
            return Err(FirstBad { seq, cause: Cause::Checkpoint(why) });
        }
        // Of what was pruned, only the signature of its checkpoint is left: on no machine is that of an unknown key enough.
        let is_due = |seq: &u64| matches!(self.signers, Signers::Host(_)) || *seq <= self.found.before;
        if let Some(seq) = self.foreign.last().filter(is_due)
            && (self.found.signed.is_none() || accepted_keys <= seq)
        {
            return Err(FirstBad { seq, cause: Cause::OtherKey });
        }
        self.prunings.end(accepted_keys, self.found.signed.as_ref().map_or(0, |signed| signed.through))?;
        let age = now.zip(self.first).map_or(0, |(now, first)| now.0.saturating_sub(first).saturating_div(1_000_000));
        if let (Signers::Host(_), None) = (&self.signers, &self.found.signed)
            && age > EVERY_SECONDS
        {
            return Err(FirstBad { seq: self.found.before.saturating_add(1), cause: Cause::NoCheckpoint });
        }
        let not_rotated = self.epochs.other_line(&self.signers);
        let sealing = self.epochs.end(
            (self.found.before, last.seq),
            self.found.signed.as_ref().map(|signed| &signed.key),
            &self.forks,
        )?;
        if self.read.saturating_sub(self.signed) > tail {
            if let (Signers::These(_), Some((seq, key))) = (&self.signers, not_rotated) {
                return Err(FirstBad { seq, cause: Cause::NotRotated(key) });
            }
            let through = self.found.signed.as_ref().map_or(self.found.before, |signed| signed.through);
            return Err(FirstBad { seq: through.saturating_add(1), cause: Cause::Unsigned });
        }
        let forks = self.forks.found().into_iter().map(|fork| fork.with(&lost)).collect();
        let foreign = self.foreign.count();
        Ok(Proven { records: verified.records, last, forks, heads, sealing, foreign, ..self.found })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::super::checkpoint::VERSION;
    use super::super::note::signed_by_host;
    use super::super::tree::TreeHead;
    use super::*;
    use crate::evidence::{Digest, chain};
    use crate::grant::HostKey;
    use crate::grant::terms::encode;
    use crate::samples::{self, HOST_SEED};

    type Chained = (u64, String, Digest);

    fn key(seed: u8) -> HostKey {
        HostKey::from_seed([seed; 32])
    }

    /// A checkpoint with the tree of the first `seq` records of the samples.
    fn checkpoint(seq: u64, head: Digest, key: &HostKey) -> Checkpoint {
        checkpoint_of(seq, head, tree(&samples::chain(seq)).head(), key)
    }

    fn checkpoint_of(seq: u64, head: Digest, TreeHead { size, root }: TreeHead, key: &HostKey) -> Checkpoint {
        let statement = Statement { at: 7, head, host: "ab12".into(), root, seq, size, version: VERSION };
        let body = encode(&statement).unwrap();
        let note = signed_by_host(key, "ab12", &statement.tree()).unwrap().to_string();
        Checkpoint { seq, signature: key.sign(Namespace::Checkpoint, &body), body, note }
    }

    fn tree(records: &[Chained]) -> Frontier {
        let mut tree = Frontier::default();
        records.iter().for_each(|(_, _, hash)| tree.push(*hash, |_| ()));
        tree
    }

    fn prove(records: &[Chained], checkpoints: &[Checkpoint], anchor: &[Mark]) -> Result<Proven, FirstBad> {
        let keys = Signers::These(vec![key(HOST_SEED).public_key()]);
        let mut proof = Proof::new(Begin::First, keys, anchor.iter().copied());
        let mut rest = checkpoints.iter();
        for (seq, body, hash) in records {
            proof.record(&Row { seq: *seq, body: body.as_bytes(), hash: &hash.0, copies: None })?;
            for checkpoint in checkpoints.iter().filter(|checkpoint| checkpoint.seq == *seq) {
                proof.checkpoint(checkpoint)?;
                rest.next();
            }
        }
        rest.try_for_each(|checkpoint| proof.checkpoint(checkpoint))?;
        proof.end(2, None)
    }

    fn bad<T>(seq: u64, cause: Cause) -> Result<T, FirstBad> {
        Err(FirstBad { seq, cause })
    }

    #[test]
    fn the_last_good_checkpoint_covers_all_before_it() {
        let records = samples::chain(20);
        let signed = |seq: usize| checkpoint(seq as u64, records[seq - 1].2, &key(HOST_SEED));
        let proven = prove(&records, &[signed(10), signed(19)], &[]).unwrap();
        assert_eq!((proven.records, proven.before, proven.last.seq), (20, 0, 20));
        assert_eq!(proven.signed.unwrap().through, 19);
        assert_eq!(prove(&records, &[signed(10)], &[]), bad(11, Cause::Unsigned));
        assert_eq!(prove(&records, &[], &[]), bad(1, Cause::Unsigned));
        assert_eq!(prove(&[], &[], &[]).unwrap().records, 0);
        let foreign = checkpoint(20, records[19].2, &key(99));
        assert_eq!(prove(&records, std::slice::from_ref(&foreign), &[]), bad(1, Cause::Unsigned));
        assert_eq!(prove(&records, &[signed(18), foreign], &[]).unwrap().foreign, 1);
    }

    #[test]
    fn on_its_host_signatures_of_other_keys_count_after_roots_acceptance() {
        let prove = |events: &[(&str, &str)], signed: &[(u64, u8)]| {
            let (mut prev, mut tree) = (Digest::ZERO, Frontier::default());
            let mut proof = Proof::new(Begin::First, Signers::Host(key(HOST_SEED).public_key()), []);
            for ((kind, code), seq) in events.iter().zip(1..) {
                let body = format!(
                    r#"{{"boot":1,"boot_id":"b","code":"{code}","host":"web1","kind":"{kind}","prev":"{prev}","sentence":"","seq":{seq},"time":1,"version":1}}"#
                );
                prev = chain::hash(body.as_bytes());
                tree.push(prev, |_| ());
                proof.bare_record(body.as_bytes())?;
                for (_, seed) in signed.iter().filter(|(of, _)| *of == seq) {
                    proof.checkpoint(&checkpoint_of(seq, prev, tree.head(), &key(*seed)))?;
                }
            }
            proof.end(10, None)
        };
        let (other_kind, accepted) = (("later", "x"), ("alert", "state-accepted"));
        let other = |seq| bad(seq, Cause::OtherKey);
        let story = [other_kind, other_kind, accepted, other_kind];
        assert_eq!(prove(&story, &[(1, 9), (2, 9)]), other(2), "none of its own");
        assert_eq!(prove(&story, &[(2, 9), (4, HOST_SEED)]).unwrap().foreign, 1);
        assert_eq!(prove(&story, &[(3, 9), (4, HOST_SEED)]), other(3), "the other key signed the acceptance");
        assert_eq!(prove(&[other_kind; 4], &[(2, 9), (4, HOST_SEED)]), other(2), "root did not accept it");
        assert_eq!(prove(&story, &[(2, HOST_SEED)]).unwrap().foreign, 0);
        assert!(prove(&story, &[]).is_ok(), "a new journal has none");
    }

    #[test]
    fn a_rewritten_chain_does_not_match_signature_or_anchor() {
        let records = samples::chain(12);
        let other = Digest([9; 32]);
        assert_eq!(prove(&records, &[checkpoint(10, other, &key(HOST_SEED))], &[]), bad(10, Cause::OtherSigned));
        let good = checkpoint(12, records[11].2, &key(HOST_SEED));
        let mark = |seq: u64, hash| Mark { seq, hash };
        let with = |anchor: &[Mark]| prove(&records, std::slice::from_ref(&good), anchor);
        assert_eq!(with(&[mark(5, other)]), bad(5, Cause::OtherAnchored));
        assert_eq!(with(&[mark(5, records[4].2), mark(5, other)]), bad(5, Cause::OtherAnchored));
        assert_eq!(with(&[mark(5, records[4].2), mark(3, records[2].2)]).unwrap().anchored, Some(5));
        assert_eq!(with(&[mark(14, other), mark(13, other)]), bad(13, Cause::CutOff(14)));
    }

    #[test]
    fn every_flipped_bit_of_a_checkpoint_is_rejected() {
        let records = samples::chain(12);
        let good = checkpoint(12, records[11].2, &key(HOST_SEED));
        assert!(prove(&records, std::slice::from_ref(&good), &[]).is_ok());
        for bit in 0..good.body.len() * 8 {
            let mut altered = good.clone();
            altered.body[bit / 8] ^= 1 << (bit % 8);
            assert!(matches!(prove(&records, &[altered], &[]), Err(FirstBad { seq: 12, cause: Cause::Checkpoint(_) })));
        }
        for bit in 0..good.signature.len() * 8 {
            let mut altered = good.clone();
            altered.signature[bit / 8] ^= 1 << (bit % 8);
            assert!(prove(&records, &[altered], &[]).is_err(), "{bit}");
        }
        for bit in 0..good.note.len() * 8 {
            let mut note = good.note.clone().into_bytes();
            note[bit / 8] ^= 1 << (bit % 8);
            let altered = Checkpoint { note: String::from_utf8_lossy(&note).into_owned(), ..good.clone() };
            assert!(prove(&records, &[altered], &[]).is_err(), "{bit} of the note");
        }
        let moved = Checkpoint { seq: 11, ..good.clone() };
        assert!(matches!(prove(&records, &[moved], &[]), Err(FirstBad { seq: 11, cause: Cause::Checkpoint(_) })));
        assert_eq!(prove(&records[..9], &[good], &[]), bad(10, Cause::CutOff(12)));
        let grant = key(HOST_SEED);
        let mut wrong = checkpoint(12, records[11].2, &grant);
        wrong.signature = grant.sign(Namespace::Grant, &wrong.body);
        assert!(matches!(prove(&records, &[wrong], &[]), Err(FirstBad { seq: 12, cause: Cause::Checkpoint(_) })));
    }

    /// Collects every place in a record, by its path.
    fn places(value: &Value, path: &str, found: &mut Vec<String>) {
        match value {
            Value::Object(fields) => {
                fields.iter().for_each(|(key, value)| places(value, &format!("{path}/{key}"), found))
            }
            Value::Array(values) if !values.is_empty() => {
                (0..values.len()).for_each(|index| places(&values[index], &format!("{path}/{index}"), found));
            }
            _ => found.push(path.to_owned()),
        }
    }

    fn change(value: &mut Value) {
        match value {
            Value::String(text) => text.push('0'),
            Value::Number(number) => *value = (number.as_i64().unwrap() + 1).into(),
            Value::Array(values) => values.push(Value::from("x")),
            other => panic!("{other}"),
        }
    }

    #[test]
    fn an_exported_record_without_a_key_of_its_kind_is_rejected() {
        let records = samples::chain(1);
        let fed = |body: &str| Proof::new(Begin::First, Signers::Anybody, []).bare_record(body.as_bytes());
        assert_eq!(fed(&records[0].1), Ok(()));
        let mut lacking: serde_json::Map<String, Value> = serde_json::from_str(&records[0].1).unwrap();
        lacking.remove("argv").unwrap();
        let lacking = Value::from(lacking).to_string();
        assert!(matches!(fed(&lacking), Err(FirstBad { seq: 1, cause: Cause::Lacks(_) })));
        let spaced = records[0].1.replacen(',', ", ", 1);
        assert!(matches!(fed(&spaced), Err(FirstBad { seq: 1, cause: Cause::Malformed(_) })));
    }

    /// Three attacks: on the bytes alone, on bytes and hash, and on every later hash and link as well.
    #[test]
    fn an_altered_field_of_any_kind_of_record_is_found_and_named() {
        let records = samples::chain(samples::events().len() as u64 + 2);
        let end = records.last().unwrap();
        let signed = [checkpoint(end.0, end.2, &key(HOST_SEED))];
        assert!(prove(&records, &signed, &[]).is_ok());
        let mut tried = 0;
        for (index, seq) in (0..samples::events().len()).zip(1..) {
            let body: Value = serde_json::from_str(&records[index].1).unwrap();
            let mut paths = Vec::new();
            places(&body, "", &mut paths);
            for path in paths {
                let mut altered = body.clone();
                change(altered.pointer_mut(&path).unwrap());
                let altered = altered.to_string();
                let with = |hash| {
                    let mut records = records.clone();
                    records[index] = (seq, altered.clone(), hash);
                    records
                };
                assert_eq!(prove(&with(records[index].2), &signed, &[]), bad(seq, Cause::Hash), "{path}");
                let hash = chain::hash(altered.as_bytes());
                let found = prove(&with(hash), &signed, &[]).unwrap_err();
                // A record that names a policy has to follow the record of that policy.
                let kind = body["kind"].as_str().unwrap();
                let unknown = matches!((kind, path.as_str()), ("policy", "/kind") | ("grant", "/policy"));
                if matches!(found.cause, Cause::Lacks(_)) {
                    assert_eq!(found.seq, seq, "{path}: {found}");
                    continue;
                }
                if matches!(found.cause, Cause::Malformed(_) | Cause::Policies(_)) {
                    // A list of another kind or length; or a role that its policy does not have.
                    assert_eq!(found.seq, seq, "{path}: {found}");
                    let known = kind == "policy" || path.starts_with("/role") || path == "/version" || kind == "clock";
                    assert!(known, "{kind}{path}: {found}");
                    continue;
                }
                let place = kind == "fork" && ["/continues", "/highest"].contains(&path.as_str());
                let in_place = unknown || place || ["/seq", "/prev"].contains(&path.as_str());
                assert_eq!(found.seq, if in_place { seq } else { seq + 1 }, "{path}: {found}");
                if unknown || (kind, path.as_str()) == ("policy", "/policy") {
                    let anew = prove(&samples::relink(&with(hash)), &signed, &[]).unwrap_err();
                    assert!(matches!(anew.cause, Cause::UnknownPolicy(_)), "{path}: {anew}");
                } else if !place && path != "/seq" && path != "/prev" {
                    let anew = samples::relink(&with(hash));
                    assert_eq!(prove(&anew, &signed, &[]), bad(end.0, Cause::OtherSigned), "{path}");
                    let mark = Mark { seq: seq + 1, hash: records[index + 1].2 };
                    assert_eq!(prove(&anew, &signed, &[mark]), bad(seq + 1, Cause::OtherAnchored), "{path}");
                }
                tried += 1;
            }
        }
        assert!(tried > 150, "{tried}");
    }

    #[test]
    fn a_part_is_verified_by_itself() {
        let records = samples::chain(12);
        let prove = |begin| {
            let mut proof = Proof::new(begin, Signers::Anybody, []);
            for (seq, body, hash) in &records[5..] {
                proof.record(&Row { seq: *seq, body: body.as_bytes(), hash: &hash.0, copies: None })?;
            }
            proof.checkpoint(&checkpoint(12, records[11].2, &key(3)))?;
            proof.end(0, None)
        };
        let proven = prove(Begin::Part(6)).unwrap();
        assert_eq!((proven.before, proven.records, proven.signed.unwrap().key), (5, 7, key(3).public_key()));
        assert_eq!(prove(Begin::First), bad(1, Cause::Gap { found: 6 }));
        let pruned = Mark { seq: 5, hash: records[4].2 };
        assert_eq!(prove(Begin::Pruned(pruned)), bad(5, Cause::NotPruned));
        assert_eq!(prove(Begin::Pruned(Mark { hash: Digest::ZERO, ..pruned })), bad(6, Cause::Link));
    }
}
