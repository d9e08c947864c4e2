//! Compiles the table into a filter of system calls (seccomp(2)).

use std::io;

use super::Post;
use super::table::{Answer, Condition, LEGACY, Row, TABLE};
use crate::bpf::{ARCH, NUMBER, X32_BIT, answer, any_bit, argument, at_least, equal, load, skip};

/// AUDIT_ARCH_* of linux/audit.h.
#[cfg(target_arch = "x86_64")]
const OWN: Option<u32> = Some(0xc000_003e);

#[cfg(target_arch = "aarch64")]
const OWN: Option<u32> = Some(0xc000_00b7);

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
const OWN: Option<u32> = None;

const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
const REFUSE: u32 = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;
const KILL: u32 = libc::SECCOMP_RET_KILL_PROCESS;

/// Returns every row.
pub(super) fn rows() -> impl Iterator<Item = &'static Row> {
    TABLE.iter().chain(LEGACY)
}

/// Returns the answer of the table for a row's calls from a process of this kind.
pub(super) fn answer_for(row: &Row, post: Post) -> Answer {
    match post {
        Post::RelayProcess => row.relay_process,
        Post::Enforcer => row.enforcer,
        Post::Worker => row.worker,
    }
}

/// Compiles the filter for a kind of process. A call through another ABI is fatal: its numbers mean other calls.
///
/// # Errors
/// `Unsupported` on an unknown architecture.
pub(super) fn filter(post: Post) -> io::Result<Vec<libc::sock_filter>> {
    let own = OWN.ok_or_else(|| io::Error::from(io::ErrorKind::Unsupported))?;
    let mut calls = Vec::new();
    for row in rows() {
        let told = answer_for(row, post);
        if told != Answer::Refused {
            for (_, number) in row.calls {
                calls.push((u32::try_from(*number).map_err(io::Error::other)?, told));
            }
        }
    }
    calls.sort_unstable_by_key(|(number, _)| *number);
    let mut filter =
        vec![load(ARCH), equal(own, 1, 0), answer(KILL), load(NUMBER), at_least(X32_BIT, 0, 1), answer(KILL)];
    search(&calls, &mut filter)?;
    Ok(filter)
}

/// Up to this many calls are compared one by one.
const FEW: usize = 4;

/// Searches these sorted calls by bisection: when a filter is installed, the kernel runs it once for every number.
fn search(calls: &[(u32, Answer)], filter: &mut Vec<libc::sock_filter>) -> io::Result<()> {
    let (low, high) = calls.split_at_checked(calls.len() / 2).unwrap_or((calls, &[]));
    let Some((middle, _)) = high.first().filter(|_| calls.len() > FEW) else {
        for (number, told) in calls {
            let then = outcome(*told);
            filter.push(equal(*number, 0, u8::try_from(then.len()).map_err(io::Error::other)?));
            filter.extend(then);
        }
        filter.push(answer(REFUSE));
        return Ok(());
    };
    let mut below = Vec::new();
    search(low, &mut below)?;
    filter.extend([at_least(*middle, 0, 1), skip(u32::try_from(below.len()).map_err(io::Error::other)?)]);
    filter.extend(below);
    search(high, filter)
}

/// Returns the instructions for a recognized call; they always end the filter.
fn outcome(told: Answer) -> Vec<libc::sock_filter> {
    match told {
        Answer::Passes => vec![answer(ALLOW)],
        Answer::Refused => vec![answer(REFUSE)],
        Answer::Fatal => vec![answer(KILL)],
        Answer::Only(condition) => conditional(condition),
    }
}

fn conditional(condition: Condition) -> Vec<libc::sock_filter> {
    match condition {
        Condition::OneOf(index, values) => {
            let mut then = vec![load(argument(index))];
            for value in values {
                then.extend([equal(*value, 0, 1), answer(ALLOW)]);
            }
            then.push(answer(REFUSE));
            then
        }
        Condition::Not(index, value) => {
            vec![load(argument(index)), equal(value, 0, 1), answer(REFUSE), answer(ALLOW)]
        }
        Condition::Without(index, bits) => {
            vec![load(argument(index)), any_bit(bits, 0, 1), answer(REFUSE), answer(ALLOW)]
        }
        Condition::NotBoth(index, one, other) => {
            vec![load(argument(index)), any_bit(one, 0, 2), any_bit(other, 0, 1), answer(REFUSE), answer(ALLOW)]
        }
    }
}
