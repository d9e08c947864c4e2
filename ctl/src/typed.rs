//! Values that the user types and that several verbs take.

use clap::builder::{OsStringValueParser, TypedValueParser};
use jit_core::escape::Word;
use jit_core::names::{IdPrefix, InvalidName};

/// One of this host's requests, or the text of one on standard input
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RequestSource {
    /// By its id.
    Here(IdPrefix),
    /// `-`
    Text,
}

impl RequestSource {
    pub(crate) fn parse(text: &str) -> Result<Self, InvalidName> {
        if text == "-" { Ok(Self::Text) } else { IdPrefix::parse(text).map(Self::Here) }
    }
}

pub(crate) fn word() -> impl TypedValueParser<Value = Word> {
    OsStringValueParser::new().map(Word::from)
}
