//! Lists the caller's roles, and explains whether a command may run.

use super::Context;
use super::failure::{Refused, refused, unchecked, unsaid};
use super::who::Who;
use crate::activation::wish::{WishError, first_served, served, served_by};
use crate::authorized::Serves;
use crate::elevation::{Caller, Elevation};
use crate::host::Host;
use crate::judge::{Among, JudgeError, Judgement, ask, judge, subject};
use crate::refusal::{Refusal, request_line};
use crate::verify::verify;
use jit_core::grant::Approvers;
use jit_core::names::UserName;
use jit_core::places::CONFIGURATION;
use jit_core::policy::{Answer as Verdict, Assignment, Policy, Role};
use jit_core::wire::{CommandWords, PolicyInfo, RoleInfo, RoleVerdict, WhyInfo, texts};

impl Context<'_> {
    pub(super) fn roles(&self) -> Result<Vec<RoleInfo>, Refused> {
        let subject = subject(self.caller)?;
        let standing = self.policy.roles_for(&subject, Assignment::Standing)?;
        let mut roles: Vec<_> = standing.iter().map(|role| RoleInfo::of(role, true)).collect();
        for role in self.policy.roles_for(&subject, Assignment::Eligible)? {
            if !standing.iter().any(|other| other.name == role.name) {
                roles.push(RoleInfo::of(&role, false));
            }
        }
        Ok(roles)
    }

    pub(super) fn why(&self, user: Option<&UserName>, words: &CommandWords) -> Result<WhyInfo, Refused> {
        let about = |account| -> Result<Caller, Refused> { Ok(Caller::described(account)?) };
        let account = match user {
            Some(name) if name != self.caller.name() => {
                self.admit(Who::Reader)?;
                sys::users::account_by_name(name.as_str())
                    .map_err(|error| refused("lookup", format!("unable to look up {name}: {error}")))?
                    .ok_or_else(|| refused("unknown-user", format!("unknown user {name}")))?
            }
            _ => self.caller.account().clone(),
        };
        let is_own = account == *self.caller.account();
        // The caller has the groups of this login, with which a run is judged, whatever the account database says now.
        let asker = if is_own { self.caller.as_logged_in()? } else { about(account.clone())? };
        let elevation = self.elevation_of(asker, words)?;
        let hidden = elevation.command().is_hidden().then(|| unsaid(&elevation));
        let mut info = WhyInfo {
            allowed: false,
            because: String::new(),
            command: elevation.command().resolved_words(),
            run_as: elevation.run_as().name().to_string(),
            role: None,
            grant: None,
            approvers: Vec::new(),
            hint: None,
            roles: self.verdicts(&elevation)?,
        };
        match judge(elevation, self.policy, Among::All(&[])) {
            Ok(Judgement::Standing(standing)) => {
                info.because = format!("role {} is standing", standing.role().name);
                allow(&mut info, standing.role(), Serves::ItsRole, standing.elevation());
            }
            Ok(Judgement::Eligible(eligible)) => {
                let holder = eligible.elevation().caller().person();
                let candidates = self.host.store().candidates(holder, self.now.moment().wall.seconds())?;
                let known = self.host.knowledge(eligible.roles(), holder, self.now)?;
                match verify(candidates, *eligible, &known.facts(self.now)) {
                    Ok(grant) => {
                        info.because = format!("grant {} of role {} covers it", grant.terms().id, grant.role().name);
                        allow(&mut info, grant.role(), Serves::of(grant.terms()), grant.elevation());
                        info.grant = Some(grant.terms().id.clone());
                    }
                    Err(none) => {
                        let (roles, elevation) = (none.eligible.roles(), none.eligible.elevation());
                        let is_served = |role: &&Role| served(role, elevation).is_ok();
                        let role = first_served(roles, elevation);
                        info.role = role.map(|role| role.name.clone());
                        info.approvers = role.map_or_else(Vec::new, |role| texts(&role.activation.approvers));
                        info.hint = role.filter(is_served).map(|role| request_line(role, elevation));
                        let unserved =
                            role.and_then(|role| served(role, elevation).err().map(|error| but(role, &error)));
                        let because = unserved.or_else(|| none.nearest());
                        info.because = because.unwrap_or_else(|| "there is no active grant".to_owned());
                    }
                }
            }
            Err(JudgeError::NotAllowed(not_allowed)) => {
                info.because = match not_allowed.denied {
                    Some((role, rule)) => format!("role {role} refuses it by the rule \"{rule}\""),
                    None => "no role allows it".to_owned(),
                };
            }
            Err(error) => return Err(Refusal::from(error).into()),
        }
        if is_own && !info.allowed {
            let notes = self.eligibility_notes(self.caller)?;
            info.because =
                std::iter::once(std::mem::take(&mut info.because)).chain(notes).collect::<Vec<_>>().join("; ");
        }
        match hidden {
            Some(unsaid) if !info.allowed => Err(unsaid),
            _ => Ok(info),
        }
    }

    pub(super) fn policy_check(&self) -> Result<PolicyInfo, Refused> {
        let (policy, files) = Host::parsed_policy().map_err(unchecked)?;
        let approvers = self.host.approvers().map_err(unchecked)?;
        Host::log_file_is_closed(&policy.settings().audit).map_err(unchecked)?;
        let warnings = policy_warnings(&policy, &approvers);
        Ok(PolicyInfo { files, roles: policy.roles().len(), rules: policy.rule_count(), warnings })
    }

    fn verdicts(&self, elevation: &Elevation) -> Result<Vec<RoleVerdict>, Refused> {
        let subject = subject(elevation.caller())?;
        let mut verdicts: Vec<RoleVerdict> = Vec::new();
        for assignment in [Assignment::Standing, Assignment::Eligible] {
            for role in self.policy.roles_for(&subject, assignment)? {
                if !verdicts.iter().any(|verdict| verdict.role == role.name) {
                    verdicts.push(verdict(&role, elevation));
                }
            }
        }
        Ok(verdicts)
    }
}

