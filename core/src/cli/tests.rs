//! Tests the grammar, flag by flag; `tests/` compares exit codes with sudo's.

mod hostile;
mod words;

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::process::CommandExt;

use super::*;
use crate::clock::duration::Seconds;

fn words(line: &str) -> Vec<OsString> {
    std::iter::once("jit-sudo").chain(line.split_whitespace()).map(OsString::from).collect()
}

fn good(line: &str) -> Invocation {
    parse(&words(line)).unwrap_or_else(|error| panic!("{line}: {error}"))
}

fn run(line: &str) -> Run {
    match good(line) {
        Invocation::Run(run) => *run,
        other => panic!("{line}: {other:?}"),
    }
}

fn list(line: &str) -> List {
    match good(line) {
        Invocation::List(list) => *list,
        other => panic!("{line}: {other:?}"),
    }
}

fn mistake(line: &str) -> String {
    match parse(&words(line)) {
        Err(UsageError::Mistake(sentence)) => sentence,
        other => panic!("{line}: {other:?}"),
    }
}

fn unsupported(line: &str) -> String {
    match parse(&words(line)) {
        Err(UsageError::Unsupported(sentence)) => sentence,
        other => panic!("{line}: {other:?}"),
    }
}

fn os(text: &str) -> OsString {
    OsString::from(text)
}

#[test]
fn a_command_keeps_its_own_flags() {
    assert_eq!(run("ls -l --all -u x").command, words("ls -l --all -u x")[1..]);
    assert_eq!(run("-n -- -l").command, [os("-l")]);
    assert_eq!(run("-").command, [os("-")]);
    assert_eq!(run("-- A=B").command, [os("A=B")]);
}

#[test]
fn values_are_attached_or_follow() {
    for line in
        ["-u root id", "-uroot id", "--user root id", "--user=root id", "-nuroot id", "-nu root id", "--us root id"]
    {
        let run = run(line);
        assert_eq!((run.run_as, run.command), (Some(os("root")), vec![os("id")]), "{line}");
    }
    assert_eq!(run("-u#0 -g #33 id").run_as, Some(os("#0")));
    assert_eq!(run("-u #-1 id").run_as, Some(os("#-1")));
    assert_eq!(run("--user=a=b id").run_as, Some(os("a=b")));
    assert_eq!(run("-u -n id").run_as, Some(os("-n")));
}

#[test]
fn each_flag_of_a_run_is_parsed() {
    let plain = run("id");
    assert_eq!(plain, Run { command: vec![os("id")], ..Run::default() });
    assert!(run("-b id").background && run("--background id").background);
    assert!(run("-B id").asking.bell && run("--bell id").asking.bell);
    assert!(run("-n id").asking.non_interactive && run("--non-interactive id").asking.non_interactive);
    assert!(run("-N id").asking.no_update && run("--no-update id").asking.no_update);
    assert!(run("-k id").asking.ignore_cache && run("--reset-timestamp id").asking.ignore_cache);
    assert!(run("-H id").set_home && run("--set-home id").set_home);
    assert!(run("-P id").preserve_groups && run("--preserve-groups id").preserve_groups);
    assert!(run("-E id").environment.preserve_all && run("--preserve-env id").environment.preserve_all);
    assert_eq!(run("-A id").asking.password_from, PasswordFrom::Askpass);
    assert_eq!(run("-S id").asking.password_from, PasswordFrom::Stdin);
    assert_eq!(run("-D /tmp id").directory, Some(os("/tmp")));
    assert_eq!(run("-g wheel id").run_as_group, Some(os("wheel")));
    assert_eq!(run("-p x id").asking.prompt, Some(os("x")));
    assert_eq!(run("--prompt= id").asking.prompt, Some(os("")));
    assert_eq!((run("-i").mode, run("--login id").mode), (Mode::LoginShell, Mode::LoginShell));
    assert_eq!((run("-s").mode, run("--shell id").mode), (Mode::Shell, Mode::Shell));
    assert_eq!(run("-ki").mode, Mode::LoginShell);
    let bundle = run("-nkHSEu bob -g x id");
    assert!(bundle.asking.non_interactive && bundle.asking.ignore_cache && bundle.set_home);
    assert_eq!(bundle.run_as, Some(os("bob")));
}

