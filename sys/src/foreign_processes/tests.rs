use super::*;
use std::fs;
use std::io::Write;

fn foreign_processes(pid: Pid, group: Option<Cgroup>) -> ForeignProcesses {
    let host = ForeignProgram { pid, holder: 0, run_as: 0, terminal: None, mark: Mark::new("SYS_GUESTS_TEST", "ours") };
    ForeignProcesses::of(host, group, Programs::at(&[]), false).unwrap()
}

/// Starts a shell that executes the lines that the test writes; `None` where there is no shell.
fn host() -> (std::process::Child, Pid) {
    let child = std::process::Command::new("sh").stdin(std::process::Stdio::piped()).spawn().unwrap();
    let pid = Pid::new(i32::try_from(child.id()).unwrap()).unwrap();
    (child, pid)
}

#[test]
fn the_descendants_of_a_program_are_killed_and_the_program_is_not() {
    let (mut child, pid) = host();
    let foreign_processes = foreign_processes(pid, None);
    writeln!(child.stdin.as_mut().unwrap(), "sleep 61 & sleep 62").unwrap();
    let found = (0..500).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(10));
        foreign_processes.seen().unwrap().len() == 2
    });
    assert!(found && foreign_processes.host_lives());
    assert_eq!(foreign_processes.signal(libc::SIGKILL, "").unwrap(), 2);
    assert!(foreign_processes.host_lives() && child.try_wait().unwrap().is_none());
    drop(child.stdin.take());
    child.wait().unwrap();
    assert!(!foreign_processes.host_lives());
    assert_eq!(foreign_processes.signal(libc::SIGKILL, "").unwrap(), 0);
}

#[test]
fn frozen_processes_ignore_sigcont_and_the_program_continues() {
    let (mut child, pid) = host();
    let Ok(group) = Cgroup::create("sys-tests", "icebox") else { return drop(child.kill()) };
    let foreign_processes = foreign_processes(pid, Some(group));
    let place = std::env::temp_dir().join(format!("sys-guests-{}", std::process::id()));
    let size = || fs::metadata(&place).map_or(0, |found| found.len());
    let grows = || {
        let before = size();
        std::thread::sleep(std::time::Duration::from_millis(300));
        size() > before
    };
    writeln!(child.stdin.as_mut().unwrap(), "sh -c 'while sleep 0.01; do echo; done' >{} &", place.display()).unwrap();
    assert!((0..50).any(|_| grows()));
    foreign_processes.freeze().unwrap();
    for _ in 0..3 {
        foreign_processes.signal(libc::SIGCONT, "").unwrap();
        assert!(!grows());
    }
    assert_eq!(procfs::status(pid).unwrap().state, b'S');
    foreign_processes.thaw().unwrap();
    assert!((0..50).any(|_| grows()));
    // A frozen process can be killed.
    foreign_processes.freeze().unwrap();
    foreign_processes.signal(libc::SIGKILL, "").unwrap();
    drop(child.stdin.take());
    child.wait().unwrap();
    assert!((0..500).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(10));
        foreign_processes.count().unwrap() == 0
    }));
    foreign_processes.part();
    let _ = fs::remove_file(&place);
}

#[test]
fn a_daemon_outside_the_process_tree_is_found_in_the_group() {
    let (mut child, pid) = host();
    let Ok(group) = Cgroup::create("sys-tests", "guests") else { return drop(child.kill()) };
    let foreign_processes = foreign_processes(pid, Some(group));
    writeln!(child.stdin.as_mut().unwrap(), "setsid sh -c 'sleep 63 & exit' & wait; exit").unwrap();
    child.wait().unwrap();
    assert!(!foreign_processes.host_lives());
    assert_eq!(foreign_processes.signal(libc::SIGKILL, "").unwrap(), 1);
    for _ in 0..500 {
        if foreign_processes.seen().unwrap().is_empty() {
            return foreign_processes.part();
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    panic!("the daemon lives");
}

#[test]
fn for_a_shared_program_only_proven_processes_are_affected() {
    let (mut child, pid) = host();
    let Ok(group) = Cgroup::create("sys-tests", "shared") else { return drop(child.kill()) };
    let foreign_processes = foreign_processes(pid, Some(group));
    let home = |pid: Pid| !foreign_processes.group.as_ref().unwrap().holds(pid);
    assert!(!home(pid));
    let line = "SYS_GUESTS_TEST=ours sleep 64 & SYS_GUESTS_TEST=other sleep 65 & sleep 66 &";
    writeln!(child.stdin.as_mut().unwrap(), "{line}").unwrap();
    let until = |count: usize| {
        (0..500).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(10));
            foreign_processes.count().unwrap() == count
        })
    };
    assert!(until(3), "alone it would be all of them");
    std::thread::sleep(std::time::Duration::from_millis(300)); // until they are executed
    foreign_processes.look(true);
    assert!(until(1) && home(pid) && !foreign_processes.host_is_theirs());
    foreign_processes.signal_host(libc::SIGKILL);
    assert_eq!(foreign_processes.signal(libc::SIGKILL, "").unwrap(), 1);
    assert!(
        foreign_processes.host_lives() && scan(pid).unwrap().iter().filter(|one| lives(**one)).all(|one| home(one.pid))
    );
    writeln!(child.stdin.as_mut().unwrap(), "SYS_GUESTS_TEST=ours sh -c 'setsid sleep 67 & exit' & wait %4").unwrap();
    assert!(until(1), "who has left the family is known by the mark");
    foreign_processes.look(true);
    assert_eq!(foreign_processes.signal(libc::SIGKILL, "").unwrap(), 1);
    for one in scan(pid).unwrap() {
        let _ = send(one, libc::SIGKILL);
    }
    drop(child.stdin.take());
    child.wait().unwrap();
    foreign_processes.part();
}

