//! Clocks that are wrong: a clock that is set back, forward or to 1970, and a reboot. None lengthens or revives a grant, and each
//! is recorded.
//!
//! The tests cannot set the machine's own clock. Within a boot only the difference of wall clock and boot clock shows that one
//! was set, and a time namespace moves the boot clock: hours more on it look like hours less on the wall clock. Another boot is
//! another boot id, mounted over the kernel's. A clock in 1970 is one that is half a century before the journal's latest record.

use std::time::Duration;

use harness::{Output, Person, PrivateRoot};
use serde_json::Value;

use crate::{granted, id, own_root, request};

const STATE: &str = "/var/lib/jit-sudo/journal.db";

/// Runs the command as `person`, while the boot clock shows `hours` more.
fn later_boot_clock(root: &PrivateRoot, person: &Person, hours: u32, words: &[&str]) -> Output {
    let (seconds, uid, gid) = ((hours * 3600).to_string(), person.uid.to_string(), person.gid.to_string());
    let frame = ["unshare", "--time", "--boottime", &seconds, "--fork", "setpriv", "--reuid", &uid, "--regid", &gid];
    root.as_root([&frame[..], &["--init-groups", "--reset-env"], words].concat())
}

/// Simulates a reboot by another boot id. The boot clock only counts within one boot.
fn reboot(root: &PrivateRoot) {
    root.script(
        "umount /proc/sys/kernel/random/boot_id 2>/dev/null || true
         cat /proc/sys/kernel/random/uuid >/run/boot_id && mount --bind /run/boot_id /proc/sys/kernel/random/boot_id",
    );
}

/// Moves the latest record into the future, as if the clock had been set back by this many hours since.
fn the_journal_was_written_in_the_future(root: &PrivateRoot, hours: u64) {
    let ahead = hours * 3_600_000_000;
    let body = format!(
        "CAST(replace(CAST(body AS TEXT), '\"time\":' || at || ',', '\"time\":' || (at + {ahead}) || ',') AS BLOB)"
    );
    root.script(&format!(
        "sqlite3 {STATE} \"UPDATE record SET body = {}, at = at + {ahead}, high = high + {ahead} \
         WHERE seq = (SELECT max(seq) FROM record)\"",
        body.replace('"', "\\\"")
    ));
}

fn alerts(root: &PrivateRoot) -> Vec<String> {
    let alerts = root.journal().into_iter().filter(|record| record.kind() == "alert");
    alerts.map(|alert| format!("{}: {}", alert.text("code"), alert.text("sentence"))).collect()
}

/// Checks the only alert: by two hours, minus the seconds that the test itself took.
fn the_only_alert_is(root: &PrivateRoot, sentence: &str) {
    let alerts = alerts(root);
    let [alert] = alerts.as_slice() else { panic!("{alerts:?}") };
    let by = alert.strip_prefix(sentence).unwrap_or_else(|| panic!("{alert}"));
    assert!(by.starts_with("2h") || by.starts_with("1h59m"), "{alert}");
}

fn expiry(root: &PrivateRoot, person: &Person) -> i64 {
    let listed = root.run_as(&person.name, ["jitctl", "--json", "grants"]).json();
    listed["grants"][0]["expires"].as_i64().unwrap_or_else(|| panic!("{listed}"))
}

const ID: [&str; 3] = ["jit-sudo", "-n", "id"];

#[test]
fn a_clock_set_back_lengthens_no_grant_and_is_recorded_once() {
    let root = own_root();
    let person = granted(&root, "self-service");
    root.run_as(&person.name, ID).succeeded();
    // By the wall clock no time has passed, by the boot clock two hours.
    for _ in 0..2 {
        later_boot_clock(&root, &person, 2, &ID).refused("has expired");
    }
    the_only_alert_is(&root, "clock-set-back: the clock was set back by ");
    let listed: Value = later_boot_clock(&root, &person, 2, &["jitctl", "--json", "grants"]).json();
    assert_eq!(listed["grants"][0]["grant"], "expired", "{listed}");
    root.as_root(["jitctl", "audit", "verify"]).intact();
}

/// The kernel reports other start times there, by which supervisors are told from later processes with their pids.
#[test]
fn a_run_in_another_time_namespace_ends_no_run_outside_and_is_ended_by_none() {
    let root = own_root();
    let person = root.person(&["deploy"]);
    let inside = "unshare --time --boottime 86400 --fork jit-sudo -n sh -c 'sleep 1; echo inside'";
    let script = format!(
        "jit-sudo -n sh -c 'sleep 4; echo outside' & sleep 0.5; jit-sudo -n {inside} & sleep 1; jit-sudo -n echo other; wait"
    );
    let output = root.run_as(&person.name, ["bash", "-c", &script]);
    let mut ended: Vec<&str> = output.succeeded().lines().collect();
    ended.sort_unstable();
    assert_eq!(ended, ["inside", "other", "outside"], "each ends by itself");
    root.as_root(["jitctl", "audit", "verify"]).intact();
}

