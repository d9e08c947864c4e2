//! Turns stored bytes into a [`VerifiedGrant`]. Anything that is not exactly right is a fault; nothing has a default.

mod act;
mod exact;
#[cfg(test)]
mod tests;

use std::fmt;

use crate::elevation::{Caller, Elevation};
use crate::judge::{Eligible, ask, counts_here, still_approves};
use jit_core::clock::Now;
use jit_core::policy::{Answer, Narrowed, Role, RolePower};

pub use act::{Act, ActFault, Attested, Consent, Shown};
use exact::compare;
pub use exact::{Differs, command_terms};
use jit_core::grant::sshsig::{Namespace, SignatureFault};
use jit_core::grant::terms::{claimed_id, decode};
use jit_core::grant::{Approval, ApprovalFault, GrantTerms, HostId, HostPublicKey, SignedGrant, TermsFault, Vouchers};

/// What this host knows when it verifies a grant.
pub struct Facts<'a> {
    /// The host's public key, which must have signed the grant.
    pub key: &'a HostPublicKey,
    /// The id of this host, which the grant must name.
    pub host: &'a HostId,
    /// The current time.
    pub now: &'a Now,
    /// What signed approvals are checked against; needed where one of the roles takes only signed ones.
    pub vouchers: Option<&'a Vouchers>,
    /// Returns what the role with this digest allowed when it was approved; called only where the role has changed since.
    pub approved: &'a dyn Fn(&str) -> Option<RolePower>,
    /// Whether the journal says that this grant has ended, or cannot say it.
    pub ended: &'a dyn Fn(&GrantTerms) -> bool,
    /// Whether the wall clock goes on while the host is off, or was set since; called only for a grant of an earlier boot.
    pub clock_is_kept: &'a dyn Fn() -> bool,
}

/// Why a stored grant does not serve this elevation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GrantFault {
    /// The signature is not valid.
    Signature(SignatureFault),
    /// The bytes are no usable terms.
    Terms(TermsFault),
    /// It was issued for another host.
    OtherHost,
    /// It belongs to another user.
    OtherHolder,
    /// Its role does not cover the command, or the caller is no longer eligible for it.
    OtherRole,
    /// Its role covers the command now, but did not when the grant was approved.
    RoleWidened,
    /// Its role has changed so much that nothing of what was approved is left.
    RoleReplaced,
    /// It serves exactly one command, and this one differs from it.
    OtherCommand(Differs),
    /// Its start is in the future.
    NotYet,
    /// It has expired.
    Expired,
    /// The journal says that it has ended.
    Ended,
    /// It lets one run under an earlier grant continue, and serves no new one.
    OnlyExtends,
    /// The clock is behind the journal's last record, and the host was rebooted since the grant was signed: no clock can tell when
    /// it ends.
    ClockSetBack,
    /// It was issued while the clock was behind the journal's last record, only until the next reboot, which has happened.
    OtherBoot,
    /// It was issued before the last boot, and no clock tells for how long the host was off.
    TimeUnknown,
    /// Its role takes only signed approvals, and one of its approvals is not valid any more.
    Approval(ApprovalFault),
}

impl fmt::Display for GrantFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Signature(fault) => fault.fmt(f),
            Self::Terms(fault) => fault.fmt(f),
            Self::OtherHost => f.write_str("it was issued for another host"),
            Self::OtherHolder => f.write_str("it was issued to another account; request your own"),
            Self::OtherRole => f.write_str("its role does not cover this command"),
            Self::RoleWidened => f.write_str("its role did not cover this command when it was approved"),
            Self::RoleReplaced => f.write_str("its role has changed too much since it was approved; request a new one"),
            Self::OtherCommand(differs) => write!(f, "it {differs}"),
            Self::NotYet => f.write_str("it has not begun"),
            Self::Expired => f.write_str("it has expired"),
            Self::Ended => f.write_str("it was ended or used before, as the journal says"),
            Self::OnlyExtends => f.write_str("it only extends a run under an earlier grant"),
            Self::Approval(fault) => fault.fmt(f),
            Self::OtherBoot => f.write_str(
                "it was issued while the clock of this host was wrong, only until the next reboot; request a new one",
            ),
            Self::ClockSetBack => f.write_str("the clock of this host is behind its journal"),
            Self::TimeUnknown => f.write_str(
                "it was issued before the last reboot, and this host has no clock that runs while it is off; request a new one",
            ),
        }
    }
}

/// A grant that serves exactly the elevation it contains.
#[must_use = "a verified grant leads to the gate"]
pub struct VerifiedGrant {
    elevation: Elevation,
    role: Role,
    terms: GrantTerms,
}

