//! The difference of two texts in the format of `diff -u`, for `patch`. Bounded in time and size, because a record is no archive.
//! It is computed in a sandboxed process without privileges, because the caller controls the texts.

use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};

use sys::poll::{pipe, read, write};
use sys::process::{WaitEvent, Waiting, exit_now, fork, wait};
use sys::sandbox::{Files, Post, become_nobody, close_all_but, confine};

/// The maximum length of both texts together, in bytes; longer ones are not compared.
const LONGEST: usize = 512 << 10;

/// The maximum length of a difference in bytes; longer ones are dropped.
const LONGEST_DIFFERENCE: usize = 64 << 10;

/// More insertions and deletions than this are shown as one change of everything between the first and the last.
const MOST_EDITS: usize = 500;

/// Unchanged lines around a change.
const CONTEXT: usize = 3;

/// Returns the difference between two versions of the file `name`, computed in a sandbox; `None` when one is no text, the
/// difference is too long, or no process can be started.
pub(super) fn difference(name: &str, before: Option<&[u8]>, after: &[u8]) -> Option<String> {
    made_apart(|| unified(name, before, after)).ok().flatten()
}

/// Runs `make` in a sandboxed child and returns its text, if there is one.
fn made_apart(make: impl FnOnce() -> Option<String>) -> io::Result<Option<String>> {
    let (from, to) = pipe()?;
    let worker = fork(|| {
        if become_nobody().is_err() || close_all_but(&[to.as_fd()]).is_err() {
            exit_now(1)
        }
        // A kernel that lacks a part of the sandbox enforces the rest, and the worker has no privileges in any case.
        let _ = confine(Post::Worker, &[], Files::Below(&[]));
        let written = make().map(|text| write_all(&to, text.as_bytes()));
        exit_now(i32::from(!matches!(written, Some(Ok(())))))
    })?;
    drop(to);
    let text = read_all(&from);
    drop(from); // so that a worker with more to write ends
    match wait(worker, Waiting::ForEnd)? {
        Some((WaitEvent::Exited(0), _)) => Ok(String::from_utf8(text?).ok()),
        _ => Ok(None),
    }
}

fn write_all(to: &OwnedFd, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let written = write(to.as_fd(), bytes)?;
        bytes = bytes.get(written..).unwrap_or_default();
    }
    Ok(())
}

/// Reads everything, but no more than a difference can be long.
fn read_all(from: &OwnedFd) -> io::Result<Vec<u8>> {
    let (mut text, mut piece) = (Vec::new(), vec![0; LONGEST_DIFFERENCE]);
    while text.len() <= 2 * LONGEST_DIFFERENCE {
        match read(from.as_fd(), &mut piece)? {
            0 => return Ok(text),
            length => text.extend_from_slice(piece.get(..length).unwrap_or_default()),
        }
    }
    Err(io::ErrorKind::InvalidData.into())
}

/// Computes the difference in this process.
fn unified(name: &str, before: Option<&[u8]>, after: &[u8]) -> Option<String> {
    if before.unwrap_or_default().len() + after.len() > LONGEST {
        return None;
    }
    let old = lines(text(before.unwrap_or_default())?);
    let new = lines(text(after)?);
    let from = if before.is_some() { name } else { "/dev/null" };
    let mut difference = format!("--- {from}\n+++ {name}\n");
    for hunk in hunks(&changes(&old, &new)) {
        write_hunk(&mut difference, &hunk, &old, &new);
        if difference.len() > LONGEST_DIFFERENCE {
            return None;
        }
    }
    Some(difference)
}

/// Lines of the old text that are replaced by lines of the new one.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Change {
    old: Range<usize>,
    new: Range<usize>,
}

fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok().filter(|text| !text.contains('\0'))
}

/// Splits a text into lines with their ends, so that a last line without newline differs from one with it.
fn lines(text: &str) -> Vec<&str> {
    text.split_inclusive('\n').collect()
}

fn changes(old: &[&str], new: &[&str]) -> Vec<Change> {
    let begin = old.iter().zip(new).take_while(|(a, b)| a == b).count();
    let (old_rest, new_rest) = (old.get(begin..).unwrap_or_default(), new.get(begin..).unwrap_or_default());
    let end = old_rest.iter().rev().zip(new_rest.iter().rev()).take_while(|(a, b)| a == b).count();
    let old_middle = old_rest.get(..old_rest.len() - end).unwrap_or_default();
    let new_middle = new_rest.get(..new_rest.len() - end).unwrap_or_default();
    let mut found = Vec::new();
    let (mut x, mut y) = (0, 0);
    let common = common_lines(old_middle, new_middle).unwrap_or_default();
    for (a, b) in common.into_iter().chain([(old_middle.len(), new_middle.len())]) {
        if (x, y) != (a, b) {
            found.push(Change { old: begin + x..begin + a, new: begin + y..begin + b });
        }
        (x, y) = (a + 1, b + 1);
    }
    found
}

