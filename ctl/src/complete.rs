//! Completion: scripts for the shells, and the candidates that only this host knows. The shell calls jitctl for each
//! word; jitctl gets roles and ids from the broker, which shows to each user only their own.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io;

use clap::{Args, ValueEnum};
use clap_complete::CompletionCandidate;
use clap_complete::env::{Bash, EnvCompleter, Fish, Zsh};
use jit_core::cli::completion;
use jit_core::wire::{
    GrantInfo, GrantPage, Grants, PolicyShow, Requests, ReviewAssignments, ReviewDebts, Roles, SessionInfo, Sessions,
    Verb,
};

use crate::broker::Broker;
use crate::grant_text;

/// The variable with which the script asks for candidates instead of running the verb.
pub(crate) const VARIABLE: &str = "JITCTL_COMPLETE";

/// `completion`
#[derive(Debug, Args)]
pub(crate) struct CompletionWords {
    /// The shell
    pub(crate) shell: Shell,
    /// The program
    #[arg(long, value_enum, default_value_t = Program::Jitctl)]
    pub(crate) program: Program,
}

/// A shell that can complete.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Shell {
    Bash,
    Zsh,
    Fish,
}

/// One of our programs.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Program {
    Jitctl,
    JitSudo,
}

/// Returns the script for `words.shell`.
pub(crate) fn script(words: &CompletionWords) -> io::Result<String> {
    match words.program {
        Program::Jitctl => own_script(words.shell),
        Program::JitSudo => Ok(completion::script(match words.shell {
            Shell::Bash => completion::Shell::Bash,
            Shell::Zsh => completion::Shell::Zsh,
            Shell::Fish => completion::Shell::Fish,
        })),
    }
}

fn own_script(shell: Shell) -> io::Result<String> {
    let completer: &dyn EnvCompleter = match shell {
        Shell::Bash => &Bash,
        Shell::Zsh => &Zsh,
        Shell::Fish => &Fish,
    };
    let mut script = Vec::new();
    completer.write_registration(VARIABLE, "jitctl", "jitctl", "jitctl", &mut script)?;
    let mut script = String::from_utf8_lossy(&script).into_owned();
    script.push_str(match shell {
        Shell::Bash => INNER_COMMAND,
        // When zsh loads the file from fpath, it first calls it as the completion function itself.
        Shell::Zsh => "\n[ \"$funcstack[1]\" = _jitctl ] && _clap_dynamic_completer_jitctl \"$@\"\n",
        Shell::Fish => "",
    });
    Ok(script)
}

/// Completes the command after `--` as a command line of its own.
const INNER_COMMAND: &str = r#"
_jitctl() {
    local i
    for ((i = 1; i < COMP_CWORD; i++)); do
        if [ "${COMP_WORDS[i]}" = -- ]; then
            if declare -F _comp_command_offset >/dev/null; then
                _comp_command_offset $((i + 1))
            elif declare -F _command_offset >/dev/null; then
                _command_offset $((i + 1))
            elif [ $((i + 1)) -eq "$COMP_CWORD" ]; then
                COMPREPLY=($(compgen -c -- "${COMP_WORDS[COMP_CWORD]}"))
            else
                COMPREPLY=($(compgen -f -- "${COMP_WORDS[COMP_CWORD]}"))
            fi
            return
        fi
    done
    _clap_complete_jitctl "$@"
}
complete -o bashdefault -F _jitctl jitctl
"#;

/// Roles that the caller may request; for root and readers, every role.
pub(crate) fn roles() -> Vec<CompletionCandidate> {
    let named = Broker::installed().ask(&Roles {}).unwrap_or_default();
    named.iter().map(|role| candidate(role.name.as_str(), &role.description)).collect()
}

/// Every role of the policy, for users who may read it.
pub(crate) fn policy_roles() -> Vec<CompletionCandidate> {
    match Broker::installed().ask(&PolicyShow { role: None }) {
        Ok(shown) => {
            shown.roles.iter().map(|role| candidate(role.terms.name.as_str(), &role.terms.description)).collect()
        }
        Err(_) => roles(),
    }
}

/// Roles whose assignments the caller may review.
pub(crate) fn assigned_roles() -> Vec<CompletionCandidate> {
    let rows = Broker::installed().ask(&ReviewAssignments { role: None }).unwrap_or_default();
    let names: BTreeSet<&str> = rows.iter().map(|row| row.role.as_str()).collect();
    names.into_iter().map(|name| candidate(name, "")).collect()
}

/// Break-glass grants that the caller may review.
pub(crate) fn debts() -> Vec<CompletionCandidate> {
    let debts = Broker::installed().ask(&ReviewDebts {}).unwrap_or_default();
    let mine = debts.iter().filter(|debt| debt.may_review);
    mine.map(|debt| candidate(debt.id.as_str(), &format!("{} {}", debt.user, debt.role))).collect()
}

/// The caller's own pending requests, which others decide.
pub(crate) fn undecidable() -> Vec<CompletionCandidate> {
    ids(&Requests { all: false, before: None }, |info| !info.may_decide)
}

/// Requests that the caller may decide.
pub(crate) fn decidable() -> Vec<CompletionCandidate> {
    ids(&Requests { all: false, before: None }, |info| info.may_decide)
}

/// Active and scheduled grants that the caller may see.
pub(crate) fn grants() -> Vec<CompletionCandidate> {
    ids(&Grants { all: false, before: None }, |_| true)
}

/// Pending requests and active grants.
pub(crate) fn everything() -> Vec<CompletionCandidate> {
    let mut found = ids(&Requests { all: false, before: None }, |_| true);
    found.extend(grants());
    found
}

/// Running sessions that the caller may see.
pub(crate) fn sessions() -> Vec<CompletionCandidate> {
    let running = Broker::installed().ask(&Sessions {}).unwrap_or_default();
    let about = |session: &SessionInfo| format!("{} {}", session.user, grant_text::line(&session.command));
    running.iter().map(|session| candidate(session.run.as_str(), &about(session))).collect()
}

/// Candidates come from the first page only; more would be too many to read.
fn ids<V: Verb<Answer = GrantPage>>(listing: &V, wanted: fn(&GrantInfo) -> bool) -> Vec<CompletionCandidate> {
    let infos = Broker::installed().ask(listing).map_or_else(|_| Vec::new(), |page| page.entries);
    let about = |info: &GrantInfo| format!("{} {} {}", info.requester, info.role, grant_text::command(info));
    infos.iter().filter(|info| wanted(info)).map(|info| candidate(info.id.as_str(), &about(info))).collect()
}

fn candidate(word: &str, help: &str) -> CompletionCandidate {
    let help: String = crate::clean::clean(help).chars().take(80).collect();
    CompletionCandidate::new(OsStr::new(word)).help((!help.is_empty()).then(|| help.into()))
}