/// No candidate serves the elevation, which is returned so that a request can be offered to the caller.
pub struct NoGrant {
    /// The elevation.
    pub eligible: Eligible,
    /// The fault of each candidate, by its id where that could be read.
    pub faults: Vec<(String, GrantFault)>,
}

impl NoGrant {
    /// Returns the grant that comes nearest to serving, and why it does not, as a sentence; `None` when no grant is meant for such
    /// a command.
    pub fn nearest(&self) -> Option<String> {
        let distance = |fault: &GrantFault| match fault {
            GrantFault::OtherCommand(Differs::Words) => 2,
            GrantFault::OtherCommand(_) => 0,
            _ => 1,
        };
        let meant = self.faults.iter().filter(|(_, fault)| *fault != GrantFault::OtherRole);
        let (id, fault) = meant.min_by_key(|(_, fault)| distance(fault))?;
        Some(match fault {
            GrantFault::OtherCommand(differs) => format!("grant {id} {differs}"),
            fault => format!("grant {id} does not serve: {fault}"),
        })
    }
}

/// Finds among `candidates` the narrowest grant that covers `eligible`.
pub fn verify(
    candidates: Vec<SignedGrant>,
    eligible: Eligible,
    facts: &Facts<'_>,
) -> Result<VerifiedGrant, Box<NoGrant>> {
    let mut faults = Vec::new();
    let mut claims = Vec::new();
    for signed in candidates {
        match decode::<GrantTerms>(signed.bytes()) {
            Ok(terms) => claims.push((signed, terms)),
            Err(fault) => faults.push((claimed_id(signed.bytes()), GrantFault::Terms(fault))),
        }
    }
    // Sorted by unverified terms, so that one signature check is enough when the narrowest is valid.
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
    /// Returns the elevation that it serves.
    pub fn elevation(&self) -> &Elevation {
        &self.elevation
    }

    /// Returns the role that it activates.
    pub fn role(&self) -> &Role {
        &self.role
    }

    /// Returns its terms.
    pub fn terms(&self) -> &GrantTerms {
        &self.terms
    }

    /// Checks the time window again: a password prompt may take longer than the grant lasts.
    pub fn still_open(&self, now: &Now) -> Result<(), GrantFault> {
        window(&self.terms, now)
    }

    /// Returns its parts, for the gate.
    pub fn into_parts(self) -> (Elevation, Role, GrantTerms) {
        (self.elevation, self.role, self.terms)
    }
}

/// A whole role that a user holds, under a grant that is neither for one run nor for one command.
#[must_use = "a held role is an answer, or the beginning of a session"]
pub struct HeldRole {
    role: Role,
    terms: GrantTerms,
}

impl HeldRole {
    /// Finds among `candidates` the grant by which `holder` holds one of `roles` for the longest time.
    pub fn find(candidates: &[SignedGrant], holder: &Caller, roles: &[Role], facts: &Facts<'_>) -> Option<Self> {
        let whole = |terms: &GrantTerms| !terms.exact.is_set() && !terms.one_shot.is_set();
        let held = good_for(candidates, holder, roles, facts)
            .filter(|good| whole(&good.terms))
            .map(|good| Self { role: good.both().clone(), terms: good.terms });
        held.max_by_key(|held| held.terms.expires)
    }

    /// Returns the role.
    pub fn role(&self) -> &Role {
        &self.role
    }

    /// Returns the terms of the grant.
    pub fn terms(&self) -> &GrantTerms {
        &self.terms
    }
}

/// A grant that is valid for its holder now, whatever it covers.
pub struct Good<'r> {
    /// The grant as it is stored.
    pub signed: &'r SignedGrant,
    /// Its terms.
    pub terms: GrantTerms,
    role: &'r Role,
    narrowed: Option<Narrowed>,
}

impl Good<'_> {
    /// Whether the role that it activates has changed since the approval.
    pub fn is_changed(&self) -> bool {
        self.narrowed.is_some()
    }

    /// Returns the roles that must all allow a command: the one that it activates and, where that has changed, the one that was
    /// approved.
    pub fn roles(&self) -> impl Iterator<Item = &Role> {
        std::iter::once(self.role).chain(self.narrowed.as_ref().map(|narrowed| &narrowed.approved))
    }

    /// Returns the role under which a command runs that all of them allow.
    pub fn both(&self) -> &Role {
        self.narrowed.as_ref().map_or(self.role, |narrowed| &narrowed.both)
    }

    /// Returns what all of them allow, for people; `None` when no role can express it.
    pub fn common(&self) -> Option<Role> {
        self.narrowed.as_ref().map_or_else(|| Some(self.role.clone()), Narrowed::in_common)
    }
}

