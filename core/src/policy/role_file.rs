//! Parses the tables `[roles.NAME]` and `[roles.NAME.activation]`, and rejects keys that contradict each other.

use std::rc::Rc;

use toml::de::DeValue;

use super::command_rule::CommandRule;
use super::error::PolicyError;
use super::host::Hosts;
use super::listed::{Entry, Line, Listed};
use super::on_end::{Leftovers, OnExpiry, OnRemoval};
use super::options::{Lists, OPTIONS, Options, pam_service};
use super::power::{POWER_LIMIT, RolePower, role_digest};
use super::principal::Principal;
use super::recording::{Record, Recording};
use super::role::{Activation, Role, TicketPattern};
use super::rule_table::RuleTable;
use super::run_as::{RunAs, RunAsGroups, RunAsUser};
use super::table::{Placed, Table};
use crate::clock::duration;
use crate::clock::duration::Seconds;
use crate::names::RoleName;

/// Keys of `[roles.NAME]`.
pub(super) const ROLE: &[&str] = &[
    "description",
    "eligible",
    "standing",
    "run_as",
    "run_as_groups",
    "hosts",
    "commands",
    "noexec",
    "activation",
    "authenticate",
    "pam_service",
    "record",
    "record_input",
    "observers",
    "leftovers",
    "on_expiry",
    "on_removal",
    "order",
];

/// Keys of `[roles.NAME.activation]`.
pub(super) const ACTIVATION: &[&str] = &[
    "maximum_duration",
    "require_justification",
    "ticket",
    "require_approval",
    "approvers",
    "approvals",
    "signed_approvals",
    "approval_authentication",
    "user_verification",
    "request_lifetime",
    "one_shot",
    "exact_command",
    "break_glass",
    "authenticate",
    "pam_service",
    "record",
    "record_input",
    "on_expiry",
];

/// Keys of a command rule in its table form.
pub(super) const RULE: &[&str] =
    &["path", "path_glob", "path_regex", "args", "args_glob", "args_regex", "sha256", "digests"];

/// The defaults for roles.
pub(super) struct Defaults {
    pub(super) maximum_duration: Seconds,
    pub(super) request_lifetime: Seconds,
    pub(super) require_justification: bool,
    pub(super) authenticate: bool,
    /// `None` if it is not set: then the number of approvals decides.
    pub(super) approval_authentication: Option<bool>,
    /// For roles that require signed approvals.
    pub(super) user_verification: bool,
    pub(super) pam_service: Option<String>,
    pub(super) options: Options,
    pub(super) on_expiry: OnExpiry,
    pub(super) leftovers: Leftovers,
    pub(super) on_removal: OnRemoval,
    pub(super) record: Record,
    pub(super) record_input: bool,
    pub(super) noexec: bool,
}

impl Default for Defaults {
    fn default() -> Self {
        Self {
            maximum_duration: Seconds(3600),
            request_lifetime: Seconds(86_400),
            require_justification: true,
            authenticate: true,
            approval_authentication: None,
            user_verification: false,
            pam_service: None,
            options: Options::default(),
            on_expiry: OnExpiry::default(),
            leftovers: Leftovers::default(),
            on_removal: OnRemoval::default(),
            record: Record::default(),
            record_input: false,
            noexec: false,
        }
    }
}

