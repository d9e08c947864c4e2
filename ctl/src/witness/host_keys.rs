//! Which key may sign for which host. A witness knows each host by its id and its key together: no key signs for two hosts, and no host
//! has two keys, until the operator says so.

use jit_core::evidence::note::Note;
use jit_core::grant::PublicKey;

use super::state::State;
use super::{is_host, refused};
use crate::audit::anchor::signed;
use crate::audit::verify_key_lines;
use crate::speech::{Notice, Trouble};

/// A host key that the operator has given.
pub(super) struct HostKey {
    key: PublicKey,
    /// The id of its host, if the operator has named it.
    host: Option<String>,
}

/// How the witness knows a host.
#[derive(Clone, Copy)]
pub(super) enum Contact<'n> {
    /// By the last note of it that was cosigned.
    Known(&'n Note),
    /// By rotations from a host that it knows.
    Rotated,
    /// Not at all.
    First,
}

/// All host keys that the operator has given.
pub(super) struct HostKeys(Vec<HostKey>);

impl HostKeys {
    /// Reads the keys in these texts or files. A host id may follow each key, as in the list of known hosts.
    pub(super) fn read(texts: &[String]) -> Result<Self, Trouble> {
        let mut keys = Vec::new();
        for text in texts {
            for (_, key, rest) in verify_key_lines(text)? {
                let host = rest.split_ascii_whitespace().next().filter(|word| is_host(word)).map(str::to_owned);
                keys.push(HostKey { key, host });
            }
        }
        Ok(Self(keys))
    }

    /// Checks that a key which may sign for this host has signed the note.
    pub(super) fn check(&self, state: &State, host: &str, note: &Note, contact: Contact<'_>) -> Result<(), Trouble> {
        let by = |note: &Note, key: &PublicKey| signed(note, std::slice::from_ref(key)).is_some();
        let signer = self.0.iter().map(|given| &given.key).find(|key| by(note, key));
        let signer = signer.ok_or_else(|| refused("unknown-host", "no host key that was given has signed the note"))?;
        let named = self.hosts_of(signer);
        if !named.is_empty() && !named.contains(&host) {
            let named = named.join(", ");
            return Err(refused(
                "other-host",
                &format!("the note is of host {host}, and its key is that of host {named}"),
            ));
        }
        if named.is_empty() && self.0.iter().any(|given| given.host.as_deref() == Some(host)) {
            return Err(refused("other-host", &format!("the note is of host {host}, which has another key")));
        }
        match contact {
            Contact::Known(before) if by(before, signer) => Ok(()),
            Contact::Known(_) => Err(other_key(state, host)),
            Contact::First if named.is_empty() => self.check_first(state, host, signer),
            Contact::First | Contact::Rotated => Ok(()),
        }
    }

    /// Returns the hosts that the operator has named for this key.
    fn hosts_of(&self, key: &PublicKey) -> Vec<&str> {
        self.0.iter().filter(|given| given.key == *key).filter_map(|given| given.host.as_deref()).collect()
    }

    /// Checks that a host which neither the witness nor the operator has named may have this key.
    fn check_first(&self, state: &State, host: &str, signer: &PublicKey) -> Result<(), Trouble> {
        if let Some(other) = state.host_of(signer)? {
            let why = format!("not cosigned: the note is of host {host}, and its key has signed for host {other}");
            let file = state.note_of(&other);
            let hint = format!("if the host has got another id: check its journal, then remove {file}");
            return Err(Trouble::Local("other-host", Notice::new(why).with_hint(hint)));
        }
        // It may be one of those, whose key was replaced.
        if state.knows_hosts()? {
            let why = format!(
                "not cosigned: host {host} is not known here, and this witness knows others: the journal of one of them would begin anew"
            );
            let hint = "if its key was replaced: on that host, jitctl key show --rotations >FILE, and --rotation FILE here; if it is a \
                        new host, write its id behind its key in the file of --host-key";
            return Err(Trouble::Local("unnamed-host", Notice::new(why).with_hint(hint)));
        }
        for other in self.0.iter().map(|given| &given.key).filter(|key| *key != signer) {
            if self.hosts_of(other).is_empty() {
                let why =
                    format!("not cosigned: nothing says which of the keys that were given is that of host {host}");
                let hint = "on that host: jitctl audit prove --note-key; write what follows jit-sudo/ there behind its key in the \
                            file of --host-key";
                return Err(Trouble::Local("unnamed-host", Notice::new(why).with_hint(hint)));
            }
        }
        Ok(())
    }
}

fn other_key(state: &State, host: &str) -> Trouble {
    let notice = Notice::new(format!("not cosigned: host {host} is known by another key"));
    let hint = format!("if that is right: check its journal, then remove {}", state.note_of(host));
    Trouble::Local("other-key", notice.with_hint(hint))
}
