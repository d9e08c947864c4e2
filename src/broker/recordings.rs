//! Sends recordings to the users who may see them: their own, all for root and readers, and live ones for the observers of a role.
//! Access to another user's recording is recorded before its first byte is sent.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::time::Duration;

use super::Context;
use super::failure::{Refused, refused};
use crate::audit::{Between, Filter, Order, Whose};
use crate::database::Durability;
use crate::host::{Encoding, Stage, StoredRecording, is_written};
use crate::judge::{names, subject};
use jit_core::escape::{Word, escape, hex};
use jit_core::evidence::Record;
use jit_core::evidence::record::{End, EndedBy, Event, Purpose, RecordingRead, Start};
use jit_core::names::RunId;
use jit_core::wire::{Frame, Recording, RecordingInfo, Recordings, Verb};
use sys::poll::is_left;

/// How often a live recording is checked for new data.
const LOOK: Duration = Duration::from_millis(200);

/// How many `end` records are read at a time.
const PAGE: u32 = 200;

/// A run as the journal knows it.
pub(super) struct KnownRun {
    pub(super) start: Box<Start>,
    pub(super) since: i64,
    pub(super) end: Option<Box<End>>,
}

impl Context<'_> {
    /// Replies with the recording of one run, and sends it.
    pub(super) fn recording(&self, run: &RunId, purpose: Purpose, out: &mut dyn Write) -> Result<(), Refused> {
        let known = self.known_run(run)?.ok_or_else(|| unknown(run))?;
        let own = self.caller.person().is_recorded(known.start.uid, &known.start.user);
        let stored = self.host.recording(run)?;
        let live = stored.as_ref().is_some_and(|stored| stored.stage == Stage::Live);
        let observes = || Ok::<_, Refused>(purpose == Purpose::Watch && live && self.observes(&known.start)?);
        if !own && !self.is_reader()? && !observes()? {
            return Err(unknown(run));
        }
        let Some(stored) = stored else {
            return Err(refused("no-recording", format!("there is no recording of run {run}"))
                .hint(format!("jitctl audit show {run}")));
        };
        if purpose == Purpose::Watch && !live {
            return Err(refused("session-over", format!("the session of run {run} is over"))
                .hint(format!("jitctl replay {run}")));
        }
        if !own {
            self.record_reading(purpose, Some(&known.start))?;
        }
        let info = known.info(live, stored.encoding);
        say::<Recording>(out, info.clone());
        let sent = frame(out, &Frame::Begin(info)).and_then(|()| match purpose {
            Purpose::Watch => follow(stored.file, out),
            _ => send(&stored.file, out),
        });
        conclude(out, sent);
        Ok(())
    }

    /// Replies, and sends every finished recording that the caller may see, from record `after` on.
    pub(super) fn recordings(&self, purpose: Purpose, after: u64, out: &mut dyn Write) -> Result<(), Refused> {
        let everybody = self.is_reader()?;
        say::<Recordings>(out, Vec::new());
        let sent = self.send_all(purpose, everybody, after, out);
        conclude(out, sent);
        Ok(())
    }

    fn send_all(&self, purpose: Purpose, everybody: bool, mut after: u64, out: &mut dyn Write) -> io::Result<()> {
        let mut on_record = !everybody;
        let whose = if everybody { Whose::Everybody } else { Whose::By(self.caller.person().clone()) };
        let filter = Filter { kind: Some("end"), whose, ..Filter::default() };
        let other = |error: &dyn std::fmt::Display| io::Error::other(error.to_string());
        loop {
            let between = Between::after(after);
            let page = self.journal.list(between, PAGE, Order::Oldest, &filter).map_err(|error| other(&error))?;
            for stored in &page.records {
                let Some(end) = end_of(&stored.body) else { continue };
                if end.ending.recording.is_none() && end.ending.ended_by != EndedBy::Lost {
                    continue;
                }
                let known = match self.known_run(&end.run) {
                    Ok(Some(known)) => known,
                    Ok(None) => continue,
                    Err(refused) => return Err(other(&refused.failure.message)),
                };
                match self.host.recording(&end.run).map_err(|error| other(&error))? {
                    Some(StoredRecording { file, encoding, .. }) => {
                        if !std::mem::replace(&mut on_record, true) {
                            self.record_reading(purpose, None).map_err(|refused| other(&refused.failure.message))?;
                        }
                        frame(out, &Frame::Begin(known.info(false, encoding)))?;
                        send(&file, out)?;
                    }
                    None if end.ending.recording.is_some() => {
                        frame(out, &Frame::Missing(known.info(false, Encoding::Plain)))?
                    }
                    None => {}
                }
            }
            if !page.more {
                return Ok(());
            }
            after = page.looked_at;
        }
    }

    /// Returns what the journal contains about a run.
    pub(super) fn known_run(&self, run: &RunId) -> Result<Option<KnownRun>, Refused> {
        let mut known: Option<KnownRun> = None;
        for stored in self.journal.by_run(run.as_str())?.records {
            let Ok(record) = Record::decode(&stored.body) else { continue };
            match (record.event, &mut known) {
                (Event::Start(start), None) => {
                    known = Some(KnownRun { start, since: record.time.seconds(), end: None });
                }
                (Event::End(end), Some(known)) => known.end = Some(end),
                _ => {}
            }
        }
        Ok(known)
    }

    /// Returns whether the role of a run names the caller as an observer.
    pub(super) fn observes(&self, start: &Start) -> Result<bool, Refused> {
        let Some(role) = &start.role else { return Ok(false) };
        let role = self.policy.role(role)?;
        Ok(match role {
            Some(role) => names(&role.recording.observers, &subject(self.caller)?),
            None => false,
        })
    }

    fn record_reading(&self, purpose: Purpose, of: Option<&Start>) -> Result<(), Refused> {
        let reading = Event::Reading(Box::new(RecordingRead {
            uid: self.caller.uid(),
            user: Word::from(self.caller.name().as_str()),
            purpose,
            run: of.map(|start| start.run.clone()),
            holder: of.map(|start| start.user.clone()),
            holder_uid: of.map(|start| start.uid),
        }));
        let written =
            self.host.database().write(Durability::Synced, |tx| self.journal.append(tx, self.now.moment(), reading))?;
        let _ = self.journal.mirror(&[written]); // the journal has the record; a failing sink does not matter
        Ok(())
    }
}

