//! The caller's variables, and which of them they name for the command. They belong to an elevation until the gate takes them, and
//! reach only commands that are permitted to have some of them.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use jit_core::cli::EnvironmentWish;
use jit_core::escape::Word;

/// A name and its value.
pub type Variable<'a> = (&'a [u8], &'a [u8]);

/// The environment that this process inherited from the caller, and what the caller wants the command to have of it.
pub struct CallersEnvironment {
    inherited: Vec<OsString>,
    wished: EnvironmentWish,
}

impl CallersEnvironment {
    /// `inherited` contains entries `NAME=VALUE`.
    pub fn new(inherited: Vec<OsString>, wished: EnvironmentWish) -> Self {
        Self { inherited, wished }
    }

    /// Returns the inherited entries, for an editor that runs as the caller.
    pub fn entries(&self) -> &[OsString] {
        &self.inherited
    }

    /// Returns all inherited variables, in their order.
    pub fn variables(&self) -> impl Iterator<Item = Variable<'_>> {
        self.inherited.iter().filter_map(|entry| split(entry))
    }

    /// Whether -E was given.
    pub fn wants_everything(&self) -> bool {
        self.wished.preserve_all
    }

    /// Returns the variables of `--preserve-env=LIST` and those of `VAR=value`; of duplicates the last one applies, which is the
    /// last one on the command line, as with sudo.
    pub fn wished(&self) -> Vec<Variable<'_>> {
        let value = |name: &OsString| self.variables().find(|(known, _)| name.as_bytes() == *known);
        let (preserved, last) = (&self.wished.preserve, &self.wished.preserve_over);
        let set = self.wished.set.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        preserved.iter().filter_map(value).chain(set).chain(last.iter().filter_map(value)).collect()
    }

    /// Returns the named variables for a request: `NAME=VALUE`, sorted, without duplicates.
    pub fn named(&self) -> Vec<Word> {
        let named: std::collections::BTreeMap<&[u8], &[u8]> = self.wished().into_iter().collect();
        named.into_iter().map(|(name, value)| Word(OsString::from_vec([name, b"=", value].concat()))).collect()
    }
}

/// Splits an entry into name and value; `None` without a name or without `=`.
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
    fn named_variables_are_sorted_and_the_last_value_applies() {
        let inherited = ["B=1", "C=2", "B=3"].map(OsString::from).to_vec();
        let wished = EnvironmentWish {
            preserve_all: false,
            preserve: ["C", "B", "D"].map(OsString::from).to_vec(),
            preserve_over: Vec::new(),
            set: vec![("A".into(), "x=y".into()), ("C".into(), "4".into())],
        };
        let later = EnvironmentWish { preserve_over: ["C", "D"].map(OsString::from).to_vec(), ..wished.clone() };
        let later = CallersEnvironment::new(inherited.clone(), later).named();
        assert_eq!(later.iter().map(ToString::to_string).collect::<Vec<_>>(), ["A=x=y", "B=1", "C=2"]);
        let named = CallersEnvironment::new(inherited, wished).named();
        assert_eq!(named.iter().map(ToString::to_string).collect::<Vec<_>>(), ["A=x=y", "B=1", "C=4"]);
    }
}
