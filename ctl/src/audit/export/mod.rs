//! `jitctl audit export`: writes the journal as a stream, in the format that a log system reads.

mod cef;
mod csv;
mod holders;
mod ocsf;
mod salvage;

use std::fs::OpenOptions;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use jit_core::escape::Word;
use jit_core::evidence::Checkpoint;
use jit_core::grant::sshsig::dearmor;
use jit_core::wire::{AuditExport, CheckpointInfo, ExportPage, RecordInfo};
use serde_json::{Map, Value};

use self::holders::{Holder, Holders};
use super::bundle::tree_line;
use crate::broker::Broker;
use crate::clean::clean;
use crate::cli::{AuditExportWords, ExportFormat};
use crate::output::{ExportInfo, Output};
use crate::screen::{Format, Report, Screen};
use crate::speech::{Notice, Trouble};

/// Requests one piece after the other and writes each as it arrives, so that neither side holds more than one.
pub(crate) fn export(words: &AuditExportWords, broker: &Broker, screen: &Screen) -> Result<Report, Trouble> {
    if screen.format == Format::Json && words.output.is_none() {
        let notice = Notice::new("--json describes what was written into a file").with_hint("add --output FILE");
        return Err(Trouble::Usage(notice));
    }
    if words.salvage {
        return salvage::salvage(words, broker);
    }
    // Requests the first piece before it creates the file, so that a refusal leaves no file behind.
    let mut page = ask(broker, words.from, words.since, None)?;
    let mut out = Destination::open(words.output.as_deref())?;
    out.write(header(words.format).as_bytes())?;
    let (mut records, mut next) = (0_u64, words.from.max(1));
    let mut holders = Holders::default();
    loop {
        if words.format == ExportFormat::Ocsf {
            holders.learn(&page.records, broker);
        }
        for line in lines(words.format, &page, &holders) {
            out.write(line.as_bytes())?;
        }
        records = records.saturating_add(page.records.len() as u64);
        let Some(last) = page.records.last() else { break };
        next = last.seq.saturating_add(1);
        if !page.more || out.is_closed() {
            break;
        }
        page = ask(broker, next, None, Some(page.through))?;
    }
    out.end()?;
    let file = words.output.as_deref().map(|path| Word::from(path.as_os_str())).unwrap_or_default();
    let text = match &words.output {
        Some(path) => {
            format!("{records} records written to {}; go on with --from {next}\n", clean(&path.display().to_string()))
        }
        None => String::new(),
    };
    Ok(Report::done(Output::Export(ExportInfo { records, next, file, gaps: Vec::new(), open_end: false }), text))
}

fn ask(broker: &Broker, from: u64, since: Option<i64>, through: Option<u64>) -> Result<ExportPage, Trouble> {
    Ok(broker.ask(&AuditExport { from, since, through })?)
}

fn header(format: ExportFormat) -> String {
    match format {
        ExportFormat::Csv => csv::header(),
        ExportFormat::Jsonl | ExportFormat::Ocsf | ExportFormat::Cef => String::new(),
    }
}

/// Formats one piece as lines. Only the exact format includes the checkpoints: the others prove nothing.
fn lines(format: ExportFormat, page: &ExportPage, holders: &Holders) -> Vec<String> {
    let write = match format {
        ExportFormat::Jsonl => return exact(page),
        ExportFormat::Ocsf => ocsf::line,
        ExportFormat::Cef => cef::line,
        ExportFormat::Csv => csv::line,
    };
    page.records.iter().map(|info| write(&Entry::read(info).held_by(holders))).collect()
}

