//! Common Event Format (ArcSight's, version 0): `CEF:0|jit-sudo|jit-sudo|VERSION|KIND|NAME|SEVERITY|KEY=VALUE …`.

use super::Entry;

/// Keys of a record and their CEF names.
const KEYS: [(&str, &str); 8] = [
    ("host", "dvchost"),
    ("uid", "suid"),
    ("user", "suser"),
    ("run_as_uid", "duid"),
    ("run_as", "duser"),
    ("path", "filePath"),
    ("tty", "sourceServiceName"),
    ("pid", "spid"),
];

/// Keys without a CEF name: they become custom strings, each with a label.
const LABELLED: [(&str, &str); 5] =
    [("cs1", "role"), ("cs2", "grant"), ("cs3", "run"), ("cs5", "ended_by"), ("cs6", "code")];

pub(super) fn line(entry: &Entry<'_>) -> String {
    let version = env!("CARGO_PKG_VERSION");
    let kind = header(entry.kind());
    let mut text = format!("CEF:0|jit-sudo|jit-sudo|{version}|{kind}|{kind}|{}|", severity(entry));
    let mut add = |key: &str, value: &str| text.push_str(&format!("{key}={} ", extension(value)));
    add("externalId", &entry.info.seq.to_string());
    if let Some(time) = entry.number("time") {
        add("rt", &time.div_euclid(1000).to_string());
    }
    for (key, name) in KEYS {
        let value = entry.text(key).map(str::to_owned).or_else(|| entry.number(key).map(|number| number.to_string()));
        value.into_iter().for_each(|value| add(name, &value));
    }
    for (name, key) in LABELLED {
        if let Some(value) = entry.text(key) {
            add(&format!("{name}Label"), key);
            add(name, value);
        }
    }
    if let Some(command) = entry.command() {
        add("cs4Label", "command");
        add("cs4", &command);
    }
    if let Some(status) = entry.number("exit").or(entry.number("signal")) {
        add("cn1Label", if entry.number("exit").is_some() { "exit" } else { "signal" });
        add("cn1", &status.to_string());
    }
    let outcome = match entry.kind() {
        "reject" | "denial" => "failure",
        _ => "success",
    };
    add("outcome", outcome);
    // The hash of a file is only that of the program.
    if let (Some(program), Some(_), "start") = (entry.text("sha256"), entry.text("path"), entry.kind()) {
        add("fileHash", program);
    }
    add("flexString1Label", "record");
    add("flexString1", &entry.info.hash);
    add("msg", &entry.message());
    format!("{}\n", text.trim_end())
}

/// Returns the severity, 0 to 10.
fn severity(entry: &Entry<'_>) -> u8 {
    match entry.kind() {
        "alert" | "fork" => 9,
        "reject" | "denial" | "revocation" | "prune" | "policy" | "rotation" | "retirement" => 6,
        "start" | "request" | "approval" | "grant" | "review" => 3,
        _ => 1,
    }
}

fn header(text: &str) -> String {
    text.replace('\\', "\\\\").replace('|', "\\|")
}

fn extension(text: &str) -> String {
    text.replace('\\', "\\\\").replace('=', "\\=").replace('\n', "\\n").replace('\r', "\\r")
}

#[cfg(test)]
mod tests {
    use jit_core::wire::RecordInfo;

    use super::*;

    /// A SIEM looks the hash of a file up.
    #[test]
    fn the_hash_of_a_file_is_that_of_the_program() {
        let body =
            |kind: &str| format!(r#"{{"kind":"{kind}","path":"/bin/ls","sha256":"{}","time":1}}"#, "c".repeat(64));
        let line = |kind: &str| line(&Entry::read(&RecordInfo { seq: 3, body: body(kind), hash: "ab".into() }));
        assert!(line("start").contains(&format!(" fileHash={} ", "c".repeat(64))));
        assert!(!line("grant").contains("fileHash"));
    }

    #[test]
    fn separators_are_escaped() {
        assert_eq!(header("a|b\\c"), "a\\|b\\\\c");
        assert_eq!(extension("a=b\\c\nd|e"), "a\\=b\\\\c\\nd|e");
        let body =
            r#"{"argv":["/bin/sh","-c","a=1|b"],"kind":"start","time":1800000000000001,"uid":7,"user":"ali=ce"}"#;
        let info = RecordInfo { seq: 3, body: body.into(), hash: "ab".into() };
        let line = line(&Entry::read(&info));
        let version = env!("CARGO_PKG_VERSION");
        let begin = format!(
            "CEF:0|jit-sudo|jit-sudo|{version}|start|start|3|externalId=3 rt=1800000000000 suid=7 suser=ali\\=ce "
        );
        assert!(line.starts_with(&begin), "{line}");
        assert!(line.contains("cs4=/bin/sh -c 'a\\=1|b' ") && line.ends_with('\n'), "{line}");
        assert_eq!(line.lines().count(), 1);
        assert!(!line.contains("fileHash") && line.contains("flexString1Label=record flexString1=ab "), "{line}");
    }
}
