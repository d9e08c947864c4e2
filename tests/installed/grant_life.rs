//! More about the life of a grant: which of several is used, how often a one-shot grant serves, use by machines, and what is
//! disclosed to whom.

use std::collections::BTreeSet;
use std::sync::OnceLock;
use std::time::Duration;

use harness::{Output, Person, PrivateRoot};

use crate::{granted, id, kinds, own_root, records_of, request, root};

const POLICY: &str = r#"
[roles.life-ci]                         # the example of jit-sudo-policy(5)
eligible     = ["%life-ci"]
authenticate = false
commands     = ["/usr/bin/id **", "/usr/bin/true"]

[roles.life-ci.activation]
maximum_duration = "15m"
require_approval = true
approvers        = ["%approvers"]
one_shot         = true
exact_command    = true

[roles.life-www]
eligible     = ["%life-www"]
run_as       = ["www-data"]
commands     = ["/usr/bin/id **"]
authenticate = false

[roles.life-password]                   # as the installed default: a grant for the asking, and the own password
eligible     = ["%life-password"]
commands     = ["/usr/bin/id **"]
"#;

/// Returns the shared root, with the roles of these tests.
fn life() -> &'static PrivateRoot {
    static READY: OnceLock<()> = OnceLock::new();
    READY.get_or_init(|| root().add_policy("life", POLICY));
    root()
}

#[test]
fn the_narrowest_active_grant_is_used_and_recorded() {
    let (person, approver) = (root().person(&["self-service", "reviewed"]), root().person(&["approvers"]));
    let ask = |role: &str, more: &[&str]| id(&request(root(), &person, role, more));
    let wide = ask("self-service", &[]);
    let role = ask("reviewed", &[]);
    root().run_as(&approver.name, ["jitctl", "approve", &role]).succeeded();
    let once = ask("self-service", &["--one-shot"]);
    let exact = ask("reviewed", &["--", "id", "-u"]);
    root().run_as(&approver.name, ["jitctl", "approve", &exact, "--exact"]).succeeded();
    for (words, grant) in [
        (&["id", "-u"][..], &exact), // exactly this command
        (&["id", "-g"], &once),      // one run, which is used up by it
        (&["id", "-g"], &role),      // the narrower role
        (&["uname"], &wide),         // the only one that covers it
        (&["id", "-u"], &exact),
    ] {
        let said = root().run_as(&person.name, [&["jitctl", "--json", "why", "--"][..], words].concat()).json();
        assert_eq!(said["why"]["grant"], grant.as_str(), "{words:?}: {said}");
        root().run_as(&person.name, [&["jit-sudo", "-n"][..], words].concat()).succeeded();
        let last = records_of(root(), &person).into_iter().rfind(|record| record.kind() == "start").unwrap();
        assert_eq!(last.text("grant"), grant, "{words:?}: {}", last.body);
    }
}

#[test]
fn a_scheduled_grant_is_valid_from_its_start_within_the_requested_time() {
    let person = root().person(&["self-service"]);
    let ask = |at: &str| {
        let words = ["jitctl", "--json", "request", "--role", "self-service", "--reason", "x", "--at", at];
        root().run_as(&person.name, words)
    };
    assert_eq!(ask("+25h").json()["grant"]["grant"], "scheduled", "nobody has to decide it in time");
    let waiting = root().person(&["reviewed"]);
    let words = ["jitctl", "request", "--role", "reviewed", "--reason", "x", "--at", "+25h"];
    root()
        .run_as(&waiting.name, words)
        .refused("the start lies after the request's own lifetime: request_lifetime of role reviewed is 1d");
    assert!(ask("2020-01-01 09:00").stderr.contains("this time is over"));
    assert_ne!(ask("when the cows come home").status.code(), Some(0));
    let grant = ask("+4s").json()["grant"].clone();
    assert_eq!(grant["grant"], "scheduled", "{grant}");
    assert_eq!(grant["expires"].as_i64().unwrap() - grant["starts"].as_i64().unwrap(), 3600, "{grant}");
    root().run_as(&person.name, ["jit-sudo", "-n", "id"]).refused("it has not begun");
    harness::eventually("its time has come", harness::PATIENCE, || {
        root().run_as(&person.name, ["jit-sudo", "-n", "id"]).status.success().then_some(())
    });
}

