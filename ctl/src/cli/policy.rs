//! The words below `policy`.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Subcommand};
use clap_complete::ArgValueCandidates;
use jit_core::escape::Word;
use jit_core::names::{RoleName, UserName};

use super::word;
use crate::complete;

const CASES: &str = r#"The file of questions is TOML:

[[case]]
user    = "alice"
command = "/usr/bin/systemctl restart nginx"   # or a list of words
expect  = "eligible:web-ops"    # "standing", "eligible:ROLE", "denied"
run_as  = "root"                # optional, as are run_as_group, groups and host"#;

/// Below `policy`
#[derive(Debug, Subcommand)]
pub(crate) enum PolicyVerb {
    /// Check the installed policy, or files before they are installed
    ///
    /// Errors name file and line, and say what is wrong there: of the installed policy to root alone. It is read for root
    /// and readers of the audit only.
    Check(PolicyCheckWords),
    /// Show the policy in force, or one role of it, with every default filled in
    ///
    /// For root and readers of the audit.
    Show(PolicyShowWords),
    /// Tell what the policy says of a command, or compare it with a file of expected answers
    ///
    /// It tells through which role, and on what terms. Nothing is run, and grants are not looked at. The status is 1
    /// when the command is denied, or when an answer of the file differs.
    ///
    /// The installed policy is asked by root and readers, about people and programs of this host. Files that are
    /// tested instead need no privilege and no jit-sudo on the host; `groups` then says in which groups the person
    /// is, and `host` on which host the question is asked.
    #[command(after_long_help = CASES)]
    Test(PolicyTestWords),
    /// Make a policy of a sudoers, and tell by file and line what cannot be converted
    ///
    /// The policy is printed and gives the same answers. It reads with the rights of who calls it, and writes nothing
    /// but its answer. Everybody has `standing` roles, as in sudoers(5).
    ///
    /// jitctl prints what cannot be converted on the standard error, one line each, `FILE:LINE: what`; the status is 1 then.
    /// What a rule allows under a condition that the policy cannot say is refused, never allowed without it. Paths,
    /// aliases and names in capitals are looked up on this host: import a file where it is used.
    ///
    /// It reads only files that sudo would read: regular files of root that nobody else may write to, in directories of
    /// root that nobody else may write to where a directory is included. A group may write where it is root's own. Any
    /// other included file or directory is left out, and told with what is wrong with it; where it is FILE itself,
    /// nothing is printed.
    Import(PolicyImportWords),
}

/// `policy check`
#[derive(Debug, Args)]
pub(crate) struct PolicyCheckWords {
    /// Files that make one policy together, in this order [default: the installed policy]
    #[arg(value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
}

/// `policy import`
#[derive(Debug, Args)]
pub(crate) struct PolicyImportWords {
    /// The sudoers; what it includes is read too; with --untrusted, - is standard input
    #[arg(value_name = "FILE", default_value = "/etc/sudoers")]
    pub(crate) file: PathBuf,
    /// People have to activate what they stand for in the sudoers; only root has it
    #[arg(long)]
    pub(crate) eligible: bool,
    /// Read files that others than root can have written too, each with a warning: to review a copy
    #[arg(long)]
    pub(crate) untrusted: bool,
}

/// `policy show`
#[derive(Debug, Args)]
pub(crate) struct PolicyShowWords {
    /// Only this role
    #[arg(value_name = "ROLE", value_parser = RoleName::parse, add = ArgValueCandidates::new(complete::policy_roles))]
    pub(crate) role: Option<RoleName>,
}

/// `policy test`
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("what").args(["file", "command"]).required(true))]
pub(crate) struct PolicyTestWords {
    /// A TOML file of questions with their expected answers
    #[arg(value_name = "FILE", conflicts_with_all = ["user", "run_as"])]
    pub(crate) file: Option<PathBuf>,
    /// Test these files, which make one policy in this order, and not the installed one
    #[arg(long, value_name = "FILE")]
    pub(crate) policy: Vec<PathBuf>,
    /// Who would run it [default: you]
    #[arg(long, value_name = "USER", value_parser = UserName::parse)]
    pub(crate) user: Option<UserName>,
    /// As whom it would run: a name or #UID
    #[arg(short = 'u', value_name = "USER", value_parser = word())]
    pub(crate) run_as: Option<Word>,
    /// The command and its arguments
    #[arg(value_name = "COMMAND", last = true, value_parser = word())]
    pub(crate) command: Vec<Word>,
}
