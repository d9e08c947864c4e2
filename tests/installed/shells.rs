//! Completion in real shells: in bash, zsh and fish, with the scripts that `make install` has installed.

use harness::{Person, PrivateRoot, PtySession};

use crate::{id, request, root};

/// Creates a user with an eligible role and a pending request; returns its id.
fn somebody() -> (Person, String) {
    let person = root().person(&["reviewed", "once"]);
    let pending = id(&request(root(), &person, "reviewed", &["--", "id"]));
    (person, pending)
}

/// Returns the cases for each shell: the typed line, and a word that the shell must propose.
fn lines(pending: &str) -> Vec<(&'static str, String)> {
    [
        ("jitctl req", "requests"),
        ("jitctl request --ti", "--ticket"),
        ("jitctl request --role ", "once"),
        ("jitctl cancel ", pending),
        ("jitctl show ", pending),
        ("jit-sudo --pre", "--preserve-env"),
        ("jit-sudo -u bo", "bob"),
        ("jit-sudo --role rev", "reviewed"),
        ("jit-sudo -u bob systemc", "systemctl"),
    ]
    .map(|(line, word)| (line, word.to_owned()))
    .into()
}

#[test]
fn fish_completes_verbs_options_roles_ids_and_the_inner_command() {
    let (person, pending) = somebody();
    let complete = |line: &str| {
        let output = root().run_as(&person.name, ["fish", "-c", &format!("complete -C '{line}'")]);
        let words = output.stdout.lines().map(|line| line.split('\t').next().unwrap_or_default().to_owned());
        words.collect::<Vec<String>>()
    };
    for (line, word) in lines(&pending) {
        let found = complete(line);
        assert!(found.contains(&word), "{line}: {found:?}");
    }
    assert!(!complete("jitctl request --role ").contains(&"deploy".to_owned()), "a role of others");
}

/// Starts a zsh with its completion and nothing else, which writes what it would insert or list.
fn zsh(root: &PrivateRoot, person: &Person) -> PtySession {
    let mut session = root.pty_as(&person.name, ["zsh", "-f"]);
    session.resize(50, 200);
    session.type_line("PS1='>'\"> \"; unsetopt zle_bracketed_paste 2>/dev/null; zle_bracketed_paste=()");
    session.expect(">> ");
    session.type_line(
        "autoload -Uz compinit && compinit -u -D && LISTMAX=1000 && setopt no_list_ambiguous && echo re''ady",
    );
    session.expect("ready\r\n");
    session.expect(">> ");
    session
}

#[test]
fn zsh_completes_verbs_options_roles_ids_and_the_inner_command() {
    let (person, pending) = somebody();
    for (line, word) in lines(&pending) {
        let mut session = zsh(root(), &person);
        session.type_text(format!("{line}\t\t"));
        // Proposed in a list, or inserted into the line: then the rest of the word follows the typed part.
        let rest = line.rsplit(' ').next().and_then(|typed| word.strip_prefix(typed)).unwrap_or(&word).to_owned();
        harness::eventually(&format!("{line} is completed with {word}"), harness::PATIENCE, || {
            let screen = session.screen();
            let shown = screen.rsplit(">> ").next().unwrap_or_default();
            (shown.contains(&word) || shown.contains(&format!("{line}{rest}"))).then_some(())
        });
    }
}
