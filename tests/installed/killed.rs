//! A kill at each system call of a run: of the supervisor, the monitor, the enforcer and every other process. Everything that ran
//! has its record, and no process outlives the grant.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use harness::{Person, PrivateRoot};

use crate::{id, own_root, request};

const POLICY: &str = r#"
[roles.killed]
eligible     = ["%killed"]
commands     = ["ALL"]
authenticate = false
"#;

/// The command reports its run by itself, synchronously to the disk.
const LEDGER: &str = "#!/bin/sh
printf '%s\\n' \"$JIT_SUDO_RUN\" >/run/ledger.$$
dd if=/run/ledger.$$ of=/var/ledger oflag=append,dsync conv=notrunc status=none
setsid -f sleep 930001
sleep 0.15
";

/// The number of runs per grant.
const BATCH: usize = 24;

/// Returns the system calls of the processes of a run, as strace(1) counts them: the name, and the number among those of this
/// name.
fn places(root: &PrivateRoot, person: &Person) -> Vec<(String, u32)> {
    let words =
        ["strace", "-f", "-q", "-o", "/root/reference", "-u", &person.name, "/usr/bin/jit-sudo", "-n", "sleep", "0.3"];
    root.as_root(words).succeeded();
    let mut counts: HashMap<(String, String), u32> = HashMap::new();
    let mut places = Vec::new();
    for line in root.read("/root/reference").lines() {
        let Some((pid, rest)) = line.split_once(' ') else { continue };
        let Some((name, _)) = rest.trim_start().split_once('(') else { continue };
        if name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_') {
            let count = counts.entry((pid.to_owned(), name.to_owned())).or_default();
            *count += 1;
            let place = (name.to_owned(), *count);
            if !places.contains(&place) {
                places.push(place);
            }
        }
    }
    places
}

/// Kills at every `step`th of these places.
fn kills(step: usize) {
    let root = own_root();
    root.add_policy("killed", POLICY);
    root.write("/usr/local/bin/ledger", 0o755, LEDGER);
    root.script("touch /var/ledger");
    let first = root.person(&["killed"]);
    request(&root, &first, "killed", &["--for", "1h"]);
    let places: Vec<_> = places(&root, &first).into_iter().step_by(step).collect();
    for batch in places.chunks(BATCH) {
        let person = root.person(&["killed"]);
        let grant = id(&request(&root, &person, "killed", &["--for", "1h"]));
        for (number, (name, at)) in batch.iter().enumerate() {
            let inject = format!("inject={name}:signal=KILL:when={at}");
            let trace = format!("strace -f -q -o /dev/null -u {} -e {inject}", person.name);
            let run = format!("{trace} /usr/bin/jit-sudo -n /usr/local/bin/ledger");
            // Half of them with a terminal. strace(1) stays as long as any traced process lives.
            let line = if number % 2 == 0 { run } else { format!("script -qec '{run}' /dev/null") };
            root.script(&format!("setsid -f {line} </dev/null >/dev/null 2>&1; sleep 0.12"));
        }
        std::thread::sleep(Duration::from_secs(1));
        root.as_root(["jitctl", "sweep"]).succeeded();
        root.as_root(["jitctl", "revoke", &grant, "--reason", "over"]).succeeded();
        let left = || root.script("pgrep -fxc 'sleep 930001' || :").trim().parse::<u32>().unwrap_or(0);
        let began = Instant::now();
        while left() > 0 {
            if began.elapsed() > harness::PATIENCE {
                panic!("somebody is left: {}", root.script("ps -e -o pid,ppid,cgroup,args | grep -E 'strace|sleep'"));
            }
            // The process that ends them may be killed only now, all of them at once: then the sweep ends them.
            std::thread::sleep(Duration::from_millis(500));
            root.as_root(["jitctl", "sweep"]).succeeded();
        }
    }
    // The last of them records its end.
    let open = || root.script("sqlite3 /var/lib/jit-sudo/journal.db 'SELECT count(*) FROM open_run'");
    harness::eventually("all runs are closed", harness::PATIENCE, || {
        root.as_root(["jitctl", "sweep"]).succeeded();
        (open().trim() == "0").then_some(())
    });
    let mut runs: HashMap<String, (u32, u32)> = HashMap::new();
    for record in root.journal() {
        match record.kind() {
            "start" => runs.entry(record.text("run").to_owned()).or_default().0 += 1,
            "end" => runs.entry(record.text("run").to_owned()).or_default().1 += 1,
            _ => {}
        }
    }
    assert!(runs.values().all(|counts| *counts == (1, 1)), "each run begins and ends once: {runs:?}");
    let ledger = root.read("/var/ledger");
    let ran: Vec<&str> = ledger.lines().filter(|run| !run.is_empty()).collect();
    println!("{} kills, {} runs are recorded, {} of them say that they ran", places.len(), runs.len(), ran.len());
    assert!(ran.len() > 2 && runs.len() < places.len());
    for run in ran {
        assert!(runs.contains_key(run), "{run} ran and has no record");
    }
    assert!(root.as_root(["jitctl", "audit", "verify"]).intact().contains("intact"));
}

#[test]
fn a_kill_at_some_system_calls_of_a_run_loses_no_record_and_leaves_no_process() {
    kills(31);
}

#[test]
#[ignore = "ten minutes: make kills"]
fn a_kill_at_each_system_call_of_a_run_loses_no_record_and_leaves_no_process() {
    kills(1);
}
