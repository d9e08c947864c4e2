//! `make siege`: one hostile user, who may only request a role, attacks in every way at once that could delay others or fill the
//! disk. Another user's runs are timed on the quiet host and then during the attack, beside sudo's, which stand for what the
//! scheduler gives another user of a busy host. SECONDS= sets the duration, 600 by default.

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use harness::{Person, PrivateRoot};

const POLICY: &str = r#"
[roles.victim]
eligible     = ["%siege-victim"]
commands     = ["ALL"]
authenticate = false

[roles.asked]
eligible = ["%siege-hostile"]
commands = ["ALL"]

[roles.asked.activation]
require_approval = true
approvers        = ["root"]
"#;

/// How much slower than on the quiet host 99 of 100 runs of another user may be, where processors are not the bottleneck;
/// otherwise how much slower than sudo's during the attack.
const FACTOR: f64 = 3.0;
const BESIDE_SUDO: f64 = 1.5;

/// The bytes that a user may cause to be stored at once by default, and in a day (jit-sudo-policy(5), BUDGETS); each byte of them
/// is in the journal and in a log sink.
const AT_ONCE: u64 = 2 << 20;
const PER_DAY: u64 = 32 << 20;

/// The durations of one user's runs in microseconds, and the number of failures.
struct Runs {
    times: Vec<u64>,
    failed: usize,
}

impl Runs {
    fn at(&self, hundredth: usize) -> u64 {
        self.times.get(self.times.len().saturating_sub(1) * hundredth / 100).copied().unwrap_or(u64::MAX)
    }

    fn tell(&self, when: &str) {
        println!(
            "{when:<22} {:>6} runs, {} failed; median {:.1} ms, 99 of 100 within {:.1} ms, all within {:.1} ms",
            self.times.len(),
            self.failed,
            self.at(50) as f64 / 1e3,
            self.at(99) as f64 / 1e3,
            self.at(100) as f64 / 1e3
        );
    }
}

fn main() -> ExitCode {
    let seconds: u64 = std::env::var("SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(600);
    let root = PrivateRoot::start();
    root.add_policy("siege", POLICY);
    root.write("/usr/local/bin/victim.py", 0o755, include_str!("siege_victim.py"));
    root.write("/usr/local/bin/hostile.py", 0o755, include_str!("siege_hostile.py"));
    let (victim, hostile) = (root.person(&["siege-victim"]), root.person(&["siege-hostile"]));
    root.write("/etc/sudoers.d/siege", 0o440, format!("{} ALL=(ALL) NOPASSWD: ALL\n", victim.name));
    root.run_as(&victim.name, ["jitctl", "request", "--role", "victim", "--reason", "work"]).succeeded();

    let [quiet, quiet_sudo] = runs(&root, &victim, 30.min(seconds));
    quiet.tell("quiet, jit-sudo:");
    quiet_sudo.tell("quiet, sudo:");
    let before = stored(&root);
    let over = AtomicBool::new(false);
    let ([under, under_sudo], early, memory) = thread::scope(|scope| {
        let attack = scope.spawn(|| python(&root, &hostile, "hostile.py", seconds + 5));
        let memory = scope.spawn(|| largest(&root, &over));
        let under = runs(&root, &victim, seconds);
        let early = attack.join().unwrap_or_default();
        over.store(true, Ordering::Relaxed);
        (under, early, memory.join().unwrap_or_default())
    });
    under.tell("under siege, jit-sudo:");
    under_sudo.tell("under siege, sudo:");
    let grown = stored(&root).saturating_sub(before);
    let runs = u64::try_from(under.times.len()).unwrap_or(0);
    // Start and end of each of the victim's own runs are in the journal as well.
    let budget = AT_ONCE + PER_DAY * seconds / 86_400 + runs * 6144 + (2 << 20);
    println!("the state grew by {} KiB of at most {} KiB", grown >> 10, budget >> 10);
    println!("the largest of our processes had {} KiB, all of one moment {} KiB", memory.0, memory.1);
    println!("attacks that {}", early.trim());
    print!("{}", root.as_root(["jitctl", "audit", "verify"]).intact());
    println!();
    let ratio = |these: &Runs, those: &Runs| these.at(99) as f64 / those.at(99) as f64;
    let in_time =
        ratio(&under, &quiet) <= FACTOR || ratio(&under, &under_sudo) <= BESIDE_SUDO * ratio(&quiet, &quiet_sudo);
    let good = under.failed == 0 && in_time && grown <= budget && early.contains("none");
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn python(root: &PrivateRoot, person: &Person, script: &str, seconds: u64) -> String {
    let words = ["python3".to_owned(), format!("/usr/local/bin/{script}"), seconds.to_string()];
    root.command(&person.name, words).patience(Duration::from_secs(seconds + 120)).run().succeeded().to_owned()
}

/// Returns the runs by jit-sudo, and those by sudo.
fn runs(root: &PrivateRoot, victim: &Person, seconds: u64) -> [Runs; 2] {
    let said = python(root, victim, "victim.py", seconds);
    ["jit-sudo", "sudo"].map(|program| {
        let ends = said.lines().filter_map(|line| line.strip_prefix(program)?.trim().split_once(' '));
        let (good, bad): (Vec<_>, Vec<_>) = ends.partition(|(status, _)| *status == "0");
        let mut times: Vec<u64> = good.iter().filter_map(|(_, time)| time.parse().ok()).collect();
        times.sort_unstable();
        Runs { times, failed: bad.len() }
    })
}

/// Returns the size of the state directory, in bytes.
fn stored(root: &PrivateRoot) -> u64 {
    root.script("du -sb /var/lib/jit-sudo | cut -f 1").trim().parse().unwrap_or(0)
}

/// Returns the maximum memory of one process of jit-sudo, and of all of them together at one moment, in KiB.
fn largest(root: &PrivateRoot, over: &AtomicBool) -> (u64, u64) {
    let (mut one, mut all) = (0, 0);
    while !over.load(Ordering::Relaxed) {
        let found = root.script("grep -H ^VmRSS: $(grep -l '^jit-sudo' /proc/[0-9]*/comm 2>/dev/null | sed s/comm/status/) 2>/dev/null || :");
        let sizes: Vec<u64> = found.lines().filter_map(|line| line.split_whitespace().nth(1)?.parse().ok()).collect();
        one = sizes.iter().copied().fold(one, u64::max);
        all = all.max(sizes.iter().sum());
        thread::sleep(Duration::from_secs(1));
    }
    (one, all)
}
