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
    /// Parses one body after the other; `None` if one is malformed, or if there is none.
    pub(super) fn all(text: &str) -> Option<Vec<Self>> {
        let rest = text.strip_prefix("old ")?;
        rest.split("\nold ").map(|body| Self::parse(body.strip_suffix('\n').unwrap_or(body))).collect()
    }

    /// Parses a body without its first word and its last line feed.
    fn parse(body: &str) -> Option<Self> {
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
