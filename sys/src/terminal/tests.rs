//! Uses real pseudo-terminals, with a child as session leader where job control matters.

use super::question::Question;
use super::*;
use crate::poll::{PollEntry, poll, read, write};
use crate::process::{WaitEvent, Waiting, exit_now, fork, kill, new_session, set_controlling_terminal, wait};
use crate::pty::Pty;
use std::os::fd::OwnedFd;

fn pty() -> Pty {
    Pty::open(WindowSize { rows: 24, columns: 80, width: 0, height: 0 }, None, 0, None).unwrap()
}

/// Returns what the user sees on the leader until `until` has appeared.
fn screen(leader: &OwnedFd, until: &str) -> String {
    let mut seen = Vec::new();
    while !String::from_utf8_lossy(&seen).contains(until) {
        let mut entries = [PollEntry::reading(leader.as_fd())];
        assert_eq!(poll(&mut entries, Some(Duration::from_secs(10))).unwrap(), 1, "no {until:?} in {seen:?}");
        let mut buffer = [0; 256];
        let length = read(leader.as_fd(), &mut buffer).unwrap();
        seen.extend_from_slice(&buffer[..length]);
    }
    String::from_utf8(seen).unwrap()
}

/// Asks in a child that leads a session on the pty; exits with 0 if `expected` accepts the outcome.
fn asked(pty: &Pty, timeout: Option<Duration>, expected: fn(Result<Secret, PasswordError>) -> bool) -> Pid {
    let before = Attributes::of(pty.follower.as_fd()).unwrap();
    let follower = pty.follower.try_clone().unwrap();
    fork(move || {
        new_session().unwrap();
        set_controlling_terminal(follower.as_fd()).unwrap();
        let terminal = Terminal::controlling().unwrap();
        let answer = terminal.read_password(b"Password: ", timeout);
        let after = terminal.attributes().unwrap();
        let restored = after.0.c_lflag == before.0.c_lflag && after.0.c_iflag == before.0.c_iflag;
        exit_now(if !restored { 2 } else { i32::from(!expected(answer)) })
    })
    .unwrap()
}

fn end(pid: Pid) -> WaitEvent {
    wait(pid, Waiting::ForEnd).unwrap().unwrap().0
}

#[test]
fn a_password_is_read_without_echo() {
    let pty = pty();
    let child = asked(&pty, None, |answer| answer.is_ok_and(|secret| secret.as_bytes() == b"hunter2"));
    assert_eq!(screen(&pty.leader, ": "), "Password: ");
    write(pty.leader.as_fd(), b"hunterX\x7f2\n").unwrap();
    assert_eq!(screen(&pty.leader, "\n"), "\r\n");
    assert_eq!(end(child), WaitEvent::Exited(0));
}

#[test]
fn the_interrupt_key_ends_the_question_and_restores_the_terminal() {
    let pty = pty();
    let child = asked(&pty, None, |answer| matches!(answer, Err(PasswordError::Interrupted(_))));
    screen(&pty.leader, ": ");
    write(pty.leader.as_fd(), b"secr\x03").unwrap();
    assert_eq!(end(child), WaitEvent::Exited(0));
    assert!(!screen(&pty.leader, "\n").contains("secr"));
}

#[test]
fn a_termination_signal_ends_the_question_and_restores_the_terminal() {
    let pty = pty();
    let child = asked(&pty, None, |answer| matches!(answer, Err(PasswordError::Interrupted(_))));
    screen(&pty.leader, ": ");
    kill(child, libc::SIGTERM).unwrap();
    assert_eq!(end(child), WaitEvent::Exited(0));
}

#[test]
fn input_before_a_timeout_appears_nowhere() {
    let pty = pty();
    let timeout = Some(Duration::from_millis(300));
    let child = asked(&pty, timeout, |answer| matches!(answer, Err(PasswordError::TimedOut)));
    screen(&pty.leader, ": ");
    write(pty.leader.as_fd(), b"half a secret").unwrap();
    assert_eq!(end(child), WaitEvent::Exited(0));
    write(pty.leader.as_fd(), b"!\n").unwrap();
    let mut buffer = [0; 64];
    let length = read(pty.follower.as_fd(), &mut buffer).unwrap();
    assert_eq!(&buffer[..length], b"!\n");
    assert!(!screen(&pty.leader, "!").contains("secret"));
}

#[test]
fn end_of_input_is_not_a_password() {
    let pty = pty();
    let child = asked(&pty, None, |answer| matches!(answer, Err(PasswordError::EndOfInput)));
    screen(&pty.leader, ": ");
    write(pty.leader.as_fd(), b"\x04").unwrap();
    assert_eq!(end(child), WaitEvent::Exited(0));
}

#[test]
fn the_length_of_a_password_is_bounded() {
    let pty = pty();
    let child = asked(&pty, None, |answer| matches!(answer, Err(PasswordError::TooLong)));
    screen(&pty.leader, ": ");
    write(pty.leader.as_fd(), &[b'a'; 3000]).unwrap();
    write(pty.leader.as_fd(), b"\n").unwrap();
    assert_eq!(end(child), WaitEvent::Exited(0));
}

#[test]
fn lines_before_the_prompt_and_after_the_answer_are_discarded() {
    let pty = pty();
    write(pty.leader.as_fd(), b"early\nearlier\n").unwrap();
    let child = asked(&pty, None, |answer| answer.is_ok_and(|secret| secret.as_bytes() == b"right"));
    screen(&pty.leader, ": ");
    write(pty.leader.as_fd(), b"right\nid\nwhoami\n").unwrap();
    assert_eq!(end(child), WaitEvent::Exited(0));
    let mut entries = [PollEntry::reading(pty.follower.as_fd())];
    assert_eq!(poll(&mut entries, Some(Duration::from_millis(100))).unwrap(), 0, "nothing is left for the command");
}

