//! The journal for its readers: root and the policy's readers see everything, other callers what concerns them.

use super::Context;
use super::failure::{Refused, refused};
use crate::audit::{Between, Due, Filter, Known, NoProof, Order, Page, Stored, Whose};
use crate::host::OnDisk;
use jit_core::clock::Timestamp;
use jit_core::clock::duration::Seconds;
use jit_core::escape::{escape, unhex};
use jit_core::evidence::filter::{Span, Status, Words};
use jit_core::evidence::{
    Checkpoint, Digest, Elsewhere, FirstBad, KnownEpoch, KnownHead, Mark, Origins, Record, SignedHead, Signers,
    TreeHead, prunings,
};
use jit_core::grant::{PublicKey, sshsig};
use jit_core::names::{GrantId, Person, RunId, UserName};
use jit_core::wire::{
    AuditProve, AuditVerify, CheckpointInfo, ExportPage, HeadInfo, MarkInfo, ProofInfo, PruneInfo, RecordFilter,
    RecordInfo, RecordPage, TreeInfo, VerifyInfo,
};

/// The most records in one answer.
const PAGE: u32 = 1000;

/// The most records in one piece of an export.
const PIECE: u32 = 10_000;

/// The shortest retention, in seconds: a typing error must not delete today's evidence.
const KEEP_LEAST: Seconds = Seconds(prunings::KEEP_LEAST.unsigned_abs());

/// The parameters of a listing.
pub(super) struct Listing {
    pub(super) after: u64,
    pub(super) before: Option<u64>,
    pub(super) limit: u32,
    pub(super) newest: bool,
    pub(super) kind: Option<String>,
    pub(super) user: Option<UserName>,
    pub(super) filter: Box<RecordFilter>,
}

