//! Converts plain sentences, as `--help` shows them, to mdoc(7): text in backquotes gets the macro that fits its form,
//! `name(8)` becomes a reference, and each sentence begins a line.

/// The maximum length of a line, as mandoc recommends.
const WIDTH: usize = 78;

/// Formats paragraphs separated by empty lines. Words in capitals that are in `values` are names of arguments.
pub(crate) fn prose(text: &str, values: &[String]) -> String {
    let paragraphs: Vec<String> = text.split("\n\n").map(|paragraph| lines(paragraph, values)).collect();
    paragraphs.join(".Pp\n")
}

/// Formats a line of the help as a sentence: a capital, a full stop, and `[default: x]` as a sentence of its own.
pub(crate) fn sentence(help: &str) -> String {
    let (what, default) = match help.trim_end_matches(']').split_once(" [default: ") {
        Some((what, default)) if help.ends_with(']') => (what, format!(" Default: {default}.")),
        _ => (help, String::new()),
    };
    let mut letters = what.chars();
    let first: String = letters.next().into_iter().flat_map(char::to_uppercase).collect();
    let end = if what.ends_with(['.', ':']) { "" } else { "." };
    format!("{first}{}{end}{default}", letters.as_str())
}

/// Formats an option that begins with a dash as arguments of a macro line: `Fl -wait`.
pub(crate) fn flag(spelled: &str) -> String {
    format!("Fl {}", spelled.strip_prefix('-').unwrap_or(spelled))
}

fn lines(paragraph: &str, values: &[String]) -> String {
    let mut page = String::new();
    let mut line = String::new();
    let end = |page: &mut String, line: &mut String| {
        if !line.is_empty() {
            page.push_str(&std::mem::take(line));
            page.push('\n');
        }
    };
    for word in words(paragraph) {
        match macro_for(&word, values) {
            Some(call) => {
                end(&mut page, &mut line);
                page.push_str(&format!(".{call}\n"));
            }
            None => {
                if line.len() + word.len() >= WIDTH {
                    end(&mut page, &mut line);
                }
                let space = if line.is_empty() { "" } else { " " };
                let guard = if line.is_empty() && word.starts_with(['.', '\'']) { "\\&" } else { "" };
                line.push_str(&format!("{space}{guard}{}", word.replace('\\', "\\e")));
            }
        }
        // A new sentence begins a new line (mdoc(7)).
        if word.trim_end_matches(')').ends_with(['.', '?']) {
            end(&mut page, &mut line);
        }
    }
    end(&mut page, &mut line);
    page
}

/// Splits at spaces, except between backquotes.
fn words(text: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for letter in text.chars() {
        quoted ^= letter == '`';
        match words.last_mut() {
            Some(word) if quoted || !letter.is_whitespace() => word.push(letter),
            Some(word) if word.is_empty() => {}
            _ => words.push(String::new()),
        }
    }
    assert!(!quoted, "a backquote is open: {text}");
    words.retain(|word| !word.is_empty());
    words
}

/// Returns the macro line of a word with its punctuation; `None` for plain text.
fn macro_for(word: &str, values: &[String]) -> Option<String> {
    let bare = word.trim_start_matches('(');
    let opening = "( ".repeat(word.len() - bare.len());
    let (inner, after) = match bare.strip_prefix('`') {
        Some(quoted) => quoted.split_once('`').map(|(inner, after)| (code(inner), after))?,
        None => {
            let inner = bare.trim_end_matches([',', '.', ';', ':', '?']);
            let open = inner.matches('(').count();
            let inner = if inner.matches(')').count() > open { inner.trim_end_matches(')') } else { inner };
            (named(inner, values)?, bare.strip_prefix(inner)?)
        }
    };
    let (name, arguments) = inner.split_once(' ')?;
    let after: String = match after.starts_with(|c: char| c.is_alphanumeric() || c == '\'') {
        true => format!(" Ns {after}"),
        false => after.chars().map(|mark| format!(" {mark}")).collect(),
    };
    Some(format!("{name} {opening}{arguments}{after}"))
}

/// Returns the macro of a word that needs one without backquotes.
fn named(word: &str, values: &[String]) -> Option<String> {
    let capitals = word.len() > 1 && word.bytes().all(|byte| byte.is_ascii_uppercase());
    if let Some((name, section)) = word.strip_suffix(')').and_then(|word| word.split_once('(')) {
        let digit = section.len() == 1 && section.bytes().all(|byte| byte.is_ascii_digit());
        return (digit && !name.is_empty()).then(|| format!("Xr {name} {section}"));
    }
    match word {
        "EDITING" | "ENVIRONMENT" => Some(format!("Sx {word}")),
        _ if capitals && word.starts_with("SIG") => Some(format!("Dv {word}")),
        _ if capitals && values.iter().any(|value| value == word) => Some(format!("Ar {}", word.to_lowercase())),
        _ => None,
    }
}

/// Returns the macro of text in backquotes, by its form.
fn code(text: &str) -> String {
    let all = |allowed: &str| text.bytes().all(|byte| byte.is_ascii_lowercase() || allowed.as_bytes().contains(&byte));
    let capitals = text.len() > 1 && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
    let dashed = text.starts_with('-') && text.trim_start_matches('-').starts_with(|c: char| c.is_ascii_alphabetic());
    if dashed {
        let (spelled, value) = text.split_once([' ', '=']).unwrap_or((text, ""));
        let between = if text.contains('=') { "Ns = Ns " } else { "" };
        let value = if value.is_empty() { String::new() } else { format!(" {between}Ar {}", value.to_lowercase()) };
        format!("{}{value}", flag(spelled))
    } else if text.starts_with('/') {
        format!("Pa {text}")
    } else if capitals {
        format!("{} {text}", if text.starts_with("SIG") { "Dv" } else { "Ev" })
    } else if let Some(verb) = text.strip_prefix("jitctl ") {
        format!("Nm jitctl Cm {}", argument(verb))
    } else if matches!(text, "jit-sudo" | "jitctl" | "jit-sudoedit") {
        format!("Nm {text}")
    } else if all("_-[]. ") && text.len() > 1 {
        format!("Cm {}", argument(text))
    } else {
        format!("Ql {}", argument(text))
    }
}

/// Returns a literal argument of a macro.
fn argument(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('"', "\\(dq");
    let guarded = match text.len() {
        1..=3 => format!("\\&{text}"),
        _ => text,
    };
    if guarded.contains(' ') { format!("\"{guarded}\"") } else { guarded }
}

#[test]
fn text_in_backquotes_gets_the_macro_of_its_form() {
    let values = ["ID".to_owned()];
    for (text, page) in [
        (
            "Ask for (`-u USER`), then stop. See jitctl(8).",
            "Ask for\n.Fl ( u Ar user ) ,\nthen stop.\nSee\n.Xr jitctl 8 .\n",
        ),
        ("`--wait=TIME` or `--one-shot`", ".Fl -wait Ns = Ns Ar time\nor\n.Fl -one-shot\n"),
        (
            "an ID in `/etc/x`, `%group`; `keep` of `[audit]`.",
            "an\n.Ar id\nin\n.Pa /etc/x ,\n.Ql %group ;\n.Cm keep\nof\n.Cm [audit] .\n",
        ),
        (".x\n\n`-` and SIGTERM", "\\&.x\n.Pp\n.Ql \\&-\nand\n.Dv SIGTERM\n"),
    ] {
        assert_eq!(prose(text, &values), page);
    }
    assert_eq!(sentence("for how long [default: ever]"), "For how long. Default: ever.");
}
