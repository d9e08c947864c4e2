//! Shell completion of jit-sudo, generated from the table of flags. The shell completes the command and its arguments
//! as it does anywhere else.

use super::flags::{Argument, FLAGS, Flag, FlagName, Support};

/// A shell for which there is a completion script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shell {
    /// GNU bash, with bash-completion if it is installed.
    Bash,
    /// zsh
    Zsh,
    /// fish
    Fish,
}

/// Returns the completion script of jit-sudo for `shell`.
pub fn script(shell: Shell) -> String {
    match shell {
        Shell::Bash => bash(),
        Shell::Zsh => zsh(),
        Shell::Fish => fish(),
    }
}

/// The kind of a flag's argument.
enum Kind {
    User,
    Group,
    Directory,
    Role,
    Other,
}

fn kind(flag: &Flag) -> Kind {
    match flag.name {
        FlagName::User | FlagName::OtherUser => Kind::User,
        FlagName::Group => Kind::Group,
        FlagName::Chdir => Kind::Directory,
        FlagName::Role => Kind::Role,
        _ => Kind::Other,
    }
}

/// A command for any shell that prints the names of the roles that the caller may request, one a line.
const ROLES: &str = r#"jitctl --json roles 2>/dev/null | grep -o '"name":"[^"]*"' | cut -d'"' -f4"#;

fn built() -> impl Iterator<Item = &'static Flag> {
    FLAGS.iter().filter(|flag| flag.support == Support::Built)
}

/// Returns the spellings of a flag, such as `-u` and `--user`.
fn spellings(flag: &Flag) -> Vec<String> {
    let short = flag.short.map(|letter| format!("-{}", char::from(letter)));
    short.into_iter().chain(flag.long.map(|long| format!("--{long}"))).collect()
}

fn takes_word(flag: &Flag) -> bool {
    matches!(flag.argument, Argument::Required(_))
}

fn bash() -> String {
    let all: Vec<String> = built().flat_map(spellings).collect();
    let of = |wanted: fn(&Kind) -> bool| {
        let flags = built().filter(|flag| takes_word(flag) && wanted(&kind(flag)));
        flags.flat_map(spellings).collect::<Vec<_>>().join(" | ")
    };
    format!(
        r#"# bash completion for jit-sudo

_jit_sudo() {{
    local cur=${{COMP_WORDS[COMP_CWORD]}} prev=${{COMP_WORDS[COMP_CWORD - 1]}} i files= value=1
    COMPREPLY=()
    for ((i = 1; i < COMP_CWORD; i++)); do
        # bash parts words at '=': VAR=value, --user=bob.
        if [ "${{COMP_WORDS[i + 1]}}" = = ]; then ((i += 2)); continue; fi
        case ${{COMP_WORDS[i]}} in
        --) _jit_sudo_command $((i + 1)); return ;;
        {with_word}) ((i++)) ;;
        -e | --edit) files=1 ;;
        -* | *=*) ;;
        *) _jit_sudo_command "$i"; return ;;
        esac
    done
    if [ "$prev" = = ]; then prev=${{COMP_WORDS[COMP_CWORD - 2]}}; else value=; fi
    case $prev in
    {user}) COMPREPLY=($(compgen -u -- "$cur")); return ;;
    {group}) COMPREPLY=($(compgen -g -- "$cur")); return ;;
    {directory}) COMPREPLY=($(compgen -d -- "$cur")); return ;;
    {role}) COMPREPLY=($(compgen -W "$({ROLES})" -- "$cur")); return ;;
    {other}) return ;;
    esac
    case $cur in
    -*) COMPREPLY=($(compgen -W "{all}" -- "$cur")) ;;
    =) ;;
    *) if [ "$value" ]; then COMPREPLY=($(compgen -f -- "$cur")); else _jit_sudo_command "$COMP_CWORD"; fi ;;
    esac
}}

# The command from this word on, as if it stood alone; after -e, files.
_jit_sudo_command() {{
    if [ "$files" ]; then
        COMPREPLY=($(compgen -f -- "$cur"))
    elif declare -F _comp_command_offset >/dev/null; then
        _comp_command_offset "$1"
    elif declare -F _command_offset >/dev/null; then
        _command_offset "$1"
    elif [ "$1" -eq "$COMP_CWORD" ]; then
        COMPREPLY=($(compgen -c -- "$cur"))
    else
        COMPREPLY=($(compgen -f -- "$cur"))
    fi
}}

