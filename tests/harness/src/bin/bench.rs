//! `make bench`: measures the cost of a run beside Debian's sudo and doas in one private root, interleaved, as an ordinary
//! user with Debian's PAM stack; then the same with many grants and rules. The files are on a real disk, so that syncs have
//! their real cost. Prints medians with their spread (10th to 90th percentile) and ratios to sudo. If OLD names the
//! checkout of an older version with a release build in it (or OLD_TARGET its target directory), it measures only the two
//! builds, in turns, each in a root of its own.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use harness::{Person, PrivateRoot};
use nix::sys::resource::{UsageWho, getrusage};

const TRUE: &str = "/usr/bin/true";
const SUDO: &str = "/usr/bin/sudo -n /usr/bin/true";
const DOAS: &str = "/usr/bin/doas -n /usr/bin/true";
const OURS: &str = "/usr/bin/jit-sudo -n /usr/bin/true";

/// How often each command is run for one table; odd, so that the median is a measurement.
const ROUNDS: usize = 301;

/// Runs before each series that are not counted.
const WARM_UP: usize = 20;

/// The number of turns of both builds, and the number of counted runs in a turn.
const TURNS: usize = 40;
const RUNS_OF_A_TURN: usize = 15;

/// Runs at the start of each turn that are not counted.
const WARM_UP_OF_A_TURN: usize = 3;

/// The numbers of grants and rules in the second table.
const SCALES: [u32; 3] = [10, 1_000, 100_000];

/// sudo writes nothing through the overlay of the private root; on a real host jit-sudo does not either.
const STATE_ON_DISK: &str =
    "disk=/run/private-root/disk/state; cp -a /var/lib/jit-sudo $disk; mount --bind $disk /var/lib/jit-sudo";

/// Creating 100,000 of anything takes time.
const LONG: Duration = Duration::from_secs(300);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        None => match std::env::var_os("OLD").filter(|old| !old.is_empty()) {
            None => compare(),
            Some(old) => compare_with(&PathBuf::from(old)),
        },
        // These two run inside, as the user.
        Some("--series") => series(&arguments[3..], number(&arguments[1]), number(&arguments[2])),
        Some("--peak") => peak(&arguments[1]),
        Some(_) => {
            eprintln!("usage: bench");
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}

// --- inside, as the user -----------------------------------------------------------------------------------------------

fn number(text: &str) -> usize {
    text.parse().unwrap_or_else(|_| panic!("not a number: {text}"))
}

/// Runs the commands one after the other, repeatedly, and prints `index wall_us cpu_us` for each run that counts.
fn series(commands: &[String], warm_up: usize, rounds: usize) {
    let mut out = std::io::stdout().lock();
    for round in 0..warm_up + rounds {
        for (index, command) in commands.iter().enumerate() {
            let (wall, cpu) = run(command);
            if round >= warm_up {
                let _ = writeln!(out, "{index} {} {}", wall.as_micros(), cpu.as_micros());
            }
        }
    }
}

/// Prints the peak resident set of the one command that this process runs, in KiB.
fn peak(command: &str) {
    run(command);
    println!("{}", getrusage(UsageWho::RUSAGE_CHILDREN).map(|usage| usage.max_rss()).unwrap_or(0));
}

fn run(command: &str) -> (Duration, Duration) {
    let mut words = command.split(' ');
    let mut child = Command::new(words.next().unwrap_or_default());
    child.args(words).stdin(Stdio::null()).stdout(Stdio::null());
    let (before, began) = (cpu_of_children(), Instant::now());
    let status = child.status();
    let wall = began.elapsed();
    assert!(status.as_ref().is_ok_and(|status| status.success()), "`{command}`: {status:?}");
    (wall, cpu_of_children().saturating_sub(before))
}

fn cpu_of_children() -> Duration {
    let Ok(usage) = getrusage(UsageWho::RUSAGE_CHILDREN) else { return Duration::ZERO };
    let micros = [usage.user_time(), usage.system_time()].map(|time| time.tv_sec() * 1_000_000 + time.tv_usec());
    Duration::from_micros(micros.iter().sum::<i64>().unsigned_abs())
}

// --- outside -----------------------------------------------------------------------------------------------------------

