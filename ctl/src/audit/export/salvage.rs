//! `jitctl audit export --salvage`: writes what can be read of a damaged journal, and where records are missing.

use jit_core::escape::Word;
use jit_core::wire::{AuditSalvage, ExportPage, GapInfo, SalvagePage};

use super::holders::Holders;
use super::{Destination, header, lines};
use crate::audit::bundle::GapLine;
use crate::broker::Broker;
use crate::clean::clean;
use crate::cli::{AuditExportWords, ExportFormat};
use crate::output::{ExportInfo, Output};
use crate::screen::Report;
use crate::speech::{Exit, Notice, Trouble};

/// The most gaps that the message names.
const NAMED: usize = 20;

/// Requests one part after the other, as an export does.
pub(super) fn salvage(words: &AuditExportWords, broker: &Broker) -> Result<Report, Trouble> {
    let mut part = broker.ask(&AuditSalvage { from: words.from })?;
    let mut out = Destination::open(words.output.as_deref())?;
    out.write(header(words.format).as_bytes())?;
    let mut holders = Holders::default();
    let (mut records, mut next, mut gaps, mut open_end) = (0_u64, words.from.max(1), Vec::new(), false);
    loop {
        records = records.saturating_add(part.records.len() as u64);
        open_end |= part.open_end;
        let last = part.records.last().map(|record| record.seq).max(part.gaps.last().map(|gap| gap.last));
        next = last.map_or(next, |last| last.saturating_add(1));
        let (from, missed) = (part.next, part.gaps.clone());
        if words.format == ExportFormat::Ocsf {
            holders.learn(&part.records, broker);
        }
        for line in written(words.format, part, &holders) {
            out.write(line.as_bytes())?;
        }
        missed.into_iter().for_each(|gap| join(&mut gaps, gap));
        let Some(from) = from.filter(|_| !out.is_closed()) else { break };
        part = broker.ask(&AuditSalvage { from })?;
    }
    out.end()?;
    let file = words.output.as_deref().map(|path| Word::from(path.as_os_str())).unwrap_or_default();
    let text = match &words.output {
        Some(path) => format!("{records} records written to {}\n", clean(&path.display().to_string())),
        None => String::new(),
    };
    let complaint = complaint(&gaps, open_end, next);
    let report = Report::done(Output::Export(ExportInfo { records, next, file, gaps, open_end }), text);
    Ok(match complaint {
        Some(message) => report.but(Exit::Refused, Notice::new(message)),
        None => report,
    })
}

/// Formats a part as lines. Only the exact format includes the gaps.
fn written(format: ExportFormat, part: SalvagePage, holders: &Holders) -> Vec<String> {
    let SalvagePage { mut records, mut checkpoints, gaps, .. } = part;
    let mut all = Vec::new();
    for gap in gaps.iter().map(Some).chain([None]) {
        let first = gap.map_or(u64::MAX, |gap| gap.first);
        let later = records.split_off(records.partition_point(|record| record.seq < first));
        let after = checkpoints.split_off(checkpoints.partition_point(|checkpoint| checkpoint.seq < first));
        let page = ExportPage { records, checkpoints, tree: None, through: 0, more: false };
        all.extend(lines(format, &page, holders));
        if let Some(gap) = gap.filter(|_| format == ExportFormat::Jsonl) {
            all.push(GapLine::line(gap));
        }
        (records, checkpoints) = (later, after);
    }
    all
}

/// Adds a gap, which may go on where that of the part before ended.
fn join(gaps: &mut Vec<GapInfo>, gap: GapInfo) {
    match gaps.last_mut() {
        Some(before) if before.last.saturating_add(1) == gap.first && before.why == gap.why => before.last = gap.last,
        _ => gaps.push(gap),
    }
}

/// Says what is missing; `None` when nothing is.
fn complaint(gaps: &[GapInfo], open_end: bool, next: u64) -> Option<String> {
    let missing: u64 = gaps.iter().map(|gap| gap.last.saturating_sub(gap.first).saturating_add(1)).sum();
    let named = |gap: &GapInfo| match gap.last.saturating_sub(gap.first) {
        0 => format!("{}: {}", gap.first, clean(&gap.why)),
        more => format!("{} to {} ({}): {}", gap.first, gap.last, more.saturating_add(1), clean(&gap.why)),
    };
    let mut parts: Vec<String> = gaps.iter().take(NAMED).map(named).collect();
    if gaps.len() > NAMED {
        parts.push(format!("and {} more gaps", gaps.len().saturating_sub(NAMED)));
    }
    if open_end {
        parts.push(format!("the end of the journal cannot be read, so records from {next} on may be missing too"));
    }
    let noun = if missing == 1 { "record" } else { "records" };
    (!parts.is_empty()).then(|| format!("{missing} {noun} cannot be read: {}", parts.join("; ")))
}

#[cfg(test)]
mod tests {
    use jit_core::wire::{CheckpointInfo, RecordInfo};

    use super::*;

    fn part() -> SalvagePage {
        let record = |seq: u64| RecordInfo { seq, body: format!("{{\"seq\":{seq}}}"), hash: String::new() };
        let gap = |first, last, why: &str| GapInfo { first, last, why: why.to_owned() };
        SalvagePage {
            records: [2, 5, 6].map(record).into(),
            checkpoints: vec![CheckpointInfo {
                seq: 5,
                body: "x".to_owned(),
                signature: "y".to_owned(),
                note: String::new(),
            }],
            gaps: vec![gap(1, 1, "a"), gap(3, 4, "b"), gap(7, 7, "b")],
            next: None,
            open_end: true,
        }
    }

    #[test]
    fn each_gap_stands_where_its_records_were() {
        let lines = written(ExportFormat::Jsonl, part(), &Holders::default());
        let starts: Vec<_> = lines.iter().map(|line| line.split([',', '}']).next().unwrap()).collect();
        let wanted = [
            "{\"gap\":1",
            "{\"seq\":2",
            "{\"gap\":3",
            "{\"seq\":5",
            "{\"checkpoint\":\"x\"",
            "{\"seq\":6",
            "{\"gap\":7",
        ];
        assert_eq!(starts, wanted);
        assert_eq!(written(ExportFormat::Csv, part(), &Holders::default()).len(), 3);
    }

    #[test]
    fn the_complaint_names_what_is_missing() {
        assert_eq!(complaint(&[], false, 9), None);
        let SalvagePage { gaps, .. } = part();
        let wanted = "4 records cannot be read: 1: a; 3 to 4 (2): b; 7: b; the end of the journal cannot be read, so records \
                      from 8 on may be missing too";
        assert_eq!(complaint(&gaps, true, 8).unwrap(), wanted);
    }
}
