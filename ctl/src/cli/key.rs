//! The arguments of the verbs below `key`.

use clap::Args;

/// `key show`
#[derive(Debug, Args)]
pub(crate) struct KeyShowWords {
    /// Print the records by which the key was replaced instead, for `witness cosign --rotation`
    #[arg(long)]
    pub(crate) rotations: bool,
}
