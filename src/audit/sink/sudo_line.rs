//! Runs and refusals as sudo(8) writes them into syslog, for programs that read its lines: `ann : TTY=pts/1 ; PWD=/home/ann ;
//! USER=root ; COMMAND=/usr/bin/id -u`. Source: sudoers(5), "EVENT LOGGING" and "log_server"; sudo 1.9.13 writes the same.

use jit_core::escape::Word;
use jit_core::evidence::record::{Event, Reject, Start};

/// The longest text after the name, `syslog_maxlen` of sudoers(5), with what precedes it.
const MAX_LENGTH: usize = 960;

/// Returns the text of each line, without priority, time and `sudo: `; none for a record about which sudo writes nothing.
pub(super) fn lines(event: &Event) -> Vec<Vec<u8>> {
    match event {
        // A session that another program opened has the lines of that program.
        Event::Start(start) if start.service.is_none() => split(&start.user, &of_start(start)),
        Event::Reject(reject) => split(&reject.user, &of_reject(reject)),
        _ => Vec::new(),
    }
}

/// Whether it is a refusal, which sudo sends with the priority alert.
pub(super) fn is_refusal(event: &Event) -> bool {
    matches!(event, Event::Reject(_))
}

fn of_start(start: &Start) -> Vec<u8> {
    let mut line = place(start.tty.as_ref(), Some(&start.cwd));
    line.extend(b"USER=");
    escape(start.run_as.as_bytes(), &mut line);
    line.extend(b" ; COMMAND=");
    let arguments = start.argv.get(1..).unwrap_or_default();
    match start.editor {
        Some(_) => command(b"sudoedit", arguments, &mut line),
        None => command(start.path.as_bytes(), arguments, &mut line),
    }
    line
}

fn of_reject(reject: &Reject) -> Vec<u8> {
    let mut line = Vec::new();
    match reject.code.as_str() {
        "not-allowed" | "no-grant" | "not-permitted" | "other-role" | "pending" => line.extend(b"command not allowed"),
        "no-role" => line.extend(b"user NOT in sudoers"),
        "password-required" => line.extend(b"a password is required"),
        _ => escape(reject.sentence.as_bytes(), &mut line),
    }
    line.extend(b" ; ");
    line.extend(place(reject.tty.as_ref(), reject.cwd.as_ref()));
    line.extend(b"USER=");
    escape(reject.run_as.as_ref().map_or(b"root", Word::as_bytes), &mut line);
    if let Some((program, arguments)) = reject.argv.split_first() {
        line.extend(b" ; COMMAND=");
        command(program.as_bytes(), arguments, &mut line);
    }
    line
}

fn place(tty: Option<&Word>, cwd: Option<&Word>) -> Vec<u8> {
    let mut line = Vec::new();
    if let Some(tty) = tty {
        line.extend(b"TTY=");
        escape(tty.as_bytes().strip_prefix(b"/dev/").unwrap_or(tty.as_bytes()), &mut line);
        line.extend(b" ; ");
    }
    if let Some(cwd) = cwd {
        line.extend(b"PWD=");
        escape(cwd.as_bytes(), &mut line);
        line.extend(b" ; ");
    }
    line
}

/// Appends the path, in which a space is escaped too, and the arguments: with a space in single quotes, and with a backslash before
/// quotes and backslashes.
fn command(path: &[u8], arguments: &[Word], line: &mut Vec<u8>) {
    for part in path.split_inclusive(|byte| *byte == b' ') {
        escape(part.strip_suffix(b" ").unwrap_or(part), line);
        if part.ends_with(b" ") {
            line.extend(b"#040");
        }
    }
    for argument in arguments {
        let quote: &[u8] = if argument.as_bytes().contains(&b' ') { b"'" } else { b"" };
        line.push(b' ');
        line.extend(quote);
        for byte in argument.as_bytes() {
            if matches!(byte, b'\\' | b'\'') {
                line.push(b'\\');
            }
            escape(&[*byte], line);
        }
        line.extend(quote);
    }
}

/// Appends the bytes; control characters as `#0` and their octal number.
fn escape(bytes: &[u8], line: &mut Vec<u8>) {
    for byte in bytes {
        if byte.is_ascii_control() {
            line.extend(format!("#0{byte:o}").into_bytes());
        } else {
            line.push(*byte);
        }
    }
}

