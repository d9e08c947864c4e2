//! Keys of a role, and how users get the roles.

use std::collections::BTreeMap;

/// Keys of a role with their values in TOML.
pub(super) type Terms = BTreeMap<String, String>;

/// How users get the roles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum People {
    /// They have standing assignments, as in sudo.
    Standing,
    /// They are eligible and activate them; only root has standing assignments.
    Eligible,
}