#[test]
fn a_clock_set_forward_is_recorded_and_lengthens_nothing() {
    let root = own_root();
    let person = root.person(&["self-service"]);
    let words = ["jitctl", "--json", "request", "--role", "self-service", "--reason", "x", "--for", "10m"];
    let grant: Value = later_boot_clock(&root, &person, 2, &words).json();
    assert_eq!(grant["grant"]["grant"], "active", "{grant}");
    // Compared to the record of the policy, which is older, the wall clock is two hours behind the boot clock.
    the_only_alert_is(&root, "clock-set-back: the clock was set back by ");
    // The boot clock shows two hours less than before, so the wall clock has jumped forward.
    root.run_as(&person.name, ID).succeeded();
    let alerts = alerts(&root);
    assert_eq!(alerts.len(), 2, "{alerts:?}");
    assert!(alerts[1].starts_with("clock-set-forward: the clock was set forward by "), "{alerts:?}");
    assert_eq!(grant["grant"]["expires"].as_i64(), Some(expiry(&root, &person)));
    root.as_root(["jitctl", "audit", "verify"]).intact();
}

#[test]
fn a_clock_set_back_revives_no_request_and_one_made_after_it_lives() {
    let root = own_root();
    let (person, approver) = (root.person(&["reviewed"]), root.person(&["approvers"]));
    let dead = id(&request(&root, &person, "reviewed", &[]));
    // A request can be decided for a day.
    the_journal_was_written_in_the_future(&root, 25);
    let approve = |id: &str| root.run_as(&approver.name, ["jitctl", "approve", id]);
    approve(&dead).refused("expired");
    // A withdrawal of permission has no deadline.
    root.run_as(&approver.name, ["jitctl", "deny", &dead, "--reason", "no"]).succeeded();
    root.run_as(&person.name, ["jitctl", "cancel", &dead]).refused("denied");
    let lives = id(&request(&root, &person, "reviewed", &["--for", "10m"]));
    approve(&lives).succeeded();
    root.run_as(&person.name, ID).succeeded();
}

/// Makes the kernel's lists name these clocks only, and no real-time clock.
fn the_machine_has_clocks(root: &PrivateRoot, names: &str) {
    root.script(&format!(
        "list=/sys/devices/system/clocksource/clocksource0/available_clocksource
         umount $list 2>/dev/null || true
         echo {names} >/run/clocks && mount --bind /run/clocks $list
         if [ -d /sys/class/rtc ] && ! mountpoint -q /sys/class/rtc; then mount -t tmpfs none /sys/class/rtc; fi"
    ));
}

#[test]
fn without_a_clock_that_runs_while_the_host_is_off_a_grant_ends_at_the_boot() {
    let root = own_root();
    let person = root.person(&["self-service"]);
    request(&root, &person, "self-service", &["--for", "10m"]);
    the_machine_has_clocks(&root, "tsc hpet");
    root.run_as(&person.name, ID).succeeded();
    reboot(&root);
    let found = root.run_as(&person.name, ["jitctl", "doctor"]).stdout;
    if found.contains("something keeps it synchronised") {
        // The time service of this machine tells how long it was off.
        root.run_as(&person.name, ID).succeeded();
        return;
    }
    root.run_as(&person.name, ID).refused("has no clock that runs while it is off; request a new one");
    assert!(found.contains("grants of an earlier boot do not count"), "{found}");
    request(&root, &person, "self-service", &["--for", "10m"]);
    root.run_as(&person.name, ID).succeeded();
    the_machine_has_clocks(&root, "tsc kvm-clock");
    reboot(&root);
    root.run_as(&person.name, ID).succeeded();
}

#[test]
fn a_grant_outlives_a_reboot_and_ends_at_its_time() {
    let root = own_root();
    let person = root.person(&["self-service"]);
    the_machine_has_clocks(&root, "tsc kvm-clock");
    request(&root, &person, "self-service", &["--for", "10s"]);
    reboot(&root);
    root.run_as(&person.name, ID).succeeded();
    std::thread::sleep(Duration::from_secs(10));
    reboot(&root);
    root.run_as(&person.name, ID).refused("no active grant");
    assert!(alerts(&root).is_empty(), "a boot is nothing to be alarmed at: {:?}", alerts(&root));
}