/// Reports that `role` allows the command, unless it does not allow the directory, the variables or the program's interpreter.
fn allow(info: &mut WhyInfo, role: &Role, serves: Serves, elevation: &Elevation) {
    info.role = Some(role.name.clone());
    match served_by(role, serves, elevation) {
        Ok(()) => info.allowed = true,
        Err(error) => info.because = but(role, &error),
    }
}

/// Describes what the role does not allow besides the command.
fn but(role: &Role, error: &WishError) -> String {
    format!("role {} allows the command, but: {error}", role.name)
}

fn verdict(role: &Role, elevation: &Elevation) -> RoleVerdict {
    let (verdict, rule) = match ask(role, elevation) {
        Verdict::Allowed { rule } => {
            let rule = Some(rule.to_string());
            if let Err(error) = served(role, elevation) {
                return RoleVerdict {
                    role: role.name.clone(),
                    verdict: format!("allows the command, but: {error}"),
                    rule,
                };
            }
            ("allows", rule)
        }
        Verdict::Denied { rule } => ("refuses", Some(rule.to_string())),
        Verdict::NoRule => ("has no rule for the command", None),
        Verdict::OtherRunAs => ("does not run commands as that user", None),
        Verdict::OtherGroup => ("does not run commands with that group", None),
        Verdict::OtherHost => ("is for other hosts", None),
    };
    RoleVerdict { role: role.name.clone(), verdict: verdict.to_owned(), rule }
}

/// Returns the warnings about the policy, and about policy and keys together.
pub(super) fn policy_warnings(policy: &Policy, approvers: &Approvers) -> Vec<String> {
    let mut warnings = policy.warnings();
    if approvers.is_empty() {
        warnings.extend(policy.roles().iter().filter(|role| role.activation.signed_approvals).map(|role| {
            let (place, name) = (&role.source, &role.name);
            format!(
                "{place}: role '{name}' takes signed approvals only, and nobody has a key in {CONFIGURATION}/approvers"
            )
        }));
    }
    warnings
}
