//! Matches wildcards with a table of all pairs of positions, which is slow and simple, to compare with the product's
//! matcher.

/// Returns whether a pattern of a command rule (jit-sudo-policy(5)) matches an argument; `None` if it is not a valid
/// pattern.
pub fn matches(pattern: &str, word: &[u8]) -> Option<bool> {
    let mut tokens = Vec::new();
    let mut bytes = pattern.bytes();
    while let Some(byte) = bytes.next() {
        tokens.push(match byte {
            b'\\' => Token::Byte(bytes.next()?),
            b'*' if tokens.last() == Some(&Token::Run) => return None,
            b'*' => Token::Run,
            b'?' => Token::One,
            byte => Token::Byte(byte),
        });
    }
    let patterns: Vec<&[Token]> = tokens.split(|token| *token == Token::Byte(b'/')).collect();
    let parts: Vec<&[u8]> = word.split(|byte| *byte == b'/').collect();
    Some(patterns.len() == parts.len() && patterns.iter().zip(parts).all(|(pattern, part)| component(pattern, part)))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Token {
    Byte(u8),
    One,
    Run,
}

fn component(pattern: &[Token], part: &[u8]) -> bool {
    let last = part.rsplit(|byte| *byte == b'=').next().unwrap_or(part);
    let is_name = !part.is_empty() && last != b"." && last != b"..";
    let wild = pattern.iter().any(|token| !matches!(token, Token::Byte(_)));
    (is_name || !wild) && fits(pattern, part)
}

/// Matches one component. `reach[at]`: whether the tokens so far match the first `at` bytes.
fn fits(pattern: &[Token], part: &[u8]) -> bool {
    let mut reach = vec![false; part.len() + 1];
    reach[0] = true;
    for token in pattern {
        let mut next = vec![false; part.len() + 1];
        for at in (0..=part.len()).filter(|at| reach[*at]) {
            match token {
                Token::Byte(byte) if part.get(at) == Some(byte) => next[at + 1] = true,
                Token::Byte(_) => {}
                Token::One => {
                    if at < part.len() {
                        next[end(part, at)] = true;
                    }
                }
                Token::Run => {
                    let mut to = at;
                    next[to] = true;
                    while to < part.len() {
                        to = end(part, to);
                        next[to] = true;
                    }
                }
            }
        }
        reach = next;
    }
    reach[part.len()]
}

/// Returns the end of the character that starts here; a byte that is not UTF-8 counts as one character.
fn end(part: &[u8], at: usize) -> usize {
    let length =
        (1..=4).find(|length| part.get(at..at + length).is_some_and(|bytes| std::str::from_utf8(bytes).is_ok()));
    at + length.unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_stay_within_names() {
        for (pattern, word, expected) in [
            ("/var/log/*", "/var/log/x", true),
            ("/var/log/*", "/var/log/..", false),
            ("/var/log/*", "/var/log/a/b", false),
            ("--in=*", "--in=..", false),
            ("a?c", "a\u{fc}c", true),
            ("\\*", "*", true),
            ("*a*b", "xaxbxb", true),
        ] {
            assert_eq!(matches(pattern, word.as_bytes()), Some(expected), "{pattern} {word}");
        }
    }
}