/// Parses one role.
pub(super) fn read(name: &str, table: &Table<'_>, defaults: &Defaults) -> Result<Role, PolicyError> {
    let source = table.source();
    let name = RoleName::parse(name).map_err(|error| table.invalid("name", error.to_string()))?;
    let inner = table.table("activation", &[ACTIVATION], &[("[roles.NAME]", ROLE), ("[roles.NAME]", OPTIONS)])?;
    let activation = match &inner {
        Some(inner) => read_activation(inner, defaults)?,
        None => plain_activation(defaults),
    };
    for key in ["authenticate", "pam_service", "on_expiry", "record", "record_input"] {
        if let Some(inner) = inner.as_ref().filter(|inner| inner.has(key) && table.has(key)) {
            return Err(inner.invalid(key, format!("is also in [roles.{name}]; write it once")));
        }
    }
    let holder = |key| inner.as_ref().filter(|inner| inner.has(key)).unwrap_or(table);
    let authenticate = holder("authenticate").boolean("authenticate")?.unwrap_or(defaults.authenticate);
    let own_service = holder("pam_service").parsed("pam_service", pam_service)?;
    let on_expiry = holder("on_expiry").parsed("on_expiry", OnExpiry::parse)?;
    let recording = Recording {
        record: holder("record").parsed("record", Record::parse)?.unwrap_or(defaults.record),
        input: holder("record_input").boolean("record_input")?.unwrap_or(defaults.record_input),
        observers: principals(table, "observers")?,
    };
    let mut role = Role {
        name,
        description: table.parsed("description", description)?.unwrap_or_default(),
        eligible: lines(table, "eligible")?.unwrap_or_default(),
        standing: lines(table, "standing")?.unwrap_or_default(),
        run_as: run_as(table)?,
        run_as_groups: run_as_groups(table)?,
        hosts: hosts(table)?,
        commands: commands(table)?,
        authenticate,
        options: Rc::new(defaults.options.clone().read(table, Lists::Add)?),
        pam_service: own_service.or_else(|| defaults.pam_service.clone()),
        on_expiry: on_expiry.unwrap_or(defaults.on_expiry),
        leftovers: table.parsed("leftovers", Leftovers::parse)?.unwrap_or(defaults.leftovers),
        on_removal: table.parsed("on_removal", OnRemoval::parse)?.unwrap_or(defaults.on_removal),
        recording,
        noexec: table.boolean("noexec")?.unwrap_or(defaults.noexec),
        activation,
        order: table.number("order", 0..1_000_001)?.unwrap_or(0),
        source,
        digest: String::new(),
        policy: None,
        compiled: None,
        narrowed_from: None,
    };
    let text = RolePower::of(&role).encode().map_err(|error| table.invalid("commands", error.to_string()))?;
    if text.len() > POWER_LIMIT {
        return Err(table.invalid("commands", format!("takes more than {POWER_LIMIT} bytes; make several roles")));
    }
    role.digest = role_digest(&text);
    Ok(role)
}

/// Parses a duration that may be neither zero nor unlimited.
pub(super) fn span(table: &Table<'_>, key: &str) -> Result<Option<Seconds>, PolicyError> {
    match table.parsed(key, duration::seconds)? {
        Some(Seconds::ZERO) => Err(table.invalid(key, "must be longer than zero")),
        seconds => Ok(seconds),
    }
}

fn plain_activation(defaults: &Defaults) -> Activation {
    Activation {
        maximum_duration: defaults.maximum_duration,
        require_justification: defaults.require_justification,
        ticket: None,
        require_approval: false,
        approvers: Vec::new(),
        approvals: 1,
        signed_approvals: false,
        approval_authentication: false,
        user_verification: false,
        request_lifetime: defaults.request_lifetime,
        one_shot: false,
        exact_command: false,
        break_glass: false,
    }
}

fn read_activation(table: &Table<'_>, defaults: &Defaults) -> Result<Activation, PolicyError> {
    let plain = plain_activation(defaults);
    let require_approval = table.boolean("require_approval")?.unwrap_or(false);
    let approvals = table.number("approvals", 1..101)?.unwrap_or(1);
    let signed_approvals = table.boolean("signed_approvals")?.unwrap_or(false);
    // A second approver must be a second person, not only a second account that a program could use.
    let authenticated = defaults.approval_authentication.unwrap_or(approvals > 1) && require_approval;
    let verified = defaults.user_verification && signed_approvals;
    let activation = Activation {
        maximum_duration: span(table, "maximum_duration")?.unwrap_or(plain.maximum_duration),
        require_justification: table.boolean("require_justification")?.unwrap_or(plain.require_justification),
        ticket: table.parsed("ticket", TicketPattern::parse)?,
        require_approval,
        approvers: principals(table, "approvers")?,
        approvals,
        signed_approvals,
        approval_authentication: table.boolean("approval_authentication")?.unwrap_or(authenticated),
        user_verification: table.boolean("user_verification")?.unwrap_or(verified),
        request_lifetime: span(table, "request_lifetime")?.unwrap_or(plain.request_lifetime),
        one_shot: table.boolean("one_shot")?.unwrap_or(false),
        exact_command: table.boolean("exact_command")?.unwrap_or(false),
        break_glass: table.boolean("break_glass")?.unwrap_or(false),
    };
    match activation.contradiction() {
        Some((key, why)) => Err(table.invalid(key, why)),
        None => Ok(activation),
    }
}

fn principals(table: &Table<'_>, key: &str) -> Result<Vec<Principal>, PolicyError> {
    let mut people: Vec<Principal> = Vec::new();
    let mut known = std::collections::HashSet::new();
    for principal in table.each(key, Principal::parse)?.unwrap_or_default() {
        if known.insert(principal.clone()) {
            people.push(principal);
        }
    }
    Ok(people)
}

fn run_as(table: &Table<'_>) -> Result<RunAs, PolicyError> {
    match all_or_lines(table, "run_as")? {
        None => Ok(RunAs(Listed::only(RunAsUser::read("root").map_err(|why| table.invalid("run_as", why))?))),
        Some(users) if users.is_empty() => Err(table.invalid("run_as", "is empty; leave it out for root")),
        Some(users) => Ok(RunAs(users)),
    }
}

