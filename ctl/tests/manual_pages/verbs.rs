//! jitctl(8): synopsis, verbs and options, from the clap declarations.

use clap::{Arg, ArgAction, Command};

use crate::mdoc::{flag, prose, sentence};

/// A verb with its parent: `audit list`.
struct Verb {
    name: String,
    command: Command,
}

/// Returns the names of all verbs.
pub(crate) fn all() -> Vec<String> {
    verbs().into_iter().map(|verb| verb.name).collect()
}

/// Returns the names of the verbs that a part describes: those after `verbs`, separated by commas.
pub(crate) fn named(part: &str) -> Vec<String> {
    let names = part.strip_prefix("verbs ").map(|names| names.split(", ").map(str::to_owned).collect());
    names.unwrap_or_default()
}

/// Returns the part of that name.
pub(crate) fn part(name: &str) -> String {
    let verbs = verbs();
    if name == "synopsis" {
        return verbs.iter().map(synopsis).collect();
    }
    let mut page = String::new();
    let mut before: Vec<&Verb> = Vec::new();
    for name in named(name) {
        let verb = verbs.iter().find(|verb| verb.name == name).unwrap_or_else(|| panic!("jitctl knows no {name}"));
        page.push_str(&described(verb, &before));
        before.push(verb);
    }
    assert!(!page.is_empty(), "jitctl(8) has no part {name}");
    page
}

fn verbs() -> Vec<Verb> {
    let mut command = jitctl::command();
    command.build();
    leaves(&command, "")
}

fn leaves(command: &Command, family: &str) -> Vec<Verb> {
    let shown = command.get_subcommands().filter(|verb| !verb.is_hide_set() && verb.get_name() != "help");
    shown
        .flat_map(|verb| {
            let name = format!("{family}{}", verb.get_name());
            match verb.has_subcommands() {
                true => leaves(verb, &format!("{name} ")),
                false => vec![Verb { name, command: verb.clone() }],
            }
        })
        .collect()
}

/// Returns its arguments in the order of the declaration, without those that every verb has.
fn arguments(command: &Command) -> Vec<&Arg> {
    let own =
        |arg: &&Arg| !arg.is_hide_set() && !arg.is_global_set() && arg.get_id() != "help" && arg.get_id() != "version";
    command.get_arguments().filter(own).collect()
}

fn synopsis(verb: &Verb) -> String {
    let mut page = format!(".Nm jitctl\n.Op Fl -json\n.Cm {}\n", verb.name);
    let (mut told, mut last): (Vec<&str>, String) = Default::default();
    for arg in arguments(&verb.command) {
        let id = arg.get_id().as_str();
        if told.contains(&id) {
            continue;
        }
        let mut groups = verb.command.get_groups();
        let group =
            groups.find(|group| !(*group).clone().is_multiple() && group.get_args().any(|one| one == arg.get_id()));
        let members: Vec<&Arg> = match group {
            Some(group) => arguments(&verb.command)
                .into_iter()
                .filter(|arg| group.get_args().any(|one| one == arg.get_id()))
                .collect(),
            None => vec![arg],
        };
        told.extend(members.iter().map(|arg| arg.get_id().as_str()));
        let required = group.map_or(arg.is_required_set(), clap::ArgGroup::is_required_set);
        let spelled: Vec<String> = members.into_iter().map(brief).collect();
        let spelled = spelled.join(" | ");
        let line = match (required, spelled.contains(" Oo ")) {
            (true, _) => format!(".{spelled}\n"),
            (false, true) => format!(".Oo {spelled} Oc\n"),
            (false, false) => format!(".Op {spelled}\n"),
        };
        // An argument that ends with a command ends the line.
        if spelled.contains("Fl - ") { last.push_str(&line) } else { page.push_str(&line) }
    }
    page + &last
}

/// Formats an argument for the synopsis: one spelling and the value.
fn brief(arg: &Arg) -> String {
    match (arg.get_long(), arg.get_short()) {
        (Some(long), _) => with_value(arg, &flag(&format!("--{long}"))),
        (None, Some(letter)) => with_value(arg, &flag(&format!("-{letter}"))),
        (None, None) if arg.is_last_set() => format!("Fl - {}", value(arg)),
        (None, None) => value(arg),
    }
}

