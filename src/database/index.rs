//! The index of the WAL (the `-shm` file) that earlier processes left. By default the first process that opens a database makes
//! SQLite rebuild the index, because after a crash of the host its contents are unknown; each run would pay for that. This module
//! keeps the index where it can show that no such crash happened and that the index belongs to the WAL beside it:
//!
//! - a process of this boot left a note that SQLite had built the index, in this very file on this very mount;
//! - it ends with the last commit of the WAL: the checksum over the WAL up to there matches, and no valid frame follows
//!   (<https://sqlite.org/walformat.html>);
//! - it maps every page of the WAL to the WAL, whatever the database holds.
//!
//! SQLite repairs what a killed process left half done in the index, as it does when other processes have the database open.

use std::ffi::CStr;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

use sys::disk::{place, read_note, remove_note, write_note};
use sys::lock;

use super::files::beside;

/// The byte of the index that every process locks while it has the index open (`UNIX_SHM_DMS` in SQLite's os_unix.c).
const IN_USE: i64 = 128;

/// The name of the extended attribute that holds the note.
const NOTE: &CStr = c"user.jit-sudo.built";

/// `WALINDEX_MAX_VERSION` of SQLite's wal.c: the layout of the index since 2010.
const VERSION: u32 = 3_007_000;

/// The first block of the index, in bytes. It has room for 4,062 frames; this module does not keep the index of a longer WAL.
const BLOCK: u64 = 32 << 10;
const FRAMES: u32 = 4000;

/// The index as this process found it when it opened the database.
pub(super) enum Index {
    /// The index is good: SQLite finds it locked by this process and uses it as it is.
    Kept(#[expect(dead_code, reason = "it is held")] Held),
    /// Other processes have it open and maintain it.
    Shared,
    /// SQLite builds it.
    Built,
}

impl Index {
    /// Must run before SQLite opens the database at `path`. Nothing is an error here: SQLite rebuilds an index that is not known to
    /// be good.
    pub(super) fn find(path: &Path) -> Self {
        let place = beside(path, "-shm");
        let Ok(file) = OpenOptions::new().read(true).write(true).open(&place) else { return Self::Built };
        let noted = note(&place).is_some_and(|note| read_note(&file, NOTE).is_ok_and(|found| found == note.as_bytes()));
        // While no process has it open, no process changes it; a process that opens it meanwhile waits, as it would for a rebuild.
        if !is_unused(&file) {
            std::mem::forget(file);
            return Self::Shared;
        }
        let kept = noted && is_good(&file, path).unwrap_or(false) && lock::share_claimed(&file, IN_USE).is_ok();
        if kept { Self::Kept(Held(Some(file))) } else { Self::Built }
    }

    /// Whether this process uses the index without rebuilding it.
    pub(super) fn is_kept(&self) -> bool {
        !matches!(self, Self::Built)
    }

    /// Removes the note, so that the next process rebuilds the index. Returns whether there was a note.
    pub(super) fn distrust(path: &Path) -> bool {
        remove_note(&beside(path, "-shm"), NOTE).is_ok()
    }

