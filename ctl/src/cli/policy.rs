//! The arguments of the verbs below `policy`.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Subcommand};
use clap_complete::ArgValueCandidates;
use jit_core::escape::Word;
use jit_core::names::{RoleName, UserName};

use crate::complete;
use crate::typed::word;

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
    /// Errors name the file and the line, and quote it; errors of the installed policy do so only for root. Only root and
    /// readers of the audit may check the installed policy.
    Check(PolicyCheckWords),
    /// Show the policy in force, or one role of it, with every default filled in
    ///
    /// Only for root and readers of the audit.
    Show(PolicyShowWords),
    /// Evaluate the policy for a command, or compare it with a file of expected answers
    ///
    /// Shows which role allows the command, and on what terms. Runs nothing and ignores grants. The status is 1 if the
    /// command is denied, or if an answer differs from the file.
    ///
    /// Root and readers may test the installed policy, with users and programs of this host. Testing other files needs
    /// no privilege and no jit-sudo on the host; `groups` then gives the groups of the user, and `host` the host name.
    #[command(after_long_help = CASES)]
    Test(PolicyTestWords),
    /// Convert a sudoers file to a policy, and name each line that cannot be converted
    ///
    /// Prints a policy that gives the same answers. It reads with your own permissions and writes no file. All roles are
    /// `standing`, as in sudoers(5).
    ///
    /// jitctl prints what cannot be converted on the standard error, one line each, `FILE:LINE: what`; the status is 1 then.
    /// A rule with a condition that the policy cannot express is refused, never allowed without the condition. Paths,
    /// aliases and names in capitals are looked up on this host: import a file where it is used.
    ///
    /// It reads only files that sudo would read: regular files that only root can write to, and included directories that
    /// only root can write to. Root's own group may have write permission. Other included files and directories are left
    /// out and named with the reason; if FILE itself is one, nothing is printed.
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
    /// The sudoers file, with its includes; with --untrusted, - is standard input
    #[arg(value_name = "FILE", default_value = "/etc/sudoers")]
    pub(crate) file: PathBuf,
    /// Make users eligible instead of standing, so that they have to activate; root stays standing
    #[arg(long)]
    pub(crate) eligible: bool,
    /// Also read files that users other than root can write to, each with a warning: to review a copy
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
    /// Test these files, which make one policy in this order, instead of the installed policy
    #[arg(long, value_name = "FILE")]
    pub(crate) policy: Vec<PathBuf>,
    /// The user who would run it [default: you]
    #[arg(long, value_name = "USER", value_parser = UserName::parse)]
    pub(crate) user: Option<UserName>,
    /// The user as whom it would run: a name or #UID
    #[arg(short = 'u', value_name = "USER", value_parser = word())]
    pub(crate) run_as: Option<Word>,
    /// The command and its arguments
    #[arg(value_name = "COMMAND", last = true, value_parser = word())]
    pub(crate) command: Vec<Word>,
}