#[test]
fn a_grant_is_the_intersection_of_all_approvals() {
    let person = root().person(&["quorum"]);
    let [first, second] = [root().person(&["approvers"]), root().person(&["approvers"])];
    let pending = id(&request(root(), &person, "quorum", &["--for", "30m", "--", "id", "-u"]));
    root().run_as(&first.name, ["jitctl", "approve", &pending, "--for", "5m", "--exact"]).succeeded();
    let words = ["jitctl", "--json", "approve", &pending, "--for", "20m", "--one-shot", "--comment", "quickly"];
    let grant = root().run_as(&second.name, words).json()["grant"].clone();
    assert_eq!(
        (&grant["duration"], &grant["one_shot"], &grant["exact"]),
        (&300.into(), &true.into(), &true.into()),
        "{grant}"
    );
    let shown = root().run_as(&person.name, ["jitctl", "show", &pending]);
    for part in [&first.name, &second.name, "quickly", "sha256"] {
        assert!(shown.succeeded().contains(part), "{part}: {shown:?}");
    }
}

#[test]
fn an_approver_who_left_meanwhile_does_not_count() {
    let person = root().person(&["quorum"]);
    let [first, second, third] = [(); 3].map(|()| root().person(&["approvers"]));
    let pending = id(&request(root(), &person, "quorum", &[]));
    root().run_as(&first.name, ["jitctl", "approve", &pending]).succeeded();
    root().script(&format!("gpasswd --delete {} approvers", first.name));
    let state = |who: &Person| {
        root().run_as(&who.name, ["jitctl", "--json", "approve", &pending]).json()["grant"]["state"].clone()
    };
    assert_eq!(state(&second), "pending", "one of the two is an approver no more");
    root().run_as(&person.name, ["jit-sudo", "-n", "id"]).refused("");
    assert_eq!(state(&third), "approved");
    // A requester who is no longer eligible gets no grant.
    let other = id(&request(root(), &person, "quorum", &[]));
    root().script(&format!("gpasswd --delete {} quorum", person.name));
    root().run_as(&second.name, ["jitctl", "approve", &other]).refused("no longer eligible");
    root().run_as(&person.name, ["jit-sudo", "-n", "id"]).refused("");
}

#[test]
fn only_one_of_a_thousand_attempts_at_a_one_shot_grant_runs() {
    let root = own_root();
    let person = granted(&root, "once");
    let script = "for i in $(seq 1000); do jit-sudo -n id -u 2>>err & [ $((i % 100)) = 0 ] && wait; done; wait";
    let output = root.command(&person.name, ["bash", "-c", script]).patience(Duration::from_secs(240)).run();
    assert_eq!(output.stdout, "0\n", "{output:?}");
    let records = records_of(&root, &person);
    assert_eq!(records.iter().filter(|record| record.kind() == "start").count(), 1);
    let said = root.read(&format!("{}/err", person.home));
    assert!(!said.contains("panicked") && !said.contains("locked"), "{said}");
    root.as_root(["jitctl", "audit", "verify"]).intact();
}

