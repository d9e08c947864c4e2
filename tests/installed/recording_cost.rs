//! The cost of a recording beside sudo's own (`log_output`), for 200 MB of text through a terminal: `make recording-cost`.

use harness::PrivateRoot;

/// One round: the CPU time in µs of everything in the root while each variant copies the same bytes, and the sizes afterwards.
const ROUND: &str = r#"
cpu() { awk '/^usage_usec/ { print $2 }' /sys/fs/cgroup/cpu.stat; }
one() {
    user=$1; shift; before=$(cpu)
    script -qec "setpriv --reuid $user --regid $user --init-groups --reset-env $* cat /var/tmp/text" /dev/null </dev/null >/dev/null
    echo "$(($(cpu) - before))"
}
one bob sudo -n
one alice sudo -n
one carol jit-sudo -n
one alice jit-sudo -n
before=$(cpu); while pgrep -x jit-sudo-shrink >/dev/null; do sleep 0.1; done; echo "$(($(cpu) - before))"
du -sb /var/log/sudo-io | cut -f1
stat -c %s /var/lib/jit-sudo/recordings/done/*.zst
rm -rf /var/log/sudo-io /var/lib/jit-sudo/recordings/done
"#;

const POLICY: &str = r#"
[roles.recorded]
standing     = ["alice"]
commands     = ["ALL"]
authenticate = false

[roles.unrecorded]
standing     = ["carol"]
commands     = ["ALL"]
authenticate = false
record       = "none"
"#;

const SUDOERS: &str = "alice, bob ALL=(ALL) NOPASSWD: ALL\nDefaults use_pty\nDefaults:alice log_output\n";

#[test]
#[ignore = "copies 2.4 GB through terminals"]
fn a_recording_costs_less_than_half_of_sudos_and_is_no_larger() {
    let root = PrivateRoot::start();
    root.add_policy("cost", POLICY);
    root.write("/etc/sudoers.d/cost", 0o440, SUDOERS);
    root.script("seq 1 30000000 | head -c 200000000 > /var/tmp/text");
    let rounds: Vec<Vec<f64>> = (0..3)
        .map(|_| {
            let round =
                root.command("root", ["bash", "-euc", ROUND]).patience(std::time::Duration::from_secs(300)).run();
            round.succeeded().lines().map(|line| line.parse().unwrap()).collect()
        })
        .collect();
    let median = |column: usize| {
        let mut values: Vec<f64> = rounds.iter().map(|round| round[column]).collect();
        values.sort_by(f64::total_cmp);
        values[1]
    };
    let [sudo, sudo_log, plain, recorded, shrink, log_size, size] = std::array::from_fn(median);
    let seconds = |micros: f64| micros / 1e6;
    // Everything in the root is counted: the command, the relay and the process that reads the terminal.
    println!("CPU seconds for 200 MB through a terminal, median of 3:");
    println!("  sudo {:.2}, with log_output {:.2}", seconds(sudo), seconds(sudo_log));
    println!(
        "  jit-sudo {:.2}, recorded {:.2}, then compressed {:.2}",
        seconds(plain),
        seconds(recorded),
        seconds(shrink)
    );
    let (ours, theirs) = (recorded - plain, sudo_log - sudo);
    println!(
        "  recording: {:.2} of what it costs sudo, {:.2} with compression",
        ours / theirs,
        (ours + shrink) / theirs
    );
    println!("  size: {:.2} of sudo's log ({size} and {log_size} bytes)", size / log_size);
    assert!(ours <= 0.5 * theirs && size <= 1.1 * log_size);
}
