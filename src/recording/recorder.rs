//! Writes one recording: buffered for at most [`BEHIND`], limited in size, and sealed at the end.

use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use super::cast::{Carry, Header, Kind, Text, push_event};

/// How long an event may wait before it is written.
const BEHIND: Duration = Duration::from_millis(250);

/// How many waiting bytes are written at once.
const FULL: usize = 64 << 10;

/// How many bytes are written between two checks of the free space.
const LOOK: u64 = 1 << 20;

/// Limits of a recording, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The maximum length of the file.
    pub length: u64,
    /// How much stays free on the file system, as df(1) counts it.
    pub reserve: u64,
}

/// A file for a new recording.
#[derive(Debug)]
pub struct Blank {
    /// A new file.
    pub file: File,
    /// How large it may become.
    pub limits: Limits,
}

/// Why the recording has ended; `Display` is a sentence fragment.
#[derive(Debug)]
pub enum RecordingError {
    /// The file has reached its limit, in bytes.
    Length(u64),
    /// Less than this reserve, in bytes, is free.
    Space(u64),
    /// The file cannot be created or written.
    System(io::Error),
}

impl fmt::Display for RecordingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length(limit) => write!(f, "the recording has reached its limit of {} KiB", limit >> 10),
            Self::Space(reserve) => write!(f, "less than {} KiB are free for recordings", reserve >> 10),
            Self::System(error) => write!(f, "the recording cannot be written: {error}"),
        }
    }
}

impl From<io::Error> for RecordingError {
    fn from(error: io::Error) -> Self {
        Self::System(error)
    }
}

/// Identifies the contents of a finished recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seal {
    /// SHA-256 of the whole file.
    pub sha256: [u8; 32],
    /// Its length in bytes.
    pub bytes: u64,
}

impl Seal {
    /// Computes the seal of a recording whose writer was killed and left none.
    pub fn of(file: &File) -> io::Result<Self> {
        let (mut digest, mut bytes, mut piece) = (Sha256::new(), 0_u64, vec![0; FULL]);
        loop {
            let length = file.read_at(&mut piece, bytes)?;
            if length == 0 {
                return Ok(Self { sha256: digest.finalize().into(), bytes });
            }
            digest.update(piece.get(..length).unwrap_or_default());
            bytes += length as u64;
        }
    }
}

/// A recording that is being written. After its first error the file stays as it is, and nothing more is added.
#[derive(Debug)]
#[must_use = "a recording is finished, so that its seal gets into the journal"]
pub struct Recorder {
    file: File,
    limits: Limits,
    begun: Instant,
    /// Whole lines that are not written yet.
    waiting: Vec<u8>,
    /// When the first of them was added.
    since: Option<Instant>,
    output: Carry,
    input: Carry,
    digest: Sha256,
    written: u64,
    looked: u64,
    over: bool,
}

impl Recorder {
    /// Begins a recording and writes its header.
    pub fn begin(blank: Blank, header: &Header, now: Instant) -> Result<Self, RecordingError> {
        let Blank { file, limits } = blank;
        let mut recorder = Self {
            file,
            limits,
            begun: now,
            waiting: serde_json::to_vec(header).map_err(io::Error::from)?,
            since: None,
            output: Carry::default(),
            input: Carry::default(),
            digest: Sha256::new(),
            written: 0,
            looked: 0,
            over: false,
        };
        recorder.waiting.push(b'\n');
        recorder.look()?;
        recorder.flush()?;
        Ok(recorder)
    }

    /// Adds output of the command.
    pub fn output(&mut self, now: Instant, bytes: &[u8]) -> Result<(), RecordingError> {
        self.event(now, Kind::Output, bytes)
    }

    /// Adds typed input.
    pub fn input(&mut self, now: Instant, bytes: &[u8]) -> Result<(), RecordingError> {
        self.event(now, Kind::Input, bytes)
    }

    /// Adds a change of the window's size.
    pub fn resize(&mut self, now: Instant, columns: u16, rows: u16) -> Result<(), RecordingError> {
        self.event(now, Kind::Resize, format!("{columns}x{rows}").as_bytes())
    }

