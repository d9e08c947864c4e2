//! Roles that a user expects and does not have: through a group that this login does not have yet, or no longer in the policy or in
//! the group. For the explanation why a command may not run.

use super::Context;
use super::failure::Refused;
use crate::elevation::Caller;
use crate::judge::{names, subject};
use jit_core::grant::GrantTerms;
use jit_core::grant::terms::decode;
use jit_core::policy::{Assignment, Principal, Role};

impl Context<'_> {
    /// Returns what has become of the roles of the caller, as sentences without full stop.
    pub(super) fn eligibility_notes(&self, asker: &Caller) -> Result<Vec<String>, Refused> {
        let mut notes = self.later_groups(asker)?;
        notes.extend(self.lost_roles(asker)?);
        Ok(notes)
    }

    /// Names the groups that give the asker a role at the next login only.
    fn later_groups(&self, asker: &Caller) -> Result<Vec<String>, Refused> {
        let later = Caller::described(asker.account().clone())?;
        if later.group_ids().iter().all(|gid| asker.group_ids().contains(gid)) {
            return Ok(Vec::new());
        }
        let mut notes = Vec::new();
        for assignment in [Assignment::Standing, Assignment::Eligible] {
            for role in self.policy.roles_for(&subject(&later)?, assignment)? {
                let through = lines(&role).find(|principal| {
                    let one = std::slice::from_ref(*principal);
                    subject(&later).is_ok_and(|later| names(one, &later))
                        && subject(asker).is_ok_and(|asker| !names(one, &asker))
                });
                notes.extend(through.map(|group| {
                    let name = group.to_string();
                    let name = name.trim_start_matches('%');
                    format!("you are in {name}, which has role {}, since after this login: log in again", role.name)
                }));
            }
        }
        Ok(notes)
    }

    /// Names the open grants of roles for which the asker is not eligible any more.
    fn lost_roles(&self, asker: &Caller) -> Result<Vec<String>, Refused> {
        let mut notes = Vec::new();
        let candidates = self.host.store().candidates(asker.person(), self.now.moment().wall.seconds())?;
        for terms in candidates.iter().filter_map(|signed| decode::<GrantTerms>(signed.bytes()).ok()) {
            if !asker.person().is(terms.uid, &terms.user) {
                continue;
            }
            let (id, role) = (&terms.id, &terms.role);
            match self.policy.role(role)? {
                Some(present) if present.assigns(&subject(asker)?, Assignment::Eligible) => {}
                Some(_) => notes.push(format!(
                    "grant {id} gives nothing, because you are not eligible for its role {role} any more"
                )),
                None => notes.push(format!("grant {id} gives nothing, because the policy has no role {role} any more")),
            }
        }
        Ok(notes)
    }
}

fn lines(role: &Role) -> impl Iterator<Item = &Principal> {
    role.standing.named().chain(role.eligible.named())
}