#[test]
fn a_program_requests_waits_and_runs_without_terminal_or_password() {
    let (machine, approver) = (life().person(&["life-ci"]), life().person(&["approvers"]));
    let ask = "jitctl request --wait=60s --json --one-shot --reason 'release 1.2' -- /usr/bin/id -u";
    let protocol = format!("{ask} && jit-sudo -n /usr/bin/id -u; jit-sudo -n /usr/bin/id -u");
    let output = std::thread::scope(|scope| {
        let run = scope
            .spawn(|| life().command(&machine.name, ["bash", "-c", &protocol]).patience(Duration::from_secs(90)).run());
        let pending = harness::eventually("the request is there", Duration::from_secs(60), || {
            let listed = life().run_as(&approver.name, ["jitctl", "--json", "requests"]).json();
            let all = listed["requests"].as_array()?.clone();
            all.iter().find(|request| request["requester"] == machine.name.as_str()).map(id)
        });
        life().run_as(&approver.name, ["jitctl", "approve", &pending]).succeeded();
        run.join().unwrap()
    });
    let lines: Vec<&str> = output.stdout.lines().collect();
    let answer: serde_json::Value = serde_json::from_str(lines[0]).unwrap();
    assert_eq!((&answer["grant"]["grant"], &answer["grant"]["exact"]), (&"active".into(), &true.into()), "{answer}");
    assert_eq!(lines[1..], ["0"], "it runs once: {output:?}");
    assert!(output.stderr.contains("is not allowed to execute '/usr/bin/id -u'"), "{output:?}");
    assert_eq!(kinds(&records_of(life(), &machine)), ["request", "grant", "start", "end", "reject"]);
}

#[test]
fn the_exit_status_reports_a_denial_or_a_timeout() {
    let (machine, approver) = (life().person(&["life-ci"]), life().person(&["approvers"]));
    let ask = |wait: &str| {
        life().run_as(&machine.name, ["jitctl", "--json", "request", wait, "--reason", "x", "--", "/usr/bin/true"])
    };
    let late = ask("--wait=1s");
    late.exited(3);
    assert_eq!(late.json()["grant"]["state"], "pending", "{late:?}");
    let pending = id(&late.json()["grant"]);
    let denied = std::thread::scope(|scope| {
        let run = scope.spawn(|| ask("--wait=15s"));
        let second = harness::eventually("the second request is there", harness::PATIENCE, || {
            let listed = life().run_as(&approver.name, ["jitctl", "--json", "requests"]).json();
            let all = listed["requests"].as_array()?.clone();
            let mut own = all.iter().filter(|request| request["requester"] == machine.name.as_str()).map(id);
            own.find(|found| *found != pending)
        });
        life().run_as(&approver.name, ["jitctl", "deny", &second, "--reason", "not today"]).succeeded();
        run.join().unwrap()
    });
    denied.exited(1);
    assert_eq!(denied.json()["grant"]["state"], "denied", "{denied:?}");
}

#[test]
fn the_hint_names_as_whom_and_works_when_it_is_typed() {
    let person = life().person(&["life-www"]);
    let output = life().run_as(&person.name, ["jit-sudo", "-n", "-u", "www-data", "id", "-un"]);
    let hint = "jitctl request --role life-www --reason 'WHY' -u www-data -- /usr/bin/id -un";
    output.refused(&format!("hint: {hint}\n"));
    let why = life().run_as(&person.name, ["jitctl", "--json", "why", "-u", "www-data", "--", "id", "-un"]).json();
    assert_eq!(why["why"]["hint"], hint, "{why}");
    life().run_as(&person.name, ["bash", "-c", hint]).succeeded();
    let ran = life().run_as(&person.name, ["jit-sudo", "-n", "-u", "www-data", "id", "-un"]);
    assert_eq!(ran.succeeded(), "www-data");
}

#[test]
fn activation_needs_no_password_but_a_run_does() {
    let person = life().person(&["life-password"]);
    request(life(), &person, "life-password", &[]);
    life().run_as(&person.name, ["jit-sudo", "-n", "id"]).refused("a password is required");
    let wrong = life().command(&person.name, ["jit-sudo", "-S", "id", "-u"]).stdin("wrong\n".repeat(3)).run();
    wrong.refused("incorrect password");
    let right = life().command(&person.name, ["jit-sudo", "-S", "id", "-u"]).stdin(format!("{}\n", person.password));
    assert_eq!(right.run().succeeded(), "0");
}