/// Puts the name before the text, and splits a long text before a space.
fn split(user: &Word, text: &[u8]) -> Vec<Vec<u8>> {
    let mut name = Vec::new();
    escape(user.as_bytes(), &mut name);
    let padding = 8_usize.saturating_sub(name.len());
    let (mut lines, mut rest, mut continued) = (Vec::new(), text, "");
    loop {
        // As sudo counts: without the width of the name's field.
        let most = MAX_LENGTH.saturating_sub(name.len()).saturating_sub(3 + continued.len()).max(1);
        let mut line = vec![b' '; padding];
        line.extend(&name);
        line.extend(b" : ");
        line.extend(continued.as_bytes());
        if rest.len() <= most {
            line.extend(rest);
            lines.push(line);
            return lines;
        }
        let end = rest.get(..most).and_then(|part| part.iter().rposition(|byte| *byte == b' ')).filter(|end| *end > 0);
        let (part, after) = rest.split_at(end.unwrap_or(most));
        line.extend(part);
        lines.push(line);
        (rest, continued) = (after.trim_ascii_start(), "(command continued) ");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jit_core::samples;

    fn texts(event: &Event) -> Vec<String> {
        lines(event).into_iter().map(|line| String::from_utf8(line).unwrap()).collect()
    }

    fn start(words: &[&str]) -> Start {
        let start = samples::events().into_iter().find_map(|event| match event {
            Event::Start(start) => Some(*start),
            _ => None,
        });
        let (user, run_as) = (Word::from("ann"), Word::from("root"));
        let argv = words.iter().map(|word| Word::from(*word)).collect();
        let (path, cwd) = (Word::from("/usr/bin/id"), Word::from("/home/ann"));
        Start { user, run_as, argv, path, cwd, tty: None, service: None, editor: None, ..start.unwrap() }
    }

    fn line(words: &[&str]) -> String {
        texts(&Event::Start(Box::new(start(words)))).join("\n")
    }

    #[test]
    fn a_run_is_written_as_sudo_writes_it() {
        assert_eq!(line(&["id", "-u"]), "     ann : PWD=/home/ann ; USER=root ; COMMAND=/usr/bin/id -u");
        let before = "     ann : PWD=/home/ann ; USER=root ; COMMAND=/usr/bin/id";
        for (words, written) in [
            (&["id"][..], ""),
            (&["id", ""], " "),
            (&["id", "a b", "c\\d"], " 'a b' c\\\\d"),
            (&["id", "qu\"o'te", "it's it"], " qu\"o\\'te 'it\\'s it'"),
            (&["id", "new\nline\u{7}\u{1b}[1m\u{7f}"], " new#012line#07#033[1m#0177"),
            (&["id", "é", ";", "$x"], " é ; $x"),
        ] {
            assert_eq!(line(words), format!("{before}{written}"));
        }
        let tty = Some(Word::from("/dev/pts/3"));
        let path = Word::from("/srv/a b\tc");
        let typed = Start { tty, path, user: Word::from("long-name"), ..start(&["x"]) };
        let written = "long-name : TTY=pts/3 ; PWD=/home/ann ; USER=root ; COMMAND=/srv/a#040b#011c";
        assert_eq!(texts(&Event::Start(Box::new(typed))), [written]);
        let service = Some(Word::from("su"));
        assert!(texts(&Event::Start(Box::new(Start { service, ..start(&["x"]) }))).is_empty());
    }

    #[test]
    fn a_refusal_begins_with_its_reason() {
        let reject = samples::events().into_iter().find_map(|event| match event {
            Event::Reject(reject) => Some(*reject),
            _ => None,
        });
        let reject = Reject {
            user: Word::from("ann"),
            tty: Some(Word::from("/dev/pts/1")),
            cwd: Some(Word::from("/")),
            argv: vec![Word::from("ls"), Word::from("/root")],
            run_as: None,
            sentence: Word::from("3 incorrect password attempts"),
            ..reject.unwrap()
        };
        let of = |code: &str| texts(&Event::Reject(Box::new(Reject { code: code.to_owned(), ..reject.clone() })));
        let rest = " ; TTY=pts/1 ; PWD=/ ; USER=root ; COMMAND=ls /root";
        assert_eq!(of("not-allowed"), [format!("     ann : command not allowed{rest}")]);
        assert_eq!(of("no-role"), [format!("     ann : user NOT in sudoers{rest}")]);
        assert_eq!(of("authentication"), [format!("     ann : 3 incorrect password attempts{rest}")]);
    }

    #[test]
    fn a_long_line_is_continued() {
        let words: Vec<String> = (0..400).map(|number| number.to_string()).collect();
        let words: Vec<&str> = std::iter::once("id").chain(words.iter().map(String::as_str)).collect();
        let text = line(&words);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2);
        assert!(lines.iter().all(|line| line.len() <= MAX_LENGTH + 8), "{text}");
        assert!(lines[1].starts_with("     ann : (command continued) "), "{text}");
        let joined = text.replace("\n     ann : (command continued)", "");
        assert!(joined.ends_with(&words[1..].join(" ")), "{joined}");
        let one = "x".repeat(3000);
        assert_eq!(line(&["id", &one]).lines().count(), 5, "a word that is too long is cut");
    }
}
