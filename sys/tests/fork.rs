//! Forks in a program with one thread, unlike a test harness.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::mpsc::channel;

use sys::process::{WaitEvent, Waiting, exit_now, fork, wait};

fn main() {
    child_ends_as_it_says();
    panic_in_a_child_ends_the_child_only();
    program_with_threads_does_not_fork();
}

fn child_ends_as_it_says() {
    let child = fork(|| exit_now(7)).unwrap();
    assert_eq!(wait(child, Waiting::ForEnd).unwrap().unwrap().0, WaitEvent::Exited(7));
    println!("test child_ends_as_it_says ... ok");
}

fn panic_in_a_child_ends_the_child_only() {
    let child = fork(|| {
        std::panic::set_hook(Box::new(|_| {}));
        panic!("in the child")
    })
    .unwrap();
    let event = wait(child, Waiting::ForEnd).unwrap().unwrap().0;
    assert!(matches!(event, WaitEvent::Signaled { signal: libc::SIGABRT, .. }));
    println!("test panic_in_a_child_ends_the_child_only ... ok");
}

fn program_with_threads_does_not_fork() {
    let (hold, held) = channel::<()>();
    let thread = std::thread::spawn(move || held.recv());
    let outcome = fork(|| exit_now(0));
    assert_eq!(outcome.is_err(), !cfg!(feature = "fork-with-threads"));
    drop(hold);
    let _ = thread.join();
    println!("test program_with_threads_does_not_fork ... ok");
}