    /// Writes the note once SQLite has read from the database and so has built the index. Where the note cannot be written, every
    /// process rebuilds the index.
    pub(super) fn leave_note(&self, path: &Path) {
        let index = beside(path, "-shm");
        if matches!(self, Self::Built)
            && let Some(note) = note(&index)
        {
            let _ = write_note(&index, NOTE, note.as_bytes());
        }
    }
}

/// The index, open and locked for as long as the connection lives. Closing a file drops every lock that this process, including
/// SQLite, has on it (fcntl(2)), so it is not closed while SQLite may have one.
pub(super) struct Held(Option<File>);

impl Drop for Held {
    fn drop(&mut self) {
        let Some(file) = self.0.take() else { return };
        if lock::unshare(&file, IN_USE).is_err() || lock::is_shared(&file, IN_USE).unwrap_or(true) {
            std::mem::forget(file);
        }
    }
}

/// Whether no connection of any process has the index open; if so, this process holds it exclusively until it closes or shares it.
/// If it is killed meanwhile, the lock ends at once: no user can keep the others from the database. A connection of this process is
/// asked for first, because its lock would not be in the way.
fn is_unused(index: &File) -> bool {
    lock::is_shared(index, IN_USE).is_ok_and(|shared| !shared) && lock::claim_byte(index, IN_USE).is_ok_and(|free| free)
}

/// Returns the text of a valid note on the index in this boot; `None` where that cannot be determined.
fn note(index: &Path) -> Option<String> {
    let place = place(index).ok()??;
    Some(format!("{} {} {}", sys::time::boot_id().ok()?, place.mount, place.inode))
}

fn is_good(index: &File, path: &Path) -> std::io::Result<bool> {
    if index.metadata()?.len() < BLOCK {
        return Ok(false);
    }
    let Some(header) = Header::read(index)? else { return Ok(false) };
    let wal = File::open(beside(path, "-wal"))?;
    let mut start = [0; 32];
    wal.read_exact_at(&mut start, 0)?;
    if bytes_at(&start, 16) != header.salts || wal.metadata()?.len() < header.frame(header.frames) {
        return Ok(false);
    }
    let last = if header.frames == 0 { None } else { Frame::read(&wal, &header, header.frames - 1)? };
    let ends_there = header.frames == 0
        || last.is_some_and(|frame| frame.salts == header.salts && frame.sum == header.sum && frame.commits);
    let goes_on = Frame::read(&wal, &header, header.frames)?.is_some_and(|frame| frame.salts == header.salts);
    Ok(ends_there && !goes_on)
}

/// The header of the index (`WalIndexHdr` and `WalCkptInfo` in SQLite's wal.c), in the byte order of the machine.
struct Header {
    page: u64,
    /// Frames up to the last commit.
    frames: u32,
    /// The checksum over all of them.
    sum: [u32; 2],
    /// The salts of the WAL, which change each time that the WAL is reset.
    salts: [u8; 8],
}

impl Header {
    /// Returns `None` where the two copies differ, the layout is unknown, or some frames count as checkpointed into the database:
    /// that could not be verified without reading the database as well.
    fn read(index: &File) -> std::io::Result<Option<Self>> {
        let mut bytes = [0_u8; 100];
        index.read_exact_at(&mut bytes, 0)?;
        let (header, rest) = bytes.split_at(48);
        let (copy, moved) = rest.split_at(48);
        let number = |at| u32::from_ne_bytes(bytes_at(header, at));
        let page = u64::from(u16::from_ne_bytes(bytes_at(header, 14)));
        let read = Self {
            page: if page == 1 { 1 << 16 } else { page },
            frames: number(16),
            sum: [number(24), number(28)],
            salts: bytes_at(header, 32),
        };
        let known = header == copy
            && moved == [0; 4]
            && number(0) == VERSION
            && bytes_at(header, 12) == [1]
            && read.page >= 512
            && read.frames <= FRAMES;
        Ok(known.then_some(read))
    }

    /// Returns the offset in the WAL of the frame with this number, from 0.
    fn frame(&self, place: u32) -> u64 {
        32 + u64::from(place) * (24 + self.page)
    }
}

/// The header of one frame of the WAL; its numbers are big-endian.
struct Frame {
    /// Whether a commit ends with this frame.
    commits: bool,
    salts: [u8; 8],
    /// The checksum over everything in the WAL up to and including this frame.
    sum: [u32; 2],
}

impl Frame {
    /// Reads the frame with this number, from 0; returns `None` where the file ends before it.
    fn read(wal: &File, header: &Header, place: u32) -> std::io::Result<Option<Self>> {
        let mut bytes = [0_u8; 24];
        match wal.read_exact_at(&mut bytes, header.frame(place)) {
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(None),
            read => read?,
        }
        let number = |at| u32::from_be_bytes(bytes_at(&bytes, at));
        let salts = bytes_at(&bytes, 8);
        Ok(Some(Self { commits: number(4) != 0, salts, sum: [number(16), number(20)] }))
    }
}

/// Returns the bytes at this offset; zeros where there are none.
fn bytes_at<const N: usize>(bytes: &[u8], place: usize) -> [u8; N] {
    bytes.get(place..).and_then(|rest| rest.first_chunk()).copied().unwrap_or([0; N])
}

#[cfg(test)]
mod tests;