impl Context<'_> {
    pub(super) fn audit_list(&self, listing: &Listing) -> Result<RecordPage, Refused> {
        let whose = match (&listing.user, self.is_reader()?) {
            (Some(user), true) => Whose::By(Person { uid: uid_of(user)?, name: user.clone() }),
            (None, true) => Whose::Everybody,
            (Some(user), false) if user != self.caller.name() => {
                return Err(refused("not-a-reader", "only root and the readers of the policy may see others"));
            }
            (_, false) => Whose::About(self.caller.person().clone()),
        };
        let order = if listing.newest { Order::Newest } else { Order::Oldest };
        let between = Between { after: listing.after, before: listing.before.unwrap_or(u64::MAX) };
        let filter = Filter { kind: listing.kind.as_deref(), whose, ..wanted(&listing.filter)? };
        let page = self.journal.list(between, listing.limit.min(PAGE), order, &filter)?;
        Ok(shown(page))
    }

    pub(super) fn audit_show(&self, what: &str) -> Result<RecordPage, Refused> {
        let mut page = match what.parse::<u64>() {
            // Ten digits could be a number or the id of a grant. They count as an id: no journal has so many records.
            Ok(seq) if what.len() < jit_core::names::ID_LENGTH => {
                let records: Vec<Stored> = self.journal.by_seq(seq)?.into_iter().collect();
                Page { records, more: false, looked_at: seq }
            }
            _ => match GrantId::parse(what) {
                Ok(id) => self.journal.by_grant(&id)?,
                Err(_) => self.journal.by_run(what)?,
            },
        };
        if !self.is_reader()? {
            page.records.retain(|stored| self.is_about_caller(stored));
        }
        if page.records.is_empty() {
            let shown = escape(what.as_bytes());
            return Err(refused("unknown-record", format!("there is no record, run or grant {shown}"))
                .hint("jitctl audit list"));
        }
        Ok(shown(page))
    }

    pub(super) fn audit_verify(&self, asked: &AuditVerify) -> Result<VerifyInfo, Refused> {
        let marks = |list: &[MarkInfo]| list.iter().map(mark).collect::<Result<Vec<Mark>, Refused>>();
        let keys = asked.keys.iter().map(|line| public_key(line)).collect::<Result<Vec<PublicKey>, Refused>>()?;
        let heads = asked.heads.iter().map(signed_head).collect::<Result<Vec<SignedHead>, Refused>>()?;
        let heads = self.heads_of_this_journal(heads, &keys)?;
        let epochs = asked.epochs.iter().map(|known| KnownEpoch { seq: known.seq, key: known.key.clone() }).collect();
        let elsewhere = Elsewhere { heads, epochs, unsigned: marks(&asked.unsigned)? };
        let marks = marks(&asked.anchor)?;
        Ok(match self.prove(keys, marks, &elsewhere, asked.sealing_keys.clone())? {
            Ok(proven) => proven.into(),
            Err(bad) => bad.into(),
        })
    }

    /// Returns the heads that were given about this journal: those by the given keys, or without them by the host's, and by the keys to
    /// which rotations lead from and to these.
    fn heads_of_this_journal(&self, heads: Vec<SignedHead>, keys: &[PublicKey]) -> Result<Vec<KnownHead>, Refused> {
        if heads.is_empty() {
            return Ok(Vec::new());
        }
        let mut origins = Origins::default();
        self.journal.notes()?.iter().for_each(|note| origins.add(note));
        for (_, body) in self.journal.certificates(0, u64::MAX, u32::MAX)? {
            origins.record(&body);
        }
        let keys = if keys.is_empty() { vec![self.host.public_key()?.public_key()] } else { keys.to_vec() };
        let joined = origins.lineage().joined(&keys);
        Ok(origins.of_journal(heads, &joined))
    }

    pub(super) fn audit_export(
        &self,
        from: u64,
        since: Option<i64>,
        through: Option<u64>,
    ) -> Result<ExportPage, Refused> {
        let is_first = through.is_none();
        let through = match through {
            Some(through) => through,
            None => {
                self.host.seal(self.journal, Due::Now)?;
                self.journal.head()?.map_or(0, |(seq, _)| seq)
            }
        };
        let pruned = self.journal.pruned()?.map_or(0, |mark| mark.seq);
        let since = since.map(|time| self.journal.first_since(Timestamp::from_seconds(time))).transpose()?;
        let first = from.max(since.unwrap_or(0)).max(pruned.saturating_add(1));
        let between = Between { after: first.saturating_sub(1), before: through.saturating_add(1) };
        let page = shown(self.journal.list(between, PIECE, Order::Oldest, &Filter::default())?);
        let last = page.records.last().map_or(0, |record| record.seq);
        // The checkpoint of the last pruned record precedes the first remaining record.
        let begin = if first == pruned.saturating_add(1) { pruned } else { first };
        let checkpoints = self.journal.checkpoints(begin, last)?.iter().map(checkpoint).collect();
        let certificates = if is_first { self.journal.certificates(0, first, u32::MAX)? } else { Vec::new() };
        let certificates =
            certificates.into_iter().map(|(_, body)| String::from_utf8_lossy(&body).into_owned()).collect();
        // A damaged tree does not prevent an export: the file is verified without it.
        let tree = if first > 1 { self.journal.tree_before(first).unwrap_or_default() } else { None };
        let tree = tree
            .filter(|tree| tree.size() > 0)
            .map(|tree| TreeInfo { size: tree.size(), tree: tree.hashes().iter().map(ToString::to_string).collect() });
        Ok(ExportPage { certificates, records: page.records, checkpoints, tree, through, more: page.more })
    }

    pub(super) fn audit_prove(&self, what: &AuditProve) -> Result<ProofInfo, Refused> {
        self.host.seal(self.journal, Due::Now)?;
        let proof = match what {
            AuditProve::Record(seq) => self.journal.prove_record(*seq)?,
            AuditProve::Growth(old) => self.journal.prove_growth(*old)?,
        };
        let proof = proof.map_err(|why| unproven(&why))?;
        let stored = match what {
            AuditProve::Record(seq) => self.journal.by_seq(*seq)?,
            AuditProve::Growth(_) => None,
        };
        Ok(ProofInfo {
            size: proof.head.size,
            hashes: proof.hashes.iter().map(ToString::to_string).collect(),
            note: proof.checkpoint.note,
            record: proof.index.zip(stored.map(|stored| stored.body)),
        })
    }

    pub(super) fn audit_prune(&self, keep: Option<Seconds>, dry_run: bool) -> Result<PruneInfo, Refused> {
        self.prune(keep, dry_run)
    }

    /// Removes records that are older than `keep`, or older than the policy's `keep`.
    pub(super) fn prune(&self, keep: Option<Seconds>, dry_run: bool) -> Result<PruneInfo, Refused> {
        let keep = keep.or(self.keep()).ok_or_else(|| {
            refused("no-retention", "nothing says how long records are kept")
                .hint("jitctl audit prune --keep 400d, or keep = \"400d\" in [audit] of the policy")
        })?;
        if let Err(bad) = self.prove(Vec::new(), Vec::new(), &Elsewhere::default(), Vec::new())? {
            return Err(altered(&bad));
        }
        self.prune_intact(keep, dry_run)
    }

    /// Returns how long the policy keeps records.
    pub(super) fn keep(&self) -> Option<Seconds> {
        self.policy.settings().audit.keep.map(|keep| Seconds(keep.as_secs()))
    }

    /// Removes records that are older than `keep` from a journal that has just been verified.
    pub(super) fn prune_intact(&self, keep: Seconds, dry_run: bool) -> Result<PruneInfo, Refused> {
        if keep < KEEP_LEAST {
            return Err(refused("no-retention", "records are kept for a day at least"));
        }
        if let Some(why) = self.journal.clock_in_doubt(self.now.moment())? {
            let sentence = format!("{why}, so the age of records is unknown and nothing is removed");
            return Err(refused("clock", sentence).hint(why.cure()));
        }
        let old = self.journal.cut_off(keep, self.now.moment())?;
        let (before, last) = (old.before, self.journal.prunable(old, self.now.moment())?);
        let gone = self.journal.pruned()?.map_or(0, |mark| mark.seq);
        let through = last.map_or(0, |mark| mark.seq);
        let held = self.journal.held_back(keep, gone.max(through), self.now.moment())?;
        let records = self.journal.count(gone, through)?;
        let mut recordings = 0;
        if let Some(last) = last.filter(|_| !dry_run) {
            let (uid, user) = (self.caller.uid(), self.caller.name().as_str());
            if self.host.prune(self.journal, self.now.moment(), last, (uid, user), before)?.is_none() {
                let sentence = "the journal cannot be signed, so nothing is removed";
                return Err(refused("not-signed", sentence).hint("jitctl doctor"));
            }
        }
        if !dry_run {
            // This also removes what an interrupted pruning left.
            self.journal.sweep(|run| {
                recordings += u64::from(self.host.discard_recording(&RunId::stored(run))?);
                Ok::<_, Refused>(())
            })?;
        }
        Ok(PruneInfo { records, recordings, through, before: before.seconds(), done: !dry_run, held })
    }

    /// Verifies the journal with the host's own anchor, and with the host's own key unless `keys` has others.
    pub(super) fn prove(
        &self,
        keys: Vec<PublicKey>,
        mut marks: Vec<Mark>,
        elsewhere: &Elsewhere,
        sealing_keys: Vec<String>,
    ) -> Result<Result<jit_core::evidence::Proven, FirstBad>, Refused> {
        let signers =
            if keys.is_empty() { Signers::Host(self.host.public_key()?.public_key()) } else { Signers::These(keys) };
        // The anchor is read before the database, so every record that it names is already committed.
        marks.extend(self.host.anchored()?);
        loop {
            // Files that have changed are compiled again with the next command and are not compared. If the files that count as
            // compiled cannot be read, the verification fails with that error.
            let on_disk = || self.host.compiled_files();
            let files = on_disk()?;
            let known = Known {
                signers: signers.clone(),
                anchor: marks.clone(),
                elsewhere: elsewhere.clone(),
                sealing_keys: sealing_keys.clone(),
                files: files.as_ref().map(|on_disk| on_disk.files.clone()),
                now: self.now.moment().wall,
            };
            let proven = self.journal.prove(known)?;
            // If the files changed meanwhile, the stored policy may be that of other files: verify again.
            let stamp = |files: Option<OnDisk>| files.map(|on_disk| on_disk.stamp);
            if proven.is_ok() || stamp(on_disk()?) == stamp(files) {
                return Ok(proven);
            }
        }
    }

    /// Returns whether the record is about the caller's acts, or about the caller's requests and grants.
    fn is_about_caller(&self, stored: &Stored) -> bool {
        let Ok(record) = Record::decode(&stored.body) else { return false };
        let keys = record.event.keys();
        let is_theirs =
            |id: GrantId| self.host.store().request(&id, self.now.seconds()).is_ok_and(|request| self.is_own(&request));
        let by_them = keys.uid == Some(self.caller.uid())
            && self.journal.is_by(self.caller.person(), stored.seq).unwrap_or(false);
        by_them || keys.grant.and_then(|id| GrantId::parse(id).ok()).is_some_and(is_theirs)
    }
}

