//! The power of a role, and a role narrowed by the power that it had when it was approved.

use std::rc::Rc;

use super::meet::meet;
use super::options::Options;
use super::power::RolePower;
use super::program_path::Effect;
use super::role::{Origin, Role};

/// A role as it was approved, and what it and the present role both allow.
pub struct Narrowed {
    /// The role as it was approved; it has to allow the command as well.
    pub approved: Role,
    /// The role for a command that both allow: with the stricter value of each option.
    pub both: Role,
}

impl Narrowed {
    /// Returns what both roles allow, in their own rules, for display; `None` if none of their rules or users can
    /// express it.
    pub fn in_common(&self) -> Option<Role> {
        let Origin { present, approved } = self.both.narrowed_from.as_deref()?;
        let mut common = Role {
            commands: meet(&present.commands, &approved.commands),
            run_as: present.run_as.met(&approved.run_as),
            run_as_groups: present.run_as_groups.met(&approved.run_as_groups),
            ..self.both.clone()
        };
        let unsaid = [approved, present].iter().all(|role| role.options.setenv.is_none());
        if unsaid && common.options.setenv == Some(common.allows_everything()) {
            common.options = Rc::new(Options { setenv: None, ..Options::clone(&common.options) });
        }
        let allows = common.commands.iter().any(|rule| rule.effect() == Effect::Allow);
        (allows && !common.run_as.names_nobody()).then_some(common)
    }
}

impl Role {
    /// Narrows this role by the power that `approved` had; `None` if two options have nothing in common.
    pub fn narrowed(&self, approved: &RolePower) -> Option<Narrowed> {
        let approved = approved.over(self)?;
        let setenv = self.lets_set_variables() && approved.lets_set_variables();
        let options = Options { setenv: Some(setenv), ..self.options.narrowed(&approved.options)? };
        // The rules determine whether every command is allowed; the command was checked against both roles before.
        let rules = if self.allows_everything() { &approved.commands } else { &self.commands };
        let both = Role {
            authenticate: self.authenticate || approved.authenticate,
            commands: rules.clone(),
            noexec: self.noexec || approved.noexec,
            leftovers: self.leftovers.narrower(approved.leftovers),
            on_expiry: self.on_expiry.narrower(approved.on_expiry),
            on_removal: self.on_removal.narrower(approved.on_removal),
            options: Rc::new(options),
            narrowed_from: Some(Rc::new(Origin { present: self.clone(), approved: approved.clone() })),
            ..self.clone()
        };
        Some(Narrowed { approved, both })
    }
}

impl RolePower {
    /// Returns the power of a role.
    pub fn of(role: &Role) -> Self {
        Self {
            authenticate: role.authenticate,
            commands: role.commands.clone(),
            hosts: role.hosts.clone(),
            leftovers: role.leftovers,
            name: role.name.clone(),
            noexec: role.noexec,
            on_expiry: role.on_expiry,
            on_removal: role.on_removal,
            options: role.options.powers(),
            run_as: role.run_as.clone(),
            run_as_groups: role.run_as_groups.clone(),
        }
    }

    /// Returns the present role with this earlier power.
    fn over(&self, present: &Role) -> Option<Role> {
        Some(Role {
            authenticate: self.authenticate,
            commands: self.commands.clone(),
            hosts: self.hosts.clone(),
            leftovers: self.leftovers,
            name: self.name.clone(),
            noexec: self.noexec,
            on_expiry: self.on_expiry,
            on_removal: self.on_removal,
            options: Rc::new(self.options()?),
            run_as: self.run_as.clone(),
            run_as_groups: self.run_as_groups.clone(),
            ..present.clone()
        })
    }
}

#[cfg(test)]
mod tests;