fn compare() {
    let root = PrivateRoot::start();
    let person = prepare(&root);
    let kernel = root.script("uname -r; nproc; sudo -V | head -1; jit-sudo -V | head -1");
    println!("kernel, processors, versions: {}", kernel.trim().replace('\n', ", "));
    println!("{ROUNDS} interleaved runs each; median (p10-p90)\n");

    let programs = [
        ("true, fork and exec alone", TRUE),
        ("sudo -n true", SUDO),
        ("doas -n true", DOAS),
        ("jit-sudo -n true", OURS),
    ];
    let measured = measure(&root, &person, &programs.map(|(_, command)| command));
    let sudo = (measured[1].wall.median, measured[1].cpu.median);
    println!(
        "{:<27}{:>24}{:>8}{:>24}{:>8}{:>10}{:>9}",
        "", "wall, us", "ratio", "cpu, us", "ratio", "peak, KiB", "syscalls"
    );
    for ((name, command), figures) in programs.iter().zip(&measured) {
        println!(
            "{name:<27}{:>24}{:>8.2}{:>24}{:>8.2}{:>10}{:>9}",
            figures.wall.to_string(),
            figures.wall.median / sudo.0,
            figures.cpu.to_string(),
            figures.cpu.median / sudo.1,
            peak_of(&root, &person, command),
            system_calls(&root, &person, command),
        );
    }

    println!("\njit-sudo with as many grants on record, and as many rules in the policy:");
    println!("{:<27}{:>24}{:>8}{:>14}{:>10}", "", "wall, us", "ratio", "to 10", "peak, KiB");
    let mut first = None;
    let mut present = 0;
    for scale in SCALES {
        grow(&root, &person, present, scale);
        present = scale;
        let [sudo, ours] =
            <[Figures; 2]>::try_from(measure(&root, &person, &[SUDO, OURS])).unwrap_or_else(|_| panic!("two series"));
        let base = *first.get_or_insert(ours.wall.median);
        println!(
            "{:<27}{:>24}{:>8.2}{:>14.2}{:>10}",
            format!("{scale} grants and rules"),
            ours.wall.to_string(),
            ours.wall.median / sudo.wall.median,
            ours.wall.median / base,
            peak_of(&root, &person, OURS),
        );
    }
    println!(
        "\nratio: to Debian's sudo measured in the same minute. Peak: at least that of the measuring program itself."
    );
}

/// Measures the same run by an older build and by this one, in turns.
fn compare_with(old: &Path) {
    let target = std::env::var_os("OLD_TARGET").filter(|target| !target.is_empty()).map(PathBuf::from);
    let roots = [PrivateRoot::start_of(old, target.as_deref()), PrivateRoot::start()];
    let people = roots.each_ref().map(prepare);
    let mut samples: [Samples; 2] = Default::default();
    for turn in 0..TURNS {
        for place in 0..2 {
            // Neither build is always the first.
            let which = (turn + place) % 2;
            let taken = sampled(&roots[which], &people[which], &[OURS], WARM_UP_OF_A_TURN, RUNS_OF_A_TURN);
            for (wall, cpu) in taken {
                samples[which].0.extend(wall);
                samples[which].1.extend(cpu);
            }
        }
    }
    println!("jit-sudo -n true, {} runs of each build in {TURNS} turns; median (p10-p90)\n", TURNS * RUNS_OF_A_TURN);
    println!("{:<8}{:>24}{:>24}{:>9}", "", "wall, us", "cpu, us", "syscalls");
    let figures = samples.map(|(wall, cpu)| Figures { wall: Spread::of(wall), cpu: Spread::of(cpu) });
    for (index, name) in ["old", "new"].into_iter().enumerate() {
        let (wall, cpu) = (figures[index].wall.to_string(), figures[index].cpu.to_string());
        println!("{name:<8}{wall:>24}{cpu:>24}{:>9}", system_calls(&roots[index], &people[index], OURS));
    }
    let [old, new] = figures;
    let ratio = |new: f64, old: f64| format!("{:.3}", new / old);
    let (wall, cpu) = (ratio(new.wall.median, old.wall.median), ratio(new.cpu.median, old.cpu.median));
    println!("{:<8}{wall:>24}{cpu:>24}", "new/old");
}

/// Creates a user who may run `true` without a password by all three programs; by jit-sudo through an active grant.
fn prepare(root: &PrivateRoot) -> Person {
    let person = root.person(&["bench"]);
    root.write("/etc/sudoers.d/bench", 0o440, "%bench ALL=(ALL:ALL) NOPASSWD: ALL\n");
    root.write("/etc/doas.conf", 0o600, "permit nopass :bench\n");
    root.add_policy("bench", "[roles.bench]\neligible = [\"%bench\"]\ncommands = [\"ALL\"]\nauthenticate = false\n");
    let own = std::fs::read("/proc/self/exe").unwrap_or_else(|error| panic!("cannot read myself: {error}"));
    root.write("/usr/local/bin/bench", 0o755, own);
    root.script(STATE_ON_DISK);
    root.run_as(&person.name, ["jitctl", "request", "--role", "bench", "--reason", "to measure it"]).succeeded();
    person
}

