//! No process outlives its grant, tried at random: how a run was started and what it does to its terminal, its supervisor and its
//! process group, against how its grant ends. A second after each end no process of the run is left.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use harness::{Person, PrivateRoot, Record};

use crate::pam_module::{ssh, sshd};
use crate::{id, own_root, records_of, request};

const POLICY: &str = r##"
[roles.trial]
eligible     = ["%trial"]
commands     = ["ALL"]
run_as       = ["ALL"]
authenticate = false

[roles.inner]
standing     = ["#0", "%inner"]
commands     = ["ALL"]
authenticate = false
"##;

/// How late an end may be on a quiet machine.
const A_SECOND: Duration = Duration::from_secs(1);

/// The acts of a run; NAP is a number that no other process sleeps, INNER a user with a standing role. All of them leave sleeping
/// processes. Shared with the trials on a booted systemd (packaging/trial/outlive.sh).
const SCENES: &str = include_str!("trials/scenes");

/// A scene that needs Python.
const HEADLESS_SCENE: (&str, &str) = ("main thread gone", "exec python3 /usr/local/lib/headless.py NAP");

/// Ends its main thread; another one continues, ignores signals, and forks a sleeping process whenever none is left.
const HEADLESS: &str = "import ctypes, platform, signal, subprocess, sys, threading, time
for number in (1, 2, 15, 18, 20): signal.signal(number, signal.SIG_IGN)
def work():
    while True:
        subprocess.call(['sleep', sys.argv[1]], start_new_session=True)
threading.Thread(target=work).start()
time.sleep(0.1)
ctypes.CDLL(None).syscall(60 if platform.machine() == 'x86_64' else 93, 0)
";

/// The ways to start a run. COMMAND is quoted for sh.
const WAYS: &str = include_str!("trials/ways");

/// The ways in which another program opens a session under the grant. Such a session is asked to end first, and gets half a second.
const HOSTED: &str = "session of su\tsu root -c COMMAND\nsession of sshd\tSSH COMMAND\n";

/// The stack of the services of [`HOSTED`].
const STACK: &str = "auth sufficient pam_rootok.so\nauth required pam_jit_sudo.so role=trial\n\
    account required pam_permit.so\nsession required pam_jit_sudo.so role=trial\n";

#[derive(Clone, Copy, Debug)]
enum End {
    Revoked,
    Expired,
    Killed,
    Released,
}

struct Trial<'a> {
    root: &'a PrivateRoot,
    person: &'a Person,
    inner: &'a Person,
    number: u64,
    /// An ssh command line of the person to their own account.
    ssh: &'a str,
}

