//! Recordings from the broker: frames after its answer, which are checked like the answer as untrusted.

use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::process::{Child, ChildStdout, ExitStatus};

use jit_core::wire::{FRAME_LIMIT, Frame, RecordingInfo, Verb};

use crate::broker::{ANSWER_LIMIT, Broker, BrokerError, understand};

/// The frames that follow an answer.
#[derive(Debug)]
pub(crate) struct Stream {
    child: Child,
    out: BufReader<ChildStdout>,
}

/// One frame.
#[derive(Debug)]
pub(crate) enum Piece {
    /// The recording of a run begins.
    Begin(RecordingInfo),
    /// More bytes of it.
    Bytes(Vec<u8>),
    /// The journal names a recording that is missing.
    Missing(RecordingInfo),
}

impl Broker {
    /// Requests recordings: returns the answer, and the stream that follows it.
    pub(crate) fn stream<V: Verb>(&self, verb: &V) -> Result<(V::Answer, Stream), BrokerError> {
        let mut child = self.start(verb)?;
        let missing = || BrokerError::Pipe(io::Error::from(io::ErrorKind::BrokenPipe));
        let out = child.stdout.take().ok_or_else(missing)?;
        let mut stream = Stream { child, out: BufReader::new(out) };
        let line = stream.line()?;
        if line.is_empty() {
            let status = stream.child.wait().map_err(BrokerError::Pipe)?;
            return Err(BrokerError::NoAnswer(status));
        }
        Ok((understand::<V>(&line, ExitStatus::default())?, stream))
    }
}

impl Stream {
    /// Returns the next frame; `None` at the end.
    pub(crate) fn next(&mut self) -> Result<Option<Piece>, BrokerError> {
        let line = self.line()?;
        if line.is_empty() {
            let status = self.child.wait().map_err(BrokerError::Pipe)?;
            return Err(BrokerError::CutOff(status));
        }
        match serde_json::from_slice(&line).map_err(|_| BrokerError::Garbled)? {
            Frame::Begin(info) => Ok(Some(Piece::Begin(info))),
            Frame::Missing(info) => Ok(Some(Piece::Missing(info))),
            Frame::Bytes(length) if length <= FRAME_LIMIT => {
                let mut bytes = vec![0; length as usize];
                self.out.read_exact(&mut bytes).map_err(BrokerError::Pipe)?;
                Ok(Some(Piece::Bytes(bytes)))
            }
            Frame::Bytes(_) => Err(BrokerError::Garbled),
            Frame::End => Ok(None),
            Frame::Failed(why) => Err(BrokerError::Broke(why)),
        }
    }

    fn line(&mut self) -> Result<Vec<u8>, BrokerError> {
        let mut line = Vec::new();
        let read = (&mut self.out).take(ANSWER_LIMIT).read_until(b'\n', &mut line);
        read.map_err(BrokerError::Pipe)?;
        Ok(line)
    }
}

/// The recordings of a stream, in order.
#[derive(Debug)]
pub(crate) struct Recordings {
    stream: Stream,
    /// The frame that ended the previous recording.
    next: Option<Turn>,
    over: bool,
}

#[derive(Debug)]
enum Turn {
    Begun(RecordingInfo),
    Missing(RecordingInfo),
}

/// The bytes of one recording, as they arrive.
#[derive(Debug)]
pub(crate) struct Bytes<'a> {
    recordings: &'a mut Recordings,
    held: Cursor<Vec<u8>>,
}

impl Recordings {
    /// Returns the recordings of this stream.
    pub(crate) fn of(stream: Stream) -> Self {
        Self { stream, next: None, over: false }
    }

    /// Returns the next recording, with its bytes unless it is missing; skips the unread rest of the previous one.
    pub(crate) fn next(&mut self) -> Result<Option<(RecordingInfo, Option<Bytes<'_>>)>, BrokerError> {
        while self.next.is_none() && !self.over {
            self.more()?;
        }
        Ok(match self.next.take() {
            Some(Turn::Begun(info)) => Some((info, Some(Bytes { recordings: self, held: Cursor::default() }))),
            Some(Turn::Missing(info)) => Some((info, None)),
            None => None,
        })
    }

    /// Reads the next frame: bytes of the current recording, or the beginning of the next one.
    fn more(&mut self) -> Result<Vec<u8>, BrokerError> {
        match self.stream.next()? {
            Some(Piece::Bytes(bytes)) => return Ok(bytes),
            Some(Piece::Begin(info)) => self.next = Some(Turn::Begun(info)),
            Some(Piece::Missing(info)) => self.next = Some(Turn::Missing(info)),
            None => self.over = true,
        }
        Ok(Vec::new())
    }
}

impl Read for Bytes<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let length = self.held.read(buffer)?;
            if length > 0 || self.recordings.next.is_some() || self.recordings.over {
                return Ok(length);
            }
            // A broken stream returns the error again at the next recording.
            let more = self.recordings.more().map_err(|error| io::Error::other(error.to_string()))?;
            self.held = Cursor::new(more);
        }
    }
}

impl Drop for Stream {
    /// A broker whose reader is gone ends when it writes; one that follows a session notices at once.
    fn drop(&mut self) {
        let _ = self.child.try_wait();
    }
}
