//! Takes out of the roles what the policy does not accept, so that one rule never costs the others.

use super::command::{self, Effect, Rule};
use super::finding::Findings;
use super::role::Role;
use super::toml::accepted;
use super::write;

/// Returns the roles that the policy accepts. A rule that denies is replaced by one that denies more; a role that can
/// neither be written nor be left out is an error.
pub(super) fn sound(roles: Vec<Role>, findings: &mut Findings) -> Result<Vec<Role>, String> {
    let mut good = Vec::with_capacity(roles.len());
    for mut role in roles {
        role.commands = role.commands.iter().filter_map(|rule| sound_rule(rule, &role, findings)).collect();
        if role.commands.is_empty() {
            continue;
        }
        match accepted(&write::role(&role)) {
            Ok(()) => good.push(role),
            Err(why) if role.refuses() => return Err(why),
            Err(why) => told(&role, &format!("the rule: {why}"), findings),
        }
    }
    Ok(good)
}

fn sound_rule(rule: &Rule, role: &Role, findings: &mut Findings) -> Option<Rule> {
    let known = |rule: &Rule| accepted(&format!("[roles.x]\ncommands = [{}]\n", rule.toml));
    let Err(why) = known(rule) else { return Some(rule.clone()) };
    told(role, &format!("command {}: {why}", rule.of.path), findings);
    (rule.effect == Effect::Deny).then(|| {
        let wider = command::at_least(&rule.of).filter(|wider| known(wider).is_ok());
        wider.unwrap_or_else(|| command::everything(&[], Effect::Deny))
    })
}

fn told(role: &Role, what: &str, findings: &mut Findings) {
    if let Some(place) = role.places.first() {
        findings.lost(place, what);
    }
}