#[test]
fn with_a_clock_in_1970_old_grants_are_invalid_until_root_accepts_the_clock() {
    let root = own_root();
    let person = granted(&root, "self-service");
    root.run_as(&person.name, ID).succeeded();
    let hours = 56 * 365 * 24 + 1;
    the_journal_was_written_in_the_future(&root, hours);
    root.run_as(&person.name, ID).refused("has expired");
    let alert = alerts(&root).pop().unwrap_or_default();
    assert!(alert.starts_with("clock-set-back: the clock was set back by 20440d"), "{alert}");

    reboot(&root);
    root.run_as(&person.name, ID).refused("clock");
    assert!(
        alerts(&root)[1].starts_with("clock-behind-after-boot: after a boot the clock stands 20"),
        "{:?}",
        alerts(&root)
    );
    // A grant that starts now counts from the latest time in the journal, and ends by the boot clock.
    request(&root, &person, "self-service", &["--for", "10s"]);
    root.run_as(&person.name, ID).succeeded();
    std::thread::sleep(Duration::from_millis(10_100));
    root.run_as(&person.name, ID).refused("does not serve");

    request(&root, &person, "self-service", &[]);
    root.as_root(["jitctl", "key", "accept", "--reason", "the battery of the clock was flat"]).succeeded();
    root.run_as(&person.name, ID).refused("no active grant");
    request(&root, &person, "self-service", &[]);
    let year = root.script("date +%s").trim().parse::<i64>().unwrap();
    assert!((year..year + 4000).contains(&expiry(&root, &person)), "{}", expiry(&root, &person));
    reboot(&root);
    root.run_as(&person.name, ID).succeeded();
}

/// Sweeps a host whose policy limits the age of records, and that has an abandoned recording.
fn swept(root: &PrivateRoot) -> Output {
    root.add_policy("keep", "[audit]\nkeep = \"30d\"\n");
    root.script(
        "install -d -m 700 /var/lib/jit-sudo/recordings && cd /var/lib/jit-sudo/recordings && \
         install -m 600 /dev/null 7f7ec8zr1wa4.cast && \
         touch -d '2 minutes ago' 7f7ec8zr1wa4.cast",
    );
    root.as_root(["jitctl", "sweep"])
}

/// After a boot with a wrong clock every record would seem old. The target is reached when the clock is right, if a service waits
/// for it.
#[test]
fn the_sweep_of_the_timer_waits_for_the_clock() {
    let service = include_str!("../../packaging/debian/jit-sudo.jit-sudo-sweep.service");
    let (unit, _) = service.split_once("[Service]").unwrap();
    assert!(unit.lines().any(|line| line == "After=time-sync.target"), "{unit}");
}

fn clock_finding(root: &PrivateRoot) -> Value {
    let found = root.as_root(["jitctl", "--json", "doctor"]).json();
    let findings = found["findings"].as_array().unwrap_or_else(|| panic!("{found}"));
    findings.iter().find(|finding| finding["area"] == "journal clock").unwrap_or_else(|| panic!("{found}")).clone()
}

#[test]
fn a_clock_in_doubt_only_prevents_pruning_and_doctor_reports_it() {
    let root = own_root();
    let person = granted(&root, "self-service");
    // Readings of the boot clock from another boot are not comparable; within this one it then shows two hours less.
    reboot(&root);
    later_boot_clock(&root, &person, 2, &ID).succeeded();
    let output = swept(&root);
    output.exited(1);
    assert!(output.stdout.contains("1 abandoned recording put to the others"), "{output:?}");
    assert!(output.stderr.contains("the clock was set forward by ") && output.stderr.contains("hint: "), "{output:?}");
    let again = root.as_root(["jitctl", "--json", "sweep"]);
    again.exited(1);
    let again = again.json();
    assert_eq!(again["swept"]["refused"]["code"], "clock", "{again}");
    let finding = clock_finding(&root);
    assert_eq!(finding["severity"], "warning", "{finding}");
    assert!(finding["mend"].as_str().is_some_and(|mend| mend.contains("jitctl key accept --reason")), "{finding}");
    root.as_root(["jitctl", "key", "accept", "--reason", "it is right"]).succeeded();
    root.as_root(["jitctl", "sweep"]).succeeded();
    assert_eq!(clock_finding(&root)["severity"], "good");
}

#[test]
fn a_clock_set_back_and_corrected_is_not_in_doubt() {
    let root = own_root();
    let person = granted(&root, "self-service");
    later_boot_clock(&root, &person, 2, &ID).refused("has expired");
    root.run_as(&person.name, ID).succeeded();
    let alerts = alerts(&root);
    assert!(alerts.len() == 2 && alerts[1].starts_with("clock-set-forward: "), "{alerts:?}");
    assert!(swept(&root).succeeded().contains("1 abandoned recording"));
    assert_eq!(clock_finding(&root)["severity"], "good");
}

#[test]
fn requests_that_were_made_while_the_clock_stood_ahead_count_for_the_rate_until_root_accepts_the_clock() {
    let root = own_root();
    root.add_policy("rate", "[defaults]\nrequest_rate = 2\n");
    let person = root.person(&["self-service"]);
    let ask = || {
        let words = ["jitctl", "request", "--role", "self-service", "--reason", "x", "--for", "1m", "--one-shot"];
        root.run_as(&person.name, words)
    };
    let _ = root.run_as(&person.name, ["jit-sudo", "-n", "-l"]);
    the_journal_was_written_in_the_future(&root, 24 * 100);
    ask().succeeded();
    ask().succeeded();
    ask().refused("the next one is possible at ");
    root.as_root(["jitctl", "key", "accept", "--reason", "the clock was put right"]).succeeded();
    ask().succeeded();
    ask().succeeded();
    ask().refused("the next one is possible at ");
}
