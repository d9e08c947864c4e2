//! A host whose key was replaced: its notes have another origin then. The rotations, which the old key and the new one have both signed,
//! lead from the host that the witness knows to this one, so it demands a proof that the journal is still the same.

use std::fs::File;
use std::io::Read;
use std::path::PathBuf;

use jit_core::escape::unhex;
use jit_core::evidence::key_statement::rotated;
use jit_core::evidence::note::Note;
use jit_core::evidence::{Event, Record, TreeHead};
use jit_core::grant::{HostId, PublicKey};

use super::refused;
use super::state::{State, failed};
use crate::armor;
use crate::audit::anchor::signed;
use crate::speech::Trouble;

/// The longest file of rotations, in bytes.
const LIMIT: u64 = 4 << 20;

/// A host id and a key of the host.
type Id = (String, PublicKey);

/// Rotations whose signatures are valid: each host before, and after it.
#[derive(Default)]
pub(super) struct Rotations(Vec<(Id, Id)>);

/// The host as the witness knows it.
pub(super) struct Former {
    /// Its id.
    pub(super) host: String,
    /// The last tree head that was cosigned.
    pub(super) head: TreeHead,
}

impl Rotations {
    /// Reads the rotations in these files.
    pub(super) fn read(files: &[PathBuf]) -> Result<Self, Trouble> {
        let mut found = Vec::new();
        for path in files {
            let mut text = String::new();
            let read = File::open(path).and_then(|file| file.take(LIMIT).read_to_string(&mut text));
            read.map_err(|error| failed("read", path, &error))?;
            found.extend(armor::rotations(&text).iter().filter_map(|body| step(body)));
        }
        Ok(Self(found))
    }

    #[cfg(test)]
    pub(super) fn of(bodies: &[String]) -> Self {
        Self(bodies.iter().filter_map(|body| step(body)).collect())
    }

    /// Returns the host, known to the witness, from which rotations lead to the one that has signed this note.
    pub(super) fn former(&self, state: &State, host: &str, note: &Note) -> Result<Option<Former>, Trouble> {
        let by = |key: &PublicKey, note: &Note| signed(note, std::slice::from_ref(key)).is_some();
        let mut rest: Vec<&(Id, Id)> = self.0.iter().collect();
        let is_last = |(_, (id, key)): &&(Id, Id)| id == host && by(key, note);
        let mut at = rest.iter().position(is_last);
        while let Some(place) = at {
            let (before, _) = rest.swap_remove(place);
            let (id, key) = before;
            if let Some((head, last)) = state.last(id)?
                && by(key, &last)
            {
                return match state.successor(id)? {
                    Some(other) if other != host => {
                        let why = format!("host {id} goes on as host {other} already, by another rotation");
                        Err(refused("other-host", &why))
                    }
                    _ => Ok(Some(Former { host: id.clone(), head })),
                };
            }
            at = rest.iter().position(|(_, after)| after == before);
        }
        Ok(None)
    }
}

/// Returns the host before a rotation, and after it.
fn step(body: &str) -> Option<(Id, Id)> {
    let (old, new) = rotated(body.as_bytes()).ok()?;
    let Event::Rotation(rotation) = Record::decode(body).ok()?.event else { return None };
    let machine = unhex::<32>(&rotation.identity.machine)?;
    let before = HostId::of(&old.blob(), &machine).as_str().to_owned();
    Some(((before, old), (rotation.identity.id.clone(), new)))
}
