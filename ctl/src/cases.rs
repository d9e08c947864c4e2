//! Evaluates policy files before they are installed. Runs with the caller's privileges, in jitctl; opens a program only
//! to compute its digest where a rule asks for one.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use jit_core::escape::Word;
use jit_core::policy::{Evaluated, Lookup, Policy, ProgramNames, Question, Subject, Target};
use jit_core::wire::Evaluation;

/// This host: its account database, kernel and files.
const THIS_HOST: Lookup = Lookup {
    gid_of: sys::lookup::gid_of,
    netgroup_has_user: sys::netgroup::has_user,
    netgroup_has_host: sys::netgroup::has_host,
    addresses: sys::lookup::addresses,
    file: sys::lookup::file,
    canonical: sys::lookup::canonical,
};

/// One question to the policy.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    /// The user who would run it, by name; the name need not exist here.
    pub(crate) user: String,
    /// Their groups by name; those of the account database when absent.
    pub(crate) groups: Option<Vec<String>>,
    /// The run-as user: a name or `#uid`; root when absent.
    pub(crate) run_as: Option<String>,
    /// The group given with -g: a name or `#gid`.
    pub(crate) run_as_group: Option<String>,
    /// The host name.
    pub(crate) host: String,
    /// The program, a path or a name from `secure_path`, and its arguments.
    pub(crate) command: Vec<Word>,
}

/// Returns the policy's evaluation.
pub(crate) fn evaluation(policy: &Policy, case: &Case) -> io::Result<Evaluation> {
    let account = sys::users::account_by_name(&case.user)?;
    let groups = groups(case, account.as_ref())?;
    // A uid that no line of a policy can name, for a user without an account.
    let uid = account.map_or(u32::MAX, |account| account.uid);
    let subject = Subject { name: &case.user, uid, groups: &groups, lookup: &THIS_HOST };
    let (run_as, run_as_uid) = run_as(case.run_as.as_deref().unwrap_or("root"))?;
    let group = case.run_as_group.as_deref().map(group).transpose()?;
    let (program, arguments) = case.command.split_first().ok_or_else(|| invalid("a command is missing"))?;
    let path = locate(program, &policy.settings().options.secure_path);
    let arguments: Vec<OsString> = arguments.iter().map(|word| word.0.clone()).collect();
    let canonical = std::fs::canonicalize(&path).unwrap_or_else(|_| path.clone());
    let question = Question {
        run_as: Target {
            name: &run_as,
            uid: run_as_uid,
            groups: &|| sys::lookup::named_groups(&sys::users::account_by_name(&run_as).ok()??),
            is_caller: run_as == case.user,
            lookup: &THIS_HOST,
        },
        run_as_group: group.as_ref().map(|(name, gid)| (name.as_str(), *gid)),
        host: &case.host,
        program: ProgramNames { place: &path, canonical: &canonical, lookup: &THIS_HOST },
        arguments: &arguments,
        digest: &|algorithm| std::fs::read(&path).ok().map(|bytes| algorithm.of(&bytes)),
    };
    let mut evaluation = Evaluation {
        user: case.user.clone(),
        run_as: run_as.clone(),
        command: std::iter::once(Word::from(path.as_os_str())).chain(arguments.iter().map(Word::from)).collect(),
        verdict: "denied".to_owned(),
        roles: Vec::new(),
        because: "no role allows it".to_owned(),
        terms: None,
    };
    match policy.evaluate(&subject, &question) {
        Evaluated::Standing(role) => evaluation.allow("standing", &[*role]),
        Evaluated::Eligible(roles) => evaluation.allow("eligible", &roles),
        Evaluated::Denied(Some((role, rule))) => {
            evaluation.because = format!("role {role} refuses it by the rule \"{rule}\"");
        }
        Evaluated::Denied(None) => {}
    }
    Ok(evaluation)
}

/// Returns the caller's login name.
pub(crate) fn own_name() -> io::Result<String> {
    let account = sys::users::account_by_uid(std::fs::metadata("/proc/self")?.uid())?;
    account.map(|account| account.name).ok_or_else(|| invalid("the account database does not know you"))
}

/// Returns the name of this host.
pub(crate) fn this_host() -> io::Result<String> {
    sys::machine::host_name()
}

fn groups(case: &Case, account: Option<&sys::users::Account>) -> io::Result<Vec<(u32, Option<String>)>> {
    match (&case.groups, account) {
        (Some(names), _) => names
            .iter()
            .map(|name| Ok((sys::users::group_by_name(name)?.map_or(u32::MAX, |group| group.gid), Some(name.clone()))))
            .collect(),
        (None, Some(account)) => sys::users::groups_of(&account.name, account.gid)?
            .into_iter()
            .map(|gid| Ok((gid, sys::users::group_by_gid(gid)?.map(|group| group.name))))
            .collect(),
        (None, None) => Ok(Vec::new()),
    }
}

