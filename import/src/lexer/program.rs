//! Scans a command with its arguments, and strings between quotes: here blanks, punctuation and backslashes have
//! another meaning.

use super::shape::{blanks, escaped_break, program_name, run};
use super::{Lexer, State};
use crate::token::Token;

impl Lexer<'_> {
    pub(super) fn program(&mut self, text: &str) -> Token {
        let path = program_name(text);
        if self.state == State::GotDefaults || text.ends_with('/') && text.starts_with('/') {
            return Token::Command(path, None, false);
        }
        self.arguments(path)
    }

    /// Scans what follows a program, as one line with single blanks.
    fn arguments(&mut self, path: String) -> Token {
        let (mut args, mut blanks_inside, mut gap) = (None::<String>, false, false);
        let add = |piece: &str, gap: bool, args: &mut Option<String>| {
            let args = args.get_or_insert_with(String::new);
            if gap && !args.is_empty() {
                args.push(' ');
            }
            args.push_str(piece);
        };
        loop {
            let rest = self.rest().as_bytes();
            let word = run(rest, |byte| !b"#\\:, \t\r\n".contains(&byte));
            match rest {
                [] => break,
                [b'\\', b'*' | b'?' | b'[' | b']' | b'!' | b'^', ..] => {
                    add(self.take(2), gap, &mut args);
                    gap = false;
                }
                [b'\\', b':' | b'\\' | b',' | b'=' | b' ' | b'\t' | b'#', ..] if escaped_break(rest).is_none() => {
                    let piece = self.take(2);
                    blanks_inside |= piece.ends_with([' ', '\t']);
                    add(&piece[1..], gap, &mut args);
                    gap = false;
                }
                [b'#' | b':' | b',' | b'\r' | b'\n', ..] => break,
                [b'=', ..] if word <= 1 => break,
                [b'^', ..] if args.is_none() => return self.argument_regex(path),
                _ if word > 0 => {
                    add(self.take(word), gap, &mut args);
                    gap = false;
                }
                _ => {
                    gap = true;
                    if let Some(token) = self.anywhere() {
                        return token;
                    }
                }
            }
        }
        self.state = State::Initial;
        Token::Command(path, args, blanks_inside)
    }

    fn argument_regex(&mut self, path: String) -> Token {
        let mut args = String::new();
        loop {
            let rest = self.rest().as_bytes();
            if let Some(length) = escaped_break(rest) {
                self.take(length);
                self.line += 1;
                let length = blanks(self.rest().as_bytes());
                self.take(length);
                continue;
            }
            match rest {
                [] | [b'#' | b'\r' | b'\n', ..] => {
                    self.state = State::Initial;
                    return Token::Wrong("an unterminated regular expression");
                }
                [b'\\', ..] => args.push_str(self.take(2)),
                [b'$', ..] => {
                    args.push_str(self.take(1));
                    self.state = State::Initial;
                    return Token::Command(path, Some(args), false);
                }
                _ => {
                    let length = run(rest, |byte| !b"#\\\r\n$".contains(&byte));
                    args.push_str(self.take(length));
                }
            }
        }
    }

    /// Scans a string between double quotes.
    pub(super) fn string(&mut self) -> Token {
        self.take(1);
        let back = self.state;
        let mut text = String::new();
        loop {
            let rest = self.rest().as_bytes();
            if let Some(length) = escaped_break(rest) {
                self.take(length);
                self.line += 1;
                self.continued = true;
                let length = blanks(self.rest().as_bytes());
                self.take(length);
                continue;
            }
            match rest {
                [] | [b'\r' | b'\n', ..] => {
                    self.state = State::Initial;
                    return Token::Wrong("a line break between quotes");
                }
                [b'"', ..] => {
                    self.take(1);
                    break;
                }
                [b'\\', b'"', ..] => {
                    self.take(2);
                    text.push('"');
                }
                [b'\\', ..] => text.push_str(self.take(1)),
                _ => {
                    let length = run(rest, |byte| !b"\"\\\r\n".contains(&byte));
                    text.push_str(self.take(length));
                }
            }
        }
        let names = matches!(back, State::Initial | State::GotDefaults);
        match text.as_str() {
            "" => Token::Wrong("an empty string"),
            "%" | "%:" | "+" if names => Token::Wrong("a group or netgroup without a name"),
            _ if names && text.starts_with('%') => Token::Group(text),
            _ if names && text.starts_with('+') => Token::Netgroup(text),
            _ => Token::Word(text),
        }
    }
}
