//! The caller's variables, and which of them they name for the command. They belong to an elevation until the gate opens:
//! it hands them to those commands alone that may have something of them.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use jit_core::cli::EnvironmentWish;
use jit_core::escape::Word;

/// Name and value.
pub type Variable<'a> = (&'a [u8], &'a [u8]);

/// The environment that the caller's shell handed over, and what is wished of it.
pub struct CallersEnvironment {
    inherited: Vec<OsString>,
    wished: EnvironmentWish,
}

impl CallersEnvironment {
    /// `inherited` are entries `NAME=VALUE`.
    pub fn new(inherited: Vec<OsString>, wished: EnvironmentWish) -> Self {
        Self { inherited, wished }
    }

    /// The entries that were handed over, for an editor that runs as the caller.
    pub fn entries(&self) -> &[OsString] {
        &self.inherited
    }

    /// Every variable, in the order in which they were handed over.
    pub fn variables(&self) -> impl Iterator<Item = Variable<'_>> {
        self.inherited.iter().filter_map(|entry| split(entry))
    }

    /// `-E`
    pub fn wants_everything(&self) -> bool {
        self.wished.preserve_all
    }

    /// `--preserve-env=LIST` and `VAR=value`, the list first; of one name the last counts.
    pub fn wished(&self) -> Vec<Variable<'_>> {
        let preserved = self
            .wished
            .preserve
            .iter()
            .filter_map(|name| self.variables().find(|(known, _)| name.as_bytes() == *known));
        let set = self.wished.set.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        preserved.chain(set).collect()
    }

    /// What was named, as it stands in a request: `NAME=VALUE`, sorted, of each name the value that counts.
    pub fn named(&self) -> Vec<Word> {
        let named: std::collections::BTreeMap<&[u8], &[u8]> = self.wished().into_iter().collect();
        named.into_iter().map(|(name, value)| Word(OsString::from_vec([name, b"=", value].concat()))).collect()
    }
}

/// Name and value of an entry; an entry without a name or without `=` is none.
pub fn split(entry: &OsStr) -> Option<Variable<'_>> {
    let bytes = entry.as_bytes();
    let equals = bytes.iter().position(|byte| *byte == b'=').filter(|index| *index > 0)?;
    let (name, value) = bytes.split_at_checked(equals)?;
    Some((name, value.get(1..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_without_name_or_value_are_not_variables() {
        assert_eq!(split(OsStr::new("A=b=c")), Some((&b"A"[..], &b"b=c"[..])));
        assert_eq!(split(OsStr::new("=x")), None);
        assert_eq!(split(OsStr::new("A")), None);
        assert_eq!(split(OsStr::new("")), None);
    }

    #[test]
    fn what_is_named_is_sorted_and_the_last_value_counts() {
        let inherited = ["B=1", "C=2", "B=3"].map(OsString::from).to_vec();
        let wished = EnvironmentWish {
            preserve_all: false,
            preserve: ["C", "B", "D"].map(OsString::from).to_vec(),
            set: vec![("A".into(), "x=y".into()), ("C".into(), "4".into())],
        };
        let named = CallersEnvironment::new(inherited, wished).named();
        assert_eq!(named.iter().map(ToString::to_string).collect::<Vec<_>>(), ["A=x=y", "B=1", "C=4"]);
    }
}