/// Returns the exact bytes of the records, and each checkpoint after its record.
fn exact(page: &ExportPage) -> Vec<String> {
    let mut checkpoints = page.checkpoints.iter().peekable();
    let mut lines = Vec::with_capacity(page.records.len() + page.checkpoints.len());
    if let (Some(tree), Some(first)) = (&page.tree, page.records.first()) {
        lines.push(tree_line(first.seq.saturating_sub(1), tree));
    }
    for record in &page.records {
        while let Some(before) = checkpoints.next_if(|checkpoint| checkpoint.seq < record.seq) {
            lines.push(checkpoint_line(before));
        }
        lines.push(format!("{}\n", record.body));
    }
    lines.extend(checkpoints.map(checkpoint_line));
    lines
}

fn checkpoint_line(info: &CheckpointInfo) -> String {
    let signature = dearmor(&info.signature).unwrap_or_default();
    let (body, note) = (info.body.clone().into_bytes(), info.note.clone());
    Checkpoint { seq: info.seq, body, signature, note }.to_line() + "\n"
}

/// A record from which fields are read.
struct Entry<'a> {
    info: &'a RecordInfo,
    fields: Map<String, Value>,
    /// The requester of the request that the record is about, if known.
    holder: Option<&'a Holder>,
}

impl<'a> Entry<'a> {
    fn read(info: &'a RecordInfo) -> Self {
        Self { info, fields: serde_json::from_str(&info.body).unwrap_or_default(), holder: None }
    }

    fn held_by(self, holders: &'a Holders) -> Self {
        let holder = self.text("grant").and_then(|grant| holders.of(grant));
        Self { holder, ..self }
    }

    fn text(&self, key: &str) -> Option<&str> {
        self.fields.get(key)?.as_str()
    }

    fn number(&self, key: &str) -> Option<i64> {
        self.fields.get(key)?.as_i64()
    }

    fn kind(&self) -> &str {
        self.text("kind").unwrap_or("unreadable")
    }

    /// Returns the arguments of the command as one line, quoted for a shell.
    fn command(&self) -> Option<String> {
        let words = self.fields.get("argv")?.as_array()?;
        (!words.is_empty()).then(|| super::record::words_line(words))
    }

    /// Returns the summary for people.
    fn message(&self) -> String {
        super::record::Record::read(self.info).summary(0)
    }
}

/// Standard output, or a new file that only its owner can read.
enum Destination {
    Stream(BufWriter<io::Stdout>),
    File(BufWriter<std::fs::File>, String),
    /// A reader that closed the pipe (`| head`) is no error.
    Closed,
}

impl Destination {
    fn open(path: Option<&Path>) -> Result<Self, Trouble> {
        let Some(path) = path else { return Ok(Self::Stream(BufWriter::new(io::stdout()))) };
        let shown = clean(&path.display().to_string());
        let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        let file = made.map_err(|error| failed(&shown, &error))?;
        Ok(Self::File(BufWriter::new(file), shown))
    }

    fn is_closed(&self) -> bool {
        matches!(self, Self::Closed)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Trouble> {
        let written = match self {
            Self::Stream(out) => out.write_all(bytes),
            Self::File(out, _) => out.write_all(bytes),
            Self::Closed => Ok(()),
        };
        self.judge(written)
    }

    fn end(&mut self) -> Result<(), Trouble> {
        let written = match self {
            Self::Stream(out) => out.flush(),
            Self::File(out, _) => out.flush().and_then(|()| out.get_ref().sync_all()),
            Self::Closed => Ok(()),
        };
        self.judge(written)
    }

    fn judge(&mut self, written: io::Result<()>) -> Result<(), Trouble> {
        match written {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                if let Self::Stream(out) = std::mem::replace(self, Self::Closed) {
                    let _ = out.into_parts(); // the rest must not be written again
                }
                Ok(())
            }
            Err(error) => Err(failed(if let Self::File(_, name) = self { name } else { "standard output" }, &error)),
            Ok(()) => Ok(()),
        }
    }
}

fn failed(name: &str, error: &io::Error) -> Trouble {
    Trouble::Local("unwritable", Notice::new(format!("cannot write {name}: {}", sys::plain_words(error))))
}
