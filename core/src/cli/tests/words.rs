//! Tests that help and completion match the table of flags.

use std::process::Command;

use super::*;

#[test]
fn every_completion_contains_exactly_the_supported_flags() {
    let words = |text: &str| -> Vec<String> {
        text.split(|c: char| c.is_whitespace() || "\"'(){}|=,:;".contains(c)).map(str::to_owned).collect()
    };
    let bash = words(&completion::script(completion::Shell::Bash));
    let zsh = words(&completion::script(completion::Shell::Zsh));
    let fish = completion::script(completion::Shell::Fish);
    for flag in FLAGS {
        let built = flag.support == Support::Built;
        let long = flag.long.unwrap_or_default();
        if let Some(letter) = flag.short.map(char::from).filter(|_| flag.name != FlagName::Host) {
            let spelled = format!("-{letter}");
            assert_eq!(bash.contains(&spelled), built, "bash {spelled}");
            assert!(!built || zsh.iter().any(|word| word.starts_with(&spelled)), "zsh {spelled}");
            assert_eq!(fish.contains(&format!("-s {letter} ")), built, "fish {spelled}");
        }
        if !long.is_empty() {
            assert_eq!(bash.contains(&format!("--{long}")), built, "bash --{long}");
            assert_eq!(fish.lines().any(|line| line.contains(&format!("-l {long}"))), built, "fish --{long}");
        }
    }
}

/// Returns what bash, without bash-completion, offers for the last of these words.
fn offered(line: &[&str]) -> Vec<String> {
    let script = completion::script(completion::Shell::Bash);
    let ask = "COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); _jit_sudo; printf '%s\\n' \"${COMPREPLY[@]}\"";
    let mut bash = Command::new("bash");
    bash.args(["--norc", "--noprofile", "-c", &format!("{script}\n{ask}"), "bash", "jit-sudo"]).args(line);
    let output = bash.env_clear().env("PATH", "/usr/bin:/bin").current_dir("/").output().unwrap();
    assert!(output.stderr.is_empty(), "{line:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

#[test]
fn bash_completes_the_command_after_any_flags() {
    for before in [
        &[][..],
        &["-n"],
        &["-u", "bob"],
        &["--user", "=", "bob"],
        &["VAR", "=", "x"],
        &["-n", "A", "=", "1", "B", "=", "2"],
        &["--"],
    ] {
        let line = [before, &["prin"]].concat();
        assert!(offered(&line).contains(&"printenv".to_owned()), "{line:?}: {:?}", offered(&line));
    }
    for (line, word) in [
        (&["printenv", "/et"][..], "/etc"),
        (&["-e", "/et"], "/etc"),
        (&["-u", "bob", "--edit", "/etc/x", "/et"], "/etc"),
        (&["VAR", "=", "/et"], "/etc"),
        (&["-u", "roo"], "root"),
        (&["--user", "=", "roo"], "root"),
        (&["--preserve-e"], "--preserve-env"),
    ] {
        assert!(offered(line).contains(&word.to_owned()), "{line:?}: {:?}", offered(line));
    }
}