impl KnownRun {
    fn info(&self, live: bool, encoding: Encoding) -> RecordingInfo {
        let ending = self.end.as_ref().map(|end| &end.ending);
        RecordingInfo {
            run: self.start.run.clone(),
            user: self.start.user.clone(),
            run_as: self.start.run_as.clone(),
            command: self.start.argv.clone(),
            since: self.since,
            live,
            encoding: match encoding {
                Encoding::Plain => "asciicast",
                Encoding::Zstd => "zstd",
            }
            .to_owned(),
            sha256: ending.and_then(|ending| ending.recording).map(|digest| hex(&digest.0)),
            bytes: ending.and_then(|ending| ending.recording_bytes),
        }
    }
}

/// The message is the same whether the run does not exist or the caller may not see it.
pub(super) fn unknown(run: &RunId) -> Refused {
    refused("unknown-run", format!("there is no run {}", escape(run.as_str().as_bytes())))
        .hint("jitctl audit list --kind start")
}

fn end_of(body: &str) -> Option<Box<End>> {
    match Record::decode(body).ok()?.event {
        Event::End(end) => Some(end),
        _ => None,
    }
}

/// Sends the file up to its present end.
fn send(mut file: &File, out: &mut dyn Write) -> io::Result<()> {
    let mut buffer = vec![0; jit_core::wire::FRAME_LIMIT as usize];
    loop {
        let length = file.read(&mut buffer)?;
        if length == 0 {
            return out.flush();
        }
        frame(out, &Frame::Bytes(u32::try_from(length).map_err(io::Error::other)?))?;
        out.write_all(buffer.get(..length).unwrap_or_default())?;
    }
}

/// Sends the file and what is appended, until the writer or the reader ends.
fn follow(file: File, out: &mut dyn Write) -> io::Result<()> {
    loop {
        // Checked before the file is read, so that the last bytes of a writer that has ended are read.
        let goes_on = is_written(&file).map_err(|error| io::Error::other(error.to_string()))?;
        send(&file, out)?;
        if !goes_on {
            return Ok(());
        }
        if is_left(io::stdout().as_fd(), LOOK)? {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
    }
}

fn conclude(out: &mut dyn Write, sent: io::Result<()>) {
    let last = match sent {
        Ok(()) => Frame::End,
        Err(error) => Frame::Failed(escape(error.to_string().as_bytes())),
    };
    // An error means that the reader has exited.
    let _ = frame(out, &last).and_then(|()| out.flush());
}

fn frame(out: &mut dyn Write, frame: &Frame) -> io::Result<()> {
    let mut line = serde_json::to_vec(frame)?;
    line.push(b'\n');
    out.write_all(&line)
}

/// Writes the answer. An error is ignored: it occurs again at the first frame.
fn say<V: Verb>(out: &mut dyn Write, answer: V::Answer) {
    let _ = super::line::<V>(answer).and_then(|line| out.write_all(&line));
}