impl Trial<'_> {
    /// Returns how many processes of the run still slept a second after the end, and how long it took until none did.
    fn run(&self, scene: (&str, &str), way: (&str, &str), end: End) -> (usize, Duration) {
        let nap = (1_000_000 + self.number).to_string();
        let words = scene.1.replace("NAP", &nap).replace("INNER", &self.inner.name);
        let line = way.1.replace("SSH", self.ssh).replace("COMMAND", &quoted(&words, way.1.contains('"')));
        let limit = if HOSTED.lines().any(|hosted| hosted == format!("{}\t{}", way.0, way.1)) {
            2 * A_SECOND
        } else {
            A_SECOND
        };
        let span = if matches!(end, End::Expired) { "2s" } else { "10m" };
        let grant = id(&request(self.root, self.person, "trial", &["--for", span]));
        let asked = Instant::now();
        let begin = format!("setsid -f sh -c {} </dev/null >/dev/null 2>&1", quoted(&line, false));
        self.root.run_as(&self.person.name, ["sh", "-c", &begin]).succeeded();
        self.begins(&nap, &grant, &format!("{}, {}", scene.0, way.0));
        std::thread::sleep(Duration::from_millis(self.number % 7 * 60));
        match end {
            End::Revoked => self.jitctl("root", &["revoke", &grant, "--reason", "trial"]),
            End::Released => self.jitctl(&self.person.name, &["release", &grant]),
            End::Killed => {
                let records = records_of(self.root, self.person);
                let start =
                    records.iter().rev().find(|record| record.kind() == "start" && record.text("grant") == grant);
                let words = ["jitctl", "session", "kill", start.unwrap().text("run"), "--reason", "trial"];
                // A session that was closed a moment ago is over until the processes that it left are found.
                let asked = Instant::now();
                while !self.root.run_as("root", words).status.success()
                    && self.sleepers(&nap) > 0
                    && asked.elapsed() < harness::PATIENCE
                {
                    std::thread::sleep(Duration::from_millis(50));
                }
            }
            End::Expired => std::thread::sleep(Duration::from_secs(2).saturating_sub(asked.elapsed())),
        }
        let began = Instant::now();
        while self.sleepers(&nap) > 0 && began.elapsed() < limit {
            std::thread::sleep(Duration::from_millis(10));
        }
        let (left, took) = (self.sleepers(&nap), began.elapsed());
        // The next trial has a grant of its own.
        let _ = self.root.run_as("root", ["jitctl", "revoke", &grant, "--reason", "over"]);
        let _ = self.root.script(&format!("pkill -9 -fx 'sleep {nap}' || :"));
        (left, took)
    }

    /// Waits until the run has started. Some runs end too soon to be seen asleep.
    fn begins(&self, nap: &str, grant: &str, what: &str) {
        let began = Instant::now();
        let is_end = |record: &Record| record.kind() == "end" && record.text("grant") == grant;
        while self.sleepers(nap) == 0 && !records_of(self.root, self.person).iter().any(is_end) {
            if began.elapsed() > harness::PATIENCE {
                let records = records_of(self.root, self.person);
                let last: Vec<_> = records.iter().rev().take(6).map(|record| record.body.clone()).collect();
                panic!("{what} of {nap} never began: {last:#?}");
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn jitctl(&self, user: &str, words: &[&str]) {
        let output = self.root.run_as(user, [&["jitctl"], words].concat());
        // The grant may have ended by itself meanwhile.
        assert!(output.status.success() || output.stderr.contains("is over"), "{words:?}: {output:?}");
    }

    fn sleepers(&self, nap: &str) -> usize {
        self.root.script(&format!("pgrep -fxc 'sleep {nap}' || :")).trim().parse().unwrap_or_default()
    }
}

/// Quotes the text with single quotes; or escapes it for a string in double quotes.
fn quoted(text: &str, in_double: bool) -> String {
    let single = format!("'{}'", text.replace('\'', "'\\''"));
    if in_double { single.replace('\\', "\\\\").replace('$', "\\$") } else { single }
}

/// Runs `total` trials, the same for the same seed; reports every surviving process.
fn trials(total: u64, seed: u64) {
    let root = own_root();
    root.add_policy("trials", POLICY);
    root.write("/usr/local/lib/headless.py", 0o644, HEADLESS);
    root.script("cp /etc/pam.d/su /etc/pam.d/su-l"); // a scene opens such a session, which stays as it was
    root.write("/etc/pam.d/su", 0o644, STACK);
    root.write("/etc/pam.d/sshd", 0o644, STACK);
    let port = sshd(&root);
    let member = || {
        let person = root.person(&["trial"]);
        let line = ssh(&root, port, &person).join(" ");
        (person, line)
    };
    let (next, failures, slowest) = (AtomicU64::new(0), Mutex::new(Vec::new()), Mutex::new(Duration::ZERO));
    let inner = root.person(&["inner"]);
    let scenes: Vec<(&str, &str)> = lines(SCENES).chain([HEADLESS_SCENE]).collect();
    let ways: Vec<(&str, &str)> = lines(WAYS).chain(lines(HOSTED)).collect();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let (mut person, mut line) = member();
                for count in 1_u32.. {
                    // A user may make thirty requests per hour.
                    if count % 25 == 0 {
                        (person, line) = member();
                    }
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= total {
                        return;
                    }
                    let mut dice = fastrand::Rng::with_seed(seed ^ number);
                    let scene = dice.choice(&scenes).copied().unwrap();
                    let way = dice.choice(&ways).copied().unwrap();
                    let end = dice.choice([End::Revoked, End::Expired, End::Killed, End::Released]).unwrap();
                    let trial = Trial { root: &root, person: &person, inner: &inner, number, ssh: &line };
                    let (left, took) = trial.run(scene, way, end);
                    let mut slowest = slowest.lock().unwrap();
                    *slowest = took.max(*slowest);
                    if left > 0 {
                        let what = format!("{number}: {}, {}, {end:?}: {left} left", scene.0, way.0);
                        failures.lock().unwrap().push(what);
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    println!(
        "{total} trials of seed {seed}: {} survivors, the slowest end {:?}",
        failures.len(),
        slowest.into_inner().unwrap()
    );
    assert!(failures.is_empty(), "{failures:#?}");
}

/// Returns name and text of each line.
fn lines(table: &'static str) -> impl Iterator<Item = (&'static str, &'static str)> {
    table.lines().map(|line| line.split_once('\t').unwrap())
}

fn number(name: &str, usual: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

#[test]
fn a_few_runs_that_try_to_outlive_their_grants_do_not() {
    trials(24, 1);
}

#[test]
#[ignore = "half an hour: make trials"]
fn a_thousand_runs_that_try_to_outlive_their_grants_do_not() {
    trials(number("TRIALS", 1000), number("SEED", 1));
}
