//! The body of `add-checkpoint` (C2SP tlog-witness): the size that the witness has, a consistency proof, and the note.

use jit_core::evidence::note::Note;
use jit_core::evidence::tree::LONGEST;
use jit_core::evidence::{Digest, TreeHead};

use crate::audit::hash_lines;

/// A checkpoint that is to be cosigned.
#[derive(Debug)]
pub(super) struct Request {
    /// The size of the tree that the proof begins with.
    pub(super) old: u64,
    /// The consistency proof.
    pub(super) proof: Vec<Digest>,
    /// The signed tree head.
    pub(super) note: Note,
}

impl Request {
    /// Splits the input into bodies, one after the other; at least one.
    pub(super) fn bodies(text: &str) -> Vec<&str> {
        let mut begins: Vec<usize> = text.match_indices("\nold ").map(|(place, _)| place + 1).collect();
        begins.insert(0, 0);
        begins.push(text.len());
        begins.windows(2).filter_map(|pair| text.get(*pair.first()?..*pair.last()?)).collect()
    }

    /// Parses a body; `None` if it is malformed.
    pub(super) fn parse(body: &str) -> Option<Self> {
        let body = body.strip_prefix("old ")?;
        let body = body.strip_suffix('\n').unwrap_or(body);
        let (old, rest) = body.split_once('\n')?;
        let (proof, note) = match rest.strip_prefix('\n') {
            Some(note) => ("", note),
            None => rest.split_once("\n\n")?,
        };
        let number = old.parse::<u64>().ok().filter(|number| number.to_string() == old)?;
        let proof = hash_lines(proof).filter(|proof| proof.len() <= LONGEST)?;
        Some(Self { old: number, proof, note: Note::parse(&format!("{note}\n"))? })
    }

    /// Returns what the note states.
    pub(super) fn head(&self) -> Option<(&str, TreeHead)> {
        self.note.head()
    }
}
