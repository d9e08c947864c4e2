//! An example of what a regular expression matches, for a person who is asked for it. It knows the simple forms that
//! tickets have; the caller checks that it matches.

use std::iter::Peekable;
use std::str::Chars;

/// The most repetitions of one part.
const MOST: usize = 32;

/// What one part of an expression matches, once for each repetition.
enum Part {
    Digits,
    Text(String),
}

/// Returns a text that the expression probably matches; `None` for forms that are not simple.
pub(super) fn example(expression: &str) -> Option<String> {
    let mut rest = expression.chars().peekable();
    let text = alternatives(&mut rest)?;
    rest.next().is_none().then_some(text)
}

/// Reads up to the end of a group, and returns the example of the first alternative.
fn alternatives(rest: &mut Peekable<Chars<'_>>) -> Option<String> {
    let mut first = None;
    let mut text = String::new();
    while let Some(character) = rest.next_if(|next| *next != ')') {
        let part = match character {
            '|' => {
                first.get_or_insert(std::mem::take(&mut text));
                text.clear();
                continue;
            }
            '^' | '$' => continue,
            '\\' => escaped(rest.next()?)?,
            '[' => class(rest)?,
            '(' => group(rest)?,
            '.' => Part::Text("x".to_owned()),
            '*' | '+' | '?' | '{' => return None,
            literal => Part::Text(literal.to_string()),
        };
        repeat(&mut text, &part, rest)?;
    }
    Some(first.unwrap_or(text))
}

fn escaped(character: char) -> Option<Part> {
    match character {
        'd' => Some(Part::Digits),
        'w' => Some(Part::Text("A".to_owned())),
        literal if literal.is_ascii_punctuation() => Some(Part::Text(literal.to_string())),
        _ => None,
    }
}

fn group(rest: &mut Peekable<Chars<'_>>) -> Option<Part> {
    if rest.next_if_eq(&'?').is_some() {
        rest.next_if_eq(&':')?;
    }
    let text = alternatives(rest)?;
    rest.next_if_eq(&')')?;
    Some(Part::Text(text))
}

/// Takes the first member of a class.
fn class(rest: &mut Peekable<Chars<'_>>) -> Option<Part> {
    let first = match rest.next()? {
        '^' | ']' | '[' => return None,
        '\\' => escaped(rest.next()?)?,
        digit if digit.is_ascii_digit() => Part::Digits,
        other => Part::Text(other.to_string()),
    };
    while rest.next()? != ']' {}
    Some(first)
}

/// Adds a part as often as the quantifier after it says: as often as it must, and three times where it may be any number.
fn repeat(text: &mut String, part: &Part, rest: &mut Peekable<Chars<'_>>) -> Option<()> {
    let is_run = matches!(part, Part::Digits);
    let count = match rest.peek() {
        Some('+' | '*') => {
            rest.next();
            if is_run { 3 } else { 1 }
        }
        Some('?') => {
            rest.next();
            1
        }
        Some('{') => {
            rest.next();
            let mut digits = String::new();
            while let Some(digit) = rest.next_if(char::is_ascii_digit) {
                digits.push(digit);
            }
            while rest.next()? != '}' {}
            digits.parse::<usize>().ok()?.max(1)
        }
        _ => 1,
    };
    for place in 0..count.min(MOST) {
        match part {
            Part::Digits => text.push(char::from_digit(u32::try_from(place % 9).unwrap_or(0) + 1, 10)?),
            Part::Text(literal) => text.push_str(literal),
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_forms_of_tickets_have_an_example() {
        for (expression, expected) in [
            ("^OPS-[0-9]+$", "OPS-123"),
            (r"^(INC|CHG)\d{7}$", "INC1234567"),
            (r"^[A-Z]{2,10}-\d+$", "AA-123"),
            (r"^(?:https://tracker\.example/)?#?[1-9][0-9]{0,3}$", "https://tracker.example/#11"),
        ] {
            let found = example(expression).unwrap();
            assert_eq!(found, expected);
            assert!(regex_lite::Regex::new(expression).unwrap().is_match(&found), "{expression}: {found}");
        }
    }

    #[test]
    fn other_forms_have_none() {
        for expression in [r"^\bx", "[^a]", "(?i)ops", "a)", "+"] {
            assert_eq!(example(expression), None, "{expression}");
        }
    }
}
