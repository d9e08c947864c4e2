//! Converts the rules of a sudoers file to roles: the lists without aliases, the tags as keys of a role, and an order
//! where the last matching rule has to decide.

use chrono::{DateTime, Utc};

use super::command::{self, Effect, Linked, Rule};
use super::finding::{Findings, Weight};
use super::grammar::allows_all;
use super::members::{self, Lists};
use super::moment;
use super::role::{MOST_ROLES, Role};
use super::settings::Settings;
use super::terms::Terms;
use super::toml::{accepted, quoted};
use super::tree::{CommandSpec, Kind, MemberKind, Opt, Position, Say, Scope, Sudoers, Tag, UserSpec};

/// Returns all roles, in the order of the file.
pub(super) fn roles(sudoers: &Sudoers, settings: &Settings, now: DateTime<Utc>, findings: &mut Findings) -> Vec<Role> {
    let mut carrier = Carrier { sudoers, settings, now, findings, roles: Vec::new() };
    for spec in &sudoers.specs {
        carrier.spec(spec);
        if carrier.roles.len() > MOST_ROLES {
            carrier.findings.lost(&spec.place, format!("the rules from here on: there are more than {MOST_ROLES}"));
            break;
        }
    }
    let mut roles = carrier.roles;
    if sudoers.defaults.iter().all(|default| default.scope == Scope::Everywhere) {
        // No setting competes with a tag.
        roles.iter_mut().for_each(|role| role.tagged.clear());
        settings.tidy(&mut roles);
    }
    roles
}

/// `(bob : web)`: sudo 1.9.14 and later compare the caller with the users, too.
const GROUP_ALONE: &str = "-g without -u runs the command as the caller with a group of the runas list, as in sudo before \
                           1.9.14; later versions demand that the list names the caller";

struct Carrier<'a> {
    sudoers: &'a Sudoers,
    settings: &'a Settings,
    now: DateTime<Utc>,
    findings: &'a mut Findings,
    roles: Vec<Role>,
}