    /// Adds a message to the person at the terminal, or an action on the command.
    pub fn mark(&mut self, now: Instant, words: &str) -> Result<(), RecordingError> {
        self.event(now, Kind::Marker, words.as_bytes())
    }

    /// Returns how long until something must be written; `None` when nothing waits.
    pub fn patience(&self, now: Instant) -> Option<Duration> {
        self.since.map(|since| (since + BEHIND).saturating_duration_since(now))
    }

    /// Writes what has waited long enough.
    pub fn tend(&mut self, now: Instant) -> Result<(), RecordingError> {
        if self.patience(now).is_some_and(|left| left.is_zero()) { self.flush() } else { Ok(()) }
    }

    /// Writes what is left and seals the file. The error, if there is one, is that of the last write; the seal covers what was
    /// written.
    pub fn finish(mut self) -> (Seal, Result<(), RecordingError>) {
        let last = self.flush();
        (Seal { sha256: self.digest.finalize().into(), bytes: self.written }, last)
    }

    /// Returns the file, which another process writes from now on.
    pub fn into_file(self) -> File {
        self.file
    }

    /// Shows others that this process, which was forked from the one that has begun the recording, writes it.
    pub fn hold(&self) {
        let _ = sys::lock::hold(&self.file); // the process that has begun it holds it too
    }

