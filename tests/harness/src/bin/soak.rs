//! `make soak`: kill -9 at random moments of thousands of runs. The oracle is a ledger that the command itself writes with
//! O_DSYNC: a run that is in it has run. Exits with 0 only when each of those runs has exactly one record, and nothing is lost.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use harness::{PrivateRoot, Record};

/// Concurrent workers.
const WORKERS: u64 = 6;

/// Kills in one call of the script, so that progress is shown.
const ROUND: u64 = 600;

fn main() -> ExitCode {
    let number =
        |name: &str, default: u64| std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default);
    let (kills, seed) = (number("KILLS", 10_000), number("SEED", 1));
    let root = PrivateRoot::start();
    root.add_policy("soak", "[roles.soak]\nstanding = [\"alice\"]\ncommands = [\"ALL\"]\nauthenticate = false\n");
    root.write("/usr/local/bin/ledger", 0o755, LEDGER);
    root.script("touch /var/ledger");
    let span = calibrate(&root);
    println!("{kills} kills that hit, seed {seed}, each within {span} us of its start, {WORKERS} at once");
    let script = include_str!("soak.pl");
    root.write("/root/soak.pl", 0o700, script);
    let mut killed = 0;
    for round in 0..kills.div_ceil(ROUND) {
        let words =
            ["perl", "/root/soak.pl", "alice", &ROUND.min(kills - round * ROUND).to_string(), &WORKERS.to_string()];
        let more = [span.to_string(), (seed + round * 1000).to_string()];
        let words = words.iter().map(|word| (*word).to_owned()).chain(more);
        let output = root.command("root", words).patience(Duration::from_secs(580)).run();
        killed += output.succeeded().parse::<u64>().unwrap_or(0);
        println!("{killed} killed so far");
    }
    let found = judge(&root, killed);
    if found == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Writes one line with one write: from a pipe dd could read a part of it.
const LEDGER: &str = "#!/bin/sh
printf '%s\\n' \"$JIT_SUDO_RUN\" >/run/ledger.$$
dd if=/run/ledger.$$ of=/var/ledger oflag=append,dsync conv=notrunc status=none
rm -f /run/ledger.$$
";

/// Returns one and a half times the duration of an undisturbed run among as many others, so that most kills hit and some come too
/// late.
fn calibrate(root: &PrivateRoot) -> u64 {
    let began = Instant::now();
    let script = "for i in $(seq 10); do for j in 1 2 3 4 5 6; do jit-sudo -n /usr/local/bin/ledger & done; wait; done";
    root.run_as("alice", ["bash", "-c", script]).succeeded();
    let run = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX) / 10;
    run + run / 2
}

/// Counts violations.
fn judge(root: &PrivateRoot, killed: u64) -> usize {
    // The command of a killed supervisor continues without a terminal: wait until the last ones have ended.
    std::thread::sleep(Duration::from_secs(2));
    let open = || root.script("sqlite3 /var/lib/jit-sudo/journal.db 'SELECT count(*) FROM open_run WHERE ended = 0'");
    while open().trim() != "0" {
        root.run_as("alice", ["jit-sudo", "-n", "true"]).succeeded();
    }
    let mut starts: BTreeMap<String, usize> = BTreeMap::new();
    let mut ends: BTreeMap<String, usize> = BTreeMap::new();
    let mut closed = 0;
    let journal: Vec<Record> = root.journal();
    for record in &journal {
        match record.kind() {
            "start" => *starts.entry(record.text("run").to_owned()).or_default() += 1,
            "end" => *ends.entry(record.text("run").to_owned()).or_default() += 1,
            _ => {}
        }
        closed += usize::from(record.text("ended_by") == "lost");
    }
    let mut ran: BTreeMap<String, usize> = BTreeMap::new();
    for line in root.read("/var/ledger").lines() {
        *ran.entry(line.to_owned()).or_default() += 1;
    }
    let unrecorded = ran.keys().filter(|run| !starts.contains_key(*run)).count();
    let twice = |runs: &BTreeMap<String, usize>| runs.values().filter(|count| **count != 1).count();
    let doubled = twice(&ran) + twice(&starts) + twice(&ends);
    let lost = starts.keys().filter(|run| !ends.contains_key(*run)).count()
        + ends.keys().filter(|run| !starts.contains_key(*run)).count();
    let verified = root.as_root(["jitctl", "audit", "verify"]);
    let sound = root.script("sqlite3 /var/lib/jit-sudo/journal.db 'PRAGMA integrity_check'");
    println!(
        "{killed} killed: {} runs began, {} wrote the ledger, {closed} were closed as lost by a later run\n\
         {lost} lost, {doubled} doubled, {unrecorded} unrecorded; verify: {}integrity: {sound}",
        starts.len(),
        ran.len(),
        verified.stdout,
    );
    let broken = usize::from(!verified.status.success()) + usize::from(sound.trim() != "ok");
    lost + doubled + unrecorded + broken
}
