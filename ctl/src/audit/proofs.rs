//! `jitctl audit prove` and `audit check-proof`: proofs with the Merkle tree, as texts of C2SP tlog-proof and tlog-witness.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use base64ct::{Base64, Encoding};
use jit_core::escape::unhex;
use jit_core::evidence::chain::hash;
use jit_core::evidence::note::{Note, NoteKey};
use jit_core::evidence::tree::check_inclusion;
use jit_core::evidence::{Digest, Record, TreeHead};
use jit_core::grant::PublicKey;
use jit_core::wire::{AuditProve, KeyShow, ProofInfo, RecordInfo};

use super::anchor::signed;
use super::record::Record as Shown;
use super::verify::{keys, witness_key};
use crate::broker::Broker;
use crate::clean::clean;
use crate::cli::{AuditCheckProofWords, AuditProveWords};
use crate::output::{Output, ProvenRecord};
use crate::screen::{Report, Screen};
use crate::speech::{Exit, Notice, Trouble};
use crate::when;

/// The first line of a proof.
const PROOF: &str = "c2sp.org/tlog-proof@v1";

/// The longest proof that is read, in bytes: a record may be long.
const LIMIT: u64 = 100 << 20;

/// `jitctl audit prove`
pub(crate) fn prove(words: &AuditProveWords, broker: &Broker) -> Result<Report, Trouble> {
    let ask = match (words.seq, words.consistency) {
        (Some(seq), _) => AuditProve::Record(seq),
        (None, old) => AuditProve::Growth(old.unwrap_or(0)),
    };
    let info = broker.ask(&ask)?;
    let text = match (words.note_key, &info.record) {
        (true, _) => note_key(&info, broker)?,
        (false, Some((index, record))) => {
            let record = Base64::encode_string(record.as_bytes());
            format!("{PROOF}\nextra {record}\nindex {index}\n{}\n{}", base64(&info.hashes), info.note)
        }
        (false, None) => {
            format!("old {}\n{}\n{}", words.consistency.unwrap_or(0), base64(&info.hashes), info.note)
        }
    };
    Ok(Report::done(Output::Proof(text.clone()), text))
}

/// Returns the key of the notes of this host, as other programs take it.
fn note_key(info: &ProofInfo, broker: &Broker) -> Result<String, Trouble> {
    let (note, key) = (Note::parse(&info.note), keys(&broker.ask(&KeyShow {})?.public_key)?);
    let origin = note.as_ref().and_then(Note::head).map(|(origin, _)| origin);
    let key = origin.zip(key.first()).and_then(|(origin, (_, key))| NoteKey::of_host(origin, key));
    let none = || Trouble::Local("no-key", Notice::new("the last checkpoint has no note"));
    Ok(format!("{}\n", key.ok_or_else(none)?))
}

fn base64(hashes: &[String]) -> String {
    let bytes = hashes.iter().filter_map(|hash| unhex::<32>(hash));
    bytes.map(|bytes| Base64::encode_string(&bytes) + "\n").collect()
}

/// `jitctl audit check-proof`
pub(crate) fn check_proof(words: &AuditCheckProofWords, screen: &Screen) -> Result<Report, Trouble> {
    let keys: Vec<PublicKey> = keys(&words.host_key)?.into_iter().map(|(_, key)| key).collect();
    let witnesses = words.witness.iter().map(|text| witness_key(text)).collect::<Result<Vec<_>, _>>()?;
    let proof =
        Proof::parse(&read(&words.file)?).ok_or_else(|| no_proof("the file is not a proof that jitctl has made"))?;
    let tree = signed(&proof.note, &keys).ok_or_else(|| no_proof("the host with this key has not signed the tree"))?;
    let cosigned = witnesses.iter().map(|witness| witness.cosigned(&proof.note).ok_or(witness));
    let cosigned = cosigned.collect::<Result<Vec<u64>, _>>();
    let cosigned =
        cosigned.map_err(|witness| no_proof(&format!("witness {} has not cosigned the tree", clean(&witness.name))))?;
    let record = hash(proof.record.as_bytes());
    // No record has a smaller number than its place.
    Record::decode(&proof.record)
        .ok()
        .filter(|record| record.seq > proof.index)
        .ok_or_else(|| no_proof("what the host has signed is no record of a journal"))?;
    check_inclusion(&tree, proof.index, record, &proof.hashes).map_err(|why| no_proof(&why.to_string()))?;
    Ok(report(&proof, record, &tree, cosigned, screen))
}

fn report(proof: &Proof, record: Digest, tree: &TreeHead, cosigned: Vec<u64>, screen: &Screen) -> Report {
    let info = RecordInfo { seq: proof.index + 1, body: proof.record.clone(), hash: record.to_string() };
    let shown = Shown::read(&info);
    let mut text =
        format!("the record is in the journal, as number {} of {} signed records\n", proof.index + 1, tree.size);
    for time in &cosigned {
        let at = when::short(i64::try_from(*time).unwrap_or(i64::MAX), screen.now);
        text.push_str(&format!("the witness cosigned them at {at}\n"));
    }
    if cosigned.is_empty() {
        text.push_str("by the key of the host only: its root can have signed another journal (--witness KEY)\n");
    }
    let exit = if cosigned.is_empty() { Exit::NotAllChecked } else { Exit::Done };
    text.push_str(&format!("\n{}", shown.details(screen.now)));
    let proven = ProvenRecord { index: proof.index, size: tree.size, cosigned, record: proof.record.clone() };
    Report::done(Output::Proven(proven), text).ended(exit)
}

fn no_proof(why: &str) -> Trouble {
    Trouble::Local("no-proof", Notice::new(format!("nothing is proved: {why}")))
}

/// A proof that one record is in a journal.
struct Proof {
    record: String,
    index: u64,
    hashes: Vec<Digest>,
    note: Note,
}

impl Proof {
    fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix(PROOF)?.strip_prefix("\nextra ")?;
        let (extra, rest) = rest.split_once('\n')?;
        let (index, rest) = rest.strip_prefix("index ")?.split_once('\n')?;
        let (hashes, note) = match rest.strip_prefix('\n') {
            Some(note) => ("", note),
            None => rest.split_once("\n\n")?,
        };
        let record = String::from_utf8(Base64::decode_vec(extra).ok()?).ok()?;
        let number = index.parse::<u64>().ok().filter(|number| number.to_string() == index)?;
        Some(Self { record, index: number, hashes: hash_lines(hashes)?, note: Note::parse(note)? })
    }
}

/// Decodes hashes, one on each line.
pub(crate) fn hash_lines(lines: &str) -> Option<Vec<Digest>> {
    let hash = |line: &str| Base64::decode_vec(line).ok()?.try_into().ok().map(Digest);
    lines.lines().map(hash).collect()
}

fn read(path: &Path) -> Result<String, Trouble> {
    let shown = clean(&path.display().to_string());
    let mut text = String::new();
    let read = match path.to_str() {
        Some("-") => io::stdin().take(LIMIT).read_to_string(&mut text),
        _ => File::open(path).and_then(|file| file.take(LIMIT).read_to_string(&mut text)),
    };
    let failed =
        |error| Trouble::Local("unreadable", Notice::new(format!("cannot read {shown}: {}", sys::plain_words(&error))));
    read.map_err(failed)?;
    Ok(text)
}