fn with_value(arg: &Arg, spelled: &str) -> String {
    let optional = arg.get_num_args().is_some_and(|range| range.min_values() == 0);
    match arg.get_action() {
        ArgAction::SetTrue => spelled.to_owned(),
        _ if optional && arg.is_require_equals_set() => format!("{spelled} Ns Oo = Ns {} Oc", value(arg)),
        _ if optional => format!("{spelled} Oo {} Oc", value(arg)),
        ArgAction::Append => format!("{spelled} {}", value(arg).trim_end_matches(" ...")),
        _ => format!("{spelled} {}", value(arg)),
    }
}

/// Formats the value: a name in capitals becomes an argument's name; possible values are literal.
fn value(arg: &Arg) -> String {
    let choices: Vec<String> = arg.get_possible_values().iter().map(|choice| choice.get_name().to_owned()).collect();
    if !choices.is_empty() && arg.get_action().takes_values() {
        return format!("Cm {}", choices.join(" | "));
    }
    let names = arg.get_value_names().map(|names| names.iter().map(|name| name.to_lowercase()).collect::<Vec<_>>());
    let name = names.unwrap_or_default().join(" ").replace('|', " | ");
    let many = if matches!(arg.get_action(), ArgAction::Append) { " ..." } else { "" };
    format!("Ar {name}{many}")
}

fn described(verb: &Verb, before: &[&Verb]) -> String {
    let args = arguments(&verb.command);
    let values: Vec<String> =
        args.iter().flat_map(|arg| arg.get_value_names().unwrap_or_default()).map(|name| name.to_string()).collect();
    let mut page = format!(".It Cm {}\n{}", verb.name, prose(&about(&verb.command), &values));
    let mut own = args;
    if let Some(other) = before.iter().find(|other| shares(&own, other)) {
        page.push_str(&format!("It takes the options of\n.Cm {} .\n", other.name));
        own.retain(|arg| !arguments(&other.command).iter().any(|one| one.get_id() == arg.get_id()));
    }
    if !own.is_empty() {
        page.push_str(".Bl -tag -width Ds\n");
        for arg in own {
            page.push_str(&item(arg, &values));
        }
        page.push_str(".El\n");
    }
    if let Some(example) = verb.command.get_after_long_help() {
        let literal = example.to_string().replace('\\', "\\e");
        page.push_str(&format!(".Bd -literal -offset indent\n{}\n.Ed\n", literal.trim_end()));
    }
    page
}

/// Returns whether `other` has most of these options too.
fn shares(args: &[&Arg], other: &Verb) -> bool {
    let theirs = arguments(&other.command);
    let same =
        |one: &&&Arg| theirs.iter().any(|other| other.get_id() == one.get_id() && other.get_help() == one.get_help());
    args.iter().filter(same).count() > 5
}

/// Returns the line in the list of verbs as the first sentence, and the rest of its `--help`.
fn about(command: &Command) -> String {
    let short = command.get_about().map(ToString::to_string).unwrap_or_default();
    let long = command.get_long_about().map(ToString::to_string).unwrap_or_default();
    joined(&short, &long)
}

fn joined(short: &str, long: &str) -> String {
    match long.strip_prefix(short).map(str::trim_start) {
        Some(rest) => format!("{} {rest}", sentence(short)).trim().to_owned(),
        None => sentence(short),
    }
}

fn item(arg: &Arg, values: &[String]) -> String {
    let short = arg.get_short().map(|letter| flag(&format!("-{letter}")));
    let long = arg.get_long().map(|long| flag(&format!("--{long}")));
    let spelled = short.into_iter().chain(long).collect::<Vec<_>>().join(" , ");
    let head = if spelled.is_empty() { brief(arg) } else { with_value(arg, &spelled) };
    let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    let long = arg.get_long_help().map(ToString::to_string).unwrap_or_default();
    let defaults: Vec<String> =
        arg.get_default_values().iter().map(|value| value.to_string_lossy().into_owned()).collect();
    let shown = arg.get_action().takes_values() && !arg.is_hide_default_value_set() && !defaults.is_empty();
    let default = if shown { format!(" Default: `{}`.", defaults.join(" ")) } else { String::new() };
    let choices: String = arg
        .get_possible_values()
        .iter()
        .filter(|_| arg.get_action().takes_values())
        .filter_map(|choice| Some(format!(" `{}`: {}.", choice.get_name(), choice.get_help()?)))
        .collect();
    let text = format!("{}{choices}{default}", joined(&help, &long));
    format!(".It {head}\n{}", prose(&text, values))
}
