//! Requests, and waiting for their decision.

use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::{Duration, Instant};

use jit_core::wire::EndedInfo;
use serde_json::Value;

use crate::fixtures::{grant, on_a_terminal};
use crate::support::{Scripted, active, finish, pending};

#[test]
fn a_request_says_its_id_who_may_approve_and_what_comes_next() {
    let called =
        Scripted::answering(grant(pending())).call(&["request", "--reason", "x", "systemctl", "restart", "nginx"]);
    assert_eq!(called.status, 0, "{}", called.stderr);
    for part in ["0123456789", "pending", "approvers: bob", "next: jitctl show 0123456789"] {
        assert!(called.stdout.contains(part), "{part} is not in {}", called.stdout);
    }
    let called =
        Scripted::answering(grant(active())).call(&["request", "--reason", "x", "-u", "www-data", "ls", "a b"]);
    assert!(called.stdout.contains("(in 59m)\nnext: jit-sudo -u www-data ls 'a b'\n"), "{}", called.stdout);
}

#[test]
fn a_wait_ends_with_the_decision() {
    let mut denied = pending();
    denied.state = "denied".into();
    denied.ended = Some(EndedInfo { by: "bob".into(), at: 0, reason: "not today".into(), key: None });
    let broker = Scripted::answering_in_turn([grant(pending()), grant(active())]);
    let called = broker.call(&["request", "--wait=10s", "--reason", "x", "ls"]);
    assert_eq!(called.status, 0, "{}", called.stderr);
    assert!(called.stdout.starts_with("grant 0123456789 for role web-ops: active"), "{}", called.stdout);
    assert!(called.stderr.contains("pending") && called.stderr.contains("bob"), "{}", called.stderr);
    let question: Value = serde_json::from_str(&broker.file("ask.2")).unwrap();
    assert_eq!(question["verb"], "wait");
    assert!((9..=10).contains(&question["seconds"].as_u64().unwrap()), "{question}");

    let called = Scripted::answering_in_turn([grant(pending()), grant(denied)]).call(&["request", "--wait", "ls"]);
    assert_eq!(called.status, 1);
    assert!(called.stderr.contains("is denied by bob: not today\nhint: jitctl show 0123456789\n"), "{}", called.stderr);
}

#[test]
fn a_wait_that_ends_without_decision_is_status_3_and_paced() {
    let broker = Scripted::answering(grant(pending()));
    let begun = Instant::now();
    let called = broker.call(&["request", "--wait=3s", "--json", "--reason", "x", "ls"]);
    let lasted = begun.elapsed();
    assert_eq!(called.status, 3, "{}", called.stderr);
    assert_eq!(serde_json::from_str::<Value>(&called.stdout).unwrap()["grant"]["state"], "pending");
    assert!(called.stderr.contains("still pending\nhint: jitctl show 0123456789"), "{}", called.stderr);
    assert!((Duration::from_secs(3)..Duration::from_secs(8)).contains(&lasted), "{lasted:?}");
    assert!(broker.times_asked() <= 5, "a broker that answers early is asked once a second: {}", broker.times_asked());
}

#[test]
fn an_interrupt_leaves_the_request_pending_and_says_how_to_go_on() {
    // A terminal sends ^C to the broker too; kill(1) can send SIGINT to jitctl alone.
    for group in [true, false] {
        let broker = Scripted::answering_in_turn([grant(pending())]).with("slow", "0.5").with("reply", "never read");
        let mut command = broker.command(&["request", "--wait", "--reason", "x", "ls"]);
        let child = command.process_group(0).spawn().unwrap();
        let begun = Instant::now();
        while broker.times_asked() < 2 {
            assert!(begun.elapsed() < Duration::from_secs(20), "it never waited");
            std::thread::sleep(Duration::from_millis(10));
        }
        let target = if group { format!("-{}", child.id()) } else { child.id().to_string() };
        assert!(Command::new("kill").args(["-INT", "--", &target]).status().unwrap().success());
        let called = finish(child);
        assert_eq!(called.status, 3, "{}", called.stderr);
        assert!(called.stderr.contains("request 0123456789 is still pending"), "{}", called.stderr);
        assert!(called.stderr.contains("jitctl cancel 0123456789"), "{}", called.stderr);
    }
}

#[test]
fn a_countdown_runs_on_a_terminal_and_is_erased_at_the_end() {
    let broker = Scripted::answering(grant(pending()));
    let shown = on_a_terminal(&broker, "request --wait=2s --reason x ls", "env TERM=xterm");
    assert!(
        shown.contains("waiting for approval, 2s left") && shown.contains("waiting for approval, 1s left"),
        "{shown}"
    );
    assert!(shown.contains("\r\x1b[Kjitctl: request 0123456789 is still pending"), "{shown:?}");
    let shown = on_a_terminal(&broker, "request --wait=1s --reason x ls", "env TERM=dumb");
    assert!(!shown.contains('\x1b'), "{shown:?}");
}
