//! By whom and why a session was frozen, thawed or ended, or its grant revoked, as far as it can be read.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use super::GrantWatch;
use jit_core::escape::{Word, escape};
use jit_core::evidence::record::{Act, Intervention};
use jit_core::names::GrantId;

/// The longest reason in a message, in characters.
const LONGEST: usize = 200;

impl GrantWatch<'_> {
    /// Returns why a person did this to the session, in brackets.
    pub(super) fn reason_of(&self, act: Act) -> String {
        self.done(act).map_or_else(String::new, |done| bracketed(&done.reason))
    }

    /// Returns who thawed the session, and why, as a sentence.
    pub(super) fn thawed(&self) -> Option<String> {
        self.done(Act::Thaw).map(|done| format!("{} thaws this session{}", done.user, bracketed(&done.reason)))
    }

    fn done(&self, act: Act) -> Option<Intervention> {
        self.journal.last_intervention(self.run()).ok().flatten().filter(|done| done.act == act)
    }

    /// Returns by whom a grant was revoked, and why.
    pub(super) fn revoked_by(&self, id: &GrantId) -> String {
        let ended = self.host.store().grant(id).ok().flatten().and_then(|grant| grant.end);
        ended.map_or_else(String::new, |(_, by)| {
            let reason = Word(OsString::from_vec(by.reason));
            format!(" by {}{}", escape(by.by.as_bytes()), bracketed(&reason))
        })
    }
}

/// Returns a reason as ` ("…")`, of a length that fits a message; empty if there is none.
fn bracketed(reason: &Word) -> String {
    let text = reason.to_string();
    match text.char_indices().nth(LONGEST) {
        _ if text.is_empty() => String::new(),
        Some((end, _)) => format!(" (\"{}…\")", text.get(..end).unwrap_or_default()),
        None => format!(" (\"{text}\")"),
    }
}