complete -F _jit_sudo jit-sudo
complete -f jit-sudoedit
"#,
        with_word = of(|_| true),
        user = of(|kind| matches!(kind, Kind::User)),
        group = of(|kind| matches!(kind, Kind::Group)),
        directory = of(|kind| matches!(kind, Kind::Directory)),
        role = of(|kind| matches!(kind, Kind::Role)),
        other = of(|kind| matches!(kind, Kind::Other)),
        all = all.join(" "),
    )
}

fn zsh() -> String {
    let mut text = format!(
        "#compdef jit-sudo\n\n_jit_sudo_roles() {{\n    local -a roles\n    roles=(${{(f)\"$({ROLES})\"}})\n    \
         compadd -a roles\n}}\n\n_arguments -s -S \\\n"
    );
    for flag in built() {
        let help = flag.help.replace('\'', "'\\''").replace('[', "\\[").replace(']', "\\]").replace(':', "\\:");
        let spelled = spellings(flag);
        let both = spelled.join(" ");
        for word in &spelled {
            let (mark, value) = match flag.argument {
                Argument::None => ("", String::new()),
                Argument::Required(name) => {
                    let mark = if word.starts_with("--") { "=" } else { "+" };
                    (mark, format!(":{name}:{}", zsh_action(flag)))
                }
                Argument::Optional(name, _) if word.starts_with("--") => ("=-", format!("::{name}:")),
                Argument::Optional(..) => ("", String::new()),
            };
            text.push_str(&format!("    '({both}){word}{mark}[{help}]{value}' \\\n"));
        }
    }
    text.push_str("    '(-)1:command:_command_names -e' \\\n    '*::arguments:_normal'\n");
    text
}

fn zsh_action(flag: &Flag) -> &'static str {
    match kind(flag) {
        Kind::User => "_users",
        Kind::Group => "_groups",
        Kind::Directory => "_directories",
        Kind::Role => "_jit_sudo_roles",
        Kind::Other => " ",
    }
}

fn fish() -> String {
    let mut text = "# fish completion for jit-sudo\n\n".to_owned();
    let with_word: Vec<String> = built().filter(|flag| takes_word(flag)).flat_map(spellings).collect();
    let skipped = with_word.join(" ");
    text.push_str(&format!("complete -c jit-sudo -x -a '(__fish_complete_subcommand {skipped})'\n"));
    for flag in built() {
        text.push_str("complete -c jit-sudo");
        if let Some(letter) = flag.short {
            text.push_str(&format!(" -s {}", char::from(letter)));
        }
        if let Some(long) = flag.long {
            text.push_str(&format!(" -l {long}"));
        }
        if takes_word(flag) {
            text.push_str(match kind(flag) {
                Kind::User => " -x -a '(__fish_complete_users)'",
                Kind::Group => " -x -a '(__fish_complete_groups)'",
                Kind::Directory => " -x -a '(__fish_complete_directories)'",
                Kind::Role => " -x -a '(__jit_sudo_roles)'",
                Kind::Other => " -x",
            });
        }
        text.push_str(&format!(" -d '{}'\n", flag.help.replace('\\', "\\\\").replace('\'', "\\'")));
    }
    text.push_str(&format!("\nfunction __jit_sudo_roles\n    {ROLES}\nend\n"));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_shell_completes_exactly_the_supported_flags() {
        for shell in [Shell::Bash, Shell::Zsh] {
            let script = script(shell);
            for flag in FLAGS {
                let known = flag.long.is_some_and(|long| {
                    let word = format!("--{long}");
                    script.split(|c: char| !c.is_ascii_alphanumeric() && c != '-').any(|part| part == word)
                });
                assert_eq!(known, flag.support == Support::Built && flag.long.is_some(), "{shell:?} {flag:?}");
            }
        }
        let fish = script(Shell::Fish);
        for flag in FLAGS.iter().filter(|flag| flag.long.is_some()) {
            let known = fish.contains(&format!(" -l {} ", flag.long.unwrap_or_default()));
            assert_eq!(known, flag.support == Support::Built, "{flag:?}");
        }
    }

    #[test]
    fn help_texts_stay_inside_their_quotes() {
        for line in script(Shell::Zsh).lines().filter(|line| line.starts_with("    '")) {
            assert_eq!(line.replace("'\\''", "").matches('\'').count(), 2, "{line}");
        }
        for line in script(Shell::Fish).lines().filter(|line| line.starts_with("complete")) {
            assert_eq!(line.replace("\\'", "").matches('\'').count() % 2, 0, "{line}");
        }
    }
}