#[test]
fn variables_may_precede_the_command_and_follow_flags() {
    let run = run("A=1 -n B= C=x=y id D=2");
    assert!(run.asking.non_interactive);
    assert_eq!(run.environment.set, [(os("A"), os("1")), (os("B"), os("")), (os("C"), os("x=y"))]);
    assert_eq!(run.command, [os("id"), os("D=2")]);
    assert_eq!(self::run("=x").command, [os("=x")]);
    assert_eq!(self::run("/bin/a=b").command, [os("/bin/a=b")]);
    assert_eq!(self::run("A=1 -i").environment.set.len(), 1);
    assert_eq!(parse(&words("A=1")), Err(UsageError::Usage));
}

#[test]
fn preserve_env_takes_a_list_of_names() {
    assert_eq!(run("--preserve-env=A,,B --preserve-env=C id").environment.preserve, [os("A"), os("B"), os("C")]);
    assert!(!run("--preserve-env=A id").environment.preserve_all);
    assert_eq!(run("--preserve-env= id").environment, EnvironmentWish::default());
    for (line, over) in [
        ("--preserve-env=A,B A=1 id", &[][..]),
        ("A=1 --preserve-env=B id", &[]),
        ("A=1 --preserve-env=B,A id", &["A"]),
        ("A=1 --preserve-env=A A=2 id", &[]),
        ("A=1 B=1 --preserve-env=A,B A=2 id", &["B"]),
    ] {
        assert_eq!(run(line).environment.preserve_over, over.iter().map(|name| os(name)).collect::<Vec<_>>(), "{line}");
    }
    assert_eq!(mistake("--preserve-env=A=B id"), "invalid environment variable name: A=B");
}

#[test]
fn the_options_of_an_activation_are_parsed() {
    let wish = run("--reason why --ticket=OPS-1 --for 1h30m --role web-ops --wait=5m id").activation;
    assert_eq!(wish.reason, Some(os("why")));
    assert_eq!(wish.ticket, Some(os("OPS-1")));
    assert_eq!(wish.duration, Some(Seconds(5400)));
    assert_eq!(wish.role.map(String::from), Some("web-ops".to_owned()));
    assert_eq!(wish.wait, Wait::AtMost(Seconds(300)));
    assert_eq!(run("--wait id").activation.wait, Wait::AsLongAsPending);
    assert_eq!(run("--wait 5m id").command, [os("5m"), os("id")]);
    assert_eq!(run("-i --reason x").activation.reason, Some(os("x")));
    assert_eq!(mistake("--for 0s id"), "the argument to --for must be longer than zero");
    assert!(mistake("--for 5 id").starts_with("the argument to --for, '5' has no unit"));
    assert!(mistake("--wait=x id").contains("'x' is not a duration"));
    assert!(mistake("--role a/b id").starts_with("role name 'a/b'"));
    assert_eq!(mistake("-n --wait id"), "the -n and --wait options may not be used together");
    assert_eq!(mistake("-l --reason x"), "the --reason option may only be used when running a command");
    assert_eq!(mistake("-v --wait"), "the --wait option may only be used when running a command");
    assert_eq!(mistake("-k --role x"), "the --role option may only be used when running a command");
}

#[test]
fn listings_are_short_or_long_and_may_name_a_command() {
    assert_eq!(list("-l"), List::default());
    assert_eq!(
        (list("-ll").length, list("-l -l").length, list("--list").length),
        (Length::Long, Length::Long, Length::Short)
    );
    let asked = list("-nl -u bob -g x -U alice ls -l");
    assert!(asked.asking.non_interactive);
    assert_eq!(
        (asked.run_as, asked.run_as_group, asked.other_user),
        (Some(os("bob")), Some(os("x")), Some(os("alice")))
    );
    assert_eq!(asked.command, [os("ls"), os("-l")]);
    assert!(list("-k -l").asking.ignore_cache);
    assert_eq!(list("A=B -l").command, Vec::<OsString>::new());
}

