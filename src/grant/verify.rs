//! The leaf that turns stored bytes into a [`VerifiedGrant`]. Whatever is not exactly right is a fault, never a default.

use std::fmt;

use crate::clock::{Moment, Timestamp};
use crate::elevation::{Caller, Elevation};
use crate::escape::{Word, hex};
use crate::policy::Role;
use crate::policy::judge::Eligible;

use super::approval::{ApprovalFault, Vouchers};
use super::sshsig::{Namespace, SignatureFault};
use super::terms::{GrantTerms, VERSION, decode};
use super::{HostId, HostPublicKey, SignedGrant};

/// What this host knows when it verifies.
pub struct Facts<'a> {
    /// The key that must have signed.
    pub key: &'a HostPublicKey,
    /// The host that must be named.
    pub host: &'a HostId,
    /// Now.
    pub moment: &'a Moment,
    /// The latest time that the journal has seen: a clock that stands before it was set back.
    pub high_water: Option<Timestamp>,
    /// What signed approvals rest on; needed where one of the roles takes signed ones only.
    pub vouchers: Option<&'a Vouchers>,
}

/// Why a stored grant gives no power for this elevation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GrantFault {
    /// The signature does not hold.
    Signature(SignatureFault),
    /// The host signed it, but the bytes are not terms that this version writes.
    Malformed,
    /// It was made for another host.
    OtherHost,
    /// It belongs to somebody else.
    OtherHolder,
    /// Its role does not cover the command, or the caller is no longer eligible for it.
    OtherRole,
    /// It serves exactly one command, which this is not.
    OtherCommand,
    /// Its time has not come.
    NotYet,
    /// Its time is over.
    Expired,
    /// It lets one run under an earlier grant go on, and serves no new one.
    OnlyExtends,
    /// The clock stands before the journal's last record, and the boot in which the grant was signed is over: no
    /// clock is left that could tell when it ends.
    ClockSetBack,
    /// Its role takes signed approvals only, and one that it rests on does not hold any more.
    Approval(ApprovalFault),
}

impl fmt::Display for GrantFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Signature(fault) => fault.fmt(f),
            Self::Malformed => f.write_str("the signed terms are not readable"),
            Self::OtherHost => f.write_str("it was made for another host"),
            Self::OtherHolder => f.write_str("it belongs to somebody else"),
            Self::OtherRole => f.write_str("its role does not cover this command"),
            Self::OtherCommand => f.write_str("it serves exactly one other command"),
            Self::NotYet => f.write_str("it has not begun"),
            Self::Expired => f.write_str("it has expired"),
            Self::OnlyExtends => f.write_str("it lets a run under an earlier grant go on and serves no other"),
            Self::Approval(fault) => fault.fmt(f),
            Self::ClockSetBack => f.write_str("the clock of this host stands before its own journal"),
        }
    }
}

/// A grant that is good for exactly the elevation it carries.
#[must_use = "a verified grant leads to the gate"]
pub struct VerifiedGrant {
    elevation: Elevation,
    role: Role,
    terms: GrantTerms,
}

/// No candidate gave power; the elevation comes back so that the caller can be offered a request.
pub struct NoGrant {
    /// What was asked.
    pub eligible: Eligible,
    /// What was wrong with each candidate, by id where it could be read.
    pub faults: Vec<(String, GrantFault)>,
}

/// Finds among `candidates` the narrowest grant that covers what `eligible` asks.
pub fn verify(
    candidates: Vec<SignedGrant>,
    eligible: Eligible,
    facts: &Facts<'_>,
) -> Result<VerifiedGrant, Box<NoGrant>> {
    let mut faults = Vec::new();
    let mut claims = Vec::new();
    for signed in candidates {
        match decode::<GrantTerms>(&signed.bytes) {
            Some(terms) => claims.push((signed, terms)),
            None => faults.push(("unreadable".to_owned(), GrantFault::Malformed)),
        }
    }
    // Sorted by what they claim, so that one signature check is enough where the narrowest holds.
    claims.sort_by_key(|(_, terms)| narrowness(terms, &eligible));

    for (signed, terms) in claims {
        match check(&signed, &terms, &eligible, facts) {
            Ok(role) => {
                let elevation = eligible.into_elevation();
                return Ok(VerifiedGrant { elevation, role, terms });
            }
            Err(fault) => faults.push((terms.id.to_string(), fault)),
        }
    }
    Err(Box::new(NoGrant { eligible, faults }))
}

impl VerifiedGrant {
    /// What it is good for.
    pub fn elevation(&self) -> &Elevation {
        &self.elevation
    }

    /// The role it activates.
    pub fn role(&self) -> &Role {
        &self.role
    }

    /// Its terms.
    pub fn terms(&self) -> &GrantTerms {
        &self.terms
    }

    /// Checks the window again: a password prompt may outlive a grant.
    pub fn still_open(&self, moment: &Moment, high_water: Option<Timestamp>) -> Result<(), GrantFault> {
        window(&self.terms, moment, high_water)
    }