impl Carrier<'_> {
    fn spec(&mut self, spec: &UserSpec) {
        let mut lists = Lists { sudoers: self.sudoers, findings: self.findings, place: &spec.place };
        let Some(users) = lists.users(&spec.users, Kind::User) else { return };
        let name = members::role_name(&spec.users, &users);
        for privilege in &spec.privileges {
            let mut lists = Lists { sudoers: self.sudoers, findings: self.findings, place: &spec.place };
            let Some(hosts) = lists.hosts(&privilege.hosts) else { continue };
            for command in &privilege.commands {
                let Some((run_as, run_as_groups)) = self.run_as(command) else { continue };
                let terms = match self.terms(command) {
                    CommandOutcome::Never => continue,
                    CommandOutcome::Refused => None,
                    CommandOutcome::With(terms) => Some(terms),
                };
                let tagged = terms.iter().flat_map(|terms| terms.keys().cloned()).collect();
                let role = Role {
                    places: vec![command.place.clone()],
                    name: name.clone(),
                    from_alias: match &command.command.what {
                        MemberKind::Alias(name) if !command.command.negated => Some(name.clone()),
                        _ => None,
                    },
                    users: users.clone(),
                    hosts: hosts.clone(),
                    run_as,
                    run_as_groups,
                    terms,
                    commands: Vec::new(),
                    tagged,
                };
                self.commands(command, role);
            }
        }
    }

    /// Returns `run_as` and `run_as_groups`.
    fn run_as(&mut self, command: &CommandSpec) -> Option<(Vec<String>, Vec<String>)> {
        let Some(run_as) = &command.run_as else {
            return Some((vec![self.settings.runas_default.clone()], Vec::new()));
        };
        let mut lists = Lists { sudoers: self.sudoers, findings: self.findings, place: &command.place };
        if run_as.users.iter().flatten().any(|member| member.what == MemberKind::Myself) {
            lists.findings.lost(lists.place, "an empty runas list: users have to name themselves with -u");
        }
        let users = match &run_as.users {
            Some(users) => lists.users(users, Kind::Runas)?,
            // Only the group may change.
            None => vec!["!ALL".to_owned()],
        };
        let groups = match &run_as.groups {
            Some(groups) => lists.groups(groups)?,
            None => Vec::new(),
        };
        let anybody = run_as.users.is_none() || users.iter().any(|user| user == "ALL");
        if !anybody && groups.iter().any(|group| !group.starts_with('!')) {
            self.findings.add(&command.place, GROUP_ALONE, Weight::More);
        }
        Some((users, groups))
    }

    /// Adds the rules of one command, or of every member of its alias; negated ones deny.
    fn commands(&mut self, spec: &CommandSpec, role: Role) {
        let place = &spec.place;
        let mut lists = Lists { sudoers: self.sudoers, findings: self.findings, place };
        for member in lists.flat(std::slice::from_ref(&spec.command), Kind::Command) {
            let effect = if member.negated || role.terms.is_none() { Effect::Deny } else { Effect::Allow };
            let rules = match &member.what {
                MemberKind::All(digests) => vec![command::everything(digests, effect)],
                MemberKind::Command(command) => match self.rules(command, effect, place) {
                    Some(rules) => rules,
                    None => continue,
                },
                _ => continue,
            };
            let terms = if effect == Effect::Allow { role.terms.clone() } else { None };
            self.add(Role { terms, commands: rules, ..role.clone() });
        }
    }

    fn rules(&mut self, what: &super::tree::Command, effect: Effect, place: &Position) -> Option<Vec<Rule>> {
        let known = |rule: &Rule| accepted(&format!("[roles.x]\ncommands = [{}]\n", rule.toml));
        let said = command::rules(what, effect).and_then(|rules| rules.iter().try_for_each(known).map(|()| rules));
        let why = match said {
            Ok(rules) => {
                if effect == Effect::Allow {
                    self.links(what, place);
                }
                return Some(rules);
            }
            Err(why) => why,
        };
        let shown = format!("{} {}", what.path, what.args.as_deref().unwrap_or_default());
        let shown = shown.trim_end();
        match (command::at_least(what).filter(|refusal| known(refusal).is_ok()), effect) {
            (Some(refusal), _) => {
                self.findings.lost(place, format!("command {shown}: {why}; all of {} is denied instead", what.path));
                Some(vec![refusal])
            }
            (None, Effect::Deny) => {
                self.findings.lost(place, format!("the denial of {shown}: {why}; everything before it is denied too"));
                Some(vec![command::everything(&[], Effect::Deny)])
            }
            (None, Effect::Allow) => {
                self.findings.lost(place, format!("command {shown}: {why}"));
                None
            }
        }
    }

    /// Tells where a link decides which program a rule is for: the policy names the program.
    fn links(&mut self, what: &super::tree::Command, place: &Position) {
        match command::linked(&what.path) {
            Some(Linked::To(link, found)) => {
                let why = format!("{link} leads to {found} now, which the rule names: import again when that changes");
                self.findings.lost(place, format!("command {}: {why}", what.path));
            }
            Some(Linked::Nowhere(directory)) => {
                let why = format!("{directory} does not exist here: import again if it becomes a link");
                self.findings.note(place, why);
            }
            None => {}
        }
    }

    /// Adds a role, or adds its commands to the last one if only they differ.
    fn add(&mut self, role: Role) {
        if let Some(last) = self.roles.last_mut() {
            let terms = last.terms.is_none() || role.terms.is_none() || last.terms == role.terms;
            let same = (&last.users, &last.hosts, &last.run_as, &last.run_as_groups)
                == (&role.users, &role.hosts, &role.run_as, &role.run_as_groups);
            if same && terms {
                if last.terms.is_none() {
                    last.terms = role.terms;
                    last.tagged = role.tagged;
                }
                last.places.extend(
                    role.places.iter().filter(|place| !last.places.contains(place)).cloned().collect::<Vec<_>>(),
                );
                if last.from_alias != role.from_alias {
                    last.from_alias = None;
                }
                last.commands.extend(role.commands);
                return;
            }
        }
        self.roles.push(role);
    }

    /// Converts the tags and options of a command.
    fn terms(&mut self, spec: &CommandSpec) -> CommandOutcome {
        let mut terms = Terms::new();
        for (tag, say) in &spec.tags {
            self.tag(*tag, *say, &spec.place, &mut terms);
        }
        if allows_all(spec) {
            // ALL implies SETENV (sudoers(5), "SETENV").
            terms.entry("setenv".to_owned()).or_insert_with(|| "true".to_owned());
        }
        let mut refused = false;
        for (option, value) in &spec.options {
            match self.option(*option, value, &spec.place, &mut terms) {
                Conversion::Yes => {}
                Conversion::Never => return CommandOutcome::Never,
                Conversion::No => refused = true,
            }
        }
        if spec.tags.contains(&(Tag::Intercept, Say::Yes)) {
            self.findings.lost(&spec.place, "INTERCEPT: what it allows is denied; noexec is similar");
            refused = true;
        }
        if refused { CommandOutcome::Refused } else { CommandOutcome::With(terms) }
    }

    fn tag(&mut self, tag: Tag, say: Say, place: &Position, terms: &mut Terms) {
        let yes = say == Say::Yes;
        let (key, value, name) = match tag {
            Tag::Passwd => ("authenticate", yes.to_string(), "PASSWD"),
            Tag::Setenv => ("setenv", yes.to_string(), "SETENV"),
            Tag::Exec => ("noexec", (!yes).to_string(), "NOEXEC"),
            Tag::LogOutput => ("record", quoted(if yes { "all" } else { "none" }), "LOG_OUTPUT"),
            Tag::LogInput => ("record_input", yes.to_string(), "LOG_INPUT"),
            Tag::Mail | Tag::Follow if yes => {
                let name = if tag == Tag::Mail { "MAIL" } else { "FOLLOW" };
                self.findings.lost(place, format!("{name} has no counterpart"));
                return;
            }
            Tag::Mail | Tag::Follow | Tag::Intercept => return,
        };
        match accepted(&format!("[roles.x]\ncommands = \"ALL\"\n{key} = {value}\n")) {
            Ok(()) => {
                terms.insert(key.to_owned(), value);
            }
            Err(why) => self.findings.lost(place, format!("{name}: {why}")),
        }
    }

    /// A rule that is valid only at times is converted if it is valid from now on, and otherwise told.
    fn period(&mut self, option: Opt, value: &str, place: &Position) -> Conversion {
        let name = option.name();
        let Some(moments) = moment::parse(value) else {
            self.findings.lost(place, format!("{name}={value}: a time that sudo rejects; what it allows is denied"));
            return Conversion::No;
        };
        match option {
            Opt::NotBefore if moments.latest <= self.now => Conversion::Yes,
            Opt::NotBefore => {
                self.findings.lost(place, format!("{name}={value}: a rule that is not valid yet"));
                Conversion::Never
            }
            _ if moments.earliest < self.now => {
                self.findings.note(place, format!("{name}={value}: a rule that is no longer valid"));
                Conversion::Never
            }
            _ => {
                let why = "a role has no end; what it allows is denied";
                self.findings.lost(place, format!("{name}={value}: {why}"));
                Conversion::No
            }
        }
    }

    fn option(&mut self, option: Opt, value: &str, place: &Position, terms: &mut Terms) -> Conversion {
        let name = option.name();
        let (key, said) = match option {
            Opt::Cwd => ("runcwd", Some(quoted(value))),
            Opt::Timeout => ("command_timeout", super::defaults::timeout(value).map(|text| quoted(&text))),
            Opt::NotBefore | Opt::NotAfter => return self.period(option, value, place),
            _ => ("", None),
        };
        let known = said
            .ok_or_else(|| "has no counterpart".to_owned())
            .and_then(|said| accepted(&format!("[roles.x]\ncommands = \"ALL\"\n{key} = {said}\n")).map(|()| said));
        match known {
            Ok(said) => {
                terms.insert(key.to_owned(), said);
                Conversion::Yes
            }
            Err(why) => {
                self.findings.lost(place, format!("{name}={value}: {why}; what it allows is denied"));
                Conversion::No
            }
        }
    }
}

/// The result of converting an option.
enum Conversion {
    Yes,
    /// The rule is not valid today, and is skipped.
    Never,
    No,
}

/// The result of converting a command.
enum CommandOutcome {
    With(Terms),
    /// It has conditions that cannot be expressed, so it is denied.
    Refused,
    Never,
}
