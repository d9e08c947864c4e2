//! Forks in a program with one thread, unlike a test harness.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::mpsc::channel;

use sys::process::{WaitEvent, Waiting, exit_now, fork, wait};

fn main() {
    a_child_exits_with_its_status();
    a_panic_in_a_child_ends_only_the_child();
    a_program_with_threads_does_not_fork();
}

fn a_child_exits_with_its_status() {
    let child = fork(|| exit_now(7)).unwrap();
    assert_eq!(wait(child, Waiting::ForEnd).unwrap().unwrap().0, WaitEvent::Exited(7));
    println!("test a_child_exits_with_its_status ... ok");
}

fn a_panic_in_a_child_ends_only_the_child() {
    let child = fork(|| {
        std::panic::set_hook(Box::new(|_| {}));
        panic!("in the child")
    })
    .unwrap();
    let event = wait(child, Waiting::ForEnd).unwrap().unwrap().0;
    assert!(matches!(event, WaitEvent::Signaled { signal: libc::SIGABRT, .. }));
    println!("test a_panic_in_a_child_ends_only_the_child ... ok");
}

fn a_program_with_threads_does_not_fork() {
    let (hold, held) = channel::<()>();
    let thread = std::thread::spawn(move || held.recv());
    let outcome = fork(|| exit_now(0));
    assert_eq!(outcome.is_err(), !cfg!(feature = "fork-with-threads"));
    drop(hold);
    let _ = thread.join();
    println!("test a_program_with_threads_does_not_fork ... ok");
}
