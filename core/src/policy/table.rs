//! Reads one TOML table key by key: each value has its position in the file, and unknown keys are rejected. Knows the
//! types of values, not their meaning.

use std::fmt::Display;
use std::ops::Range;
use std::path::Path;

use toml::de::{DeTable, DeValue};

use super::cause::{Cause, Suggestion};
use super::error::PolicyError;
use super::source::Source;

/// The text of a file and the positions of its lines.
pub(super) struct Lines<'a> {
    path: &'a Path,
    text: &'a str,
    starts: Vec<usize>,
}

/// A table whose keys are all known.
pub(super) struct Table<'a> {
    lines: &'a Lines<'a>,
    name: String,
    at: usize,
    entries: &'a DeTable<'a>,
}

/// A value and its offset.
pub(super) struct Placed<T> {
    pub(super) at: usize,
    pub(super) value: T,
}

impl<'a> Lines<'a> {
    pub(super) fn new(path: &'a Path, text: &'a str) -> Self {
        let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { path, text, starts }
    }

    pub(super) fn source(&self, at: usize) -> Source {
        Source {
            file: self.path.to_string_lossy().into_owned(),
            line: self.starts.partition_point(|start| *start <= at),
        }
    }

    pub(super) fn error(&self, at: usize, cause: Cause) -> PolicyError {
        let line = self.starts.partition_point(|start| *start <= at);
        let start = self.starts.get(line.saturating_sub(1)).copied().unwrap_or_default();
        let column = self.text.get(start..at).map_or(0, |before| before.chars().count()) + 1;
        PolicyError { file: self.path.to_path_buf(), line, column, cause: cause.to_string() }
    }
}

impl<'a> Table<'a> {
    /// Opens a table; rejects unknown keys. `others` are tables to which a misplaced key may belong.
    pub(super) fn open(
        lines: &'a Lines<'a>,
        name: impl Into<String>,
        at: usize,
        entries: &'a DeTable<'a>,
        keys: &[&[&str]],
        others: &[(&str, &[&str])],
    ) -> Result<Self, PolicyError> {
        let table = Self { lines, name: name.into(), at, entries };
        for written in entries.keys() {
            let text: &str = written.get_ref();
            if !keys.iter().copied().flatten().any(|key| *key == text) {
                let cause = Cause::UnknownKey {
                    key: text.to_owned(),
                    table: table.name.clone(),
                    suggestion: suggest(text, keys, others),
                };
                return Err(lines.error(written.span().start, cause));
            }
        }
        Ok(table)
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.entries.get(key).is_some()
    }

    /// Returns whether `key` exists and is a string.
    pub(super) fn is_text(&self, key: &str) -> bool {
        self.entries.get(key).is_some_and(|value| value.get_ref().is_str())
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = (&'a str, usize)> {
        let entries: &'a DeTable<'a> = self.entries;
        entries.keys().map(|key| (key.get_ref().as_ref(), key.span().start))
    }

    pub(super) fn lines(&self) -> &'a Lines<'a> {
        self.lines
    }

    /// Returns the position of the table in its file.
    pub(super) fn source(&self) -> Source {
        self.lines.source(self.at)
    }

    /// Returns an error about `what`, at `key` if the table has it, otherwise at the table itself.
    pub(super) fn invalid(&self, key: &str, why: impl Into<String>) -> PolicyError {
        let at = self.entries.get(key).map_or(self.at, |value| value.span().start);
        self.invalid_at(at, key, why)
    }

    pub(super) fn invalid_at(&self, at: usize, what: impl Into<String>, why: impl Into<String>) -> PolicyError {
        self.lines.error(at, Cause::Invalid { what: what.into(), table: self.name.clone(), why: why.into() })
    }

    pub(super) fn boolean(&self, key: &str) -> Result<Option<bool>, PolicyError> {
        self.value(key, "true or false", |value| value.as_bool())
    }

    /// Returns an integer in `range`.
    pub(super) fn number(&self, key: &str, range: Range<u32>) -> Result<Option<u32>, PolicyError> {
        let wanted = format!("a whole number from {} to {}", range.start, range.end.saturating_sub(1));
        let read = |value: &DeValue<'_>| {
            let integer = value.as_integer()?;
            u32::from_str_radix(integer.as_str(), integer.radix()).ok().filter(|number| range.contains(number))
        };
        self.value(key, &wanted, read)
    }

