//! The host's key, which signs every grant. The private half never leaves the broker.

use jit_core::escape::Word;
use jit_core::wire::{KeyAccept, KeyInfo, KeyInit, KeyShow};

use crate::armor::rotations_text;
use crate::broker::Broker;
use crate::clean::clean;
use crate::cli::{KeyAcceptWords, KeyShowWords};
use crate::output::Output;
use crate::screen::Report;
use crate::speech::{Exit, Notice, Trouble};

/// `jitctl key init`
pub(crate) fn init(broker: &Broker) -> Result<Report, Trouble> {
    let key = broker.ask(&KeyInit {})?;
    let head = if key.created { "the host key was made" } else { "the host key is there already, nothing changed" };
    let text = format!("{head}\n{}", lines(&key));
    Ok(Report::done(Output::HostKey(key), text))
}

/// `jitctl key show`: prints only the public key on the first line, as allowed_signers files need it.
pub(crate) fn show(words: &KeyShowWords, broker: &Broker) -> Result<Report, Trouble> {
    let key = broker.ask(&KeyShow {})?;
    let text = if words.rotations { rotations_text(&key.rotations) } else { lines(&key) };
    Ok(Report::done(Output::HostKey(key), text))
}

/// `jitctl key accept`
pub(crate) fn accept(words: KeyAcceptWords, broker: &Broker) -> Result<Report, Trouble> {
    let accepted = broker.ask(&KeyAccept { reason: words.reason })?;
    let mut text = "the database, identity and clock of this host are accepted as they stand\n".to_owned();
    text.extend(accepted.grants.iter().map(|id| format!("grant {id}: revoked\n")));
    text.extend(accepted.requests.iter().map(|id| format!("request {id}: denied\n")));
    let left = |id: &Word| format!("{id}: it cannot be read and is left as it is; jitctl audit verify says more\n");
    text.extend(accepted.damaged.iter().map(left));
    let some_stay = !accepted.damaged.is_empty();
    let report = Report::done(Output::Accepted(accepted), text);
    let stays = "some earlier requests or grants could not be ended: those that cannot be read stay, and are not valid";
    Ok(if some_stay { report.but(Exit::Refused, Notice::new(stays)) } else { report })
}

pub(crate) fn lines(key: &KeyInfo) -> String {
    let sealing = match (key.epoch, &key.sealing_key) {
        (Some(epoch), Some(key)) => format!("sealing key of epoch {epoch}: {}\n", clean(key)),
        _ => String::new(),
    };
    format!("{}\n{}\n{sealing}", clean(&key.public_key), clean(&key.fingerprint))
}
