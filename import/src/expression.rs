//! Translates a POSIX extended regular expression (regex(7), with glibc's extensions) to the syntax of the policy.
//! Rejects whatever the two would interpret differently.

/// Translates the expression; the error is a sentence fragment.
pub(super) fn translate(posix: &str) -> Result<String, String> {
    if posix.len() > 1024 {
        return Err("it is longer than 1024 bytes, which sudo rejects".to_owned());
    }
    let (flags, body) = match posix.strip_prefix("^(?i)") {
        Some(body) => ("(?i)", format!("^{body}")),
        None => ("", posix.to_owned()),
    };
    let mut translator = Translator { rest: body.as_str(), out: flags.to_owned(), last: Last::Begin };
    while let Some(character) = translator.take() {
        translator.one(character)?;
    }
    Ok(translator.out)
}

/// The characters with a special meaning in the policy's syntax.
const SPECIAL: &str = "\\.+*?()|[]{}^$";

/// The same between brackets.
const SPECIAL_IN_BRACKETS: &str = "\\[]^-&~";

struct Translator<'a> {
    rest: &'a str,
    out: String,
    last: Last,
}

/// What precedes, as far as it matters for a repetition.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Last {
    Begin,
    Atom,
    Repetition,
}

impl Translator<'_> {
    fn take(&mut self) -> Option<char> {
        let character = self.rest.chars().next()?;
        self.rest = self.rest.get(character.len_utf8()..).unwrap_or_default();
        Some(character)
    }

    fn one(&mut self, character: char) -> Result<(), String> {
        match character {
            '\\' => self.escaped()?,
            '[' => self.bracket()?,
            '*' | '+' | '?' => self.repetition(&character.to_string())?,
            '{' => match bounds(self.rest) {
                Some((bounds, length)) => {
                    self.rest = self.rest.get(length..).unwrap_or_default();
                    self.repetition(&bounds?)?;
                }
                None => self.atom("\\{"),
            },
            '(' | '|' | '^' | '$' => {
                self.out.push(character);
                self.last = Last::Begin;
            }
            ')' | '.' => self.atom(&character.to_string()),
            other => self.literal(other),
        }
        Ok(())
    }

    fn atom(&mut self, text: &str) {
        self.out.push_str(text);
        self.last = Last::Atom;
    }

    fn literal(&mut self, character: char) {
        if SPECIAL.contains(character) {
            self.out.push('\\');
        }
        self.out.push(character);
        self.last = Last::Atom;
    }

    fn repetition(&mut self, sign: &str) -> Result<(), String> {
        if self.last != Last::Atom {
            return Err(format!("'{sign}' repeats nothing, or a repetition"));
        }
        self.out.push_str(sign);
        self.last = Last::Repetition;
        Ok(())
    }

    fn escaped(&mut self) -> Result<(), String> {
        match self.take() {
            Some(class @ ('w' | 'W' | 's' | 'S' | 'b' | 'B')) => self.atom(&format!("\\{class}")),
            Some(other) if other.is_ascii_punctuation() && !matches!(other, '<' | '>' | '`' | '\'') => {
                self.literal(other);
            }
            Some(other) => return Err(format!("'\\{other}' has no counterpart")),
            None => return Err("it ends with a backslash".to_owned()),
        }
        Ok(())
    }

    fn bracket(&mut self) -> Result<(), String> {
        let unfinished = || "a '[' without its ']'".to_owned();
        self.out.push('[');
        if self.rest.starts_with('^') {
            self.take();
            self.out.push('^');
        }
        let mut first = true;
        loop {
            let character = self.take().ok_or_else(unfinished)?;
            match character {
                ']' if !first => break,
                '[' if self.rest.starts_with([':', '.', '=']) => {
                    let end = self.rest.find(":]").ok_or_else(unfinished)?;
                    let name = self.rest.get(1..end).filter(|_| self.rest.starts_with(':'));
                    let name = name.filter(|name| name.bytes().all(|byte| byte.is_ascii_lowercase()));
                    let name = name.ok_or("'[.' and '[=' have no counterpart")?;
                    self.out.push_str(&format!("[:{name}:]"));
                    self.rest = self.rest.get(end + 2..).unwrap_or_default();
                }
                '-' if !first && !self.rest.starts_with(']') => self.out.push('-'),
                other => {
                    if SPECIAL_IN_BRACKETS.contains(other) {
                        self.out.push('\\');
                    }
                    self.out.push(other);
                }
            }
            first = false;
        }
        self.out.push(']');
        self.last = Last::Atom;
        Ok(())
    }
}

/// Parses the bounds after `{`, with their length; `None` if the brace is an ordinary character.
fn bounds(text: &str) -> Option<(Result<String, String>, usize)> {
    let end = text.find('}')?;
    let inner = text.get(..end)?;
    let (least, most) = inner.split_once(',').map_or((inner, None), |(least, most)| (least, Some(most)));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if inner.is_empty() || !digits(least) || !most.is_none_or(digits) || (least.is_empty() && most.is_none()) {
        return None;
    }
    let small = |text: &str| text.is_empty() || text.parse::<u32>().is_ok_and(|number| number <= 255);
    if !small(least) || !most.is_none_or(small) {
        return Some((Err("it repeats more than 255 times, which sudo rejects".to_owned()), end + 1));
    }
    let least = if least.is_empty() { "0" } else { least };
    let bounds = most.map_or_else(|| format!("{{{least}}}"), |most| format!("{{{least},{most}}}"));
    Some((Ok(bounds), end + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_keep_their_meaning() {
        for (posix, ours) in [
            ("^/usr/bin/(ls|cat)$", "^/usr/bin/(ls|cat)$"),
            ("^[[:alnum:]_-]+$", r"^[[:alnum:]_\-]+$"),
            (r"^[]a\]x$", r"^[\]a\\]x$"),
            ("^[^a-z.]{1,3}$", r"^[^a-z.]{1,3}$"),
            ("^a{,2}b{x$", r"^a{0,2}b\{x$"),
            (r"^\.\$a#$", r"^\.\$a#$"),
            ("^(?i)abc$", "(?i)^abc$"),
        ] {
            assert_eq!(translate(posix).as_deref(), Ok(ours), "{posix}");
        }
    }

    #[test]
    fn ambiguous_expressions_are_rejected() {
        for posix in [
            r"^(a)\1$",
            r"^\<a$",
            "^a**$",
            "^*a$",
            "^(+)$",
            "^a{256}$",
            "^[[.a.]]$",
            "^[a$",
            "^a*?$",
            "^(?:a)$",
            r"^\d$",
        ] {
            assert!(translate(posix).is_err(), "{posix}");
        }
    }
}
