//! Searches the recordings of many sessions for a text, and reports the time at which it was shown.

use std::io::{self, Read};
use std::time::Duration;

use jit_core::wire::{Purpose, RecordingInfo, Recordings};

use super::cast::{EventKind, Lines};
use super::opened;
use super::plain::Plain;
use crate::broker::Broker;
use crate::clean::clean;
use crate::output::{Output, RecordingHit};
use crate::screen::{Report, Screen};
use crate::speech::Trouble;
use crate::stream;
use crate::when;

/// The maximum number of hits in one recording; the search of it then stops.
const HITS: usize = 20;

/// The maximum length of a line that is searched; a longer one is cut.
const LINE: usize = 64 << 10;

/// `jitctl audit search --recordings`
pub(crate) fn report(text: &str, broker: &Broker, screen: &Screen) -> Result<Report, Trouble> {
    let found = search(text, broker)?;
    let lines: Vec<String> = found.iter().map(|hit| hit_lines(hit, screen.now)).collect();
    let shown = if lines.is_empty() { "no recording shows it\n".to_owned() } else { lines.concat() };
    Ok(Report::done(Output::Found(found), shown))
}

fn hit_lines(hit: &RecordingHit, now: i64) -> String {
    let (run, seconds, millis) = (clean(hit.run.as_str()), hit.at_ms / 1000, hit.at_ms % 1000);
    let head = format!("{} {}: jitctl replay {run} --at {seconds}.{millis:03}", when::short(hit.since, now), hit.user);
    format!("{head}\n    {}\n", hit.line)
}

/// Returns the lines with `text` in every recording that the caller may see, as they were shown.
fn search(text: &str, broker: &Broker) -> Result<Vec<RecordingHit>, Trouble> {
    let (_, stream) = broker.stream(&Recordings { purpose: Purpose::Search, after: 0 })?;
    let mut found = Vec::new();
    let mut recordings = stream::Recordings::of(stream);
    while let Some((info, bytes)) = recordings.next()? {
        if let Some(mut bytes) = bytes {
            // `audit verify` reports a damaged recording.
            let _ = search_one(text, &info, &mut bytes, &mut found);
        }
    }
    Ok(found)
}

fn search_one(text: &str, info: &RecordingInfo, bytes: &mut dyn Read, found: &mut Vec<RecordingHit>) -> io::Result<()> {
    let mut cast = opened(info, bytes)?;
    let mut reader =
        Reader { text: text.to_lowercase(), info, line: String::new(), since: Duration::ZERO, hits: 0, found };
    let (mut lines, mut plain, mut piece) = (Lines::default(), Plain::default(), vec![0; 64 << 10]);
    loop {
        let length = cast.read(&mut piece)?;
        if length == 0 {
            reader.end_of_line();
            return Ok(());
        }
        let events = lines.take(&piece[..length]).map_err(|_| io::Error::other("this is not a recording"))?;
        for event in events {
            match &event.what {
                EventKind::Output(shown) => reader.read(event.at, &plain.pass(shown)),
                EventKind::Said(words) => reader.read(event.at, &format!("\n{words}\n")),
                EventKind::Other => {}
            }
        }
    }
}

/// Joins lines that were shown in pieces.
struct Reader<'a> {
    /// In lower case.
    text: String,
    info: &'a RecordingInfo,
    line: String,
    /// The time at which the line began.
    since: Duration,
    hits: usize,
    found: &'a mut Vec<RecordingHit>,
}

impl Reader<'_> {
    fn read(&mut self, at: Duration, shown: &str) {
        for character in shown.chars() {
            if self.line.is_empty() {
                self.since = at;
            }
            match character {
                '\n' => self.end_of_line(),
                _ if self.line.len() < LINE => self.line.push(character),
                _ => {}
            }
        }
    }

    fn end_of_line(&mut self) {
        if self.hits < HITS && self.line.to_lowercase().contains(&self.text) {
            self.hits += 1;
            self.found.push(RecordingHit {
                run: self.info.run.clone(),
                user: self.info.user.clone(),
                since: self.info.since,
                at_ms: u64::try_from(self.since.as_millis()).unwrap_or(u64::MAX),
                line: self.line.as_str().into(),
            });
        }
        self.line.clear();
    }
}