    /// Takes it apart, for the gate.
    pub fn into_parts(self) -> (Elevation, Role, GrantTerms) {
        (self.elevation, self.role, self.terms)
    }
}

/// A role that somebody holds as a whole, under a grant that is neither for one run nor for one command.
#[must_use = "a held role is an answer, or the beginning of a session"]
pub struct HeldRole {
    role: Role,
    terms: GrantTerms,
}

impl HeldRole {
    /// Finds among `candidates` the grant by which `holder` holds one of `roles` for the longest time.
    pub fn find(candidates: &[SignedGrant], holder: &Caller, roles: &[Role], facts: &Facts<'_>) -> Option<Self> {
        let whole = |terms: &GrantTerms| !terms.exact.is_set() && !terms.one_shot.is_set();
        let held = candidates.iter().filter_map(|signed| {
            let terms = decode::<GrantTerms>(&signed.bytes).filter(whole)?;
            let role = genuine(signed, &terms, holder, roles, facts).ok()?.clone();
            Some(Self { role, terms })
        });
        held.max_by_key(|held| held.terms.expires)
    }

    /// The role.
    pub fn role(&self) -> &Role {
        &self.role
    }

    /// The terms of the grant.
    pub fn terms(&self) -> &GrantTerms {
        &self.terms
    }
}

/// Checks that `moment` lies in the window of `terms`, on every clock there is.
pub fn window(terms: &GrantTerms, moment: &Moment, high_water: Option<Timestamp>) -> Result<(), GrantFault> {
    let high_water = high_water.unwrap_or(moment.wall);
    let same_boot = moment.boot_id == terms.boot_id;
    if !same_boot && moment.wall < high_water {
        return Err(GrantFault::ClockSetBack);
    }
    let now = moment.wall.max(high_water).seconds();
    if now < terms.starts {
        return Err(GrantFault::NotYet);
    }
    if now >= terms.expires || (same_boot && moment.boot.0 >= terms.boot_deadline) {
        return Err(GrantFault::Expired);
    }
    Ok(())
}

fn check(signed: &SignedGrant, terms: &GrantTerms, eligible: &Eligible, facts: &Facts<'_>) -> Result<Role, GrantFault> {
    let elevation = eligible.elevation();
    let role = genuine(signed, terms, elevation.caller(), eligible.roles(), facts)?;
    if terms.exact.is_set() && !is_the_very_command(terms, elevation) {
        return Err(GrantFault::OtherCommand);
    }
    Ok(role.clone())
}

/// Everything that does not depend on a command; gives the one of `roles` that it activates.
fn genuine<'r>(
    signed: &SignedGrant,
    terms: &GrantTerms,
    holder: &Caller,
    roles: &'r [Role],
    facts: &Facts<'_>,
) -> Result<&'r Role, GrantFault> {
    facts.key.verify(Namespace::Grant, &signed.bytes, &signed.signature).map_err(GrantFault::Signature)?;
    if terms.version != VERSION {
        return Err(GrantFault::Malformed);
    }
    if terms.host != facts.host.as_str() {
        return Err(GrantFault::OtherHost);
    }
    if terms.uid != holder.uid() || &terms.user != holder.name() {
        return Err(GrantFault::OtherHolder);
    }
    window(terms, facts.moment, facts.high_water)?;
    let role = roles.iter().find(|role| role.name == terms.role).ok_or(GrantFault::OtherRole)?;
    if terms.extends.is_some() && terms.one_shot.is_set() {
        return Err(GrantFault::OnlyExtends);
    }
    // Broken glass has no approvals to check, where the role has a glass.
    let by_glass = terms.break_glass.is_set() && role.activation.break_glass;
    if role.activation.signed_approvals && !by_glass {
        let vouchers = facts.vouchers.ok_or(GrantFault::Approval(ApprovalFault::Missing))?;
        // A clock that was set back makes no expired key young again.
        let now = facts.moment.wall.max(facts.high_water.unwrap_or(facts.moment.wall));
        vouchers.vouch(terms, &role.activation, now.seconds()).map_err(GrantFault::Approval)?;
    }
    Ok(role)
}

fn is_the_very_command(terms: &GrantTerms, elevation: &Elevation) -> bool {
    let command = elevation.command();
    let words: Vec<Word> = command.resolved_words();
    !words.is_empty()
        && terms.argv == words
        && &terms.run_as == elevation.run_as().name()
        && command.digest().is_ok_and(|digest| hex(&digest) == terms.program)
        // A file that its owner can rewrite between the check and the exec is never the very binary (CVE-2015-8239).
        && !command.is_writable_by_others()
}

/// Smaller is narrower: the very command, one run, the narrowest role, the nearest end.
fn narrowness(terms: &GrantTerms, eligible: &Eligible) -> (bool, bool, usize, i64) {
    let place = eligible.roles().iter().position(|role| role.name == terms.role).unwrap_or(usize::MAX);
    (!terms.exact.is_set(), !terms.one_shot.is_set(), place, terms.expires)
}
