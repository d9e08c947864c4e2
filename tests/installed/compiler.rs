//! The program that compiles the policy: what it may do, and what becomes of answers that it should not have given.

use std::time::{Duration, Instant};

use harness::{PrivateRoot, eventually};

const COMPILER: &str = "/usr/libexec/jit-sudo/jit-sudo-compile";
const REAL: &str = "/root/real-compiler";
const ROLE: &str = "/etc/jit-sudo/policy.d/brief.toml";
const REFUSED: &str = "the policy was not compiled: /usr/libexec/jit-sudo/jit-sudo-compile";

/// A role that alice has without asking.
fn standing(role: &str) -> String {
    format!("[roles.{role}]\nstanding = [\"alice\"]\ncommands = [\"ALL\"]\nauthenticate = false\n")
}

fn own_root() -> PrivateRoot {
    let root = PrivateRoot::start();
    root.write(ROLE, 0o640, standing("brief"));
    root.run_as("alice", ["jit-sudo", "-n", "true"]).succeeded();
    root
}

/// Puts a script where the compiler was; the compiler itself goes to [`REAL`].
fn replace(root: &PrivateRoot, script: &str) {
    root.script(&format!("[ -e {REAL} ] || mv {COMPILER} {REAL}"));
    root.write(COMPILER, 0o755, format!("#!/bin/sh\nPATH=/usr/bin:/bin\n{script}\n"));
}

/// Another policy than before, which says the same; none of its lines is where it was.
fn change(root: &PrivateRoot) {
    root.script(&format!("echo '# another' >> {ROLE}"));
}

/// Everything that is stored of the policy, and how many records tell of one.
fn stored(root: &PrivateRoot) -> String {
    root.script(
        "sqlite3 /var/lib/jit-sudo/journal.db 'SELECT hex(body), hex(sha256), hex(policy), stamp FROM policy_settings; \
         SELECT name, hex(body), hex(digest) FROM policy_role; SELECT * FROM policy_principal; \
         SELECT count(*) FROM record' | sha256sum",
    )
}

#[test]
fn the_compiler_is_nobody_behind_the_sandbox_when_it_reads() {
    let root = own_root();
    let watch = "for try in $(seq 6000); do for p in $(pgrep -x jit-sudo-compil); do \
                 s=$(sed -n 's/^\\(Uid\\|Gid\\|Groups\\|CapInh\\|CapPrm\\|CapEff\\|NoNewPrivs\\|Seccomp\\):[[:space:]]*/\\1=/p' \
                 /proc/$p/status 2>/dev/null | tr -s '\\t\\n ' ' '); \
                 echo \"$s files=$(ls /proc/$p/fd 2>/dev/null | tr '\\n' ' ')\"; done; sleep 0.005; done > /tmp/compilers & echo $!";
    let watcher = root.script(&format!("({watch}) 2>/dev/null"));
    let roles: String = (0..20_000).map(|n| standing(&format!("r{n}"))).collect();
    root.write("/etc/jit-sudo/policy.d/many.toml", 0o640, roles);
    root.command("alice", ["jit-sudo", "-n", "true"]).patience(Duration::from_secs(120)).run().succeeded();
    root.script(&format!("kill {} || :", watcher.trim()));
    let seen = root.read("/tmp/compilers");
    let none = "0000000000000000";
    let wanted = format!(
        "Uid=N N N N Gid=N N N N Groups=N CapInh={none} CapPrm={none} CapEff={none} \
         NoNewPrivs=1 Seccomp=2 files=0 1 2 "
    );
    // Another process of the same user could stop it, so it has one that nobody knows before.
    let is_unknown = |id: &str| id.parse::<u32>().is_ok_and(|id| id >= 0xfff0_0000);
    let hide = |word: &str| match word.split_once('=') {
        Some((name, id)) if is_unknown(id) => format!("{name}=N"),
        _ if is_unknown(word) => "N".to_owned(),
        _ => word.to_owned(),
    };
    let count =
        |line: &str| seen.lines().filter(|seen| seen.split_whitespace().map(hide).eq(line.split_whitespace())).count();
    assert!(count(&wanted) > 3, "{wanted}\n{seen}");
}

#[test]
fn an_unchanged_policy_starts_no_compiler() {
    let root = own_root();
    replace(&root, "touch /tmp/started");
    root.run_as("alice", ["jit-sudo", "-n", "true"]).succeeded();
    root.run_as("alice", ["jitctl", "roles"]).succeeded();
    assert!(!root.path("/tmp/started").exists());
    change(&root);
    root.run_as("alice", ["jit-sudo", "-n", "true"]).refused(REFUSED);
    assert!(root.path("/tmp/started").exists());
}

#[test]
fn an_error_is_told_with_its_words_to_root_and_with_its_place_to_others() {
    let root = own_root();
    root.write(ROLE, 0o640, standing("brief").replace("commands", "comands"));
    let place = format!("{ROLE}:3: ");
    let words = format!("{place}unknown key 'comands' in [roles.brief]; did you mean 'commands'?");
    for line in [["jit-sudo", "-n", "true"].as_slice(), &["jitctl", "policy", "check"], &["jitctl", "roles"]] {
        let said = root.as_root(line);
        assert!(said.stderr.contains(&words), "{line:?}: {said:?}");
    }
    for line in [["jit-sudo", "-n", "true"].as_slice(), &["jitctl", "roles"]] {
        let said = root.run_as("alice", line);
        assert!(!said.status.success(), "{said:?}");
        assert!(said.stderr.contains(&format!("{place}the policy has an error")), "{line:?}: {said:?}");
        assert!(!format!("{said:?}").contains("comands"), "{line:?}: {said:?}");
    }
}