/// Returns pairs of unchanged lines, in order (Myers, "An O(ND) Difference Algorithm", 1986); `None` for too many edits.
fn common_lines(old: &[&str], new: &[&str]) -> Option<Vec<(usize, usize)>> {
    let (n, m) = (signed(old.len()), signed(new.len()));
    let bound = MOST_EDITS.min(old.len() + new.len());
    let width = 2 * bound + 3;
    let place = |k: isize| usize::try_from(k + signed(bound) + 1).unwrap_or(usize::MAX);
    // furthest[k] is the line of the old text that is reached on diagonal k with the edits so far.
    let mut furthest = vec![0_isize; width];
    let mut history = Vec::new();
    for edits in 0..=signed(bound) {
        history.push(furthest.clone());
        for k in (-edits..=edits).step_by(2) {
            let at = |k: isize| furthest.get(place(k)).copied().unwrap_or(0);
            let down = k == -edits || (k != edits && at(k - 1) < at(k + 1));
            let mut x = if down { at(k + 1) } else { at(k - 1) + 1 };
            while x < n && x - k < m && same(old, new, x, x - k) {
                x += 1;
            }
            if let Some(reached) = furthest.get_mut(place(k)) {
                *reached = x;
            }
            if x >= n && x - k >= m {
                return Some(walk_back(&history, n, m, place));
            }
        }
    }
    None
}

fn walk_back(history: &[Vec<isize>], n: isize, m: isize, place: impl Fn(isize) -> usize) -> Vec<(usize, usize)> {
    let (mut x, mut y) = (n, m);
    let mut kept = Vec::new();
    for (edits, furthest) in history.iter().enumerate().rev() {
        let at = |k: isize| furthest.get(place(k)).copied().unwrap_or(0);
        let (edits, k) = (signed(edits), x - y);
        let down = k == -edits || (k != edits && at(k - 1) < at(k + 1));
        let before = if down { k + 1 } else { k - 1 };
        let (from_x, from_y) = if edits == 0 { (0, 0) } else { (at(before), at(before) - before) };
        while x > from_x && y > from_y {
            x -= 1;
            y -= 1;
            kept.extend(usize::try_from(x).ok().zip(usize::try_from(y).ok()));
        }
        (x, y) = (from_x, from_y);
    }
    kept.reverse();
    kept
}

fn same(old: &[&str], new: &[&str], x: isize, y: isize) -> bool {
    let line = |at: isize| usize::try_from(at).ok();
    line(x).and_then(|x| old.get(x)) == line(y).and_then(|y| new.get(y))
}

fn signed(length: usize) -> isize {
    isize::try_from(length).unwrap_or(isize::MAX)
}

/// Groups changes whose context lines overlap.
fn hunks(changes: &[Change]) -> Vec<Vec<Change>> {
    let mut hunks: Vec<Vec<Change>> = Vec::new();
    for change in changes {
        match hunks.last_mut() {
            Some(hunk) if hunk.last().is_some_and(|last| change.old.start - last.old.end <= 2 * CONTEXT) => {
                hunk.push(change.clone());
            }
            _ => hunks.push(vec![change.clone()]),
        }
    }
    hunks
}

fn write_hunk(text: &mut String, hunk: &[Change], old: &[&str], new: &[&str]) {
    let (Some(first), Some(last)) = (hunk.first(), hunk.last()) else { return };
    let lead = first.old.start.min(CONTEXT);
    let trail = (old.len() - last.old.end).min(CONTEXT);
    let old_span = first.old.start - lead..last.old.end + trail;
    let new_span = first.new.start - lead..last.new.end + trail;
    text.push_str(&format!("@@ -{} +{} @@\n", span(&old_span), span(&new_span)));
    let mut at = old_span.start;
    for change in hunk {
        write_lines(text, ' ', old.get(at..change.old.start));
        write_lines(text, '-', old.get(change.old.clone()));
        write_lines(text, '+', new.get(change.new.clone()));
        at = change.old.end;
    }
    write_lines(text, ' ', old.get(at..old_span.end));
}

/// Returns `FIRST,COUNT`, where the first line is 1 and an empty span names the line before it.
fn span(lines: &Range<usize>) -> String {
    match lines.len() {
        0 => format!("{},0", lines.start),
        1 => format!("{}", lines.start + 1),
        count => format!("{},{count}", lines.start + 1),
    }
}

fn write_lines(text: &mut String, mark: char, lines: Option<&[&str]>) {
    for line in lines.unwrap_or_default() {
        text.push(mark);
        text.push_str(line);
        if !line.ends_with('\n') {
            text.push_str("\n\\ No newline at end of file\n");
        }
    }
}

#[cfg(test)]
mod tests;