#[test]
fn a_child_with_the_mark_of_another_open_session_of_its_user_is_that_ones() {
    const USER: u32 = 65534;
    let (mut child, pid) = host();
    let Ok(group) = Cgroup::create("sys-tests", "first") else { return drop(child.kill()) };
    let mark = Mark::new("SYS_GUESTS_TEST", "first");
    let host = ForeignProgram { pid, holder: USER, run_as: USER, terminal: None, mark };
    let first = ForeignProcesses::of(host, Some(group), Programs::at(&[]), false).unwrap();
    let second = Cgroup::create("sys-tests", "second").unwrap();
    let own = "setpriv --reuid=65534 --clear-groups sleep";
    // Born in the group of the first session, which does not know yet that there is another one.
    let line = format!("SYS_GUESTS_TEST=second {own} 71 & SYS_GUESTS_TEST=none {own} 72 & {own} 73 &");
    writeln!(child.stdin.as_mut().unwrap(), "{line}").unwrap();
    std::thread::sleep(std::time::Duration::from_millis(500)); // until they are executed
    assert_eq!(first.count().unwrap(), 3);
    first.look(true);
    assert_eq!(first.count().unwrap(), 2, "a mark of no session proves nothing");
    let sent_home = scan(pid).unwrap().into_iter().filter(|one| !first.group.as_ref().unwrap().holds(one.pid)).count();
    assert_eq!(sent_home, 1);
    second.remove();
    assert_eq!(first.count().unwrap(), 3, "of a session that is over neither");
    for one in scan(pid).unwrap() {
        let _ = send(one, libc::SIGKILL);
    }
    drop(child.stdin.take());
    child.wait().unwrap();
    first.part();
}

#[test]
fn a_mark_takes_no_process_of_another_run_or_user_into_a_session() {
    let (mut child, pid) = host();
    let Ok(group) = Cgroup::create("sys-tests", "theirs") else { return drop(child.kill()) };
    let other = Cgroup::create("sys-tests", "of_another").unwrap();
    let foreign_processes = foreign_processes(pid, Some(group));
    foreign_processes.look(true);
    // Not started by the program: one in the group of another run, one of another user.
    let marked = |words: &[&str]| {
        let mut command = std::process::Command::new("setsid");
        command.args(words).env("SYS_GUESTS_TEST", "ours").spawn().unwrap()
    };
    let mut outsiders = [marked(&["sleep", "68"]), marked(&["setpriv", "--reuid=65534", "sleep", "69"])];
    let pids = outsiders.each_ref().map(|child| Pid::new(i32::try_from(child.id()).unwrap()).unwrap());
    other.adopt(pids[0]).unwrap();
    // Started by the program, and in the group of another run.
    writeln!(child.stdin.as_mut().unwrap(), "SYS_GUESTS_TEST=ours sleep 70 &").unwrap();
    let inner = (0..500).find_map(|_| {
        std::thread::sleep(std::time::Duration::from_millis(10));
        scan(pid).unwrap().first().copied()
    });
    let inner = inner.unwrap();
    other.adopt(inner.pid).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(300)); // until they are executed
    foreign_processes.look(true);
    assert!(other.holds(pids[0]) && other.holds(inner.pid), "a process stays in the group of its run");
    assert_eq!(foreign_processes.signal(libc::SIGKILL, "").unwrap(), 0);
    for outsider in &mut outsiders {
        assert!(outsider.try_wait().unwrap().is_none());
        outsider.kill().unwrap();
        outsider.wait().unwrap();
    }
    let _ = send(inner, libc::SIGKILL);
    drop(child.stdin.take());
    child.wait().unwrap();
    foreign_processes.part();
    other.remove();
}
