//! The configurations of docs/shippers.md, unchanged, with Debian's daemons and with a log host beside them: the received lines
//! are compared with the journal.

use std::fs;
use std::time::Duration;

use harness::{Output, PrivateRoot, eventually, project};
use serde_json::Value;

use crate::own_root;
use crate::sinks::hostile_runs;

/// The log host: it stores what it receives, unchanged.
const LOG_HOST: &str = "
import socketserver
class Lines(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            with open('/var/log/remote/web1.log', 'ab') as log:
                log.write(line)
socketserver.ThreadingTCPServer(('127.0.0.1', 514), Lines).serve_forever()
";

/// Returns the block after this heading.
fn block(heading: &str) -> String {
    let page = fs::read_to_string(project().join("docs/shippers.md")).unwrap();
    let (_, rest) = page.split_once(heading).unwrap_or_else(|| panic!("docs/shippers.md has no {heading}"));
    let text = rest.split_once("```text\n").and_then(|(_, rest)| rest.split_once("```")).unwrap().0;
    assert!(text.contains("logs.example.com"), "{text}");
    text.replace("logs.example.com", "127.0.0.1")
}

/// Stops the root's own rsyslogd and starts the log host and then `daemon`, in a network namespace of their own.
fn start(root: &PrivateRoot, daemon: &str) {
    root.write("/run/log-host.py", 0o644, LOG_HOST);
    root.script("kill $(cat /run/rsyslogd.pid) 2>/dev/null || true; rm -f /dev/log");
    root.script("rm -rf /var/log/remote /var/log/jit-sudo.json; mkdir -m 700 /var/log/remote");
    root.script(&format!(
        "unshare --net bash -c 'ip link set lo up; python3 /run/log-host.py &
         until (: >/dev/tcp/127.0.0.1/514) 2>/dev/null; do sleep 0.05; done; {daemon}' \
         </dev/null >/run/daemons.out 2>&1 &
         for i in $(seq 500); do [ ! -S /dev/log ] || exit 0; sleep 0.02; done; cat /run/daemons.out >&2; exit 1"
    ));
}

/// Runs commands with input that breaks log formats, and checks both files that the page names.
fn compare(root: &PrivateRoot) {
    let person = root.person(&["deploy"]);
    hostile_runs(root, &person);
    let last = root.journal().last().unwrap().hash.clone();
    let arrived = |file: &str| {
        eventually(&format!("the last record is in {file}"), Duration::from_secs(30), || {
            let found = root.path(file).exists().then(|| root.read(file));
            found.filter(|text| text.contains(&last))
        })
    };
    arrived("/var/log/remote/web1.log");
    let verified: Output = root.as_root(["jitctl", "audit", "verify", "--anchor", "/var/log/remote/web1.log"]);
    assert!(verified.intact().contains("chain intact"), "{verified:?}");
    let fields = arrived("/var/log/jit-sudo.json");
    let mut seen = 0;
    for line in fields.lines().filter(|line| line.contains("\"head\"")) {
        let value: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line:.200}"));
        assert!(value.get("seq").is_some(), "{line:.200}");
        seen += 1;
    }
    assert!(seen >= root.journal().len(), "{seen} lines of fields");
    assert_eq!(root.script("stat -c %a /var/log/jit-sudo.json").trim(), "600");
}

#[test]
fn the_rsyslog_configuration_of_the_manual_sends_and_parses() {
    let root = own_root();
    root.write("/etc/rsyslog.d/30-jit-sudo.conf", 0o644, block("## rsyslog"));
    // Debian's configuration, except for the kernel log, which belongs to the host.
    root.script("grep -v imklog /etc/rsyslog.conf >/run/local.conf; grep -q rsyslog.d /run/local.conf");
    root.script("rsyslogd -N1 -f /run/local.conf");
    start(&root, "exec rsyslogd -n -f /run/local.conf -i /run/local.pid");
    compare(&root);
}

#[test]
fn the_syslog_ng_configuration_of_the_manual_sends_and_parses() {
    let root = own_root();
    crate::sinks::install_syslog_ng(&root);
    root.write("/etc/syslog-ng/conf.d/jit-sudo.conf", 0o644, block("## syslog-ng"));
    root.script("sed 's/system();/unix-dgram(\"\\/dev\\/log\");/' /etc/syslog-ng/syslog-ng.conf >/run/local.conf; grep -q s_src /run/local.conf");
    start(&root, "exec syslog-ng -F --no-caps -f /run/local.conf -p /run/ng.pid -R /run/ng.persist -c /run/ng.ctl");
    compare(&root);
}
