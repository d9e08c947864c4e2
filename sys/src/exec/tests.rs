use super::*;
use crate::poll::{pipe, read};
use crate::process::{Pid, WaitEvent, Waiting, exit_now, fork, wait};
use std::fs::File;

fn nobody() -> Credentials {
    Credentials { uid: 65534, gid: 65533, groups: vec![65532, 65531, 65531] }
}

/// Returns the execution of a program as nobody, with nothing but its arguments.
fn plain<'a>(
    program: &'a File,
    argv: &'a [CString],
    limits: &'a Limits,
    scheduling: &'a SchedulingState,
    credentials: &'a Credentials,
) -> Execution<'a> {
    Execution {
        image: Image::Descriptor(program.as_fd()),
        argv,
        environment: &[],
        credentials,
        dies_with: None,
        limits,
        own_limits: limits,
        unsynced: None,
        scheduling,
        umask: 0o027,
        directory: Directory::Required(c"/"),
        ignored_signals: SignalSet::EMPTY,
        blocked_signals: SignalSet::EMPTY,
        oom_score_adj: None,
        standard: [None; 3],
        kept: &[],
        programs: Programs::Any,
    }
}

/// Runs a shell command as nobody; returns its output and how it ended.
fn shell(line: &str, change: impl FnOnce(&mut Execution<'_>)) -> (String, WaitEvent) {
    let (reader, writer) = pipe().unwrap();
    let program = File::open("/bin/sh").unwrap();
    let pid = fork(|| {
        let argv = [c"sh".to_owned(), c"-c".to_owned(), CString::new(line).unwrap()];
        let environment = [c"PATH=/usr/bin:/bin".to_owned(), c"A=b".to_owned()];
        let limits = Limits::current().unwrap();
        let credentials = nobody();
        let scheduling = SchedulingState::default();
        let mut execution = Execution {
            environment: &environment,
            standard: [None, Some(writer.as_fd()), None],
            ..plain(&program, &argv, &limits, &scheduling, &credentials)
        };
        change(&mut execution);
        let Err(error) = execution.run();
        let _ = crate::poll::write(writer.as_fd(), &error.to_bytes());
        exit_now(99)
    })
    .unwrap();
    drop(writer);
    (text(reader.as_fd()), end(pid))
}

fn text(fd: BorrowedFd<'_>) -> String {
    let mut bytes = Vec::new();
    let mut buffer = [0; 512];
    while let Ok(length @ 1..) = read(fd, &mut buffer) {
        bytes.extend_from_slice(&buffer[..length]);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn end(pid: Pid) -> WaitEvent {
    wait(pid, Waiting::ForEnd).unwrap().unwrap().0
}

#[test]
fn with_this_alone_no_other_program_is_executed() {
    let line = "echo in; (/bin/true; echo $?); /bin/true & wait $!; echo $?; exec /bin/true";
    for descriptor in [true, false] {
        let (output, event) = shell(line, |execution| {
            execution.programs = Programs::ThisAlone;
            if !descriptor {
                execution.image = Image::Powerless(c"/bin/sh");
            }
        });
        assert_eq!((output.as_str(), event), ("in\n126\n126\n", WaitEvent::Exited(126)));
    }
}

#[test]
fn a_command_has_exactly_the_given_credentials() {
    let (output, event) = shell("grep -E '^(Uid|Gid|Groups)' /proc/self/status | tr -s '\\t ' ' '; umask", |_| {});
    assert_eq!(event, WaitEvent::Exited(0), "{output}");
    let expected = "Uid: 65534 65534 65534 65534\nGid: 65533 65533 65533 65533\nGroups: 65531 65531 65532 \n0027\n";
    assert_eq!(output.replace("65531 65531", "65531"), expected.replace("65531 65531", "65531"));
}

#[test]
fn a_command_has_exactly_the_given_environment() {
    let (output, _) = shell("tr '\\0' '\\n' < /proc/$$/environ | grep -v '^\\(PWD\\|_\\)='", |_| {});
    assert_eq!(output, "PATH=/usr/bin:/bin\nA=b\n");
}

#[test]
fn no_descriptor_above_two_reaches_the_command() {
    // `ls` opens descriptor 3 itself.
    let (output, _) = shell("ls /proc/self/fd | sort -n | tr '\\n' ' '", |_| {
        // SAFETY: F_DUPFD takes an integer; the child owns the copy until it becomes the shell.
        assert!(unsafe { libc::fcntl(0, libc::F_DUPFD, 40) } >= 40);
    });
    assert_eq!(output, "0 1 2 3 ");
}

#[test]
fn ignored_and_blocked_signals_are_restored() {
    let (output, _) = shell("grep -E '^Sig(Ign|Blk)' /proc/self/status | cut -c 9-", |execution| {
        execution.ignored_signals = SignalSet::of(&[libc::SIGHUP]);
        execution.blocked_signals = SignalSet::of(&[libc::SIGUSR1]);
    });
    let masks: Vec<_> = output.lines().map(|mask| u64::from_str_radix(mask, 16).unwrap()).collect();
    // 32 and 33 are libc's: they stay as the caller had them.
    assert_eq!([masks[0], masks[1] & !(3 << 31)], [1 << (libc::SIGUSR1 - 1), 1 << (libc::SIGHUP - 1)]);
}

#[test]
fn directory_is_entered_with_the_new_credentials() {
    let (output, event) = shell("pwd", |execution| execution.directory = Directory::Required(c"/root"));
    assert_eq!(event, WaitEvent::Exited(99));
    let error = ExecError::from_bytes(output.as_bytes().try_into().unwrap()).unwrap();
    assert_eq!(error, ExecError { step: Step::Directory, errno: libc::EACCES });

    let (output, event) = shell("pwd", |execution| {
        execution.standard[2] = execution.standard[1];
        execution.directory = Directory::Instead("no home: Permission denied");
    });
    let here = std::env::current_dir().unwrap();
    assert_eq!((output, event), (format!("no home: Permission denied\n{}\n", here.display()), WaitEvent::Exited(0)));
}

#[test]
fn a_file_without_a_known_format_is_run_by_the_shell() {
    let path = c"/tmp/sys-exec-script";
    let file = path.to_str().unwrap();
    // Another process writes it: a child of another test could inherit our descriptor, and a file that is open for
    // writing cannot be executed.
    let write = format!("echo 'echo \"$0\" \"$@\"' >{file}; chmod 755 {file}");
    assert!(std::process::Command::new("sh").args(["-c", &write]).status().unwrap().success());
    let (output, event) = shell("one", |execution| execution.image = Image::Powerless(path));
    std::fs::remove_file(file).unwrap();
    assert_eq!((output, event), (format!("{file} -c one\n"), WaitEvent::Exited(0)));
}

#[test]
fn a_command_dies_with_the_process_that_started_it() {
    let (reader, writer) = pipe().unwrap();
    let parent = fork(|| {
        let (argv, limits, credentials) =
            ([c"sleep".to_owned(), c"60".to_owned()], Limits::current().unwrap(), nobody());
        let program = File::open("/bin/sleep").unwrap();
        let scheduling = SchedulingState::default();
        let execution = Execution {
            dies_with: Some(Pid::own()),
            blocked_signals: SignalSet::ALL,
            standard: [None, Some(writer.as_fd()), None],
            ..plain(&program, &argv, &limits, &scheduling, &credentials)
        };
        exit_now(i32::from(execution.spawn(None).is_err()))
    })
    .unwrap();
    drop(writer);
    assert_eq!(end(parent), WaitEvent::Exited(0));
    let begun = std::time::Instant::now();
    assert_eq!(text(reader.as_fd()), "");
    assert!(begun.elapsed() < std::time::Duration::from_secs(30), "its output stayed open");
    let (output, event) = shell("echo begun", |execution| execution.dies_with = Pid::new(1));
    assert_eq!(
        (output.as_bytes(), event),
        (ExecError { step: Step::Process, errno: libc::ESRCH }.to_bytes().as_slice(), WaitEvent::Exited(99))
    );
}

#[test]
fn a_spawned_command_starts_in_its_group_and_reports_errors() {
    let group = Cgroup::create("sys-tests", "spawn").ok();
    let program = File::open("/bin/sleep").unwrap();
    let spawn = |directory| {
        let argv = [c"sleep".to_owned(), c"60".to_owned()];
        let (limits, credentials) = (Limits::current().unwrap(), nobody());
        let scheduling = SchedulingState::default();
        let execution = Execution {
            directory: Directory::Required(directory),
            ..plain(&program, &argv, &limits, &scheduling, &credentials)
        };
        execution.spawn(group.as_ref())
    };
    let child = spawn(c"/").unwrap();
    let is_inside = group.as_ref().is_none_or(|group| group.holds(child));
    crate::process::kill(child, libc::SIGKILL).unwrap();
    assert_eq!(end(child), WaitEvent::Signaled { signal: libc::SIGKILL, core: false });
    assert!(is_inside || cfg!(not(target_arch = "x86_64")));
    assert_eq!(spawn(c"/root").unwrap_err(), ExecError { step: Step::Directory, errno: libc::EACCES });
    group.into_iter().for_each(Cgroup::remove);
}

#[test]
fn user_id_minus_one_is_rejected() {
    let credentials = Credentials { uid: u32::MAX, gid: 0, groups: vec![] };
    assert_eq!(credentials.assume(), Err(ExecError { step: Step::Verify, errno: libc::EINVAL }));
}

#[test]
fn standard_streams_may_be_swapped() {
    let (reader, writer) = pipe().unwrap();
    let pid = fork(|| {
        // Exchange 1 and 2, then write to each.
        place_streams([None, Some(writer.as_fd()), Some(reader.as_fd())]).unwrap();
        // SAFETY: both are open: they were placed above.
        let (one, two) = unsafe { (BorrowedFd::borrow_raw(1), BorrowedFd::borrow_raw(2)) };
        place_streams([None, Some(two), Some(one)]).unwrap();
        crate::poll::write(two, b"x").unwrap();
        exit_now(i32::from(read(one, &mut [0; 4]).unwrap() != 1))
    })
    .unwrap();
    assert_eq!(end(pid), WaitEvent::Exited(0));
}

#[test]
fn error_survives_the_pipe() {
    for step in STEPS {
        let error = ExecError { step, errno: libc::ENOEXEC };
        assert_eq!(ExecError::from_bytes(error.to_bytes()), Some(error));
    }
    assert_eq!(ExecError::from_bytes([u8::MAX, 0, 0, 0, 0]), None);
}