#[test]
fn the_cache_is_updated_or_invalidated() {
    assert_eq!(good("-k"), Invocation::InvalidateCache);
    assert_eq!(good("-kp x"), Invocation::InvalidateCache);
    assert_eq!(good("-K"), Invocation::RemoveCache);
    assert_eq!(good("-kK"), Invocation::RemoveCache);
    let Invocation::Validate(validate) = good("-nvk -u bob -S") else { panic!() };
    assert!(validate.asking.non_interactive && validate.asking.ignore_cache);
    assert_eq!((validate.run_as, validate.asking.password_from), (Some(os("bob")), PasswordFrom::Stdin));
}

#[test]
fn help_and_version_exclude_other_flags() {
    for line in ["-h", "--help", "-h -h", "-h -k", "-Ah", "--hel"] {
        assert_eq!(good(line), Invocation::Help(CalledAs::JitSudo), "{line}");
    }
    for line in ["-V", "--version", "-V -V", "-V -k", "-p x -V"] {
        assert_eq!(good(line), Invocation::Version(CalledAs::JitSudo), "{line}");
    }
}

#[test]
fn conflicting_flags_show_the_usage() {
    for line in [
        "",
        "--",
        "-n",
        "-E",
        "-b",
        "-H",
        "-k -b",
        "-kn",
        "-k -u root",
        "-K ls",
        "-K -n",
        "-K -u root",
        "-K -i",
        "-v ls",
        "-v -b",
        "-v -s",
        "-V foo",
        "-V -n",
        "-h -s",
        "-h -n",
        "-l -u root",
        "-l -g x",
        "-l -s",
        "-l -i",
        "-l -E",
        "-l -P",
        "-l -H",
        "--user= id",
        "-u root -u bin id",
        "--group= id",
        "-p a -p b id",
        "-D a -D b id",
        "-l -U a -U b",
        "--reason a --reason b id",
        "--wait --wait id",
        "--for 1s --for 1s id",
        "--role a --role b id",
    ] {
        assert_eq!(parse(&words(line)), Err(UsageError::Usage), "{line}");
    }
    for empty in ["-u", "-g", "-D", "-U"] {
        assert_eq!(parse(&["jit-sudo", empty, "", "id"].map(OsString::from)), Err(UsageError::Usage), "{empty}");
    }
}

#[test]
fn conflicts_are_reported_as_by_sudo() {
    let one_of = "Only one of the -e, -h, -i, -K, -l, -s, -v or -V options may be specified";
    for line in ["-l -v", "-V -l", "-h -l", "-K -v", "-vK"] {
        assert_eq!(mistake(line), one_of, "{line}");
    }
    assert_eq!(mistake("-i -s"), "you may not specify both the -i and -s options");
    assert_eq!(mistake("-i -E id"), "you may not specify both the -i and -E options");
    assert_eq!(mistake("-A -S id"), "the -A and -S options may not be used together");
    assert_eq!(mistake("-U root id"), "the -U option may only be used with the -l option");
    assert_eq!(mistake("-N -k"), "Only one of the -K, -k or -N options may be specified");
    assert_eq!(mistake("-N -K"), "Only one of the -K, -k or -N options may be specified");
}

#[test]
fn option_errors_are_reported_as_by_getopt() {
    for (line, sentence) in [
        ("-u", "option requires an argument -- 'u'"),
        ("-nD", "option requires an argument -- 'D'"),
        ("-x", "invalid option -- 'x'"),
        ("-nx id", "invalid option -- 'x'"),
        ("--foo", "unrecognized option '--foo'"),
        ("--foo=1", "unrecognized option '--foo=1'"),
        ("--user", "option '--user' requires an argument"),
        ("--list=foo", "option '--list' doesn't allow an argument"),
        ("--pre", "option '--pre' is ambiguous; possibilities: '--preserve-env' '--preserve-groups'"),
        ("--pr=x", "option '--pr=x' is ambiguous; possibilities: '--preserve-env' '--preserve-groups' '--prompt'"),
        ("--s", "option '--s' is ambiguous; possibilities: '--set-home' '--shell' '--stdin'"),
        ("-C 2 ls", "the argument to -C must be a number greater than or equal to 3"),
        ("--close-from=x", "the argument to -C must be a number greater than or equal to 3"),
    ] {
        assert_eq!(mistake(line), sentence, "{line}");
    }
}

