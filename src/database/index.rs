//! The index of the WAL (the `-shm` file) that earlier processes left. By itself SQLite has the first process that opens a
//! database build it anew, because after a crash of the host nobody knows what is in it; each run would pay for that. It is
//! kept where it can be shown that there was no such crash, and that it belongs to the WAL beside it:
//!
//! - a process of this boot left a note that SQLite had built it, in this very file on this very mount;
//! - it ends with the last commit of the WAL: by the sum over all that is in the WAL up to there, and because nothing goes on
//!   behind it (<https://sqlite.org/walformat.html>);
//! - it leaves every page of the WAL to the WAL, whatever the database holds.
//!
//! What a killed process left half done in it is mended by SQLite, as ever when others have the database open.

use std::ffi::CStr;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

use sys::disk::{place, read_note, remove_note, write_note};
use sys::lock;

use super::files::beside;

/// The byte of the index that every process locks that has it open (`UNIX_SHM_DMS` in SQLite's os_unix.c).
const IN_USE: i64 = 128;

/// The name of the note.
const NOTE: &CStr = c"user.jit-sudo.built";

/// `WALINDEX_MAX_VERSION` of SQLite's wal.c: how the index has been laid out since 2010.
const VERSION: u32 = 3_007_000;

/// The first block of the index, in bytes; it has room for 4,062 frames, and a WAL that has more is an accident.
const BLOCK: u64 = 32 << 10;
const FRAMES: u32 = 4000;

/// The index as this process found it when it opened the database.
pub(super) enum Index {
    /// It is good: SQLite sees a lock of ours and takes it as it is.
    Kept(#[expect(dead_code, reason = "it is held")] Held),
    /// Others have it open, and look after it.
    Shared,
    /// SQLite builds it.
    Built,
}

impl Index {
    /// Comes before SQLite opens the database at `path`. Nothing is an error here: what is not known to be good is built.
    pub(super) fn find(path: &Path) -> Self {
        let place = beside(path, "-shm");
        let Ok(file) = OpenOptions::new().read(true).write(true).open(&place) else { return Self::Built };
        let noted = note(&place).is_some_and(|note| read_note(&file, NOTE).is_ok_and(|found| found == note.as_bytes()));
        // While nobody has it open, nobody changes it; and who comes meanwhile waits, as for one who builds it.
        if !is_unused(&file) {
            std::mem::forget(file);
            return Self::Shared;
        }
        let kept = noted && is_good(&file, path).unwrap_or(false) && lock::share(&file, IN_USE).is_ok();
        if kept { Self::Kept(Held(Some(file))) } else { Self::Built }
    }

    /// Whether this process was spared the building.
    pub(super) fn is_kept(&self) -> bool {
        !matches!(self, Self::Built)
    }

    /// Has the next process build the index, where a note says that it need not: whether there was one.
    pub(super) fn distrust(path: &Path) -> bool {
        remove_note(&beside(path, "-shm"), NOTE).is_ok()
    }

    /// Comes when SQLite has read from the database, and so has built the index. Where no note can be left, every process
    /// builds it.
    pub(super) fn leave_note(&self, path: &Path) {
        let index = beside(path, "-shm");
        if matches!(self, Self::Built)
            && let Some(note) = note(&index)
        {
            let _ = write_note(&index, NOTE, note.as_bytes());
        }
    }
}

/// The index, open and locked for as long as the connection lives. Closing a file drops every lock that SQLite has on it in this
/// process (fcntl(2)), so it is not closed where there may be one.
pub(super) struct Held(Option<File>);

impl Drop for Held {
    fn drop(&mut self) {
        let Some(file) = self.0.take() else { return };
        if lock::unshare(&file, IN_USE).is_err() || !is_unused(&file) {
            std::mem::forget(file);
        }
    }
}

/// Whether no connection has the index open, of this process or another; then it is this file's alone until it is closed or shared.
fn is_unused(index: &File) -> bool {
    lock::claim_one(index, IN_USE, 1).is_ok_and(|free| free)
}

/// What a note on the index says in this boot; `None` where that cannot be told.
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

/// What the index says of the WAL (`WalIndexHdr` and `WalCkptInfo` in SQLite's wal.c), in the byte order of the machine.
struct Header {
    page: u64,
    /// Frames up to the last commit.
    frames: u32,
    /// Over all of them.
    sum: [u32; 2],
    /// Those of the WAL: other ones each time that it begins anew.
    salts: [u8; 8],
}

impl Header {
    /// `None` where the two copies differ, or it is none of ours, or some of the frames count as moved into the database: that is
    /// what a third file would have to show.
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

    /// Where in the WAL the frame at this place begins, from 0.
    fn frame(&self, place: u32) -> u64 {
        32 + u64::from(place) * (24 + self.page)
    }
}

/// The head of one page in the WAL; numbers are big-endian there.
struct Frame {
    /// Whether a commit ends with it.
    commits: bool,
    salts: [u8; 8],
    /// Over everything in the WAL up to and with it.
    sum: [u32; 2],
}

impl Frame {
    /// The frame at this place, from 0; `None` where the file ends before it.
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

/// Those at this place; zeros where there are none.
fn bytes_at<const N: usize>(bytes: &[u8], place: usize) -> [u8; N] {
    bytes.get(place..).and_then(|rest| rest.first_chunk()).copied().unwrap_or([0; N])
}

#[cfg(test)]
mod tests;