/// Increases the number of past and other users' grants, and of other users' roles, from `from` to `to`.
fn grow(root: &PrivateRoot, person: &Person, from: u32, to: u32) {
    let mut policy = String::new();
    for number in 0..to {
        let role = format!(
            "[roles.other-{number}]\nstanding = [\"user{number}\"]\ncommands = [\"/opt/app/bin/tool-{number} *\"]\n\n"
        );
        policy.push_str(&role);
    }
    root.write("/etc/jit-sudo/policy.d/others.toml", 0o640, policy);

    // Copies the one real request and grant: every other one belongs to the user and expired long ago, the rest belong to other
    // users and are active. Their signatures do not match, and no run should ever verify them.
    let (uid, count) = (person.uid, to - from);
    let number = format!("WITH RECURSIVE n(i) AS (SELECT {from} UNION ALL SELECT i + 1 FROM n LIMIT {count})");
    let sql = format!(
        "BEGIN;
         CREATE TEMP TABLE r AS SELECT * FROM request WHERE uid = {uid} ORDER BY created DESC LIMIT 1;
         CREATE TEMP TABLE g AS SELECT * FROM granted WHERE uid = {uid} ORDER BY expires DESC LIMIT 1;
         {number} INSERT INTO request SELECT printf('%010d', i), iif(i % 2, uid, 20000 + i), role, state, created - 90000, deadline - 90000, needed, body, ended_by, ended_at, ended_reason, extends FROM n, r;
         {number} INSERT INTO granted SELECT printf('%010d', i), iif(i % 2, uid, 20000 + i), role, starts - 90000, iif(i % 2, expires - 90000, expires), body, signature, NULL, NULL, NULL, NULL, NULL FROM n, g;
         COMMIT;"
    );
    root.write("/root/grow.sql", 0o600, sql);
    root.command("root", ["sh", "-euc", "sqlite3 -bail /var/lib/jit-sudo/journal.db < /root/grow.sql"])
        .patience(LONG)
        .run()
        .succeeded();
    // The first run after a change of the policy reads all of it.
    root.command(&person.name, OURS.split(' ')).patience(LONG).run().succeeded();
}

struct Figures {
    wall: Spread,
    cpu: Spread,
}

/// Microseconds.
struct Spread {
    low: f64,
    median: f64,
    high: f64,
}

impl Spread {
    fn of(mut samples: Vec<f64>) -> Spread {
        samples.sort_by(f64::total_cmp);
        let at = |tenths: usize| samples.get((samples.len() - 1) * tenths / 10).copied().unwrap_or(f64::NAN);
        Spread { low: at(1), median: at(5), high: at(9) }
    }
}

impl std::fmt::Display for Spread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.0} ({:.0}-{:.0})", self.median, self.low, self.high)
    }
}

fn measure(root: &PrivateRoot, person: &Person, commands: &[&str]) -> Vec<Figures> {
    let samples = sampled(root, person, commands, WARM_UP, ROUNDS);
    samples.into_iter().map(|(wall, cpu)| Figures { wall: Spread::of(wall), cpu: Spread::of(cpu) }).collect()
}

/// Wall and CPU times of each command, in microseconds.
type Samples = (Vec<f64>, Vec<f64>);

fn sampled(root: &PrivateRoot, person: &Person, commands: &[&str], warm_up: usize, rounds: usize) -> Vec<Samples> {
    let (warm_up, rounds) = (warm_up.to_string(), rounds.to_string());
    let words = ["/usr/local/bin/bench", "--series", &warm_up, &rounds];
    let output = root.command(&person.name, words.iter().chain(commands)).patience(LONG).run();
    let mut samples = vec![(Vec::new(), Vec::new()); commands.len()];
    for line in output.succeeded().lines() {
        let numbers: Vec<u32> = line.split(' ').filter_map(|word| word.parse().ok()).collect();
        let [index, wall, cpu] = numbers[..] else { panic!("not a measurement: {line}") };
        let (walls, cpus) = &mut samples[index as usize];
        walls.push(f64::from(wall));
        cpus.push(f64::from(cpu));
    }
    samples
}

fn peak_of(root: &PrivateRoot, person: &Person, command: &str) -> String {
    root.run_as(&person.name, ["/usr/local/bin/bench", "--peak", command]).succeeded().to_owned()
}

/// Counts all system calls of a run and its children with strace, run by root, who alone may trace a setuid program.
fn system_calls(root: &PrivateRoot, person: &Person, command: &str) -> String {
    let strace = ["strace", "-f", "-c", "-U", "calls", "-o", "/root/calls", "-u", &person.name];
    root.as_root(strace.into_iter().chain(command.split(' '))).succeeded();
    root.read("/root/calls").lines().last().unwrap_or_default().split_whitespace().next().unwrap_or("?").to_owned()
}