#[test]
fn of_two_that_hold_a_terminal_in_turn_neither_leaves_it_silent() {
    for first_is_last in [false, true] {
        let pty = pty();
        let before = Attributes::of(pty.follower.as_fd()).unwrap();
        let ends = Some((pty.follower.as_fd(), pty.follower.as_fd()));
        let (first, second) = (Held::new(ends).unwrap(), Held::new(ends).unwrap());
        assert!(!Attributes::of(pty.follower.as_fd()).unwrap().echoes());
        let [one, other] = if first_is_last { [second, first] } else { [first, second] };
        drop(one);
        drop(other);
        assert!(Attributes::of(pty.follower.as_fd()).unwrap().is_like(&before));
    }
}

#[test]
fn a_question_works_on_a_terminal_in_raw_mode() {
    let pty = pty();
    Attributes::of(pty.follower.as_fd()).unwrap().raw().apply_now(pty.follower.as_fd()).unwrap();
    let child = asked(&pty, None, |answer| answer.is_ok_and(|secret| secret.as_bytes() == b"x"));
    screen(&pty.leader, ": ");
    write(pty.leader.as_fd(), b"x\r").unwrap();
    assert_eq!(end(child), WaitEvent::Exited(0));
}

#[test]
fn the_suspend_key_stops_the_process_and_the_prompt_is_repeated() {
    let pty = pty();
    let follower = pty.follower.try_clone().unwrap();
    // A shell (session leader) with a job in its own process group, in the foreground.
    let shell = fork(move || {
        new_session().unwrap();
        set_controlling_terminal(follower.as_fd()).unwrap();
        let job = fork(|| {
            let own = Pid::own();
            crate::process::set_process_group(own, own).unwrap();
            let terminal = Terminal::controlling().unwrap();
            // Starts in the background: stopped until the shell moves it to the foreground.
            let answer = terminal.read_password(b"Password: ", None);
            exit_now(i32::from(!answer.is_ok_and(|secret| secret.as_bytes() == b"right")))
        })
        .unwrap();
        let foreground = |group| foreground_group(follower.as_fd()).unwrap() == Some(group);
        let stopped = |signal| wait(job, Waiting::ForChange).unwrap().unwrap().0 == WaitEvent::Stopped(signal);
        assert!(stopped(libc::SIGTTIN));
        crate::process::set_foreground(follower.as_fd(), job).unwrap();
        assert!(foreground(job));
        kill(job, libc::SIGCONT).unwrap();
        assert_eq!(wait(job, Waiting::ForChange).unwrap().unwrap().0, WaitEvent::Continued);
        assert!(stopped(libc::SIGTSTP));
        let shown = Attributes::of(follower.as_fd()).unwrap().0.c_lflag & libc::ECHO != 0;
        kill(job, libc::SIGCONT).unwrap();
        let WaitEvent::Exited(status) = end(job) else { exit_now(9) };
        exit_now(if shown { status } else { 8 })
    })
    .unwrap();
    screen(&pty.leader, "Password: ");
    write(pty.leader.as_fd(), b"wro\x1a").unwrap();
    let again = screen(&pty.leader, "Password: ");
    assert!(!again.contains("wro"), "{again:?}");
    write(pty.leader.as_fd(), b"right\n").unwrap();
    assert_eq!(end(shell), WaitEvent::Exited(0));
}

#[test]
fn standard_input_is_read_up_to_the_end_of_the_line_only() {
    let (reader, writer) = crate::poll::pipe().unwrap();
    let (errors, stderr) = crate::poll::pipe().unwrap();
    write(writer.as_fd(), b"pass\nrest").unwrap();
    let question = Question { input: reader.as_fd(), output: stderr.as_fd(), prompt: b"P: " };
    assert_eq!(question.ask_elsewhere(None).ok().unwrap().as_bytes(), b"pass");
    let mut buffer = [0; 16];
    let length = read(reader.as_fd(), &mut buffer).unwrap();
    assert_eq!(&buffer[..length], b"rest");
    let length = read(errors.as_fd(), &mut buffer).unwrap();
    assert_eq!(&buffer[..length], b"P: ");
    drop(writer);
    assert!(matches!(question.ask_elsewhere(None), Err(PasswordError::EndOfInput)));
}

#[test]
fn a_silent_pipe_times_out() {
    let (reader, _writer) = crate::poll::pipe().unwrap();
    let (_errors, stderr) = crate::poll::pipe().unwrap();
    let question = Question { input: reader.as_fd(), output: stderr.as_fd(), prompt: b"" };
    assert!(matches!(question.ask_elsewhere(Some(Duration::from_millis(20))), Err(PasswordError::TimedOut)));
}

#[test]
fn other_files_are_rejected_as_terminals() {
    let (reader, _writer) = crate::poll::pipe().unwrap();
    assert!(!is_terminal(reader.as_fd()));
    assert!(window(reader.as_fd()).is_err());
    assert!(Terminal::new(reader).is_err());
    let null = fs::File::open("/dev/null").unwrap();
    assert!(!is_terminal(null.as_fd()));
    assert_eq!(device_name(libc::makedev(200, 77)), None);
}

#[test]
fn kernel_device_numbers_are_decoded() {
    assert_eq!(decode_device(0x8803), libc::makedev(136, 3));
    assert_eq!(decode_device(0x0010_8800), libc::makedev(136, 256));
    assert_eq!(device_name(libc::makedev(5, 0)), Some(PathBuf::from("/dev/tty")));
}