#[test]
fn a_hostile_compiler_stores_nothing_and_holds_nobody_up() {
    let root = own_root();
    // What it should say, so that it can be damaged.
    replace(&root, &format!("{REAL} | tee /root/answer"));
    change(&root);
    assert_eq!(
        root.run_as("alice", ["jit-sudo", "-n", "id", "-u"]).succeeded(),
        "0",
        "an answer that is passed on is one"
    );
    let before = stored(&root);

    let answer = "/root/answer";
    for (script, fault) in [
        (":", "line 1 of its answer is missing or cut off"),
        ("cat", "line 1 of its answer is missing or cut off"),
        ("exit 3", "ended with status 3"),
        ("cat /root/answer; exit 3", "ended with status 3"),
        ("cat /root/answer; kill -9 $$", "was killed by signal 9"),
        ("exec head -c 100000000 /dev/zero", "answered with more than"),
        ("yes '[[[[[[' | head -c 1000000", "line 1 of its answer is not understood"),
        (&format!("head -c 200 {answer}"), "is missing or cut off"),
        (&format!("head -n 1 {answer}"), "is missing or cut off"),
        (&format!("cat {answer}; tail -n 1 {answer}"), "is one too many"),
        (&format!("sed 's/\"name\":\"brief\"/\"name\":\"other\"/' {answer}"), "is a role with the digest of another"),
        (
            &format!("sed 's/\"name\":\"brief\"/\"more\":1,\"name\":\"brief\"/' {answer}"),
            "is not as this version writes it",
        ),
        (&format!("sed 's/brief.toml/other.toml/' {answer}"), "is a role that does not stand there in the files"),
        (&format!("sed 's/\"line\":1/\"line\":100/' {answer}"), "is a role that does not stand there in the files"),
        (&format!("sed '1s/\"format\":\"[^\"]*\"/\"format\":\"0\"/' {answer}"), "is of another version"),
    ] {
        replace(&root, script);
        change(&root);
        let begun = Instant::now();
        for line in [["jit-sudo", "-n", "true"].as_slice(), &["jitctl", "roles"]] {
            let said = root.run_as("alice", line);
            assert!(!said.status.success() && said.stderr.contains(REFUSED), "{script}: {said:?}");
            assert!(said.stderr.contains(fault), "{script}: {said:?}");
            assert!(said.stderr.lines().count() <= 2, "{script}: {said:?}");
        }
        assert!(begun.elapsed() < Duration::from_secs(15), "{script}");
        assert_eq!(stored(&root), before, "{script}");
    }

    // One that does not end, says all and does not end, or leaves somebody behind who does not.
    for script in
        ["exec sleep 1000", &format!("cat {answer}; exec >&-; exec sleep 1000"), &format!("sleep 60 & cat {answer}")]
    {
        replace(&root, script);
        change(&root);
        let begun = Instant::now();
        let said = root.command("alice", ["jit-sudo", "-n", "true"]).patience(Duration::from_secs(60)).run();
        assert!(said.stderr.contains("did not end within 20 s and was killed"), "{script}: {said:?}");
        assert!(begun.elapsed() < Duration::from_secs(40), "{script}");
        assert_eq!(stored(&root), before, "{script}");
    }
    eventually("it was killed", Duration::from_secs(5), || {
        root.script("pgrep -xf 'sleep 1000' || echo none").contains("none").then_some(())
    });

    root.script(&format!("mv {REAL} {COMPILER}"));
    root.run_as("alice", ["jit-sudo", "-n", "true"]).succeeded();
    root.as_root(["jitctl", "audit", "verify"]).intact();
}

#[test]
fn a_compiler_that_somebody_else_starts_answers_nothing() {
    let root = own_root();
    let asked = root.command("alice", [COMPILER]).stdin("{}").run();
    assert_eq!((asked.status.code(), asked.stdout.as_str(), asked.stderr.as_str()), (Some(1), "", ""), "{asked:?}");
    root.as_root([COMPILER]).exited(1);
}

/// The median of nine runs with a changed policy and of nine with the same one, in milliseconds.
const MEASURE: &str = r##"
import statistics, subprocess, sys, time
POLICY = "/etc/jit-sudo/policy.d/many.toml"
def run():
    begun = time.monotonic()
    subprocess.run(["jit-sudo", "-n", "true"], check=True)
    return (time.monotonic() - begun) * 1000
def change(count, turn):
    with open(POLICY, "w") as file:
        file.write(f"# {turn}\n")
        for n in range(count):
            file.write(f"[roles.other-{n}]\nstanding = [\"user{n}\"]\ncommands = [\"/opt/app/bin/tool-{n} *\"]\n\n")
for count in map(int, sys.argv[1:]):
    changed, same = [], []
    for turn in range(9):
        change(count, turn)
        changed.append(run())
        same.append(run())
    print(f"{count:>7} roles {statistics.median(changed):>9.1f} ms {statistics.median(same):>9.1f} ms")
"##;

#[test]
#[ignore = "prints figures; OLD= is another checkout with a release build"]
fn how_long_the_first_run_after_a_change_of_the_policy_takes() {
    let measure = |root: &PrivateRoot| {
        let words = ["python3", "-c", MEASURE, "1", "1000", "10000", "100000"];
        root.command("root", words).patience(Duration::from_secs(1000)).run().succeeded().to_owned()
    };
    println!("{:>13} {:>12} {:>12}", "", "changed", "same");
    if let Some(old) = std::env::var_os("OLD") {
        println!("old\n{}", measure(&PrivateRoot::start_of(std::path::Path::new(&old), None)));
    }
    println!("new\n{}", measure(&PrivateRoot::start()));
}