fn group(text: &str) -> io::Result<(String, u32)> {
    let found = match text.strip_prefix('#') {
        Some(digits) => sys::users::group_by_gid(digits.parse().map_err(|_| invalid("a group is a name or #gid"))?)?,
        None => sys::users::group_by_name(text)?,
    };
    found.map(|group| (group.name, group.gid)).ok_or_else(|| invalid("a group does not exist here"))
}

fn run_as(text: &str) -> io::Result<(String, u32)> {
    if let Some(digits) = text.strip_prefix('#') {
        let uid = digits.parse().map_err(|_| invalid("a run-as user is a name or #UID"))?;
        let account = sys::users::account_by_uid(uid)?;
        return Ok((account.map_or_else(|| text.to_owned(), |account| account.name), uid));
    }
    Ok((text.to_owned(), sys::users::account_by_name(text)?.map_or(u32::MAX, |account| account.uid)))
}

/// Returns the path that rules are compared with: the directory with links resolved, if it exists here, and the file
/// name.
fn locate(program: &Word, secure_path: &[PathBuf]) -> PathBuf {
    let typed = Path::new(program.as_os_str());
    let found = if program.as_os_str().as_bytes().contains(&b'/') {
        typed.to_owned()
    } else {
        let candidates = secure_path.iter().map(|directory| directory.join(typed));
        candidates.clone().find(|path| path.is_file()).or_else(|| candidates.clone().next()).unwrap_or_default()
    };
    let (Some(directory), Some(name)) = (found.parent(), found.file_name()) else { return found };
    std::fs::canonicalize(directory).unwrap_or_else(|_| directory.to_owned()).join(name)
}

fn invalid(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use jit_core::policy::PolicyText;

    const POLICY: &str = r##"
[roles.everything]
eligible = ["%nobodys-team"]
commands = ["ALL"]
[roles.nginx]
eligible = ["somebody", "%nobodys-team"]
hosts = ["web*"]
commands = ["/usr/bin/systemctl restart nginx", "/usr/bin/systemctl status **", "!/usr/bin/systemctl status secret"]
[roles.deploy]
standing = ["somebody"]
run_as = ["deployer"]
commands = ["/opt/deploy **"]
"##;

    fn answer(user: &str, groups: &[&str], run_as: Option<&str>, host: &str, line: &str) -> String {
        let policy = Policy::parse(&[PolicyText { path: "p".into(), text: POLICY.to_owned() }]).unwrap();
        let case = Case {
            user: user.to_owned(),
            groups: Some(groups.iter().map(|&group| group.to_owned()).collect()),
            run_as: run_as.map(str::to_owned),
            run_as_group: None,
            host: host.to_owned(),
            command: line.split(' ').map(Word::from).collect(),
        };
        evaluation(&policy, &case).unwrap().answer()
    }

    #[test]
    fn files_are_evaluated_without_their_users_and_programs() {
        let restart = "/usr/bin/systemctl restart nginx";
        assert_eq!(answer("somebody", &[], None, "web1.example", restart), "eligible:nginx");
        assert_eq!(answer("somebody", &[], None, "db1", restart), "denied");
        assert_eq!(answer("other", &["nobodys-team"], None, "web1", restart), "eligible:nginx", "the narrowest");
        assert_eq!(answer("other", &["nobodys-team"], None, "db1", restart), "eligible:everything");
        assert_eq!(answer("other", &[], None, "web1", restart), "denied");
        assert_eq!(answer("somebody", &[], None, "web1", "/usr/bin/systemctl status secret"), "denied");
        assert_eq!(answer("somebody", &[], Some("deployer"), "db1", "/opt/deploy now"), "standing");
        assert_eq!(answer("somebody", &[], None, "db1", "/opt/deploy now"), "denied");
        assert_eq!(answer("somebody", &[], None, "web1", "systemctl restart nginx"), "eligible:nginx");
    }

    #[test]
    fn a_question_without_a_command_or_with_a_bad_uid_is_refused() {
        let policy = Policy::nothing();
        let case = Case {
            user: "a".into(),
            groups: None,
            run_as: Some("#x".into()),
            run_as_group: None,
            host: "h".into(),
            command: vec!["b".into()],
        };
        assert!(evaluation(&policy, &case).is_err());
        assert!(evaluation(&policy, &Case { run_as: None, command: Vec::new(), ..case.clone() }).is_err());
        assert_eq!(evaluation(&policy, &Case { run_as: None, ..case }).unwrap().answer(), "denied");
    }
}
