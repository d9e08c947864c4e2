//! Grants: what is in force, and how it ends or is extended.

use super::verb::verb;
use super::{GrantInfo, GrantPage};
use crate::escape::Word;
use crate::names::{GrantId, IdPrefix, UserName};
use serde::{Deserialize, Serialize};

/// Active and scheduled grants, and others under which a command still runs, of the caller (of everybody for root and
/// readers).
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grants {
    /// Also those that have ended.
    #[serde(default)]
    pub all: bool,
    /// Go on where a part has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<i64>,
}

verb!("grants", Grants => "grants", GrantPage);

/// Give back one's own grant, or all of them.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Release {
    /// Which; all active ones of the caller when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<IdPrefix>,
}

verb!("release", Release => "ended", Vec<GrantId>);

/// End grants of others: root, and approvers of the grant's role.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Revoke {
    /// Which ones.
    pub target: RevokeTarget,
    /// Kept in the record and shown to the holder.
    pub reason: Word,
}

verb!("revoke", Revoke => "ended", Vec<GrantId>);

/// Ask for more time for one's own grant and whatever runs under it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Extend {
    /// Which grant.
    pub id: IdPrefix,
    /// Seconds from its end on; the role's maximum when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<u64>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Word>,
}

verb!("extend", Extend => "grant", GrantInfo);

/// Which grants a revocation ends.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RevokeTarget {
    /// One.
    Id(IdPrefix),
    /// All of one user.
    User(UserName),
    /// Every grant on this host.
    All,
}