#[test]
fn unsupported_flags_are_reported_with_a_reason() {
    for line in
        ["-R / id", "-h host id", "-hhost", "--host=h -l", "-h ls", "-r x id", "-t x id", "--type=x id", "-nR/ id"]
    {
        let sentence = unsupported(line);
        assert!(sentence.contains("not supported:") && !sentence.contains("yet"), "{line}: {sentence}");
    }
}

#[test]
fn editing_accepts_files_and_few_flags() {
    assert_eq!((run("-e a b").mode, run("-e a b").command), (Mode::Edit, vec![os("a"), os("b")]));
    assert_eq!(run("-neuroot -- -x").command, [os("-x")]);
    for name in ["sudoedit", "/x/jit-sudoedit"] {
        let Ok(Invocation::Run(run)) = parse(&[name, "-n", "f"].map(OsString::from)) else { panic!("{name}") };
        assert_eq!((run.mode, run.asking.non_interactive), (Mode::Edit, true));
        let unknown = parse(&[name, "-s", "f"].map(OsString::from));
        let called = CalledAs::of(OsStr::new(name));
        let own = called.as_str();
        let report = unknown.unwrap_err().report(called);
        assert!(report.starts_with(&format!("{own}: invalid option -- 's'\nusage: {own} -h | -V\n")), "{report}");
        assert_eq!(parse(&[name, "-h"].map(OsString::from)), Ok(Invocation::Help(called)));
        assert_eq!(parse(&[name, "-V"].map(OsString::from)), Ok(Invocation::Version(called)));
    }
    let help = help(CalledAs::JitSudoedit);
    assert!(help.starts_with("jit-sudoedit - edit files as another user\n\nusage: jit-sudoedit -h | -V\n"), "{help}");
    assert!(help.contains("-u, --user") && !help.contains("--shell") && !help.contains("--edit"), "{help}");
    assert_eq!(run_of(&["edit", "f"]).mode, Mode::Command);
    for line in ["-e", "-e -s f", "-e -i f", "-b -e f", "-e -E f", "-e -H f", "-e -P f"] {
        assert_eq!(parse(&words(line)), Err(UsageError::Usage), "{line}");
    }
    assert_eq!(mistake("-e A=b f"), "you may not specify environment variables in edit mode");
    assert!(mistake("-e -v f").starts_with("Only one of"));
    assert!(unsupported("-e -D /tmp f").contains("-D option"));
}

fn run_of(words: &[&str]) -> Run {
    let words: Vec<OsString> = words.iter().map(OsString::from).collect();
    let Ok(Invocation::Run(run)) = parse(&words) else { panic!("{words:?}") };
    *run
}

#[test]
fn no_two_flags_have_the_same_letter_or_name() {
    for (index, flag) in FLAGS.iter().enumerate() {
        for other in &FLAGS[index + 1..] {
            assert!(flag.name != other.name && flag.long != other.long, "{flag:?} {other:?}");
            let shared = flag.short.is_some() && flag.short == other.short;
            assert_eq!(shared, flag.name == FlagName::Help && other.name == FlagName::Host, "{flag:?} {other:?}");
        }
    }
}

#[test]
fn usage_and_help_show_exactly_the_supported_flags() {
    let (help, usage) = (help(CalledAs::JitSudo), usage(CalledAs::JitSudo));
    assert!(help.starts_with("jit-sudo - execute a command as another user\n\nusage: jit-sudo -h | -K | -k | -V\n"));
    assert!(help.contains("\n  -E, --preserve-env            preserve user environment when running command\n      --preserve-env=list       preserve specific environment variables\n"));
    assert!(help.lines().all(|line| line.len() <= 80));
    let letters: String = usage.split([' ', '\n']).filter(|word| word.starts_with(['-', '['])).collect();
    for flag in FLAGS {
        let built = flag.support == Support::Built;
        let line = flag.short.map_or_else(
            || format!("\n      --{}", flag.long.unwrap()),
            |c| format!("\n  -{}, --{}", char::from(c), flag.long.unwrap_or("?")),
        );
        assert_eq!(help.contains(&line), built, "{line}");
        let in_usage = match (flag.short, flag.long) {
            (Some(letter), _) => letters.contains(char::from(letter)),
            (None, Some(long)) => usage.contains(&format!("[--{long}")),
            (None, None) => false,
        };
        assert!(in_usage || !built, "{flag:?}");
    }
}