#[test]
fn an_id_is_searched_among_the_visible_ones() {
    let [first, second] = [life().person(&["life-ci"]), life().person(&["life-ci"])];
    let ask = |who: &Person| id(&request(life(), who, "life-ci", &["--", "id"]));
    let own: BTreeSet<String> = (0..15).map(|_| ask(&first)).collect();
    let foreign: BTreeSet<String> = (0..15).map(|_| ask(&second)).collect();
    let show = |prefix: &str| -> Output { life().run_as(&first.name, ["jitctl", "show", prefix]) };
    for known in own.iter().chain(&foreign) {
        let prefix = &known[..1];
        let (output, mine) = (show(prefix), own.iter().filter(|id| id.starts_with(prefix)).count());
        let said = format!("{}{}", output.stdout, output.stderr);
        assert!(foreign.iter().all(|id| !said.contains(id.as_str())), "an id of somebody else is told: {output:?}");
        match mine {
            0 => assert!(said.contains("there is no request or grant"), "{output:?}"),
            1 => assert!(output.status.success(), "somebody else's id stands in the way: {output:?}"),
            _ => assert!(said.contains("fits several: "), "{output:?}"),
        }
    }
}

#[test]
fn many_rejections_are_counted_and_reported_once() {
    let root = own_root();
    let (person, other) = (root.person(&[]), root.person(&[]));
    let flood = "for i in $(seq 70); do jit-sudo -n id 2>/dev/null; done";
    root.command(&person.name, ["bash", "-c", flood]).patience(Duration::from_secs(60)).run().exited(1);
    // Not all concurrent rejections are counted.
    root.run_as(&person.name, ["bash", "-c", "for i in $(seq 40); do jit-sudo -n id 2>/dev/null & done; wait"])
        .succeeded();
    root.run_as(&person.name, ["jit-sudo", "-n", "id"]).refused("");
    root.run_as(&other.name, ["jit-sudo", "-n", "id"]).refused("");
    let recorded = records_of(&root, &person).len();
    // There is room for one more every ten seconds.
    assert!((60..70).contains(&recorded), "{recorded}");
    assert_eq!(kinds(&records_of(&root, &other)), ["reject"], "nobody else is concerned");
    let query = "UPDATE journal_meta SET value = json_set(CAST(value AS TEXT), '$.since', \
                 json_extract(CAST(value AS TEXT), '$.since') - 600000000) WHERE name LIKE 'stored:%'";
    let query = query.replace("json_set(", "CAST(json_set(").replace(" - 600000000)", " - 600000000) AS BLOB)");
    root.script(&format!("sqlite3 /var/lib/jit-sudo/journal.db \"{query}\""));
    for _ in 0..2 {
        root.as_root(["jitctl", "audit", "list"]).succeeded();
    }
    let alerts: Vec<_> = root.journal().into_iter().filter(|record| record.kind() == "alert").collect();
    assert_eq!(alerts.len(), 1, "{alerts:?}");
    let sentence = alerts[0].text("sentence");
    let (count, rest) = sentence.strip_prefix("at least ").and_then(|rest| rest.split_once(' ')).unwrap();
    assert!(rest.starts_with(&format!("more refusals of {} since", person.name)), "{sentence}");
    assert!((6..=111 - recorded).contains(&count.parse().unwrap()), "{sentence}, {recorded} recorded");
}