    /// Returns the file.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    fn event(&mut self, now: Instant, kind: Kind, bytes: &[u8]) -> Result<(), RecordingError> {
        if self.over {
            return Ok(());
        }
        let at = now.saturating_duration_since(self.begun);
        let mut whole = Carry::default();
        let carry = match kind {
            Kind::Output => &mut self.output,
            Kind::Input => &mut self.input,
            Kind::Resize | Kind::Marker => &mut whole,
        };
        push_event(&mut self.waiting, at, kind, &mut Text { bytes, carry });
        self.since.get_or_insert(now);
        if self.waiting.len() < FULL { Ok(()) } else { self.flush() }
    }

    fn flush(&mut self) -> Result<(), RecordingError> {
        if self.over || self.waiting.is_empty() {
            return Ok(());
        }
        let result = self.write();
        self.over = result.is_err();
        self.since = None;
        self.waiting.clear();
        result
    }

    /// Writes everything that waits, or as many whole lines as the limit allows.
    fn write(&mut self) -> Result<(), RecordingError> {
        let room = usize::try_from(self.limits.length.saturating_sub(self.written)).unwrap_or(usize::MAX);
        if self.waiting.len() <= room {
            return self.append(self.waiting.len());
        }
        let fits = self.waiting.get(..room).unwrap_or_default();
        self.append(fits.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1))?;
        Err(RecordingError::Length(self.limits.length))
    }

    /// Writes the first `length` bytes, which are whole lines, or nothing.
    fn append(&mut self, length: usize) -> Result<(), RecordingError> {
        let after = self.written + length as u64;
        if after >= self.looked + LOOK {
            self.look()?;
        }
        let lines = self.waiting.get(..length).unwrap_or_default();
        if let Err(error) = self.file.write_all(lines) {
            self.file.set_len(self.written)?;
            return Err(error.into());
        }
        self.digest.update(lines);
        self.written = after;
        Ok(())
    }

    fn look(&mut self) -> Result<(), RecordingError> {
        self.looked = self.written;
        if sys::trusted::free_space(self.file.as_fd())? < self.limits.reserve {
            return Err(RecordingError::Space(self.limits.reserve));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recording::cast::Environment;
    use std::path::PathBuf;

    struct TestDir(PathBuf);

    impl TestDir {
        fn new(name: &str) -> Self {
            Self(std::env::temp_dir().join(format!("jit-sudo-recorder-{name}-{}", std::process::id())))
        }

        fn begin(&self, limits: Limits, now: Instant) -> Result<Recorder, RecordingError> {
            Recorder::begin(Blank { file: File::create(&self.0).unwrap(), limits }, &header(), now)
        }

        fn text(&self) -> String {
            std::fs::read_to_string(&self.0).unwrap()
        }
    }

    impl Drop for TestDir {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.0);
        }
    }

    const ROOMY: Limits = Limits { length: 1 << 20, reserve: 0 };

    fn header() -> Header {
        Header {
            version: 2,
            width: 80,
            height: 24,
            timestamp: 1_800_000_000,
            command: "id -u".into(),
            title: "t".into(),
            env: Environment { term: Some("xterm".into()), shell: None },
        }
    }

    #[test]
    fn a_recording_is_a_header_and_events_under_one_digest() {
        let place = TestDir::new("whole");
        let start = Instant::now();
        let after = |ms| start + Duration::from_millis(ms);
        let mut recorder = place.begin(ROOMY, start).unwrap();
        recorder.output(after(1), b"a\r\n").unwrap();
        recorder.input(after(20), b"\x03").unwrap();
        recorder.resize(after(1300), 100, 40).unwrap();
        recorder.mark(after(61_000), "frozen").unwrap();
        let (seal, last) = recorder.finish();
        last.unwrap();
        let text = place.text();
        assert_eq!(
            text,
            "{\"version\":2,\"width\":80,\"height\":24,\"timestamp\":1800000000,\"command\":\"id -u\",\"title\":\"t\",\
             \"env\":{\"TERM\":\"xterm\"}}\n[0.001000, \"o\", \"a\\r\\n\"]\n[0.020000, \"i\", \"\\u0003\"]\n\
             [1.300000, \"r\", \"100x40\"]\n[61.000000, \"m\", \"frozen\"]\n"
        );
        let digest: [u8; 32] = Sha256::digest(text.as_bytes()).into();
        assert_eq!(seal, Seal { sha256: digest, bytes: text.len() as u64 });
    }

    #[test]
    fn an_event_is_written_within_its_time_and_much_at_once() {
        let place = TestDir::new("behind");
        let start = Instant::now();
        let mut recorder = place.begin(ROOMY, start).unwrap();
        assert_eq!(recorder.patience(start), None);
        recorder.output(start, b"first").unwrap();
        assert_eq!(recorder.patience(start + BEHIND / 2), Some(BEHIND / 2));
        recorder.tend(start + BEHIND / 2).unwrap();
        assert!(!place.text().contains("first"));
        recorder.tend(start + BEHIND).unwrap();
        assert!(place.text().contains("first"));
        assert_eq!(recorder.patience(start + BEHIND), None);
        recorder.output(start, &vec![b'x'; FULL]).unwrap();
        assert!(place.text().len() > FULL);
        let _ = recorder.finish();
    }

    #[test]
    fn a_recording_that_reaches_its_limit_ends_with_a_whole_line_and_its_seal() {
        let place = TestDir::new("limit");
        let start = Instant::now();
        let mut recorder = place.begin(Limits { length: 1000, reserve: 0 }, start).unwrap();
        recorder.output(start, &[b'a'; 300]).unwrap();
        recorder.tend(start + BEHIND).unwrap();
        recorder.output(start, &[b'a'; 100]).unwrap();
        recorder.output(start, &[b'b'; 700]).unwrap();
        assert!(matches!(recorder.tend(start + BEHIND), Err(RecordingError::Length(1000))));
        recorder.output(start, b"c").unwrap();
        let (seal, last) = recorder.finish();
        last.unwrap();
        let text = place.text();
        assert!(text.ends_with("a\"]\n") && text.len() > 500 && !text.contains('b'), "{text}");
        let digest: [u8; 32] = Sha256::digest(text.as_bytes()).into();
        assert_eq!((seal.sha256, seal.bytes), (digest, text.len() as u64));
    }

    #[test]
    fn nothing_is_recorded_below_the_reserve() {
        let place = TestDir::new("reserve");
        let begun = place.begin(Limits { length: 1 << 20, reserve: u64::MAX }, Instant::now());
        assert!(matches!(begun, Err(RecordingError::Space(u64::MAX))));
        assert_eq!(place.text(), "");
    }

    #[test]
    fn a_file_that_cannot_be_written_ends_the_recording() {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let begun = Recorder::begin(Blank { file: full, limits: ROOMY }, &header(), Instant::now());
        assert!(matches!(begun, Err(RecordingError::System(_))));
    }
}
