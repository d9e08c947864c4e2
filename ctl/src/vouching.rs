//! What an approval or a statement cannot prove by itself: whose key signed it, and which host it is for. Nothing here asks
//! the broker.

use jit_core::grant::PublicKey;
use jit_core::names::UserName;

use crate::known_hosts;
use crate::surface::Tone;
use crate::table::Fields;

/// Shows the user who is said to have signed, the key of the signature, and that nothing connects the two here.
pub(crate) fn signer_fields(fields: &mut Fields, name: &UserName, key: &PublicKey) {
    fields.add("by", name.as_str());
    fields.add("signed with", key.fingerprint());
    fields.toned("whose key", "NOT CHECKED here: /etc/jit-sudo/approvers of that host", Tone::Bad);
    fields.toned("", format!("decides whether it is a key of {name}"), Tone::Bad);
}

/// Shows the host that the document is for, and what the list of known hosts says of it.
pub(crate) fn host_fields(fields: &mut Fields, id: &str) {
    fields.add("host id", id);
    let (words, tone) = known_hosts::of_id(id);
    fields.toned("known here", words, tone);
}

#[cfg(test)]
mod tests;