    pub(super) fn text(&self, key: &str) -> Result<Option<&'a str>, PolicyError> {
        let Some(value) = self.entries.get(key) else { return Ok(None) };
        match value.get_ref() {
            DeValue::String(text) => Ok(Some(text)),
            other => Err(self.wrong_type(key, "a string", other)),
        }
    }

    /// Returns a string converted by `parse`.
    pub(super) fn parsed<T, E: Display>(
        &self,
        key: &str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Result<Option<T>, PolicyError> {
        let Some(text) = self.text(key)? else { return Ok(None) };
        parse(text).map(Some).map_err(|error| self.invalid(key, error.to_string()))
    }

    /// Returns a list of strings, each converted by `parse`.
    pub(super) fn each<T, E: Display>(
        &self,
        key: &str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Result<Option<Vec<T>>, PolicyError> {
        let Some(items) = self.list(key)? else { return Ok(None) };
        let one = |item: &Placed<&'a DeValue<'a>>| match item.value {
            DeValue::String(text) => parse(text).map_err(|error| self.invalid_at(item.at, key, error.to_string())),
            other => {
                Err(self.invalid_at(item.at, key, format!("is a list of strings, and this is {}", other.type_str())))
            }
        };
        items.iter().map(one).collect::<Result<_, _>>().map(Some)
    }

    /// Returns the values of a list.
    pub(super) fn list(&self, key: &str) -> Result<Option<Vec<Placed<&'a DeValue<'a>>>>, PolicyError> {
        let Some(value) = self.entries.get(key) else { return Ok(None) };
        match value.get_ref() {
            DeValue::Array(items) => {
                Ok(Some(items.iter().map(|item| Placed { at: item.span().start, value: item.get_ref() }).collect()))
            }
            other => Err(self.wrong_type(key, "a list such as [\"…\"]", other)),
        }
    }

    /// Returns a subtable.
    pub(super) fn table(
        &self,
        key: &str,
        keys: &[&[&str]],
        others: &[(&str, &[&str])],
    ) -> Result<Option<Table<'a>>, PolicyError> {
        let Some(entries) = self.entries_of(key)? else { return Ok(None) };
        let name = if self.name.is_empty() {
            format!("[{key}]")
        } else {
            format!("{}.{key}]", self.name.trim_end_matches(']'))
        };
        Self::open(self.lines, name, entries.at, entries.value, keys, others).map(Some)
    }

    /// Returns the subtables of a table whose keys are names, with the offset of each.
    pub(super) fn named_tables(&self, key: &str) -> Result<Vec<(&'a str, Placed<&'a DeTable<'a>>)>, PolicyError> {
        let Some(entries) = self.entries_of(key)? else { return Ok(Vec::new()) };
        let mut tables = Vec::with_capacity(entries.value.len());
        for (name, value) in entries.value {
            let at = name.span().start;
            let DeValue::Table(table) = value.get_ref() else {
                return Err(self.lines.error(
                    at,
                    Cause::Invalid {
                        what: name.get_ref().to_string(),
                        table: format!("[{key}]"),
                        why: format!("must be a table, and this is {}", value.get_ref().type_str()),
                    },
                ));
            };
            tables.push((name.get_ref().as_ref(), Placed { at, value: table }));
        }
        Ok(tables)
    }

    fn entries_of(&self, key: &str) -> Result<Option<Placed<&'a DeTable<'a>>>, PolicyError> {
        let Some((written, value)) = self.entries.get_key_value(key) else { return Ok(None) };
        match value.get_ref() {
            DeValue::Table(entries) => Ok(Some(Placed { at: written.span().start, value: entries })),
            other => Err(self.wrong_type(key, "a table", other)),
        }
    }

    fn value<T>(
        &self,
        key: &str,
        wanted: &str,
        read: impl Fn(&DeValue<'_>) -> Option<T>,
    ) -> Result<Option<T>, PolicyError> {
        let Some(value) = self.entries.get(key) else { return Ok(None) };
        read(value.get_ref()).map(Some).ok_or_else(|| self.wrong_type(key, wanted, value.get_ref()))
    }

    fn wrong_type(&self, key: &str, wanted: &str, found: &DeValue<'_>) -> PolicyError {
        let shown = self.entries.get(key).and_then(|value| self.lines.text.get(value.span()));
        match (found, shown) {
            (DeValue::Integer(_) | DeValue::Boolean(_) | DeValue::Float(_), Some(text)) => {
                self.invalid(key, format!("must be {wanted}, not {text}"))
            }
            _ => self.invalid(key, format!("must be {wanted}, not {}", found.type_str())),
        }
    }
}

fn suggest(typed: &str, keys: &[&[&str]], others: &[(&str, &[&str])]) -> Suggestion {
    for (place, keys) in others {
        if keys.contains(&typed) {
            return Suggestion::Table((*place).to_owned());
        }
    }
    // A key in the file may be megabytes long; no known key is longer than this.
    if typed.len() > 64 {
        return Suggestion::Nothing;
    }
    let near = keys.iter().copied().flatten().map(|key| (distance(typed, key), *key)).min();
    match near {
        Some((steps, name)) if steps <= 1 + name.len() / 4 && steps < name.len() => Suggestion::Key(name.to_owned()),
        Some(_) | None => Suggestion::Nothing,
    }
}

/// Returns the number of insertions, deletions, substitutions and exchanges of neighbours between two words.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut before: Vec<usize> = Vec::new();
    let mut previous: Vec<usize> = (0..=other.len()).collect();
    let mut last = None;
    for (row, letter) in one.chars().enumerate() {
        let mut current = vec![row + 1];
        for (column, wanted) in other.iter().enumerate() {
            let at = |line: &[usize], column: usize| line.get(column).copied().unwrap_or(usize::MAX / 2);
            let mut steps = (at(&previous, column + 1) + 1).min(at(&current, column) + 1);
            steps = steps.min(at(&previous, column) + usize::from(letter != *wanted));
            let neighbour = column.checked_sub(1).and_then(|left| other.get(left));
            if neighbour == Some(&letter) && last == Some(*wanted) {
                steps = steps.min(at(&before, column.saturating_sub(1)) + 1);
            }
            current.push(steps);
        }
        last = Some(letter);
        before = std::mem::replace(&mut previous, current);
    }
    previous.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_similar_keys_are_suggested() {
        let keys: [&[&str]; 2] = [&["approvers", "approvals"], &["ticket"]];
        assert_eq!(suggest("aprovers", &keys, &[]), Suggestion::Key("approvers".into()));
        assert_eq!(suggest("tikcet", &keys, &[]), Suggestion::Key("ticket".into()));
        assert_eq!(suggest("colour", &keys, &[]), Suggestion::Nothing);
        assert_eq!(suggest(&"x".repeat(1 << 20), &keys, &[]), Suggestion::Nothing);
        let other = ["hosts"];
        assert_eq!(suggest("hosts", &keys, &[("[roles.x]", &other)]), Suggestion::Table("[roles.x]".into()));
    }

    #[test]
    fn distances_count_exchanged_neighbours_once() {
        for (one, other, steps) in [("ab", "ba", 1), ("kitten", "sitting", 3), ("", "abc", 3), ("abc", "abc", 0)] {
            assert_eq!(distance(one, other), steps, "{one} {other}");
        }
    }
}