fn run_as_groups(table: &Table<'_>) -> Result<RunAsGroups, PolicyError> {
    Ok(RunAsGroups(all_or_lines(table, "run_as_groups")?.unwrap_or_default()))
}

fn hosts(table: &Table<'_>) -> Result<Listed<Hosts>, PolicyError> {
    match lines(table, "hosts")? {
        None => Ok(Listed::only(Hosts::All)),
        Some(hosts) if hosts.is_empty() => Err(table.invalid("hosts", "is empty; leave it out for every host")),
        Some(hosts) => Ok(hosts),
    }
}

fn lines<T: Entry + PartialEq>(table: &Table<'_>, key: &str) -> Result<Option<Listed<T>>, PolicyError> {
    match written(table, key)? {
        Some(listed) if listed.takes_out() && listed.named().next().is_none() => {
            Err(table.invalid(key, "excludes with '!' what no line includes"))
        }
        listed => Ok(listed),
    }
}

fn written<T: Entry + PartialEq>(table: &Table<'_>, key: &str) -> Result<Option<Listed<T>>, PolicyError> {
    Ok(table.each(key, Line::read)?.map(Listed::new))
}

/// Parses `"ALL"` or a list. ALL together with other names is an error, unless some are excluded.
fn all_or_lines<T: Entry + PartialEq>(table: &Table<'_>, key: &str) -> Result<Option<Listed<T>>, PolicyError> {
    if table.is_text(key) {
        return match table.text(key)? {
            Some("ALL") => T::read("ALL").map(|all| Some(Listed::only(all))).map_err(|why| table.invalid(key, why)),
            _ => Err(table.invalid(key, "must be a list such as [\"root\"], or \"ALL\"")),
        };
    }
    let Some(listed) = written::<T>(table, key)? else { return Ok(None) };
    let all = listed.named().any(|one| one.to_string() == "ALL");
    if all && !listed.takes_out() && listed.lines().len() > 1 {
        return Err(table.invalid(key, "names ALL and others; ALL must stand alone"));
    }
    Ok(Some(listed))
}

fn description(text: &str) -> Result<String, &'static str> {
    if text.len() > 1000 || text.chars().any(char::is_control) {
        Err("must be one line of at most 1000 bytes without control characters")
    } else {
        Ok(text.to_owned())
    }
}

fn commands(table: &Table<'_>) -> Result<Vec<CommandRule>, PolicyError> {
    if table.is_text("commands") {
        let text = table.text("commands")?.unwrap_or_default();
        return match text {
            "ALL" => CommandRule::parse(text).map(|rule| vec![rule]).map_err(|why| table.invalid("commands", why)),
            _ => Err(table.invalid("commands", "must be a list such as [\"/usr/bin/id\"], or \"ALL\"")),
        };
    }
    let Some(items) = table.list("commands")? else {
        return Err(table.invalid("commands", "is missing: the role would allow nothing"));
    };
    if items.is_empty() {
        return Err(table.invalid("commands", "is empty: the role would allow nothing"));
    }
    items.iter().map(|item| command(table, item)).collect()
}

fn command(table: &Table<'_>, item: &Placed<&DeValue<'_>>) -> Result<CommandRule, PolicyError> {
    match item.value {
        DeValue::String(text) => {
            CommandRule::parse(text).map_err(|why| table.invalid_at(item.at, format!("command '{text}'"), why))
        }
        DeValue::Table(entries) => {
            let name = format!("{} commands", table.name());
            let fields = Table::open(table.lines(), name, item.at, entries, &[RULE], &[])?;
            let words = |key| fields.each(key, |text| Ok::<_, String>(text.to_owned()));
            let rule = RuleTable {
                path: fields.text("path")?,
                path_glob: fields.text("path_glob")?,
                path_regex: fields.text("path_regex")?,
                args: words("args")?,
                args_glob: fields.text("args_glob")?,
                args_regex: fields.text("args_regex")?,
                sha256: fields.text("sha256")?,
                digests: words("digests")?.unwrap_or_default(),
            };
            let named = rule.path.or(rule.path_glob).or(rule.path_regex);
            let what = named.map_or_else(|| "commands".to_owned(), |path| format!("command '{path}'"));
            CommandRule::from_table(&rule).map_err(|why| table.invalid_at(item.at, what, why))
        }
        other => {
            let why = format!("is a list of strings and tables, and this is {}", other.type_str());
            Err(table.invalid_at(item.at, "commands", why))
        }
    }
}
