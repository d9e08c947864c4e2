//! A table (RFC 4180), one record per line.

use jit_core::clock::Timestamp;

use super::Entry;

const COLUMNS: [&str; 14] = [
    "seq", "time", "kind", "host", "uid", "user", "role", "run_as", "run", "grant", "command", "status", "what", "hash",
];

pub(super) fn header() -> String {
    format!("{}\r\n", COLUMNS.join(","))
}

pub(super) fn line(entry: &Entry<'_>) -> String {
    let cells: Vec<String> = COLUMNS.iter().map(|column| cell(&value(entry, column))).collect();
    format!("{}\r\n", cells.join(","))
}

fn value(entry: &Entry<'_>, column: &str) -> String {
    let field =
        |key: &str| entry.text(key).map(str::to_owned).or_else(|| entry.number(key).map(|number| number.to_string()));
    match column {
        "seq" => Some(entry.info.seq.to_string()),
        "hash" => Some(entry.info.hash.clone()),
        "time" => entry.number("time").map(|time| Timestamp(time).to_string()),
        "command" => entry.command(),
        "status" => field("exit").or_else(|| field("signal").map(|signal| format!("signal {signal}"))),
        "what" => Some(entry.message()),
        key => field(key),
    }
    .unwrap_or_default()
}

/// Spreadsheets run a cell that begins with one of these characters as a formula; an apostrophe makes it text.
fn cell(text: &str) -> String {
    let guard = if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { "'" } else { "" };
    let quoted = text.contains([',', '"', '\n', '\r']);
    let text = format!("{guard}{text}");
    if quoted { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

#[cfg(test)]
mod tests {
    use jit_core::wire::RecordInfo;

    use super::*;

    #[test]
    fn a_cell_is_neither_a_formula_nor_two_cells() {
        assert_eq!(cell("plain"), "plain");
        assert_eq!(cell("a,\"b\""), "\"a,\"\"b\"\"\"");
        assert_eq!(cell("=HYPERLINK(\"x\")"), "\"'=HYPERLINK(\"\"x\"\")\"");
        assert_eq!(cell("-x"), "'-x");
    }

    #[test]
    fn a_line_has_a_cell_for_each_column() {
        let body = r#"{"argv":["/bin/ls","a b"],"kind":"start","run_as":"root","time":1800000000000001,"uid":7,"user":"alice"}"#;
        let info = RecordInfo { seq: 3, body: body.into(), hash: "ab".into() };
        let line = line(&Entry::read(&info));
        assert!(line.starts_with("3,2027-01-15T08:00:00.000001Z,start,,7,alice,,root,,,/bin/ls 'a b',,"), "{line}");
        assert_eq!(line.matches(',').count() + 1, COLUMNS.len(), "{line}");
        assert!(line.ends_with(",ab\r\n"));
    }
}
