//! Escapes untrusted text.

use jit_core::escape::{escape, unescape};

/// Escapes an untrusted text for one line of a terminal. Text that is already escaped stays as it is.
pub(crate) fn clean(text: &str) -> String {
    let between = text.replace('\\', "");
    if unescape(text).is_some() && escape(between.as_bytes()) == between {
        text.to_owned()
    } else {
        escape(text.as_bytes())
    }
}
