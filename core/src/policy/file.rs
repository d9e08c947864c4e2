//! Parses the TOML of the policy to checked types: the contents of the files, repetitions, and the defaults that apply.
//! Opens no file; the caller read the texts from files that only root can write.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use toml::de::DeTable;

use super::PolicyText;
use super::audit_file;
use super::cause::Cause;
use super::error::PolicyError;
use super::on_end::{Leftovers, OnExpiry, OnRemoval};
use super::options::{Lists, OPTIONS, pam_service};
use super::recording::Record;
use super::role::Role;
use super::role_file::{self, ACTIVATION, Defaults, ROLE};
use super::settings::Settings;
use super::source::Source;
use super::table::{Lines, Table};
use crate::clock::duration;

/// The maximum size of a file; 100,000 roles take about 30 MB.
const LARGEST: usize = 128 << 20;

const TOP: &[&str] = &["defaults", "audit", "roles"];

pub(super) const DEFAULTS: &[&str] = &[
    "maximum_duration",
    "require_justification",
    "request_lifetime",
    "authenticate",
    "approval_authentication",
    "user_verification",
    "pam_service",
    "record",
    "record_input",
    "leftovers",
    "on_removal",
    "on_expiry",
    "grace_period",
    "request_rate",
    "noexec",
];

/// Parses all files: settings, and roles in their order.
pub(super) fn read(files: &[PolicyText]) -> Result<(Settings, Vec<Role>), PolicyError> {
    let lines: Vec<Lines<'_>> = files.iter().map(|file| Lines::new(&file.path, &file.text)).collect();
    let mut parsed = Vec::with_capacity(files.len());
    for (file, lines) in files.iter().zip(&lines) {
        parsed.push(parse(file, lines)?);
    }
    let mut documents = Vec::with_capacity(files.len());
    for (entries, lines) in parsed.iter().zip(&lines) {
        documents.push(Table::open(
            lines,
            "",
            0,
            entries,
            &[TOP],
            &[("[defaults]", DEFAULTS), ("[defaults]", OPTIONS), ("[audit]", audit_file::KEYS), ("[roles.NAME]", ROLE)],
        )?);
    }
    let mut settings = Settings::default();
    let mut defaults = Defaults::default();
    let mut seen = Seen::default();
    for document in &documents {
        if let Some(table) = document.table(
            "defaults",
            &[DEFAULTS, OPTIONS],
            &[("[roles.NAME]", ROLE), ("[roles.NAME.activation]", ACTIVATION), ("[audit]", audit_file::KEYS)],
        )? {
            seen.first_time(&table, "defaults")?;
            read_defaults(&table, &mut settings, &mut defaults)?;
        }
        if let Some(table) =
            document.table("audit", &[audit_file::KEYS], &[("[defaults]", DEFAULTS), ("[defaults]", OPTIONS)])?
        {
            seen.first_time(&table, "audit")?;
            audit_file::read(&table, &mut settings.audit)?;
        }
    }
    defaults.options.clone_from(&settings.options);
    let roles = read_roles(&documents, &defaults)?;
    settings.ordered = roles.iter().any(|role| role.order > 0);
    Ok((settings, roles))
}

/// Keys of `[defaults]` and `[audit]` with the position of their first occurrence: several files may share these
/// tables, but none overrides another.
#[derive(Default)]
struct Seen(HashMap<String, Source>);

impl Seen {
    fn first_time(&mut self, table: &Table<'_>, name: &str) -> Result<(), PolicyError> {
        for (key, at) in table.keys() {
            let what = format!("{key} in [{name}]");
            let source = table.lines().source(at);
            if let Some(first) = self.0.get(&what) {
                return Err(table.lines().error(at, Cause::Repeated { what, first: first.clone() }));
            }
            self.0.insert(what, source);
        }
        Ok(())
    }
}

fn parse<'a>(file: &'a PolicyText, lines: &Lines<'a>) -> Result<DeTable<'a>, PolicyError> {
    if file.text.len() > LARGEST {
        let cause = Cause::TooLarge(LARGEST).to_string();
        return Err(PolicyError { file: file.path.clone(), line: 0, column: 0, cause });
    }
    DeTable::parse(&file.text).map(toml::Spanned::into_inner).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        lines.error(at, Cause::Syntax(error.message().to_owned()))
    })
}

fn read_roles(documents: &[Table<'_>], defaults: &Defaults) -> Result<Vec<Role>, PolicyError> {
    let mut roles = Vec::new();
    let mut places: BTreeMap<String, Source> = BTreeMap::new();
    for document in documents {
        let mut tables = document.named_tables("roles")?;
        tables.sort_by_key(|(_, table)| table.at);
        for (name, table) in tables {
            let source = document.lines().source(table.at);
            if let Some(first) = places.get(name) {
                let cause = Cause::Repeated { what: format!("role '{name}'"), first: first.clone() };
                return Err(document.lines().error(table.at, cause));
            }
            let others: &[(&str, &[&str])] =
                &[("[roles.NAME.activation]", ACTIVATION), ("[defaults]", DEFAULTS), ("[audit]", audit_file::KEYS)];
            let entries = Table::open(
                document.lines(),
                format!("[roles.{name}]"),
                table.at,
                table.value,
                &[ROLE, OPTIONS],
                others,
            )?;
            roles.push(role_file::read(name, &entries, defaults)?);
            places.insert(name.to_owned(), source);
        }
    }
    Ok(roles)
}

fn read_defaults(table: &Table<'_>, settings: &mut Settings, defaults: &mut Defaults) -> Result<(), PolicyError> {
    if let Some(value) = role_file::span(table, "maximum_duration")? {
        defaults.maximum_duration = value;
    }
    if let Some(value) = role_file::span(table, "request_lifetime")? {
        defaults.request_lifetime = value;
    }
    if let Some(value) = table.boolean("require_justification")? {
        defaults.require_justification = value;
    }
    if let Some(value) = table.boolean("authenticate")? {
        defaults.authenticate = value;
    }
    defaults.approval_authentication = table.boolean("approval_authentication")?.or(defaults.approval_authentication);
    if let Some(value) = table.boolean("user_verification")? {
        defaults.user_verification = value;
    }
    if let Some(value) = table.parsed("on_expiry", OnExpiry::parse)? {
        defaults.on_expiry = value;
    }
    if let Some(value) = table.parsed("leftovers", Leftovers::parse)? {
        defaults.leftovers = value;
    }
    if let Some(value) = table.parsed("on_removal", OnRemoval::parse)? {
        defaults.on_removal = value;
    }
    if let Some(value) = table.parsed("record", Record::parse)? {
        defaults.record = value;
    }
    if let Some(value) = table.boolean("record_input")? {
        defaults.record_input = value;
    }
    if let Some(value) = table.boolean("noexec")? {
        defaults.noexec = value;
    }
    defaults.pam_service = table.parsed("pam_service", pam_service)?;
    settings.options = std::mem::take(&mut settings.options).read(table, Lists::Replace)?;
    if let Some(value) = table.parsed("grace_period", duration::milliseconds)? {
        if value > 60_000 {
            return Err(table.invalid("grace_period", "is longer than 1m"));
        }
        settings.grace_period = Duration::from_millis(value);
    }
    if let Some(value) = table.number("request_rate", 1..100_001)? {
        settings.request_rate = value;
    }
    Ok(())
}
