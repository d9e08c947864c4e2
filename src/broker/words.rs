//! Accounts and texts that a question names, checked.

use super::failure::{Refused, refused};
use crate::activation::WORDS_LIMIT;
use crate::elevation::{Caller, CallerError};
use jit_core::escape::Word;

pub(super) fn described(uid: u32) -> Result<Option<Caller>, Refused> {
    let account = sys::users::account_by_uid(uid)
        .map_err(|error| refused("lookup", format!("unable to look up uid {uid}: {error}")))?;
    match account.map(Caller::described).transpose() {
        // An account whose name or uid also belongs to another account is not accepted.
        Err(CallerError::OtherAccount(..) | CallerError::OtherName(..)) => Ok(None),
        described => Ok(described?),
    }
}

/// Returns `word` if it is not empty and not longer than the limit.
pub(super) fn given<'w>(what: &str, word: &'w Word) -> Result<&'w Word, Refused> {
    if word.as_bytes().trim_ascii().is_empty() {
        Err(refused("empty", format!("the {what} is empty")))
    } else if word.as_bytes().len() > WORDS_LIMIT {
        Err(refused("too-long", format!("the {what} is longer than {WORDS_LIMIT} bytes")))
    } else {
        Ok(word)
    }
}
