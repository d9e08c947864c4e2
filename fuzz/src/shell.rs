//! Parses a line with quoted arguments as a shell does (bash(1), "QUOTING"), as far as our lines use it.

/// Returns the arguments of the line; `None` if a shell would do anything else than read arguments.
pub fn words(line: &str) -> Option<Vec<Vec<u8>>> {
    let mut words = Vec::new();
    let mut rest = line.chars().peekable();
    while rest.peek().is_some() {
        let mut word = Vec::new();
        loop {
            match rest.next() {
                None | Some(' ') => break,
                Some('\'') => loop {
                    match rest.next()? {
                        '\'' => break,
                        plain => push(&mut word, plain),
                    }
                },
                Some('\\') => push(&mut word, rest.next()?),
                Some('$') if rest.next_if_eq(&'\'').is_some() => loop {
                    match rest.next()? {
                        '\'' => break,
                        '\\' => match rest.next()? {
                            'x' => {
                                let mut digit = || rest.next()?.to_digit(16);
                                word.push(u8::try_from(digit()? * 16 + digit()?).ok()?);
                            }
                            escaped @ ('\'' | '\\') => push(&mut word, escaped),
                            _ => return None,
                        },
                        plain => push(&mut word, plain),
                    }
                },
                Some(special) if " \t\n!\"#$&()*;<>?[]^`{|}~".contains(special) => return None,
                Some(plain) => push(&mut word, plain),
            }
        }
        words.push(word);
    }
    Some(words)
}

fn push(word: &mut Vec<u8>, character: char) {
    word.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_parsed_as_by_a_shell() {
        let line = r"id '' 'a b' 'it'\''s' $'\x1b[2J\'' $'\xff\\'";
        let read: Vec<&[u8]> = vec![b"id", b"", b"a b", b"it's", b"\x1b[2J'", b"\xff\\"];
        assert_eq!(words(line), Some(read.into_iter().map(<[u8]>::to_vec).collect()));
        for line in ["a;b", "'a", "$a", "a*", "$'\\n'"] {
            assert_eq!(words(line), None, "{line}");
        }
    }
}
