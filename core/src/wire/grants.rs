//! Grants: list, release, revoke and extend them.

use super::verb::verb;
use super::{GrantInfo, GrantPage};
use crate::clock::duration::Seconds;
use crate::escape::Word;
use crate::names::{GrantId, IdPrefix, UserName};
use serde::{Deserialize, Serialize};

/// List active and scheduled grants, and others under which a command still runs: the caller's, or everybody's for root and
/// readers.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grants {
    /// Also those that have ended.
    #[serde(default)]
    pub all: bool,
    /// Where to continue: `before` of the previous page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<i64>,
}

verb!("grants", Grants => "grants", GrantPage);

/// Release one of the caller's own grants, or all of them.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Release {
    /// Which grant; all active ones of the caller when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<IdPrefix>,
}

verb!("release", Release => "ended", Vec<GrantId>);

/// Revoke grants of other users: root, and approvers of the grant's role.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Revoke {
    /// Which ones.
    pub target: RevokeTarget,
    /// Kept in the record and shown to the holder.
    pub reason: Word,
}

verb!("revoke", Revoke => "ended", Vec<GrantId>);

/// Ask for more time for the caller's own grant and the commands that run under it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Extend {
    /// Which grant.
    pub id: IdPrefix,
    /// Seconds after its end; the role's maximum when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<Seconds>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Word>,
}

verb!("extend", Extend => "grant", GrantInfo);

/// Which grants a revocation ends.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RevokeTarget {
    /// One grant.
    Id(IdPrefix),
    /// All grants of one user.
    User(UserName),
    /// Every grant on this host.
    All,
}
