//! Splits a sudoers file into tokens, by the rules of sudo 1.9's own scanner (`plugins/sudoers/toke.l`): the longest
//! rule applies, of two rules of the same length the first, and the meaning of a token depends on what precedes it.

mod program;
mod shape;

use super::token::{DefaultsFor, OPTIONS, SHAS, Sha, TAGS, Token};
use super::tree::{Kind, Opt, Say, Tag};
use shape::{
    blanks, capitals, defaults_value, escaped_break, hex_of_base64, id, line_break, network, path, regex, run,
    unescaped, word,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Initial,
    /// After `Defaults`.
    GotDefaults,
    StartDefaults,
    InDefaults,
    WantDigest(Sha),
    ExpectPath,
    GotInclude,
}

/// Scans one file from its beginning to its end.
pub(super) struct Lexer<'a> {
    text: &'a str,
    at: usize,
    line: usize,
    state: State,
    /// The last line break was escaped.
    continued: bool,
    /// The end has been reported as one inside a line that continues.
    cut: bool,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0, line: 1, state: State::Initial, continued: false, cut: false }
    }

    /// Returns the line of the next token.
    pub(super) fn line(&self) -> usize {
        self.line
    }

    /// Returns the next token; always [`Token::End`] at the end. A last line without a line break gets one, as in sudo.
    pub(super) fn next(&mut self) -> Token {
        loop {
            if self.rest().is_empty() && self.ends_inside_a_line() && !self.cut {
                self.cut = true;
                return Token::Wrong(
                    "the end of the file inside a line that continues, for which sudo rejects the file",
                );
            }
            if self.rest().is_empty() {
                let unfinished = self.at > 0 && !self.text.ends_with('\n') && self.at == self.text.len();
                self.at += usize::from(unfinished);
                self.state = State::Initial;
                return if unfinished { Token::Newline } else { Token::End };
            }
            let token = match self.state {
                State::StartDefaults => self.start_defaults(),
                State::InDefaults => self.in_defaults(),
                State::GotInclude => self.include_path(),
                _ => self.ordinary(),
            };
            if let Some(token) = token {
                return token;
            }
        }
    }

    /// Returns whether the last line ends with an escaped line break.
    fn ends_inside_a_line(&self) -> bool {
        let before = self.text.strip_suffix('\n').map(|text| text.strip_suffix('\r').unwrap_or(text));
        self.continued && before.is_some_and(|text| text.trim_end_matches([' ', '\t']).ends_with('\\'))
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn take(&mut self, length: usize) -> &'a str {
        // Rules count bytes of ASCII characters; the rest of a longer character is included.
        let mut end = (self.at + length).min(self.text.len());
        while !self.text.is_char_boundary(end) {
            end += 1;
        }
        let taken = self.text.get(self.at..end).unwrap_or_default();
        self.at = end;
        taken
    }

    fn at_line_begin(&self) -> bool {
        self.at == 0 || self.text.as_bytes().get(self.at - 1) == Some(&b'\n')
    }

    /// Scans what every state skips or returns: blanks, line breaks escaped or not, `!`, and unknown characters.
    fn anywhere(&mut self) -> Option<Token> {
        let rest = self.rest().as_bytes();
        let blanks = blanks(rest);
        let breaks = escaped_break(rest);
        let not = run(rest, |byte| byte == b'!');
        if let Some(length) = breaks {
            self.take(length);
            self.line += 1;
            self.continued = true;
            return None;
        }
        if blanks > 0 {
            self.take(blanks);
            return None;
        }
        if not > 0 {
            self.take(not);
            return (not % 2 == 1).then_some(Token::Not);
        }
        if let Some(length) = line_break(rest) {
            self.take(length);
            return Some(self.newline());
        }
        self.take(1);
        Some(Token::Wrong("a character that is not allowed here"))
    }

    fn newline(&mut self) -> Token {
        self.state = State::Initial;
        self.line += 1;
        self.continued = false;
        Token::Newline
    }

    /// Scans a comment: `#` and what follows, unless it is a uid.
    fn comment(&mut self) -> Option<Token> {
        let rest = self.rest().as_bytes();
        if rest.first() != Some(&b'#') {
            return None;
        }
        let uid = match (rest.get(1), rest.get(2)) {
            (Some(b'-'), Some(next)) => next.is_ascii_digit(),
            (Some(next), _) => next.is_ascii_digit(),
            (None, _) => false,
        };
        if uid {
            return None;
        }
        let length = run(rest, |byte| byte != b'\n');
        self.take(length);
        if self.rest().starts_with('\n') {
            self.take(1);
            return Some(self.newline());
        }
        None
    }

    fn start_defaults(&mut self) -> Option<Token> {
        let name = run(self.rest().as_bytes(), |byte| byte.is_ascii_lowercase() || byte == b'_');
        if name > 0 {
            self.state = State::InDefaults;
            return Some(Token::Variable(self.take(name).to_owned()));
        }
        self.comment_or_anywhere()
    }

    fn in_defaults(&mut self) -> Option<Token> {
        let rest = self.rest();
        if escaped_break(rest.as_bytes()).is_some() {
            return self.anywhere();
        }
        for (sign, token) in [("+=", Token::Add), ("-=", Token::Remove), ("=", Token::Equals), (",", Token::Comma)] {
            // `+=` is longer than any word that begins with it, but `+x` is a word.
            if rest.starts_with(sign) {
                self.take(sign.len());
                if token == Token::Comma {
                    self.state = State::StartDefaults;
                }
                return Some(token);
            }
        }
        if rest.starts_with('"') {
            return Some(self.string());
        }
        let value = defaults_value(rest.as_bytes());
        let not = run(rest.as_bytes(), |byte| byte == b'!');
        if value > not {
            return Some(Token::Word(unescaped(self.take(value))));
        }
        self.comment_or_anywhere()
    }

    fn comment_or_anywhere(&mut self) -> Option<Token> {
        let before = self.at;
        let comment = self.comment();
        if comment.is_some() || self.at != before { comment } else { self.anywhere() }
    }

    /// Scans in the states that share the rules without a state.
    fn ordinary(&mut self) -> Option<Token> {
        if self.state == State::GotDefaults {
            let rest = self.rest().as_bytes();
            let before = blanks(rest);
            if rest.get(before) == Some(&b',') {
                let after = before + 1;
                let length = after + blanks(rest.get(after..).unwrap_or_default());
                self.take(length);
                return Some(Token::Comma);
            }
            if before > 0 {
                self.take(before);
                self.state = State::StartDefaults;
                return None;
            }
        }
        if let State::WantDigest(sha) = self.state
            && let Some(token) = self.digest(sha)
        {
            return Some(token);
        }
        if self.state == State::Initial {
            if let Some(token) = self.line_begin() {
                return Some(token);
            }
            let before = self.at;
            let comment = self.comment();
            if comment.is_some() || self.at != before {
                return comment;
            }
        }
        if self.rest().starts_with('"') && matches!(self.state, State::Initial | State::GotDefaults) {
            return Some(self.string());
        }
        self.longest()
    }

    /// Applies the rules for the beginning of a line, and `@include`.
    fn line_begin(&mut self) -> Option<Token> {
        let rest = self.rest();
        let found = if let Some(token) =
            include(rest, "@includedir", Token::IncludeDirectory).or_else(|| include(rest, "@include", Token::Include))
        {
            Some(token)
        } else if self.at_line_begin() {
            let blank = |word: &str| rest.strip_prefix(word).is_some_and(|after| after.starts_with([' ', '\t']));
            if blank("#includedir") {
                Some(("#includedir".len(), Token::IncludeDirectory, State::GotInclude))
            } else if blank("#include") {
                Some(("#include".len(), Token::Include, State::GotInclude))
            } else {
                keyword(rest)
            }
        } else {
            None
        };
        let (length, token, state) = found?;
        self.take(length);
        self.state = state;
        if self.continued {
            return Some(Token::Wrong("a directive on a line that continues another"));
        }
        Some(token)
    }

    fn include_path(&mut self) -> Option<Token> {
        let rest = self.rest();
        let first = rest.chars().next()?;
        if first == '"' {
            self.state = State::Initial;
            return Some(self.string());
        }
        if first.is_whitespace() || escaped_break(rest.as_bytes()).is_some() {
            return self.anywhere();
        }
        let mut length = 0;
        let bytes = rest.as_bytes();
        while let Some(byte) = bytes.get(length) {
            let escaped = *byte == b'\\' && matches!(bytes.get(length + 1), Some(b' ' | b'\t'));
            if !escaped && byte.is_ascii_whitespace() {
                break;
            }
            length += 1 + usize::from(escaped);
        }
        self.state = State::Initial;
        Some(Token::Word(unescaped(self.take(length))))
    }

    fn digest(&mut self, sha: Sha) -> Option<Token> {
        let rest = self.rest().as_bytes();
        let hex = run(rest, |byte| byte.is_ascii_hexdigit());
        let base64 = run(rest, |byte| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte));
        if hex == 0 && base64 == 0 {
            return None;
        }
        self.state = State::Initial;
        let word = self.take(base64.max(hex));
        let decoded = if hex >= base64 { Some(word.to_lowercase()) } else { hex_of_base64(word, sha.1) };
        let right = decoded.filter(|digits| digits.len() == sha.1 * 2);
        Some(right.map_or(Token::Wrong("a digest of the wrong length"), Token::Digest))
    }

    fn longest(&mut self) -> Option<Token> {
        let rest = self.rest();
        // Longer than the word `\ ` that it begins with.
        if escaped_break(rest.as_bytes()).is_some() {
            return self.anywhere();
        }
        let mut best = Found { length: 0, kind: Rule::Nothing };
        let mut consider = |length: usize, kind: Rule| {
            if length > best.length {
                best = Found { length, kind };
            }
        };
        for (word, tag, say) in TAGS {
            let after = rest.strip_prefix(word).map(|after| blanks(after.as_bytes()));
            if let Some(gap) = after.filter(|gap| rest.as_bytes().get(word.len() + gap) == Some(&b':')) {
                consider(word.len() + gap + 1, Rule::Tag(tag, say));
            }
        }
        if let Some(after) = rest.strip_prefix('+') {
            consider(usize::from(self.state == State::Initial || self.state == State::GotDefaults), Rule::Empty);
            consider(Some(word(after)).filter(|length| *length > 0).map_or(0, |length| length + 1), Rule::Netgroup);
        }
        if let Some(after) = rest.strip_prefix('%') {
            let named = after.strip_prefix(':').unwrap_or(after);
            let length = word(named).max(id(named));
            consider(1 + after.len() - named.len(), Rule::Empty);
            consider(if length > 0 { 1 + after.len() - named.len() + length } else { 0 }, Rule::Group);
        }
        consider(network(rest), Rule::Network);
        let capitals = capitals(rest.as_bytes());
        if rest.starts_with("ALL") {
            consider(3, Rule::All);
        }
        if self.state == State::Initial {
            let option = OPTIONS.iter().find(|(word, _)| rest.starts_with(word));
            if let Some((word, option)) = option {
                consider(word.len(), Rule::Opt(*option));
            }
        }
        consider(capitals, Rule::Alias);
        if let Some(sha) = SHAS.iter().find(|sha| rest.starts_with(sha.0)) {
            consider(sha.0.len(), Rule::Sha(*sha));
        }
        if rest.starts_with("sudoedit") {
            consider("sudoedit".len(), Rule::Program);
        }
        if self.state == State::ExpectPath {
            consider(path(rest.as_bytes()).max(word(rest)), Rule::PathWord);
        }
        consider(path(rest.as_bytes()), Rule::Program);
        consider(regex(rest.as_bytes()), Rule::Program);
        if matches!(self.state, State::Initial | State::GotDefaults) {
            consider(id(rest).max(word(rest)), Rule::Word);
        }
        for (sign, kind) in
            [('(', Rule::Open), (')', Rule::Close), (',', Rule::Comma), ('=', Rule::Equals), (':', Rule::Colon)]
        {
            consider(usize::from(rest.starts_with(sign)), kind);
        }
        if best.length == 0 {
            return self.anywhere();
        }
        Some(self.found(best))
    }

    fn found(&mut self, Found { length, kind }: Found) -> Token {
        let text = self.take(length);
        match kind {
            Rule::Tag(tag, say) => Token::Tag(tag, say),
            Rule::Empty => Token::Wrong("a group or netgroup without a name"),
            Rule::Netgroup => Token::Netgroup(unescaped(text)),
            Rule::Group => Token::Group(unescaped(text)),
            Rule::Network => Token::Network(text.to_owned()),
            Rule::All => Token::All,
            Rule::Opt(option) => {
                if matches!(option, Opt::Cwd | Opt::Chroot) {
                    self.state = State::ExpectPath;
                }
                Token::Opt(option)
            }
            Rule::Alias => Token::Alias(text.to_owned()),
            Rule::Sha(sha) => {
                self.state = State::WantDigest(sha);
                Token::Algorithm(sha)
            }
            Rule::PathWord => {
                self.state = State::Initial;
                Token::Word(unescaped(text))
            }
            Rule::Word => Token::Word(unescaped(text)),
            Rule::Program => self.program(text),
            Rule::Open => Token::Open,
            Rule::Close => Token::Close,
            Rule::Comma => Token::Comma,
            Rule::Equals => Token::Equals,
            Rule::Colon => Token::Colon,
            Rule::Nothing => Token::Wrong("nothing"),
        }
    }
}

