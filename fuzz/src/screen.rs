//! What a replay promises about its output (ctl/src/replay/filter.rs, jitctl(1)), checked independently: by the grammar
//! of ECMA-48, section 5.4, and not by the filter's own states.

/// Private modes that only affect drawing.
const MODES: [&str; 8] = ["6", "7", "25", "47", "1047", "1048", "1049", "2026"];

/// Panics if a terminal would do anything else than draw: answer, ring, or set titles, keys, mice, clipboards or
/// printers.
pub fn only_draws(shown: &str) {
    let mut rest = shown;
    while let Some(character) = rest.chars().next() {
        rest = &rest[character.len_utf8()..];
        match character {
            '\x1b' => rest = sequence(rest).unwrap_or_else(|| panic!("ESC {rest:?} in {shown:?}")),
            '\x08'..='\x0f' => {}
            control => assert!(!control.is_control(), "{control:?} in {shown:?}"),
        }
    }
}

/// Returns what follows the sequence after an ESC, if that only draws.
fn sequence(text: &str) -> Option<&str> {
    let mut characters = text.chars();
    match characters.next()? {
        '7' | '8' | 'D' | 'E' | 'H' | 'M' => {}
        '(' | ')' | '*' | '+' => drop(characters.next().filter(|set| "0AB".contains(*set))?),
        '[' => {
            let end =
                text.find(|c| ('@'..='~').contains(&c) && c != '[').or_else(|| text[1..].find('[').map(|at| at + 1))?;
            let (parameters, last) = (text.get(1..end)?, text[end..].chars().next()?);
            draws(parameters, last).then_some(())?;
            return text.get(end + 1..);
        }
        _ => return None,
    }
    Some(characters.as_str())
}

fn draws(parameters: &str, last: char) -> bool {
    let plain = parameters.chars().all(|c| c.is_ascii_digit() || c == ';' || c == ':');
    match (parameters, last) {
        ("4", 'h' | 'l') | ("!", 'p') => true,
        (_, 'h' | 'l') => parameters.strip_prefix('?').is_some_and(|mode| MODES.contains(&mode)),
        // Requests an answer (n, c, x), moves windows (t), prints (i), sets lights or the cursor's shape (q).
        (_, 'n' | 'c' | 'x' | 't' | 'i' | 'q') => false,
        // With five parameters it tracks the mouse.
        (_, 'T') => plain && !parameters.contains(';'),
        (_, '@'..='z') => plain,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences_that_act_are_distinguished_from_drawing() {
        only_draws("a\r\n\x1b[1;31mred\x1b[0m\x1b(0\x1b7\x1b[?1049h\x1b[2J\x1b[!p\x1b[4l");
        let acts = [
            "\x07",
            "\x1b]0;x",
            "\x1b[6n",
            "\x1b[?1000h",
            "\x1b[c",
            "\x1b[1;2;3;4;5T",
            "\u{9b}m",
            "\x1bc",
            "\x1b",
            "\x1b[1",
        ];
        for text in acts {
            assert!(std::panic::catch_unwind(|| only_draws(text)).is_err(), "{text:?}");
        }
    }
}
