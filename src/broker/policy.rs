//! Shows the policy in force, and evaluates commands against it. It does not look at grants.

use serde::Serialize;
use serde_json::{Map, Value};

use super::Context;
use super::failure::{Refused, refused};
use crate::elevation::Caller;
use crate::judge::{Among, JudgeError, Judgement, NotAllowed, judge};
use crate::policy_index::Next;
use crate::refusal::Refusal;
use jit_core::clock::duration::Seconds;
use jit_core::escape::hex;
use jit_core::names::{RoleName, UserName};
use jit_core::policy::{Options, Role, Settings, SyslogFormat, SyslogMode};
use jit_core::wire::{CommandWords, Evaluation, PolicyShown, RoleDetails, RoleInfo, SettingsInfo, texts};

impl Context<'_> {
    pub(super) fn policy_show(&self, only: Option<&RoleName>) -> Result<PolicyShown, Refused> {
        let mut roles = Vec::new();
        match only {
            Some(name) => {
                let role = self.policy.role(name)?;
                roles.push(details(&role.ok_or_else(|| {
                    refused("unknown-role", format!("the policy has no role {name}")).hint("jitctl policy show")
                })?));
            }
            None => self.policy.each_role(|role| {
                roles.push(details(&role));
                Next::Continue
            })?,
        }
        let sha256 = hex(&self.policy.digest());
        Ok(PolicyShown { sha256, settings: settings(self.policy.settings()), roles })
    }

    pub(super) fn policy_test(&self, user: &UserName, words: &CommandWords) -> Result<Evaluation, Refused> {
        let account = sys::users::account_by_name(user.as_str())
            .map_err(|error| refused("lookup", format!("unable to look up {user}: {error}")))?
            .ok_or_else(|| refused("unknown-user", format!("unknown user {user}")))?;
        let elevation = self.elevation_of(Caller::described(account)?, words)?;
        let mut evaluation = Evaluation {
            user: user.to_string(),
            run_as: elevation.run_as().name().to_string(),
            command: elevation.command().resolved_words(),
            verdict: "denied".to_owned(),
            roles: Vec::new(),
            because: String::new(),
            terms: None,
        };
        match judge(elevation, self.policy, Among::All(&[])) {
            Ok(Judgement::Standing(standing)) => evaluation.allow("standing", std::slice::from_ref(standing.role())),
            Ok(Judgement::Eligible(eligible)) => evaluation.allow("eligible", eligible.roles()),
            Err(JudgeError::NotAllowed(not)) => evaluation.because = denial(&not),
            Err(error) => return Err(Refusal::from(error).into()),
        }
        Ok(evaluation)
    }
}

/// Explains why no role allows the command.
fn denial(not: &NotAllowed) -> String {
    match &not.denied {
        Some((role, rule)) => format!("role {role} refuses it by the rule \"{rule}\""),
        None => "no role allows it".to_owned(),
    }
}

fn details(role: &Role) -> RoleDetails {
    RoleDetails {
        terms: RoleInfo::of(role, !role.standing.is_empty()),
        eligible: role.eligible.as_written(),
        standing_for: role.standing.as_written(),
        run_as_groups: role.run_as_groups.as_written(),
        hosts: role.hosts.as_written(),
        env_keep: role.options.env_keep.iter().map(ToString::to_string).collect(),
        setenv: role.lets_set_variables(),
        noexec: role.noexec,
        options: others(&role.options, &["env_keep", "setenv"]),
        pam_service: role.pam_service.clone(),
        request_lifetime: role.activation.request_lifetime,
        on_expiry: as_written(role.on_expiry),
        on_removal: as_written(role.on_removal),
        leftovers: as_written(role.leftovers),
        order: role.order,
        record: role.recording.record.as_written().to_owned(),
        record_input: role.recording.input,
        observers: texts(&role.recording.observers),
        source: role.source.to_string(),
    }
}

/// Returns a choice in the word of the policy.
fn as_written(choice: impl Serialize) -> String {
    let word = serde_json::to_value(choice).unwrap_or_default();
    word.as_str().unwrap_or_default().to_owned()
}

fn settings(settings: &Settings) -> SettingsInfo {
    SettingsInfo {
        secure_path: settings.options.path_variable(),
        timestamp_timeout: settings.options.timestamp_timeout,
        passwd_tries: settings.options.passwd_tries,
        passwd_timeout: settings.options.passwd_timeout,
        grace_period_ms: u64::try_from(settings.grace_period.as_millis()).unwrap_or(u64::MAX),
        env_keep: settings.options.env_keep.iter().map(ToString::to_string).collect(),
        options: others(
            &settings.options,
            &["secure_path", "timestamp_timeout", "passwd_tries", "passwd_timeout", "env_keep"],
        ),
        request_rate: settings.request_rate,
        syslog: match settings.audit.syslog {
            SyslogMode::Mirror => "mirror",
            SyslogMode::Required => "required",
            SyslogMode::Off => "off",
        }
        .to_owned(),
        syslog_format: match settings.audit.syslog_format {
            SyslogFormat::Json => None,
            SyslogFormat::Sudo => Some("sudo".to_owned()),
        },
        journald: settings.audit.journald,
        auditd: settings.audit.auditd,
        json_file: settings.audit.json_file.as_ref().map(|file| file.path.display().to_string()),
        redact: settings.audit.redact.clone(),
        readers: texts(&settings.audit.readers),
        recording: settings.audit.recording.mode.as_written().to_owned(),
        recording_limit: settings.audit.recording.limit,
        recording_reserve: settings.audit.recording.reserve,
        keep: settings.audit.keep.map(|keep| Seconds(keep.as_secs())),
    }
}

/// Returns the changed options that have no field of their own in the answer.
fn others(options: &Options, shown: &[&str]) -> Map<String, Value> {
    options.changed().into_iter().filter(|(key, _)| !shown.contains(&key.as_str())).collect()
}