#[test]
fn every_grant_is_revoked_however_many_there_are() {
    let root = own_root();
    let person = granted(&root, "self-service");
    let copy = |table: &str, columns: &str| {
        let body = "CAST(replace(CAST(body AS TEXT), id, printf('%010d', n.i)) AS BLOB)";
        format!(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2500) \
             INSERT INTO {table} (id, {columns}, body) SELECT printf('%010d', n.i), {columns}, {body} FROM n, {table} \
             WHERE {table}.rowid = 1;"
        )
    };
    let request = copy("request", "uid, role, state, created, deadline, needed");
    let granted = copy("granted", "uid, role, starts, expires, signature");
    root.write("/root/many.sql", 0o600, format!("BEGIN; {request} {granted} COMMIT;"));
    root.script("sqlite3 /var/lib/jit-sudo/journal.db < /root/many.sql");
    let many = root.command("root", ["jitctl", "--json", "grants"]).patience(Duration::from_secs(60)).run().json();
    assert_eq!(many["grants"].as_array().map(Vec::len), Some(1000), "a listing ends somewhere");
    // One of the grants that a listing does not show.
    root.as_root(["jitctl", "revoke", "0000002500", "--reason", "enough"]).succeeded();
    let words = ["jitctl", "--json", "revoke", "--user", &person.name, "--reason", "enough"];
    let ended = root.command("root", words).patience(Duration::from_secs(60)).run().json();
    assert_eq!(ended["ended"].as_array().map(Vec::len), Some(2500));
    root.run_as(&person.name, ["jit-sudo", "-n", "id"]).refused("no active grant");
    root.as_root(["jitctl", "revoke", "--all", "--reason", "enough"]).refused("no active grant to revoke");
    // The copies are invalid: no record names them.
    root.as_root(["jitctl", "audit", "verify"]).refused("no earlier record mentions it");
}

#[test]
fn a_hook_is_in_no_group_of_the_callers() {
    let root = own_root();
    let hook = "#!/bin/sh\numask 022; grep ^0:: /proc/self/cgroup > /tmp/group\n";
    root.write("/etc/jit-sudo/hooks.d/10-group", 0o755, hook);
    let person = root.person(&["self-service"]);
    let session = "mkdir -p /sys/fs/cgroup/session-7 && echo $$ > /sys/fs/cgroup/session-7/cgroup.procs && \
                   exec setpriv --reuid=\"$0\" --regid=\"$0\" --init-groups \"$@\"";
    let words = ["sh", "-c", session, &person.name, "jitctl", "request", "--role", "self-service", "--reason", "x"];
    root.as_root(words).succeeded();
    let group = harness::eventually("the hook has run", Duration::from_secs(20), || {
        std::fs::read_to_string(root.path("/tmp/group")).ok().filter(|text| !text.is_empty())
    });
    assert_eq!(group, "0::/jit-sudo/hooks\n");
}

/// Starts ninety processes in other sessions and groups; most are orphans, and all ignore SIGTERM and SIGHUP.
const HIDDEN: &str = "trap '' TERM HUP; \
    for i in $(seq 30); do \
        setsid sleep 1000 & \
        (setsid sh -c 'trap \"\" TERM HUP; (sleep 1000 &); sleep 1000' &) ; \
    done; echo ready > \"$1\"; while :; do sleep 0.2; done";

#[test]
fn without_control_groups_every_descendant_is_found_all_the_same() {
    let root = own_root();
    root.script("mount -o bind,remount,ro /sys/fs/cgroup && ! mkdir /sys/fs/cgroup/x 2>/dev/null");
    for prefix in ["", "setsid --wait "] {
        let person = granted(&root, "self-service");
        let file = format!("/tmp/{}-ready", person.name);
        let script = format!("{prefix}jit-sudo -n bash -c \"$0\" bash {file}");
        let mut session = root.pty_as(&person.name, ["bash", "-c", &script, HIDDEN]);
        harness::eventually("everything is there", harness::PATIENCE, || root.path(&file).exists().then_some(()));
        let start = records_of(&root, &person).into_iter().find(|record| record.kind() == "start").unwrap();
        let run = start.text("run");
        let alive = || {
            let count = format!("grep -lsz '^JIT_SUDO_RUN={run}$' /proc/[0-9]*/environ | wc -l");
            root.script(&count).trim().parse::<u32>().unwrap()
        };
        assert!(alive() >= 90, "{}", alive());
        root.as_root(["jitctl", "revoke", "--user", &person.name, "--reason", "enough"]).succeeded();
        let began = std::time::Instant::now();
        session.wait();
        assert_eq!(alive(), 0);
        // This takes a second on a quiet machine.
        assert!(began.elapsed() < Duration::from_secs(5), "it took {:?}", began.elapsed());
    }
}
