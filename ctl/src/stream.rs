//! Recordings as the broker sends them: frames behind its answer, checked like it as if they came from a stranger.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdout, ExitStatus};

use jit_sudo::broker::wire::{Answer, Ask, FRAME_LIMIT, Frame, RecordingInfo};

use crate::door::{ANSWER_LIMIT, Broker, DoorError, understand};

/// What comes behind an answer.
#[derive(Debug)]
pub(crate) struct Stream {
    child: Child,
    out: BufReader<ChildStdout>,
}

/// One piece of it.
#[derive(Debug)]
pub(crate) enum Piece {
    /// The recording of a run begins.
    Begin(RecordingInfo),
    /// More of it.
    Bytes(Vec<u8>),
    /// The journal knows a recording that is not there.
    Missing,
}

impl Broker {
    /// Asks for recordings: the answer, and what follows it.
    pub(crate) fn stream(&self, ask: &Ask) -> Result<(Answer, Stream), DoorError> {
        let mut child = self.start(ask)?;
        let missing = || DoorError::Pipe(std::io::Error::from(std::io::ErrorKind::BrokenPipe));
        let out = child.stdout.take().ok_or_else(missing)?;
        let mut stream = Stream { child, out: BufReader::new(out) };
        let line = stream.line()?;
        if line.is_empty() {
            let status = stream.child.wait().map_err(DoorError::Pipe)?;
            return Err(DoorError::NoAnswer(status));
        }
        Ok((understand(&line, ExitStatus::default())?, stream))
    }
}

impl Stream {
    /// The next piece; `None` when everything was said.
    pub(crate) fn next(&mut self) -> Result<Option<Piece>, DoorError> {
        let line = self.line()?;
        if line.is_empty() {
            let status = self.child.wait().map_err(DoorError::Pipe)?;
            return Err(DoorError::CutOff(status));
        }
        match serde_json::from_slice(&line).map_err(|_| DoorError::Garbled)? {
            Frame::Begin(info) => Ok(Some(Piece::Begin(info))),
            Frame::Missing(_) => Ok(Some(Piece::Missing)),
            Frame::Bytes(length) if length <= FRAME_LIMIT => {
                let mut bytes = vec![0; length as usize];
                self.out.read_exact(&mut bytes).map_err(DoorError::Pipe)?;
                Ok(Some(Piece::Bytes(bytes)))
            }
            Frame::Bytes(_) => Err(DoorError::Garbled),
            Frame::End => Ok(None),
            Frame::Failed(why) => Err(DoorError::Broke(why)),
        }
    }

    fn line(&mut self) -> Result<Vec<u8>, DoorError> {
        let mut line = Vec::new();
        let read = (&mut self.out).take(ANSWER_LIMIT).read_until(b'\n', &mut line);
        read.map_err(DoorError::Pipe)?;
        Ok(line)
    }
}

impl Drop for Stream {
    /// A broker that nobody listens to any more ends by itself when it writes; one that follows a session sees it at once.
    fn drop(&mut self) {
        let _ = self.child.try_wait();
    }
}