/// Those of `candidates` that are good for `holder` now, each activating one of `roles`. All of its [roles](Good::roles) count on
/// this host: one that did not when it was approved gives nothing here.
pub fn good_for<'r>(
    candidates: &'r [SignedGrant],
    holder: &'r Caller,
    roles: &'r [Role],
    facts: &'r Facts<'r>,
) -> impl Iterator<Item = Good<'r>> {
    candidates.iter().filter_map(move |signed| {
        let terms = decode::<GrantTerms>(signed.bytes()).ok()?;
        let (role, narrowed) = match genuine(signed, &terms, holder, roles, facts).ok()? {
            Serving::Unchanged(role) => (role, None),
            Serving::Changed { present, approved } => (present, Some(present.narrowed(&approved)?)),
        };
        let good = Good { signed, terms, role, narrowed };
        let is_here = good.roles().all(|role| counts_here(role, holder));
        is_here.then_some(good)
    })
}

/// Checks that `now` is in the time window of `terms`, by each clock.
pub fn window(terms: &GrantTerms, now: &Now) -> Result<(), GrantFault> {
    let moment = now.moment();
    let same_boot = moment.boot_id == terms.boot_id;
    if !same_boot && now.behind() > 0 {
        return Err(GrantFault::ClockSetBack);
    }
    if !same_boot && terms.this_boot.is_set() {
        return Err(GrantFault::OtherBoot);
    }
    if now.seconds() < terms.starts {
        return Err(GrantFault::NotYet);
    }
    if now.seconds() >= terms.expires || (same_boot && moment.boot.0 >= terms.boot_deadline) {
        return Err(GrantFault::Expired);
    }
    Ok(())
}

fn check(signed: &SignedGrant, terms: &GrantTerms, eligible: &Eligible, facts: &Facts<'_>) -> Result<Role, GrantFault> {
    let elevation = eligible.elevation();
    let role = match genuine(signed, terms, elevation.caller(), eligible.roles(), facts)? {
        Serving::Unchanged(role) => role.clone(),
        Serving::Changed { present, approved } => {
            let narrowed = present.narrowed(&approved).ok_or(GrantFault::RoleReplaced)?;
            match ask(&narrowed.approved, elevation) {
                Answer::Allowed { .. } => narrowed.both,
                _ => return Err(GrantFault::RoleWidened),
            }
        }
    };
    if terms.exact.is_set() {
        compare(terms, elevation, &role).map_err(GrantFault::OtherCommand)?;
    }
    Ok(role)
}

/// The role that a grant activates.
enum Serving<'r> {
    /// It is as it was approved.
    Unchanged(&'r Role),
    /// It has changed since the grant was approved: what both allow counts.
    Changed { present: &'r Role, approved: RolePower },
}

/// Checks everything that does not depend on a command. Returns the one of `roles` that the grant activates.
fn genuine<'r>(
    signed: &SignedGrant,
    terms: &GrantTerms,
    holder: &Caller,
    roles: &'r [Role],
    facts: &Facts<'_>,
) -> Result<Serving<'r>, GrantFault> {
    facts.key.verify(Namespace::Grant, signed.bytes(), signed.signature()).map_err(GrantFault::Signature)?;
    if terms.host != facts.host.as_str() {
        return Err(GrantFault::OtherHost);
    }
    if !holder.person().is(terms.uid, &terms.user) {
        return Err(GrantFault::OtherHolder);
    }
    window(terms, facts.now)?;
    if facts.now.moment().boot_id != terms.boot_id && !(facts.clock_is_kept)() {
        return Err(GrantFault::TimeUnknown);
    }
    let role = roles.iter().find(|role| role.name == terms.role).ok_or(GrantFault::OtherRole)?;
    if terms.extends.is_some() && terms.one_shot.is_set() {
        return Err(GrantFault::OnlyExtends);
    }
    if role.activation.signed_approvals {
        let vouchers = facts.vouchers.ok_or(GrantFault::Approval(ApprovalFault::Missing))?;
        let is_approver = |approval: &Approval| still_approves(approval, role);
        vouchers.vouch(terms, &role.activation, facts.now.seconds(), is_approver).map_err(GrantFault::Approval)?;
    }
    if (facts.ended)(terms) {
        return Err(GrantFault::Ended);
    }
    if role.digest == terms.role_digest {
        return Ok(Serving::Unchanged(role));
    }
    let approved = (facts.approved)(&terms.role_digest).ok_or(GrantFault::RoleReplaced)?;
    Ok(Serving::Changed { present: role, approved })
}

/// Orders grants from narrow to wide: those for the exact command, for one run, of the narrowest role, with the nearest end.
fn narrowness(terms: &GrantTerms, eligible: &Eligible) -> (bool, bool, usize, i64) {
    let place = eligible.roles().iter().position(|role| role.name == terms.role).unwrap_or(usize::MAX);
    (!terms.exact.is_set(), !terms.one_shot.is_set(), place, terms.expires)
}