#[test]
fn the_version_is_on_the_first_line() {
    let own = concat!("jit-sudo version ", env!("CARGO_PKG_VERSION"));
    assert_eq!(version(CalledAs::JitSudo).lines().next(), Some(own));
    let in_its_place = version(CalledAs::Sudo);
    let lines: Vec<&str> = in_its_place.lines().collect();
    assert_eq!(lines, [concat!("Sudo version ", env!("CARGO_PKG_VERSION")), own]);
}

#[test]
fn a_link_named_as_sudo_speaks_as_sudo() {
    for (path, name) in [
        ("/usr/bin/sudo", "sudo"),
        ("sudo", "sudo"),
        ("/opt/sudoedit", "sudoedit"),
        ("x/jit-sudo", "jit-sudo"),
        ("vedit", "jit-sudoedit"),
        ("sudo2", "jit-sudo"),
        ("", "jit-sudo"),
    ] {
        assert_eq!(CalledAs::of(OsStr::new(path)).as_str(), name, "{path}");
    }
    let report = parse(&["sudo", "-x"].map(OsString::from)).unwrap_err().report(CalledAs::Sudo);
    assert!(report.starts_with("sudo: invalid option -- 'x'\nusage: sudo -h | -K"), "{report}");
    assert!(!report.contains("jit-sudo") && !report.contains("NAME"), "{report}");
}

/// Compares with sudo if it is installed: each of the two rejects what the other rejects. Does not run sudo's `-l`,
/// `-v`, `-K` and commands.
#[test]
fn sudo_rejects_the_same_arguments() {
    let sudo = OsStr::new("/usr/bin/sudo");
    if !std::path::Path::new(sudo).exists() {
        return;
    }
    for line in [
        "",
        "--",
        "-n",
        "-E",
        "-b",
        "-k -b",
        "-kn",
        "-k -u root",
        "-K ls",
        "-K -n",
        "-K -u root",
        "-v ls",
        "-v -b",
        "-V foo",
        "-V -n",
        "-h -s",
        "-h -n",
        "-l -u root",
        "-l -s",
        "-l -E",
        "-l -P",
        "--user= id",
        "-u root -u bin id",
        "-l -v",
        "-V -l",
        "-h -l",
        "-i -s",
        "-i -E id",
        "-A -S id",
        "-U root id",
        "-N -k",
        "-N -K",
        "-u",
        "-nD",
        "-x",
        "--foo",
        "--user",
        "--list=foo",
        "--pre",
        "--pr=x",
        "--s",
        "-C 2 ls",
        "--preserve-env=A=B id",
        "A=1",
        "-p a -p b id",
        "-D a -D b id",
        "-e",
        "-e -s f",
        "-e -i f",
        "-e -b f",
        "-e -E f",
        "-e -H f",
        "-e -P f",
        "-e A=b f",
        "-e -v f",
        "-l -e f",
    ] {
        let output = std::process::Command::new(sudo)
            .arg0("sudo")
            .args(&words(line)[1..])
            .stdin(std::process::Stdio::null())
            .output()
            .unwrap();
        let theirs = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{line}");
        assert!(theirs.contains("usage: sudo -h"), "{line}: {theirs}");
        let ours = parse(&words(line)).unwrap_err();
        let first = theirs.lines().next().unwrap_or_default();
        match ours {
            UsageError::Usage => assert!(first.starts_with("usage:"), "{line}: {first}"),
            UsageError::Mistake(sentence) => assert_eq!(first, format!("sudo: {sentence}"), "{line}"),
            other => panic!("{line}: {other}"),
        }
    }
}
