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
    /// An error message contains the file, the number of the line, and the line itself. For the installed policy, only
    /// root sees the text of the line. Only root and readers of the audit may check the installed policy.
    Check(PolicyCheckWords),
    /// Show the effective policy, or one role of it, with all default values
    ///
    /// Only root and readers of the audit may use it.
    Show(PolicyShowWords),
    /// Evaluate the policy for a command, or compare it with a file of expected answers
    ///
    /// Shows which role allows the command, and under which conditions. It runs no command and ignores grants. The exit
    /// status is 1 if the command is denied, or if an answer differs from the expected answer in the file.
    ///
    /// Root and readers may test the installed policy, with users and programs of this host. To test other files you
    /// need neither privilege nor an installed jit-sudo. In the file of questions, `groups` then gives the groups of
    /// the user, and `host` the host name.
    #[command(after_long_help = CASES)]
    Test(PolicyTestWords),
    /// Convert a sudoers file to a policy, and list each line that cannot be converted
    ///
    /// Prints a policy that gives the same answers. It reads with your own permissions and writes no file. All roles are
    /// `standing`, as in sudoers(5).
    ///
    /// If jitctl cannot convert something, it prints a line `FILE:LINE: what` on the standard error, and exits with
    /// status 1. It never converts a rule without its condition: if the policy cannot express the condition, the rule
    /// is not converted. jitctl resolves links in paths, and looks up names of users and groups that contain capitals,
    /// on this host. Therefore import a file on the host that uses it.
    ///
    /// It reads only files that sudo would read: regular files that only root can write to, and included directories
    /// that only root can write to. Root's own group may have write permission. jitctl leaves other included files and
    /// directories out, and prints their names with the reason. If sudo would not read FILE itself, or if users other than
    /// root can write to its directory, jitctl prints no policy. Like sudo, jitctl does not examine the directory of a file
    /// that an @include names: include no file from a directory in which other users can exchange it.
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
    /// Make users eligible instead of standing, so that they must activate their roles; root stays standing
    #[arg(long)]
    pub(crate) eligible: bool,
    /// Also read files that users other than root can write to, each with a warning; use this to review a copy
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
    /// The user who would run the command [default: you]
    #[arg(long, value_name = "USER", value_parser = UserName::parse)]
    pub(crate) user: Option<UserName>,
    /// The run-as user: a name or #UID
    #[arg(short = 'u', value_name = "USER", value_parser = word())]
    pub(crate) run_as: Option<Word>,
    /// The command and its arguments
    #[arg(value_name = "COMMAND", last = true, value_parser = word())]
    pub(crate) command: Vec<Word>,
}