/// Returns the error for a pruning of a journal that is not intact.
pub(super) fn altered(bad: &FirstBad) -> Refused {
    refused("not-intact", format!("nothing is removed from a journal that is not intact: {bad}"))
        .hint("jitctl audit verify")
}

fn wanted(filter: &RecordFilter) -> Result<Filter<'static>, Refused> {
    let all = Span::default();
    let span = Span {
        since: filter.since.map_or(all.since, Timestamp::from_seconds),
        until: filter.until.map_or(all.until, |until| Timestamp::from_seconds(until).plus_seconds(1)),
    };
    let status = match &filter.status {
        Some(text) => Some(Status::parse(text).ok_or_else(|| {
            let shown = escape(text.as_bytes());
            refused("malformed", format!("'{shown}' is no status: write a number, failed, signal, or why a run ended"))
        })?),
        None => None,
    };
    let words = Words {
        role: filter.role.clone(),
        command: filter.command.clone(),
        host: filter.host.clone(),
        status,
        text: filter.text.clone(),
    };
    Ok(Filter { denied: filter.denied, span, words, ..Filter::default() })
}

fn mark(info: &MarkInfo) -> Result<Mark, Refused> {
    let hash =
        unhex(&info.head).ok_or_else(|| refused("malformed", "an anchor's head is not 64 hexadecimal digits"))?;
    Ok(Mark { seq: info.seq, hash: Digest(hash) })
}

