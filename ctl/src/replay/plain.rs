//! Extracts the plain text of a recording.

use super::filter::Filter;

/// Removes all drawing sequences.
#[derive(Debug, Default)]
pub(crate) struct Plain(Filter);

impl Plain {
    /// Returns the text without drawing sequences.
    pub(crate) fn pass(&mut self, text: &str) -> String {
        let shown = self.0.pass(text);
        let mut plain = String::with_capacity(shown.len());
        let mut characters = shown.chars();
        // The filter passes complete sequences only.
        while let Some(character) = characters.next() {
            match character {
                '\x1b' => match characters.next() {
                    Some('[') => drop(characters.by_ref().find(|character| matches!(character, '@'..='~'))),
                    Some('(' | ')' | '*' | '+') => drop(characters.next()),
                    _ => {}
                },
                '\n' | '\t' => plain.push(character),
                _ if character.is_control() => {}
                _ => plain.push(character),
            }
        }
        plain
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_is_what_a_person_reads() {
        let mut plain = Plain::default();
        assert_eq!(plain.pass("\x1b[1mro\x1b[0mot\x1b]0;x\x07@web1\x08\r\n\x1b(0x\x1b(B"), "root@web1\nx");
    }
}
