//! `jitctl witness`: remembers the tree head of each host, cosigns those that only grow, and refuses all others. Runs without
//! privilege, on another machine or as another user, and never talks to the broker.

mod host_keys;
mod request;
mod state;
mod succession;

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use jit_core::evidence::note::{Note, ORIGIN, WitnessKey};
use jit_core::evidence::tree::check_consistency;
use jit_core::evidence::{Digest, TreeHead};

use crate::clean::clean;
use crate::cli::{WitnessCosignWords, WitnessKeyWords, WitnessSizeWords, WitnessVerb};
use crate::output::{Cosigned, Output};
use crate::screen::{Report, Screen};
use crate::speech::{Exit, Notice, Trouble};
use host_keys::{Contact, HostKeys};
use request::Request;
use state::State;
use succession::Rotations;

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
    let (hosts, rotations) = (HostKeys::read(&words.host_key)?, Rotations::read(&words.rotation)?);
    let (state, input) = (State::open(&words.state)?, read(words.file.as_deref())?);
    let key = state.key()?;
    let bodies = Request::bodies(&input);
    let (mut cosigned, mut text, mut failed) = (Vec::new(), String::new(), Vec::new());
    // Each by itself: what one host sends does not stop another.
    for (number, body) in (1..).zip(&bodies) {
        match take(&state, &key, (&hosts, &rotations), body, now) {
            Ok((size, line)) => {
                text.push_str(&format!("{line}\n"));
                cosigned.push(Cosigned { size, signature: line });
            }
            Err(trouble) => failed.push((number, trouble)),
        }
    }
    let refused = match failed.len() {
        0 => return Ok(Report::done(Output::Cosigned(cosigned), text)),
        1 if bodies.len() == 1 => return Err(failed.swap_remove(0).1),
        _ => failed.iter().map(|(number, trouble)| format!("checkpoint {number}: {}", told(trouble))),
    };
    let notice = Notice::new(refused.collect::<Vec<_>>().join("; "));
    Ok(Report::done(Output::Cosigned(cosigned), text).but(Exit::Refused, notice))
}

fn told(trouble: &Trouble) -> String {
    let Notice { message, hint } = trouble.notice();
    hint.map_or(message.clone(), |hint| format!("{message} ({hint})"))
}

/// Checks one checkpoint, remembers it, and returns its size and the line with the cosignature.
fn take(
    state: &State,
    key: &WitnessKey,
    (hosts, rotations): (&HostKeys, &Rotations),
    body: &str,
    now: u64,
) -> Result<(u64, String), Trouble> {
    let request =
        Request::parse(body).ok_or_else(|| refused("malformed", "the input is not a checkpoint with a proof"))?;
    let (origin, head) = request.head().ok_or_else(|| refused("malformed", "the note does not state a tree head"))?;
    let host = origin.strip_prefix(ORIGIN).filter(|host| is_host(host));
    let host = host.ok_or_else(|| refused("unknown-host", "the note is not from a host of jit-sudo"))?;
    // By one key: whoever adds another signature to the note of a host must not be known as this host.
    let mut by_host = request.note.signatures.iter().filter(|signature| signature.name == origin).cloned();
    let (Some(signature), None) = (by_host.next(), by_host.next()) else {
        return Err(refused("unknown-host", "the note does not have one signature of its host"));
    };
    let _lock = state.lock()?;
    if let Some(next) = state.successor(host)? {
        let why = format!("the key of host {host} was replaced, and its journal goes on as that of host {next}");
        return Err(refused("other-key", &why));
    }
    let last = state.last(host)?;
    let former = if last.is_none() { rotations.former(state, host, &request.note)? } else { None };
    let contact = match (&last, &former) {
        (Some((_, note)), _) => Contact::Known(note),
        (None, Some(_)) => Contact::Rotated,
        (None, None) => Contact::First,
    };
    hosts.check(state, host, &request.note, contact)?;
    let before = last.as_ref().map(|(head, _)| head).or(former.as_ref().map(|former| &former.head));
    grows(before, request.old, &head, &request.proof)?;
    // First: nobody can go on with the old key.
    if let Some(former) = &former {
        state.succeed(&former.host, host)?;
    }
    let line = key.cosign(&request.note.text, now);
    let signatures = vec![signature, line.clone()];
    state.remember(host, &Note { text: request.note.text.clone(), signatures })?;
    Ok((head.size, line.to_string()))
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