fn signed_head(info: &HeadInfo) -> Result<SignedHead, Refused> {
    let root =
        unhex(&info.root).ok_or_else(|| refused("malformed", "the root of a tree is not 64 hexadecimal digits"))?;
    Ok(SignedHead {
        head: TreeHead { size: info.size, root: Digest(root) },
        origin: info.origin.clone(),
        key: public_key(&info.key)?,
        cosigned: info.cosigned,
        witnesses: info.witnesses,
        seq: info.seq,
    })
}

fn unproven(why: &NoProof) -> Refused {
    match why {
        NoProof::NoRecord(seq) => {
            refused("unknown-record", format!("there is no record {seq}")).hint("jitctl audit list")
        }
        NoProof::Unsigned => refused("unsigned", "the host does not sign this journal, so nothing proves the record")
            .hint("jitctl audit verify"),
        NoProof::Pruned(removed) => refused(
            "pruned",
            format!("the first {removed} records were removed, so a proof from fewer records is not possible"),
        ),
        NoProof::Smaller(size) => refused("unknown-record", format!("the journal has only {size} signed records")),
    }
}

fn public_key(line: &str) -> Result<PublicKey, Refused> {
    let mut words = line.split_ascii_whitespace();
    let key = words.next().zip(words.next()).and_then(|(algorithm, encoded)| PublicKey::from_words(algorithm, encoded));
    key.ok_or_else(|| refused("malformed", "this is not an ed25519 public key in OpenSSH's format"))
}

pub(super) fn checkpoint(stored: &Checkpoint) -> CheckpointInfo {
    CheckpointInfo {
        seq: stored.seq,
        body: String::from_utf8_lossy(&stored.body).into_owned(),
        signature: sshsig::armor(&stored.signature),
        note: stored.note.clone(),
    }
}

fn uid_of(user: &UserName) -> Result<u32, Refused> {
    let account = sys::users::account_by_name(user.as_str())
        .map_err(|error| refused("lookup", format!("unable to look up {user}: {error}")))?;
    account.map(|account| account.uid).ok_or_else(|| refused("unknown-user", format!("unknown user {user}")))
}

pub(super) fn record_info(stored: Stored) -> RecordInfo {
    RecordInfo { seq: stored.seq, hash: stored.hash.to_string(), body: stored.body }
}

fn shown(page: Page) -> RecordPage {
    let records = page.records.into_iter().map(record_info).collect();
    RecordPage { records, more: page.more, looked_at: page.looked_at }
}
