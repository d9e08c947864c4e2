//! `jitctl witness`: remembers the tree head of each host, cosigns those that only grow, and refuses all others. Runs without
//! privilege, on another machine or as another user, and never talks to the broker.

mod request;
mod state;

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use jit_core::evidence::note::{Note, ORIGIN, WitnessKey};
use jit_core::evidence::tree::check_consistency;
use jit_core::evidence::{Digest, TreeHead};
use jit_core::grant::PublicKey;

use crate::audit::anchor::signed;
use crate::audit::verify_keys;
use crate::clean::clean;
use crate::cli::{WitnessCosignWords, WitnessKeyWords, WitnessSizeWords, WitnessVerb};
use crate::output::{Cosigned, Output};
use crate::screen::{Report, Screen};
use crate::speech::{Notice, Trouble};
use request::Request;
use state::State;

/// The longest input, in bytes.
const LIMIT: u64 = 1 << 20;

/// `jitctl witness`
pub(crate) fn witness(verb: &WitnessVerb, screen: &Screen) -> Result<Report, Trouble> {
    match verb {
        WitnessVerb::Key(words) => key(words),
        WitnessVerb::Size(words) => size(words),
        WitnessVerb::Cosign(words) => cosign(words, u64::try_from(screen.now).unwrap_or(0)),
    }
}

fn key(words: &WitnessKeyWords) -> Result<Report, Trouble> {
    let state = State::open(&words.state)?;
    let key = match &words.name {
        Some(name) => state.make_key(name)?,
        None => state.key()?,
    };
    let text = key.public().to_string();
    Ok(Report::done(Output::WitnessKey(text.clone()), text + "\n"))
}

fn size(words: &WitnessSizeWords) -> Result<Report, Trouble> {
    let state = State::open(&words.state)?;
    let size = state.last(&words.host)?.map_or(0, |(head, _)| head.size);
    Ok(Report::done(Output::WitnessSize(size), format!("{size}\n")))
}

fn cosign(words: &WitnessCosignWords, now: u64) -> Result<Report, Trouble> {
    let mut hosts = Vec::new();
    for text in &words.host_key {
        hosts.extend(verify_keys(text)?.into_iter().map(|(_, key)| key));
    }
    let (state, input) = (State::open(&words.state)?, read(words.file.as_deref())?);
    let key = state.key()?;
    let requests =
        Request::all(&input).ok_or_else(|| refused("malformed", "the input is not a checkpoint with a proof"))?;
    let (mut cosigned, mut text) = (Vec::new(), String::new());
    for request in &requests {
        let line = take(&state, &key, &hosts, request, now)?;
        text.push_str(&format!("{line}\n"));
        cosigned.push(Cosigned { size: request.head().map_or(0, |(_, head)| head.size), signature: line });
    }
    Ok(Report::done(Output::Cosigned(cosigned), text))
}

/// Checks one checkpoint, remembers it, and returns the line with the cosignature.
fn take(state: &State, key: &WitnessKey, hosts: &[PublicKey], request: &Request, now: u64) -> Result<String, Trouble> {
    let (origin, head) = request.head().ok_or_else(|| refused("malformed", "the note does not state a tree head"))?;
    let host = origin.strip_prefix(ORIGIN).filter(|host| is_host(host));
    let host = host.ok_or_else(|| refused("unknown-host", "the note is not from a host of jit-sudo"))?;
    signed(&request.note, hosts)
        .ok_or_else(|| refused("unknown-host", "no host key that was given has signed the note"))?;
    let _lock = state.lock()?;
    let before = state.last(host)?;
    grows(before.as_ref().map(|(head, _)| head), request.old, &head, &request.proof)?;
    let line = key.cosign(&request.note.text, now);
    let host_alone = request.note.signatures.iter().filter(|signature| signature.name == origin).cloned();
    let signatures = host_alone.chain([line.clone()]).collect();
    state.remember(host, &Note { text: request.note.text.clone(), signatures })?;
    Ok(line.to_string())
}

/// Checks that the tree is the one that is known, or has grown from it.
fn grows(before: Option<&TreeHead>, old: u64, head: &TreeHead, proof: &[Digest]) -> Result<(), Trouble> {
    let size = before.map_or(0, |before| before.size);
    if old > head.size {
        return Err(refused("malformed", "the old size is greater than the size of the checkpoint"));
    }
    if old != size {
        let notice = Notice::new(format!("this witness has cosigned {size} records, and the proof begins at {old}"));
        let notice = notice.with_hint(format!("on the host: jitctl audit prove --consistency {size}"));
        return Err(Trouble::Local("conflict", notice));
    }
    let Some(before) = before else {
        return if proof.is_empty() { Ok(()) } else { Err(refused("malformed", "a proof from nothing has no hashes")) };
    };
    check_consistency(before, head, proof).map_err(|_| {
        refused(
            "inconsistent",
            &format!("the {} records do not begin with the {size} that this witness has cosigned", head.size),
        )
    })
}

fn is_host(host: &str) -> bool {
    host.len() == 64 && host.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

fn refused(code: &'static str, why: &str) -> Trouble {
    Trouble::Local(code, Notice::new(format!("not cosigned: {why}")))
}

fn read(path: Option<&Path>) -> Result<String, Trouble> {
    let mut text = String::new();
    let (shown, read) = match path.filter(|path| path.to_str() != Some("-")) {
        None => ("standard input".to_owned(), io::stdin().take(LIMIT).read_to_string(&mut text)),
        Some(path) => {
            let shown = clean(&path.display().to_string());
            (shown, File::open(path).and_then(|file| file.take(LIMIT).read_to_string(&mut text)))
        }
    };
    let failed =
        |error| Trouble::Local("unreadable", Notice::new(format!("cannot read {shown}: {}", sys::plain_words(&error))));
    read.map_err(failed)?;
    Ok(text)
}

#[cfg(test)]
mod tests;