struct Found {
    length: usize,
    kind: Rule,
}

enum Rule {
    Nothing,
    Tag(Tag, Say),
    Empty,
    Netgroup,
    Group,
    Network,
    All,
    Opt(Opt),
    Alias,
    Sha(Sha),
    Program,
    PathWord,
    Word,
    Open,
    Close,
    Comma,
    Equals,
    Colon,
}

fn include(rest: &str, word: &str, token: Token) -> Option<(usize, Token, State)> {
    rest.starts_with(word).then_some((word.len(), token, State::GotInclude))
}

/// Scans `Defaults` with a sign that follows it immediately, or the name of a kind of alias.
fn keyword(rest: &str) -> Option<(usize, Token, State)> {
    let gap = blanks(rest.as_bytes());
    let line = rest.get(gap..)?;
    for (word, kind) in [
        ("Host_Alias", Kind::Host),
        ("Cmnd_Alias", Kind::Command),
        ("Cmd_Alias", Kind::Command),
        ("User_Alias", Kind::User),
        ("Runas_Alias", Kind::Runas),
    ] {
        if line.starts_with(word) {
            return Some((gap + word.len(), Token::AliasKind(kind), State::Initial));
        }
    }
    let after = line.strip_prefix("Defaults")?;
    let length = gap + "Defaults".len();
    let sign = match after.as_bytes().first() {
        Some(b':') => DefaultsFor::Users,
        Some(b'@') => DefaultsFor::Hosts,
        Some(b'>') => DefaultsFor::RunAs,
        Some(b'!') => DefaultsFor::Commands,
        _ => return Some((length, Token::Defaults(None), State::GotDefaults)),
    };
    // The sign counts only if a name follows it.
    let list = after.get(1..)?.trim_start_matches([' ', '\t']);
    let name = list.trim_start_matches('!');
    let name = name.strip_prefix('"').unwrap_or(name);
    if word(name).max(id(name)) == 0 {
        return Some((length, Token::Defaults(None), State::GotDefaults));
    }
    let gap = after.len() - list.len();
    Some((length + gap, Token::Defaults(Some(sign)), State::GotDefaults))
}
