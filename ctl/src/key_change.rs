//! Root replaces the host key, or retires the host. What would end is asked first, and told before anything is done.

use std::io::{self, BufRead, IsTerminal, Write};

use jit_core::escape::Word;
use jit_core::wire::{KeyChangeInfo, KeyRetire, KeyRotate};

use crate::broker::Broker;
use crate::clean::clean;
use crate::cli::KeyChangeWords;
use crate::key::lines;
use crate::output::Output;
use crate::screen::{Report, Screen};
use crate::speech::{Exit, Notice, Trouble};
use crate::when;

/// `jitctl key rotate`
pub(crate) fn rotate(words: &KeyChangeWords, broker: &Broker) -> Result<Report, Trouble> {
    let reason = &words.reason;
    let ask = |dry_run| broker.ask(&KeyRotate { reason: reason.clone(), dry_run });
    if !words.yes {
        let would = ask(true)?;
        // Without anything that ends there is nothing to ask.
        if !(would.grants.is_empty() && would.requests.is_empty()) {
            consented(&format!("a rotation of the host key {}", ends(&would)), "rotate the key")?;
        }
    }
    let done = ask(false)?;
    let mut text = "the host key was replaced\n".to_owned();
    text.push_str(&format!("the old key was {}\n", clean(&done.old)));
    text.extend(done.new.as_ref().map(lines));
    Ok(report(done, text))
}

/// `jitctl key retire`
pub(crate) fn retire(words: &KeyChangeWords, broker: &Broker, screen: &Screen) -> Result<Report, Trouble> {
    let reason = &words.reason;
    let ask = |dry_run| broker.ask(&KeyRetire { reason: reason.clone(), dry_run });
    if !words.yes {
        let would = ask(true)?;
        let what = format!("a retirement removes the private key of this host for ever, and {}", ends(&would));
        consented(&what, "retire this host")?;
    }
    let done = ask(false)?;
    let at = when::long(done.at, screen.now);
    let text = format!("this host was retired {at}: its private key {} was removed\n", clean(&done.old));
    Ok(report(done, text))
}

fn ends(would: &KeyChangeInfo) -> String {
    let counted = |count: usize, one: &str, more: &str| format!("{count} {}", if count == 1 { one } else { more });
    let grants = counted(would.grants.len(), "grant", "grants");
    format!("ends {grants} and denies {}", counted(would.requests.len(), "request", "requests"))
}

/// Fails unless the user consents on the terminal.
fn consented(what: &str, question: &str) -> Result<(), Trouble> {
    if !io::stdin().is_terminal() {
        let notice = Notice::new(what).with_hint("to do it without a terminal, repeat the command with --yes");
        return Err(Trouble::Local("not-confirmed", notice));
    }
    let mut err = io::stderr();
    let asked = writeln!(err, "{what}").and_then(|()| write!(err, "{question}? [y/N] ")).and_then(|()| err.flush());
    let mut answer = String::new();
    let read = asked.and_then(|()| io::stdin().lock().read_line(&mut answer));
    match read {
        Ok(_) if ["y", "yes"].contains(&answer.trim().to_ascii_lowercase().as_str()) => Ok(()),
        _ => Err(Trouble::Local("not-confirmed", Notice::new("nothing was changed"))),
    }
}

fn report(done: KeyChangeInfo, mut text: String) -> Report {
    text.extend(done.grants.iter().map(|id| format!("grant {id}: revoked\n")));
    text.extend(done.requests.iter().map(|id| format!("request {id}: denied\n")));
    let left = |id: &Word| format!("{id}: it cannot be read and is left as it is; jitctl audit verify says more\n");
    text.extend(done.damaged.iter().map(left));
    let some_stay = !done.damaged.is_empty();
    let report = Report::done(Output::KeyChanged(Box::new(done)), text);
    let stays = "some earlier requests or grants could not be ended: those that cannot be read stay, and are not valid";
    if some_stay { report.but(Exit::Refused, Notice::new(stays)) } else { report }
}
