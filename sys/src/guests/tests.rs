use super::*;
use std::fs;
use std::io::Write;

fn guests(pid: Pid, group: Option<Cgroup>) -> Guests {
    let host = Host { pid, holder: 0, run_as: 0, terminal: None, mark: Mark::new("SYS_GUESTS_TEST", "ours") };
    Guests::of(host, group, Programs::at(&[]), false).unwrap()
}

/// A process that does as it is told by the lines that it reads; `None` where there is no shell.
fn host() -> (std::process::Child, Pid) {
    let child = std::process::Command::new("sh").stdin(std::process::Stdio::piped()).spawn().unwrap();
    let pid = Pid::new(i32::try_from(child.id()).unwrap()).unwrap();
    (child, pid)
}

#[test]
fn what_a_program_begets_is_ended_and_the_program_is_not() {
    let (mut child, pid) = host();
    let guests = guests(pid, None);
    writeln!(child.stdin.as_mut().unwrap(), "sleep 61 & sleep 62").unwrap();
    let found = (0..500).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(10));
        guests.seen().unwrap().len() == 2
    });
    assert!(found && guests.host_lives());
    assert_eq!(guests.signal(libc::SIGKILL, "").unwrap(), 2);
    assert!(guests.host_lives() && child.try_wait().unwrap().is_none());
    drop(child.stdin.take());
    child.wait().unwrap();
    assert!(!guests.host_lives());
    assert_eq!(guests.signal(libc::SIGKILL, "").unwrap(), 0);
}

#[test]
fn what_is_frozen_stands_still_though_it_is_told_to_go_on_and_the_program_does_not() {
    let (mut child, pid) = host();
    let Ok(group) = Cgroup::create("sys-tests", "icebox") else { return drop(child.kill()) };
    let guests = guests(pid, Some(group));
    let place = std::env::temp_dir().join(format!("sys-guests-{}", std::process::id()));
    let size = || fs::metadata(&place).map_or(0, |found| found.len());
    let grows = || {
        let before = size();
        std::thread::sleep(std::time::Duration::from_millis(300));
        size() > before
    };
    writeln!(child.stdin.as_mut().unwrap(), "sh -c 'while sleep 0.01; do echo; done' >{} &", place.display()).unwrap();
    assert!((0..50).any(|_| grows()));
    guests.freeze().unwrap();
    for _ in 0..3 {
        guests.signal(libc::SIGCONT, "").unwrap();
        assert!(!grows());
    }
    assert_eq!(procfs::stat(pid).unwrap().state, b'S');
    guests.thaw().unwrap();
    assert!((0..50).any(|_| grows()));
    // And a frozen one can be killed.
    guests.freeze().unwrap();
    guests.signal(libc::SIGKILL, "").unwrap();
    drop(child.stdin.take());
    child.wait().unwrap();
    assert!((0..500).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(10));
        guests.count().unwrap() == 0
    }));
    guests.part();
    let _ = fs::remove_file(&place);
}

#[test]
fn a_daemon_that_left_the_family_is_found_in_the_group() {
    let (mut child, pid) = host();
    let Ok(group) = Cgroup::create("sys-tests", "guests") else { return drop(child.kill()) };
    let guests = guests(pid, Some(group));
    writeln!(child.stdin.as_mut().unwrap(), "setsid sh -c 'sleep 63 & exit' & wait; exit").unwrap();
    child.wait().unwrap();
    assert!(!guests.host_lives());
    assert_eq!(guests.signal(libc::SIGKILL, "").unwrap(), 1);
    for _ in 0..500 {
        if guests.seen().unwrap().is_empty() {
            return guests.part();
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    panic!("the daemon lives");
}

#[test]
fn of_a_program_that_serves_others_only_what_is_proven_is_meant() {
    let (mut child, pid) = host();
    let Ok(group) = Cgroup::create("sys-tests", "shared") else { return drop(child.kill()) };
    let guests = guests(pid, Some(group));
    let home = |pid: Pid| !guests.group.as_ref().unwrap().holds(pid);
    assert!(!home(pid));
    let line = "SYS_GUESTS_TEST=ours sleep 64 & SYS_GUESTS_TEST=other sleep 65 & sleep 66 &";
    writeln!(child.stdin.as_mut().unwrap(), "{line}").unwrap();
    let until = |count: usize| {
        (0..500).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(10));
            guests.count().unwrap() == count
        })
    };
    assert!(until(3), "alone it would be all of them");
    std::thread::sleep(std::time::Duration::from_millis(300)); // until they are executed
    guests.look(true);
    assert!(until(1) && home(pid) && !guests.host_is_theirs());
    guests.signal_host(libc::SIGKILL);
    assert_eq!(guests.signal(libc::SIGKILL, "").unwrap(), 1);
    assert!(guests.host_lives() && scan(pid).unwrap().iter().filter(|one| lives(**one)).all(|one| home(one.pid)));
    writeln!(child.stdin.as_mut().unwrap(), "SYS_GUESTS_TEST=ours sh -c 'setsid sleep 67 & exit' & wait %4").unwrap();
    assert!(until(1), "who has left the family is known by the mark");
    guests.look(true);
    assert_eq!(guests.signal(libc::SIGKILL, "").unwrap(), 1);
    for one in scan(pid).unwrap() {
        let _ = send(one, libc::SIGKILL);
    }
    drop(child.stdin.take());
    child.wait().unwrap();
    guests.part();
}
