//! Compares the tables that give permission with the journal: one changed row is reported, and a checker that was written only
//! from docs/formats.md (tests/check_journal.py) agrees on random journals and random damage.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use harness::{Person, PrivateRoot, project};
use jit_core::clock::{BootTime, Moment, Timestamp};
use jit_core::evidence::chain::{Cause, hash};
use jit_core::evidence::note::signed_by_host;
use jit_core::evidence::tree::{Frontier, STEP};
use jit_core::evidence::{Digest, Signers, TreeHead};
use jit_core::grant::sshsig::Namespace;
use jit_core::grant::{HostId, HostKey, PublicKey};
use jit_core::policy::{StoredRole, row_digest, settings_digest};
use jit_sudo::audit::{CutOff, Journal, JournalError, Known};
use jit_sudo::host::open_database;
use rusqlite::{Connection, params};

use crate::offline::id_of;
use crate::{id, own_root, request};

const STATE: &str = "/var/lib/jit-sudo";

const POLICY: &str = r#"
[audit]
epoch = "1s"

[defaults]
request_rate = 100000

[roles.urgent]
eligible     = ["%urgent"]
commands     = ["/usr/bin/id **"]
authenticate = false

[roles.urgent.activation]
maximum_duration = "10m"
require_approval = true
approvers        = ["%approvers"]
break_glass      = true
"#;

const RUN: [&str; 4] = ["jit-sudo", "-n", "id", "-u"];

/// Creates a grant that was used and revoked, a one-shot grant that was used, a denied request, a reviewed and an open
/// break-glass grant.
fn story(root: &PrivateRoot) -> BTreeMap<&'static str, String> {
    root.add_policy("journals", POLICY);
    let (bob, carol) = (root.person(&["approvers"]), root.person(&["reviewed", "once", "urgent"]));
    let done = |person: &Person, words: &[&str]| drop(root.run_as(&person.name, words).succeeded().to_owned());
    let revoked = id(&request(root, &carol, "reviewed", &[]));
    done(&bob, &["jitctl", "approve", &revoked]);
    done(&carol, &RUN);
    done(&bob, &["jitctl", "revoke", &revoked, "--reason", "enough"]);
    let denied = id(&request(root, &carol, "reviewed", &[]));
    done(&bob, &["jitctl", "deny", &denied, "--reason", "no"]);
    let used = id(&request(root, &carol, "once", &[]));
    done(&carol, &RUN);
    let reviewed = id(&request(root, &carol, "urgent", &["--break-glass"]));
    done(&carol, &["jitctl", "release"]);
    done(&bob, &["jitctl", "review", &reviewed, "--comment", "it did burn"]);
    let debt = id(&request(root, &carol, "urgent", &["--break-glass"]));
    BTreeMap::from([("revoked", revoked), ("denied", denied), ("used", used), ("reviewed", reviewed), ("debt", debt)])
}

#[test]
fn a_changed_row_that_gives_permission_is_reported() {
    let root = own_root();
    let ids = story(&root);
    let text = root.as_root(["jitctl", "audit", "verify"]).intact().to_owned();
    assert!(
        text.contains(
            "the database agrees: 5 requests, 1 approval, 4 grants, 2 break-glass reviews, 4 denials, revocations and releases"
        ),
        "{text}"
    );
    root.script(&format!("cp -a {STATE} /root/state"));
    const FILE: &str = "'$.' || char(34) || '/etc/jit-sudo/policy.d/journals.toml' || char(34)";
    let forget = "ended = NULL, ended_by = NULL, ended_at = NULL, ended_reason = NULL";
    let harm = [
        ("revoked", format!("UPDATE granted SET {forget} WHERE id = 'ID'"), "the database says active, the journal says revoked by person"),
        ("used", format!("UPDATE granted SET {forget} WHERE id = 'ID'"), "the database says active, the journal says used at "),
        ("revoked", "UPDATE granted SET expires = expires + 86400 WHERE id = 'ID'".into(), "the column 'expires'"),
        ("revoked", "DELETE FROM approval WHERE request = 'ID'".into(), "table approval): its row is missing"),
        ("revoked", "DELETE FROM granted WHERE id = 'ID'".into(), "table granted): "),
        ("denied", "DELETE FROM request WHERE id = 'ID'".into(), "table request): "),
        ("denied", "UPDATE request SET state = 'pending', ended_by = NULL, ended_at = NULL, ended_reason = NULL WHERE id = 'ID'".into(),
            "the database says pending, the journal says denied by person"),
        ("debt", "DELETE FROM review_debt WHERE id = 'ID'".into(), "table review_debt): its row is missing"),
        ("debt", "UPDATE review_debt SET reviewer = 'bob', reviewed = at, comment = x'6f6b' WHERE id = 'ID'".into(),
            "the database says reviewed, the journal says open"),
        ("reviewed", "UPDATE review_debt SET reviewer = 'carol' WHERE id = 'ID'".into(), "table review_debt): "),
        ("revoked", "INSERT INTO granted SELECT 'zzzzzzzzzz', uid, role, starts, expires, body, signature, NULL, NULL, NULL, NULL, NULL FROM granted WHERE id = 'ID'".into(),
            "grant zzzzzzzzzz (table granted): the journal has no record of it"),
        ("", "UPDATE role_text SET body = CAST(replace(CAST(body AS TEXT), '/usr/bin/id', '/usr/bin/sh') AS BLOB)".into(), "(table role_text): its bytes have another digest"),
        ("revoked", "DELETE FROM statement WHERE request = 'ID'".into(), "(table statement): the row of its revocation is missing"),
        ("denied", "UPDATE statement SET uid = uid + 1 WHERE request = 'ID'".into(), "its denial: a column differs from its record"),
        ("reviewed", "UPDATE statement SET host_signature = zeroblob(180) WHERE request = 'ID' AND kind = 'review'".into(), "(table statement): its review: "),
        ("revoked", "UPDATE request SET needed = 0 WHERE id = 'ID'".into(), "the database says 0 approvals, the journal says 1"),
        ("", "UPDATE policy_settings SET body = CAST(replace(CAST(body AS TEXT), '100000', '100001') AS BLOB)".into(), "(table policy_settings): its bytes have another digest"),
        ("", format!("UPDATE policy_settings SET files = json_set(files, {FILE}, hex(zeroblob(32)))"), "journals.toml (table policy_settings): its digest is not that of the last policy record"),
        ("", format!("UPDATE policy_settings SET files = json_remove(files, {FILE})"), "journals.toml (table policy_settings): it is missing there"),
        ("", "UPDATE policy_settings SET files = files || ' '".into(), "(table policy_settings): its list of files is not valid"),
        ("", "INSERT INTO policy_settings SELECT 2, format, stamp, seal, body, sha256, policy, files FROM policy_settings".into(), "(table policy_settings): there is another row before it"),
        ("", "UPDATE policy_role SET body = CAST(replace(CAST(body AS TEXT), 'urgent', 'ungent') AS BLOB) WHERE name = 'urgent'".into(), "the compiled role urgent (table policy_role): its bytes have another digest"),
        ("", "DELETE FROM policy_role WHERE name = 'urgent'".into(), "the compiled role urgent (table policy_role): its row is missing"),
        ("", "INSERT INTO policy_role SELECT 'ghost', body, sha256, digest FROM policy_role WHERE name = 'urgent'".into(), "the compiled role ghost (table policy_role): "),
        ("", "INSERT INTO policy_principal VALUES ('alice', 'standing', 'urgent')".into(), "an assignment of role urgent (table policy_principal): the role does not name 'alice' there"),
        ("", "DELETE FROM policy_principal WHERE role = 'urgent'".into(), "(table policy_principal): the eligible row of '%urgent' is missing"),
        ("", "UPDATE policy_settings SET stamp = 'x'".into(), "(table policy_settings): its seal is not by the journal's key"),
        ("", "UPDATE journal_meta SET value = zeroblob(32) WHERE name = 'redaction_key'".into(), "(table policy_settings): its seal is not by the journal's key"),
        ("", "INSERT INTO certification VALUES ('urgent', 'alice', 'confirmed', 'bob', 1795871408, x'6f6b')".into(), "a review of role urgent (table certification): about alice: the journal has no record of it"),
        ("", "INSERT INTO open_run VALUES (5, '7f7ec8zr1wa4', 1001, NULL, 1, 1, 'x', NULL, 0)".into(), "the open run 7f7ec8zr1wa4 (table open_run): it has ended, or no record says that it started"),
        ("", "INSERT INTO open_run VALUES (5, '7f7ec8zr1wa4', 1001, NULL, 1, 1, 'x', NULL, 1)".into(), "what is left of run 7f7ec8zr1wa4 (table open_run): no record says"),
        ("", "UPDATE precedent SET runs = 999".into(), "(table precedent): the database says 999 runs by uid"),
        ("", "INSERT INTO precedent VALUES (1001, zeroblob(32), 412, 1)".into(), "(table precedent): the database says 412 runs by uid 1001, the journal says none"),
        ("", "UPDATE journal_meta SET value = x'00' WHERE name = 'host'".into(), "what is kept as host (table journal_meta): it is not the host of the newest request"),
        ("", "DELETE FROM journal_meta WHERE name = 'host'".into(), "what is kept as host (table journal_meta): its row is missing"),
        ("", "INSERT INTO journal_meta VALUES ('restored', x'78')".into(), "what is kept as restored (table journal_meta): no alert says"),
    ];
    for (which, sql, sentence) in harm {
        let id = ids.get(which).map_or("", String::as_str);
        root.script(&format!("sqlite3 {STATE}/journal.db \"{}\"", sql.replace("ID", id)));
        let output = root.as_root(["jitctl", "audit", "verify"]);
        let said = output.refused("the database differs from the journal: ");
        assert!(said.contains(sentence) && (said.contains(id) || sentence.contains("zzzzzzzzzz")), "{sql}: {said}");
        let json = root.as_root(["jitctl", "--json", "audit", "verify"]).json()["verified"].clone();
        assert_eq!(json["intact"], false, "{sql}: {json}");
        assert!(json["differences"][0]["table"].is_string(), "{sql}: {json}");
        // Settings that cannot be read stop every program. A stamp with an invalid seal is computed again, and rows of runs that
        // never existed are removed, before anything is pruned.
        let pruned = if sql.contains("policy_settings SET body") { "damaged at settings" } else { "not intact" };
        let mended = ["SET stamp", "redaction_key", "open_run"].iter().any(|word| sql.contains(word));
        if !mended {
            root.as_root(["jitctl", "audit", "prune", "--keep", "1d"]).refused(pruned);
        }
        root.script(&format!("settle; rm -r {STATE} && cp -a /root/state {STATE}"));
    }
    root.as_root(["jitctl", "audit", "verify"]).intact();
}

/// Random verbs by random users, random runs, and sometimes an export, which signs the head; copies the database every few steps,
/// and creates a new host after every ten copies.
const SCRIPT: &str = r#"
set -u
state=/var/lib/jit-sudo db=/var/lib/jit-sudo/journal.db
mkdir -p /copies
any() { local number=${numbers[$1]} list=("${@:2}"); echo "${list[number % ${#list[@]}]}"; }
as() { setpriv --reuid="$1" --regid="$1" --init-groups --reset-env "${@:2}" >/dev/null 2>&1; }
ask() { as "$1" /usr/libexec/jit-sudo/jit-sudo-broker <<<"$2"; }
for ((step = 0; step < 8 * COPIES; step++)); do
    if ((step % 80 == 0)); then
        rm -rf $state/* && jitctl key init >/dev/null
    fi
    # Signs the head, and begins another epoch.
    if ((step % 5 == 4)); then
        jitctl audit export --output - >/dev/null 2>&1
    fi
    # Root replaces the host key, also one that the backup of the next step does not know.
    if ((ROTATIONS && step % 28 == 13)); then
        jitctl key rotate --yes --reason "$(any 9 x 'é \\x')" >/dev/null 2>&1
    fi
    # Root restores a backup: the journal goes on behind a fork.
    if ((step % 80 == 44)); then
        sqlite3 $db ".restore /copies/$((step / 8 - 1)).db"
        jitctl key accept --reason restored >/dev/null 2>&1
    fi
    for ((i = 0; i < 12; i++)); do numbers[i]=$RANDOM; done
    who=$(any 0 $PEOPLE)
    id=$(sqlite3 -readonly $db "SELECT id FROM request ORDER BY rowid DESC LIMIT 1 OFFSET $((numbers[1] % 4))")
    open="SELECT id, uid FROM granted WHERE ended IS NULL ORDER BY rowid DESC LIMIT 1 OFFSET $((numbers[2] % 3))"
    IFS='|' read -r grant holder <<<"$(sqlite3 -readonly $db "$open")"
    debt=$(sqlite3 -readonly $db "SELECT id FROM review_debt WHERE reviewer IS NULL ORDER BY id LIMIT 1")
    narrow="\"one_shot\":$(any 3 true false false),\"exact\":false"
    case $((numbers[7] % 24)) in
    [0-5])
        role=$(any 8 reviewed quorum once self-service urgent)
        ask "$who" "{\"verb\":\"request\",\"role\":\"$role\",\"reason\":\"$(any 9 x 'é\\u0007\\\\x')\",\"one_shot\":$(any 10 true false)}"
        ;;
    [6-9] | 10) ask "$(any 4 $PEOPLE)" "{\"verb\":\"approve\",\"id\":\"$id\",$narrow}" ;;
    11) ask "$who" "{\"verb\":\"deny\",\"id\":\"$id\",\"reason\":\"no \\\\ \\t\"}" ;;
    12) ask "$(sqlite3 -readonly $db "SELECT uid FROM request WHERE id = '$id'")" "{\"verb\":\"cancel\",\"id\":\"$id\"}" ;;
    13) ask "${holder:-$who}" "{\"verb\":\"release\"}" ;;
    14) ask "$who" "{\"verb\":\"revoke\",\"target\":$(any 8 '"all"' "{\"id\":\"$grant\"}" "{\"id\":\"$id\"}"),\"reason\":\"x\"}" ;;
    15 | 16) ask "${holder:-$who}" "{\"verb\":\"extend\",\"id\":\"$grant\",\"reason\":\"x\"}" ;;
    17 | 18) ask "$who" "{\"verb\":\"request\",\"role\":\"urgent\",\"reason\":\"x\",\"break_glass\":true}" ;;
    19) ask "$who" "{\"verb\":\"review-settle\",\"id\":\"$debt\",\"comment\":\"fine\"}" ;;
    20 | 21) as "${holder:-$who}" jit-sudo -n id -u ;;
    22) jitctl audit export --output - >/dev/null 2>&1 ;;
    23) as "$who" jit-sudo -n id -u ;;
    esac
    if ((step % 8 == 7)); then
        number=$((step / 8))
        sqlite3 $db ".backup /copies/$number.db"
        cp $state/host_key /copies/$number.key
        cp "$(ls -v $state/sealing_key.* | tail -n 1)" /copies/$number.sealing
    fi
done
true
"#;

/// A damage: its name, whether the checkers must report it on a host whose rows all have their records, and the change.
type Damage = (&'static str, bool, fn(&Connection, &mut Random) -> rusqlite::Result<usize>);

/// A sequence of numbers by xorshift.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 11).unwrap() % limit.max(1)
    }
}

/// Executes `statement` with a random row of `table` in place of ROW.
fn at(db: &Connection, random: &mut Random, table: &str, which: &str, statement: &str) -> rusqlite::Result<usize> {
    let key = match table {
        "approval" => "request || uid",
        "role_text" => "digest",
        "journal_meta" => "name",
        "precedent" => "uid || hex(command)",
        "policy_principal" => "principal || kind || role",
        "tree" => "height || '/' || place",
        _ => "rowid",
    };
    let mut query = db.prepare(&format!("SELECT quote({key}) FROM {table} WHERE {which} ORDER BY 1"))?;
    let rows = query.query_map([], |row| row.get::<_, String>(0))?.collect::<Result<Vec<_>, _>>()?;
    let Some(row) = rows.get(random.below(rows.len())) else { return Ok(0) };
    let before = db.total_changes();
    db.execute_batch(&statement.replace("ROW", &format!("{key} = {row}")))?;
    Ok(usize::try_from(db.total_changes() - before).unwrap())
}

/// Updates the hashes of changed records, and the links to them, as someone without a key can.
fn relink(db: &Connection) -> rusqlite::Result<()> {
    let mut query = db.prepare("SELECT seq, body FROM record ORDER BY seq")?;
    let rows: Vec<(i64, Vec<u8>)> =
        query.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?;
    let mut prev: Option<String> = None;
    for (seq, body) in rows {
        let mut record: serde_json::Value = serde_json::from_slice(&body).unwrap();
        if let Some(prev) = prev {
            record["prev"] = prev.into();
        }
        let body = record.to_string();
        let digest = hash(body.as_bytes());
        db.execute("UPDATE record SET body = ?2, hash = ?3 WHERE seq = ?1", params![seq, body.as_bytes(), digest.0])?;
        prev = Some(digest.to_string());
    }
    Ok(())
}

/// Writes a role into the compiled policy as root could, with all its digests and principals.
fn put_role(db: &Connection, name: &str, body: &str) -> rusqlite::Result<usize> {
    let role = StoredRole::of(name, body.as_bytes()).unwrap();
    let sha256 = row_digest(name, body.as_bytes());
    db.execute(
        "INSERT OR REPLACE INTO policy_role VALUES (?1, ?2, ?3, ?4)",
        params![name, body.as_bytes(), sha256, role.digest],
    )?;
    for (who, kind) in role.principals {
        db.execute("INSERT OR IGNORE INTO policy_principal VALUES (?1, ?2, ?3)", params![who, kind, name])?;
    }
    Ok(1)
}

/// Adds a standing role `ghost` of alice for everything, which no policy file contains.
fn ghost(db: &Connection) -> rusqlite::Result<usize> {
    let body: Vec<u8> = db.query_row("SELECT body FROM policy_role WHERE name = 'reviewed'", [], |row| row.get(0))?;
    let mut role: serde_json::Value = serde_json::from_slice(&body).unwrap();
    role["name"] = "ghost".into();
    role["standing"] = serde_json::json!(["alice"]);
    role["authenticate"] = false.into();
    role["commands"] = serde_json::json!([{"effect": "allow", "text": "ALL"}]);
    let source = role.as_object_mut().unwrap().remove("source").unwrap();
    // The key of the place in the files follows another key.
    let body = format!("{},\"source\":{source}}}", role.to_string().trim_end_matches('}'));
    put_role(db, "ghost", &body)
}

fn swap(db: &Connection, random: &mut Random, table: &str) -> rusqlite::Result<usize> {
    let count: i64 = db.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0))?;
    if count < 2 {
        return Ok(0);
    }
    let first = i64::try_from(random.below(usize::try_from(count - 1).unwrap())).unwrap() + 1;
    for (from, to) in [(first, 1_000_000), (first + 1, first), (1_000_000, first + 1)] {
        db.execute(&format!("UPDATE {table} SET rowid = ?2 WHERE rowid = ?1"), [from, to])?;
    }
    Ok(2)
}

macro_rules! row {
    ($name:literal, $noticed:literal, $table:literal, $which:literal, $statement:literal) => {
        ($name, $noticed, |db, random| at(db, random, $table, $which, $statement))
    };
}

const DAMAGE: &[Damage] = &[
    row!("a rotation is gone", true, "record", "kind = 'rotation'", "DELETE FROM record WHERE ROW"),
    ("a rotation by another key", true, |db, random| {
        let which = "kind = 'rotation'";
        let statement = "UPDATE record SET body = CAST(replace(body, '\"old_key\":\"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI', \
                         '\"old_key\":\"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAJ') AS BLOB) WHERE ROW";
        let changed = at(db, random, "record", which, statement)?;
        relink(db)?;
        Ok(changed)
    }),
    ("a rotation that both keys have signed elsewhere", true, |db, random| {
        let statement =
            "UPDATE record SET body = CAST(replace(body, '\"reason\":\"', '\"reason\":\"y') AS BLOB) WHERE ROW";
        let changed = at(db, random, "record", "kind = 'rotation'", statement)?;
        relink(db)?;
        Ok(changed)
    }),
    row!(
        "the certificate of a removed rotation is gone",
        false,
        "journal_meta",
        "name LIKE 'certificate:%' AND instr(value, CAST('\"kind\":\"rotation\"' AS BLOB)) > 0",
        "DELETE FROM journal_meta WHERE ROW"
    ),
    row!("a fork is gone", true, "record", "kind = 'fork'", "DELETE FROM record WHERE ROW"),
    row!(
        "a fork in another place",
        true,
        "record",
        "kind = 'fork'",
        "UPDATE record SET body = CAST(replace(body, '\"continues\":', '\"continues\":1') AS BLOB) WHERE ROW"
    ),
    row!(
        "unrevoked",
        true,
        "granted",
        "ended IS NOT NULL",
        "UPDATE granted SET ended = NULL, ended_by = NULL, ended_at = NULL, ended_reason = NULL WHERE ROW"
    ),
    row!("unrevoked by half", true, "granted", "ended IS NOT NULL", "UPDATE granted SET ended = NULL WHERE ROW"),
    row!(
        "revoked by hand",
        true,
        "granted",
        "ended IS NULL",
        "UPDATE granted SET ended = 'revoked', ended_by = 'bob', ended_at = 5, ended_reason = x'' WHERE ROW"
    ),
    row!(
        "another end",
        true,
        "granted",
        "ended IS NOT NULL",
        "UPDATE granted SET ended = CASE ended WHEN 'revoked' THEN 'released' ELSE 'revoked' END WHERE ROW"
    ),
    row!("ended by another", true, "granted", "ended IS NOT NULL", "UPDATE granted SET ended_by = 'mallory' WHERE ROW"),
    row!("ended later", true, "granted", "ended IS NOT NULL", "UPDATE granted SET ended_at = ended_at + 1 WHERE ROW"),
    row!(
        "ended for another reason",
        true,
        "granted",
        "ended IS NOT NULL",
        "UPDATE granted SET ended_reason = x'41' WHERE ROW"
    ),
    row!("expires", true, "granted", "1", "UPDATE granted SET expires = expires + 3600 WHERE ROW"),
    row!("starts", true, "granted", "1", "UPDATE granted SET starts = starts - 1 WHERE ROW"),
    row!("holder", true, "granted", "1", "UPDATE granted SET uid = uid + 1 WHERE ROW"),
    row!("role", true, "granted", "1", "UPDATE granted SET role = 'deploy' WHERE ROW"),
    row!("grant removed", true, "granted", "1", "DELETE FROM granted WHERE ROW"),
    row!(
        "grant bytes",
        true,
        "granted",
        "1",
        "UPDATE granted SET body = CAST(replace(CAST(body AS TEXT), '\"exact\":0', '\"exact\":1') AS BLOB) WHERE ROW"
    ),
    row!(
        "foreign grant",
        true,
        "granted",
        "1",
        "INSERT INTO granted SELECT 'zzzzzzzzzz', uid, role, starts, expires, body, signature, NULL, NULL, NULL, NULL, NULL FROM granted WHERE ROW"
    ),
    row!("grant signature", true, "granted", "1", "UPDATE granted SET signature = zeroblob(180) WHERE ROW"),
    ("grant by another key", true, |db, random| {
        let mut query = db.prepare("SELECT rowid, body FROM granted ORDER BY rowid")?;
        let rows: Vec<(i64, Vec<u8>)> =
            query.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?;
        let Some((rowid, body)) = rows.get(random.below(rows.len())) else { return Ok(0) };
        let signature = HostKey::from_seed([9; 32]).sign(Namespace::Grant, body);
        db.execute("UPDATE granted SET signature = ?2 WHERE rowid = ?1", params![rowid, signature])
    }),
    ("grants swapped", true, |db, random| swap(db, random, "granted")),
    ("requests swapped", true, |db, random| swap(db, random, "request")),
    row!(
        "undecided",
        true,
        "request",
        "state IN ('denied', 'cancelled')",
        "UPDATE request SET state = 'pending', ended_by = NULL, ended_at = NULL, ended_reason = NULL WHERE ROW"
    ),
    row!("approved by hand", true, "request", "state <> 'approved'", "UPDATE request SET state = 'approved' WHERE ROW"),
    row!("expired by hand", true, "request", "state = 'pending'", "UPDATE request SET state = 'expired' WHERE ROW"),
    row!(
        "denied by another",
        true,
        "request",
        "ended_by IS NOT NULL",
        "UPDATE request SET ended_by = 'mallory' WHERE ROW"
    ),
    row!("request words", true, "request", "ended_by IS NOT NULL", "UPDATE request SET ended_reason = x'41' WHERE ROW"),
    row!("requester", true, "request", "1", "UPDATE request SET uid = uid + 1 WHERE ROW"),
    row!("deadline", true, "request", "1", "UPDATE request SET deadline = deadline + 1 WHERE ROW"),
    row!("created", true, "request", "1", "UPDATE request SET created = created - 1 WHERE ROW"),
    row!("needed", true, "request", "needed > 0", "UPDATE request SET needed = 0 WHERE ROW"),
    row!(
        "request bytes",
        true,
        "request",
        "1",
        "UPDATE request SET body = CAST(replace(CAST(body AS TEXT), '\"duration\":', '\"duration\":9') AS BLOB) WHERE ROW"
    ),
    row!("request removed", true, "request", "1", "DELETE FROM request WHERE ROW"),
    row!(
        "foreign request",
        true,
        "request",
        "1",
        "INSERT INTO request SELECT 'zzzzzzzzzz', uid, role, state, created, deadline, needed, body, ended_by, ended_at, ended_reason FROM request WHERE ROW"
    ),
    row!("approval removed", true, "approval", "1", "DELETE FROM approval WHERE ROW"),
    row!("approval of another time", true, "approval", "1", "UPDATE approval SET at = at + 1 WHERE ROW"),
    row!("approver", true, "approval", "1", "UPDATE approval SET uid = uid + 1000 WHERE ROW"),
    row!(
        "approval bytes",
        true,
        "approval",
        "1",
        "UPDATE approval SET body = CAST(replace(CAST(body AS TEXT), '\"one_shot\":', '\"one_shot\": ') AS BLOB) WHERE ROW"
    ),
    row!(
        "foreign approval",
        true,
        "approval",
        "1",
        "INSERT INTO approval SELECT request, uid + 1000, at, body, signature, key FROM approval WHERE ROW"
    ),
    row!(
        "approval signed by nobody",
        true,
        "approval",
        "1",
        "UPDATE approval SET signature = x'00', key = 'SHA256:x' WHERE ROW"
    ),
    row!("debt removed", true, "review_debt", "1", "DELETE FROM review_debt WHERE ROW"),
    row!(
        "debt settled by hand",
        true,
        "review_debt",
        "reviewer IS NULL",
        "UPDATE review_debt SET reviewer = 'bob', reviewed = at, comment = x'41' WHERE ROW"
    ),
    row!(
        "debt opened again",
        true,
        "review_debt",
        "reviewer IS NOT NULL",
        "UPDATE review_debt SET reviewer = NULL, reviewed = NULL, comment = NULL WHERE ROW"
    ),
    row!("debtor", true, "review_debt", "1", "UPDATE review_debt SET uid = uid + 1000 WHERE ROW"),
    row!(
        "foreign debt",
        true,
        "review_debt",
        "1",
        "INSERT INTO review_debt SELECT 'zzzzzzzzzz', uid + 1000, user, role, at, reviewer, reviewed, comment FROM review_debt WHERE ROW"
    ),
    row!("extension removed", true, "request", "extends IS NOT NULL", "UPDATE request SET extends = NULL WHERE ROW"),
    row!(
        "extension of another",
        true,
        "request",
        "extends IS NOT NULL",
        "UPDATE request SET extends = 'zzzzzzzzzz' WHERE ROW"
    ),
    row!(
        "foreign extension",
        true,
        "request",
        "extends IS NULL",
        "UPDATE request SET extends = 'zzzzzzzzzz' WHERE ROW"
    ),
    row!(
        "role text",
        true,
        "role_text",
        "1",
        "UPDATE role_text SET body = CAST(replace(CAST(body AS TEXT), '/usr/bin/id', '/usr/bin/sh') || ' ' AS BLOB) WHERE ROW"
    ),
    row!("statement removed", true, "statement", "1", "DELETE FROM statement WHERE ROW"),
    row!("statement by another", true, "statement", "1", "UPDATE statement SET uid = uid + 1 WHERE ROW"),
    row!("statement of another time", true, "statement", "1", "UPDATE statement SET at = at - 1 WHERE ROW"),
    row!(
        "statement of another kind",
        true,
        "statement",
        "1",
        "UPDATE statement SET kind = CASE kind WHEN 'release' THEN 'revocation' ELSE 'release' END WHERE ROW"
    ),
    row!("statement with a key", true, "statement", "1", "UPDATE statement SET key = 'SHA256:x' WHERE ROW"),
    row!(
        "statement bytes",
        true,
        "statement",
        "1",
        "UPDATE statement SET body = CAST(replace(CAST(body AS TEXT), '\"version\":2', '\"version\": 2') AS BLOB) WHERE ROW"
    ),
    row!(
        "statement twice",
        true,
        "statement",
        "1",
        "INSERT INTO statement SELECT request, kind, at, uid, body, host_signature, signature, key FROM statement WHERE ROW"
    ),
    row!(
        "statement signature",
        true,
        "statement",
        "1",
        "UPDATE statement SET host_signature = zeroblob(180) WHERE ROW"
    ),
    ("statement by another host", true, |db, random| {
        let mut query = db.prepare("SELECT rowid, body FROM statement ORDER BY rowid")?;
        let rows: Vec<(i64, Vec<u8>)> =
            query.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?;
        let Some((rowid, body)) = rows.get(random.below(rows.len())) else { return Ok(0) };
        let signature = HostKey::from_seed([9; 32]).sign(Namespace::Statement, body);
        db.execute("UPDATE statement SET host_signature = ?2 WHERE rowid = ?1", params![rowid, signature])
    }),
    ("standing role put in", true, |db, _| ghost(db)),
    ("role that may do more", true, |db, _| {
        let mut query = db.prepare("SELECT name, body FROM policy_role WHERE name = 'reviewed'")?;
        let (name, body): (String, Vec<u8>) = query.query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let body = String::from_utf8(body).unwrap().replace("/usr/bin/id", "/usr/bin/sh");
        put_role(db, &name, &body)
    }),
    row!("compiled role removed", true, "policy_role", "1", "DELETE FROM policy_role WHERE ROW"),
    row!(
        "compiled role of another name",
        true,
        "policy_role",
        "1",
        "UPDATE policy_role SET name = name || '2' WHERE ROW"
    ),
    row!(
        "compiled role of another digest",
        true,
        "policy_role",
        "1",
        "UPDATE policy_role SET digest = zeroblob(32) WHERE ROW"
    ),
    row!(
        "compiled bytes",
        true,
        "policy_role",
        "1",
        "UPDATE policy_role SET body = CAST(CAST(body AS TEXT) || ' ' AS BLOB) WHERE ROW"
    ),
    row!(
        "eligible made standing",
        true,
        "policy_principal",
        "kind = 'eligible' AND role <> 'admin'",
        "UPDATE policy_principal SET kind = 'standing' WHERE ROW"
    ),
    row!("assignment removed", true, "policy_principal", "1", "DELETE FROM policy_principal WHERE ROW"),
    row!(
        "foreign assignment",
        true,
        "policy_principal",
        "1",
        "INSERT INTO policy_principal SELECT 'mallory', kind, role FROM policy_principal WHERE ROW"
    ),
    row!(
        "policy file",
        true,
        "policy_settings",
        "1",
        "UPDATE policy_settings SET files = substr(files, 1, length(files) - 66) || lower(hex(zeroblob(32))) || '\"}' WHERE ROW"
    ),
    row!(
        "policy file removed",
        true,
        "policy_settings",
        "1",
        "UPDATE policy_settings SET files = '{' || substr(files, instr(files, ',') + 1) WHERE ROW"
    ),
    row!(
        "foreign policy file",
        true,
        "policy_settings",
        "1",
        "UPDATE policy_settings SET files = substr(files, 1, length(files) - 1) || ',\"/x\":\"00\"}' WHERE ROW"
    ),
    row!(
        "policy files written otherwise",
        true,
        "policy_settings",
        "1",
        "UPDATE policy_settings SET files = files || ' ' WHERE ROW"
    ),
    row!(
        "other settings beside it",
        true,
        "policy_settings",
        "1",
        "INSERT INTO policy_settings SELECT id + 1, format, stamp, seal, body, sha256, policy, files FROM policy_settings WHERE ROW"
    ),
    row!(
        "policy of another digest",
        true,
        "policy_settings",
        "1",
        "UPDATE policy_settings SET policy = zeroblob(32) WHERE ROW"
    ),
    ("other settings", true, |db, _| {
        let (policy, body): (Vec<u8>, Vec<u8>) =
            db.query_row("SELECT policy, body FROM policy_settings", [], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let body = String::from_utf8(body).unwrap().replace("100000", "100001");
        let sha256 = settings_digest(&policy.try_into().unwrap(), body.as_bytes());
        db.execute("UPDATE policy_settings SET body = ?1, sha256 = ?2", params![body.as_bytes(), sha256])
    }),
    row!("settings removed", true, "policy_settings", "1", "DELETE FROM policy_settings WHERE ROW"),
    row!("role text removed", true, "role_text", "1", "DELETE FROM role_text WHERE ROW"),
    row!(
        "foreign role text",
        true,
        "role_text",
        "1",
        "INSERT INTO role_text SELECT upper(digest), body FROM role_text WHERE ROW"
    ),
    row!("stamp of other files", true, "policy_settings", "1", "UPDATE policy_settings SET stamp = 'x' WHERE ROW"),
    row!(
        "other journal key",
        true,
        "journal_meta",
        "name = 'redaction_key'",
        "UPDATE journal_meta SET value = zeroblob(32) WHERE name = 'redaction_key'"
    ),
    row!(
        "no journal key",
        true,
        "journal_meta",
        "name = 'redaction_key'",
        "DELETE FROM journal_meta WHERE name = 'redaction_key'"
    ),
    row!(
        "other host",
        false,
        "journal_meta",
        "name = 'host'",
        "UPDATE journal_meta SET value = x'00' WHERE name = 'host'"
    ),
    row!("precedents", true, "precedent", "1", "UPDATE precedent SET runs = runs + 1 WHERE ROW"),
    row!("later precedents", true, "precedent", "1", "UPDATE precedent SET last = last + 1 WHERE ROW"),
    row!("fewer precedents", false, "precedent", "1", "DELETE FROM precedent WHERE ROW"),
    row!(
        "open run put in",
        true,
        "record",
        "kind = 'start'",
        "INSERT INTO open_run SELECT seq, run, uid, grant_id, 1, 1, 'x', NULL, 0 FROM record WHERE ROW"
    ),
    row!(
        "leftovers put in",
        true,
        "record",
        "kind = 'start'",
        "INSERT INTO open_run SELECT seq, run, uid, grant_id, 1, 1, 'x', NULL, 1 FROM record WHERE ROW"
    ),
    ("certification put in", true, |db, _| {
        db.execute("INSERT INTO certification VALUES ('urgent', 'x', 'confirmed', 'root', 1, x'6f6b')", [])
    }),
    // The record of the epoch signs what is before it.
    row!("no checkpoint", false, "checkpoint", "1", "DELETE FROM checkpoint"),
    row!("no epoch", false, "record", "kind = 'epoch'", "DELETE FROM record WHERE ROW"),
    row!(
        "a certificate is gone",
        true,
        "journal_meta",
        "name LIKE 'certificate:%'",
        "DELETE FROM journal_meta WHERE ROW"
    ),
    row!(
        "a certificate of another key",
        true,
        "journal_meta",
        "name LIKE 'certificate:%'",
        "UPDATE journal_meta SET value = CAST(replace(CAST(value AS TEXT), 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI', 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAJ') AS BLOB) WHERE ROW"
    ),
    ("an epoch of another number", true, |db, random| {
        // Every link after it is computed again, and no key is there to sign it.
        let statement = "UPDATE record SET body = CAST(replace(body, '\"number\":', '\"number\":1') AS BLOB) WHERE ROW";
        let changed = at(db, random, "record", "kind = 'epoch'", statement)?;
        relink(db)?;
        Ok(changed)
    }),
    ("host of another key", false, |db, random| {
        // Changes the request and its record, and every link after it, and removes the checkpoints that would show it.
        let other = HostKey::from_seed([9; 32]).public_line();
        let mut query = db.prepare("SELECT id, body FROM request ORDER BY rowid")?;
        let rows: Vec<(String, Vec<u8>)> =
            query.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?;
        let Some((id, body)) = rows.get(random.below(rows.len())) else { return Ok(0) };
        let mut asked: serde_json::Value = serde_json::from_slice(body).unwrap();
        asked["host"]["key"] = other.split(' ').take(2).collect::<Vec<_>>().join(" ").into();
        let (body, before) = (asked.to_string(), hash(body).to_string());
        db.execute("UPDATE request SET body = ?2 WHERE id = ?1", params![id, body.as_bytes()])?;
        let after = hash(body.as_bytes()).to_string();
        let statement = "UPDATE record SET body = CAST(replace(CAST(body AS TEXT), ?2, ?3) AS BLOB) WHERE grant_id = ?1 AND kind = 'request'";
        db.execute(statement, params![id, before, after])?;
        relink(db)?;
        db.execute(
            "DELETE FROM checkpoint WHERE seq >= (SELECT seq FROM record WHERE grant_id = ?1 AND kind = 'request')",
            [id],
        )
        .map(|_| 1)
    }),
    ("record before the pruning", false, |db, _| {
        let statement = "INSERT INTO record (seq, kind, uid, run, grant_id, at, high, hash, body) \
             SELECT min(seq) - 1, kind, uid, run, grant_id, at, high, hash, body FROM record HAVING min(seq) > 1";
        db.execute(statement, [])
    }),
    row!("record removed", false, "record", "1", "DELETE FROM record WHERE ROW"),
    row!("record hash", true, "record", "1", "UPDATE record SET hash = zeroblob(32) WHERE ROW"),
    row!(
        "record bytes",
        true,
        "record",
        "1",
        "UPDATE record SET body = CAST(replace(CAST(body AS TEXT), '\"host\":', '\"host\": ') AS BLOB) WHERE ROW"
    ),
    row!("record column", true, "record", "1", "UPDATE record SET uid = coalesce(uid, 0) + 1 WHERE ROW"),
    row!("record kind", true, "record", "1", "UPDATE record SET kind = 'alert' WHERE ROW AND kind <> 'alert'"),
    row!("record time", true, "record", "1", "UPDATE record SET high = high + 1 WHERE ROW"),
    ("record swapped", true, |db, random| swap(db, random, "record")),
    ("record written anew", false, |db, random| {
        let statement = "UPDATE record SET body = CAST(replace(CAST(body AS TEXT), '\"kind\":\"revocation\"', '\"kind\":\"release\"') AS BLOB), kind = 'release' WHERE ROW";
        let changed = at(db, random, "record", "kind = 'revocation'", statement)?;
        relink(db)?;
        Ok(changed)
    }),
    ("journal cut off and written anew", false, |db, random| {
        let changed = at(
            db,
            random,
            "record",
            "kind NOT IN ('start', 'end', 'reject')",
            "DELETE FROM record WHERE seq >= (SELECT seq FROM record WHERE ROW)",
        )?;
        db.execute("DELETE FROM checkpoint WHERE seq > (SELECT max(seq) FROM record)", [])?;
        Ok(changed)
    }),
    ("checkpoint by another key", false, |db, random| {
        let mut query = db.prepare("SELECT seq, body FROM checkpoint ORDER BY seq")?;
        let rows: Vec<(i64, Vec<u8>)> =
            query.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?;
        let Some((seq, body)) = rows.get(random.below(rows.len())) else { return Ok(0) };
        let signature = HostKey::from_seed([9; 32]).sign(Namespace::Checkpoint, body);
        db.execute("UPDATE checkpoint SET signature = ?2 WHERE seq = ?1", params![seq, signature])
    }),
    row!("checkpoint note", false, "checkpoint", "1", "UPDATE checkpoint SET note = replace(note, 'A', 'B') WHERE ROW"),
    row!("subtree bytes", true, "tree", "1", "UPDATE tree SET hash = zeroblob(32) WHERE ROW"),
    row!("subtree removed", true, "tree", "1", "DELETE FROM tree WHERE ROW"),
    ("subtree put in", true, |db, _| {
        db.execute("INSERT INTO tree (height, place, seq, hash) VALUES (8, 4000, 7, zeroblob(32))", [])
    }),
    row!(
        "checkpoint bytes",
        true,
        "checkpoint",
        "1",
        "UPDATE checkpoint SET body = CAST(replace(CAST(body AS TEXT), '\"at\":1', '\"at\":2') AS BLOB) WHERE ROW"
    ),
];

/// Values to replace a valid one; the text between @ becomes bytes that no `Value` can hold.
const HOSTILE: [&str; 14] = [
    "null",
    "true",
    "-1",
    "0",
    "1.5",
    "\"\"",
    "\"x\"",
    "[]",
    "{}",
    "[1]",
    "\"@BIG@\"",
    "\"@DEEP@\"",
    "\"@DEEPEST@\"",
    "\"@RAW@\"",
];

/// Changes or removes one key of an object; returns the resulting bytes.
fn hostile(body: &[u8], fixed: &[&str], random: &mut Random) -> Vec<u8> {
    let mut value: serde_json::Value = serde_json::from_slice(body).unwrap();
    let object = value.as_object_mut().unwrap();
    let keys: Vec<String> = object.keys().filter(|key| !fixed.contains(&key.as_str())).cloned().collect();
    let key = &keys[random.below(keys.len())];
    let inner = object[key].as_object().map(|inner| inner.keys().cloned().collect::<Vec<_>>());
    let other = serde_json::from_str(HOSTILE[random.below(HOSTILE.len())]).unwrap();
    match (random.below(5), inner) {
        (0, _) => drop(object.remove(key)),
        (1 | 2, Some(inner)) if !inner.is_empty() => object[key][&inner[random.below(inner.len())]] = other,
        _ => object[key] = other,
    }
    let text = value.to_string();
    let deep = |count| format!("{}{}", "[".repeat(count), "]".repeat(count));
    let text = text
        .replace("\"@BIG@\"", &"9".repeat(30))
        .replace("\"@DEEP@\"", &deep(300))
        .replace("\"@DEEPEST@\"", &deep(100_000));
    let at = text.find("@RAW@");
    let mut bytes = text.into_bytes();
    if let Some(at) = at {
        bytes.splice(at..at + 5, [0xff, 0xfe]);
    }
    bytes
}

/// Changes what root with the host's key can: a record, or a document with the record that names it, and computes every hash,
/// link and signature again.
fn forge(db: &Connection, key: &HostKey, random: &mut Random) -> rusqlite::Result<()> {
    let documents = [
        ("request", "id", "request"),
        ("granted", "id", "grant"),
        ("approval", "request", "approval"),
        ("statement", "request", ""),
    ];
    if random.below(10) == 0 {
        // One checkpoint, or all of them, state another host, whose note is then signed.
        let which = ["1", "seq = (SELECT max(seq) FROM checkpoint)", "seq = (SELECT min(seq) FROM checkpoint)"];
        let statement = "UPDATE checkpoint SET body = CAST(replace(CAST(body AS TEXT), '\"host\":\"', '\"host\":\"0') AS BLOB) WHERE";
        db.execute(&format!("{statement} {}", which[random.below(which.len())]), [])?;
    } else if random.below(2) == 0 {
        let count: i64 = db.query_row("SELECT count(*) FROM record", [], |row| row.get(0))?;
        let seq = i64::try_from(random.below(usize::try_from(count).unwrap())).unwrap() + 1;
        let body: Vec<u8> =
            db.query_row("SELECT body FROM record ORDER BY seq LIMIT 1 OFFSET ?1", [seq - 1], |row| row.get(0))?;
        let changed = hostile(&body, &["seq", "prev", "kind"], random);
        db.execute("UPDATE record SET body = ?2 WHERE body = ?1", params![body, changed])?;
    } else {
        let (table, id, kind) = documents[random.below(documents.len())];
        let mut query = db.prepare(&format!("SELECT {id}, body FROM {table} ORDER BY 1, 2"))?;
        let rows: Vec<(String, Vec<u8>)> =
            query.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?;
        let Some((named, body)) = rows.get(random.below(rows.len())) else { return Ok(()) };
        let changed = hostile(body, &[], random);
        db.execute(&format!("UPDATE {table} SET body = ?2 WHERE body = ?1"), params![body, changed])?;
        let (before, after) = (hash(body).to_string(), hash(&changed).to_string());
        let statement = "UPDATE record SET body = CAST(replace(CAST(body AS TEXT), ?2, ?3) AS BLOB) \
                         WHERE grant_id = ?1 AND kind NOT IN ('start', 'end')";
        db.execute(statement, params![named, before, after])?;
        match kind {
            "grant" => {
                let signature = key.sign(Namespace::Grant, &changed);
                db.execute("UPDATE granted SET signature = ?2 WHERE body = ?1", params![changed, signature])?;
            }
            "" => {
                let signature = key.sign(Namespace::Statement, &changed);
                db.execute("UPDATE statement SET host_signature = ?2 WHERE body = ?1", params![changed, signature])?;
            }
            _ => {}
        }
    }
    sign_anew(db, key).map(drop)
}

/// Computes every hash and link again, and signs each checkpoint, with sealing keys that the key of the host certifies anew.
/// Returns the last one.
pub(crate) fn sign_anew(db: &Connection, key: &HostKey) -> rusqlite::Result<Option<HostKey>> {
    let mut epochs = relink_bytes(db, key)?;
    let mut query =
        db.prepare("SELECT c.seq, c.body, lower(hex(r.hash)) FROM checkpoint c JOIN record r ON r.seq = c.seq")?;
    let rows: Vec<(i64, Vec<u8>, String)> =
        query.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?.collect::<Result<_, _>>()?;
    for (seq, body, head) in rows {
        let mut statement: serde_json::Value = serde_json::from_slice(&body).unwrap();
        statement["head"] = head.into();
        let tree = tree(db, seq)?;
        statement["root"] = tree.root.to_string().into();
        let note = signed_by_host(key, statement["host"].as_str().unwrap(), &tree).unwrap().to_string();
        let body = statement.to_string().into_bytes();
        let sealing = epochs.iter().rfind(|(since, _)| *since <= seq).map_or(key, |(_, sealing)| sealing);
        let signature = sealing.sign(Namespace::Checkpoint, &body);
        let update = "UPDATE checkpoint SET body = ?2, signature = ?3, note = ?4 WHERE seq = ?1";
        db.execute(update, params![seq, body, signature, note])?;
    }
    Ok(epochs.pop().map(|(_, sealing)| sealing))
}

/// The tree of the records up to this one, with those that were pruned. Stores its complete subtrees.
fn tree(db: &Connection, through: i64) -> rusqlite::Result<TreeHead> {
    let pruned = "coalesce((SELECT CAST(substr(value, 1, 20) AS INTEGER) FROM journal_meta WHERE name = 'pruned'), 0)";
    let mut query = db.prepare(&format!(
        "SELECT height, hash FROM tree WHERE seq = {pruned} AND seq > 0 ORDER BY place << height, height DESC"
    ))?;
    let (mut size, mut hashes) = (0, Vec::new());
    let mut rows = query.query([])?;
    while let Some(row) = rows.next()? {
        size += 1_u64 << row.get::<_, i64>(0)?;
        hashes.push(Digest(row.get(1)?));
    }
    let mut tree = Frontier::new(size, hashes).unwrap();
    let mut query =
        db.prepare(&format!("SELECT seq, hash FROM record WHERE seq > {pruned} AND seq <= ?1 ORDER BY seq"))?;
    let mut rows = query.query([through])?;
    while let Some(row) = rows.next()? {
        let (seq, mut done) = (row.get::<_, i64>(0)?, Vec::new());
        tree.push(Digest(row.get(1)?), |subtree| done.push(subtree));
        for subtree in done.iter().filter(|subtree| subtree.height % STEP == 0) {
            let insert = "INSERT OR REPLACE INTO tree (height, place, seq, hash) VALUES (?1, ?2, ?3, ?4)";
            db.execute(insert, params![subtree.height, subtree.place.cast_signed(), seq, subtree.hash.0])?;
        }
    }
    Ok(tree.head())
}

/// Returns the record of an epoch with another key, certified by `before` or by the key of the host, and that key. `None` for any
/// other record, and for one that no key can be put in.
fn certified_anew(body: &[u8], before: Option<&HostKey>, host: &HostKey) -> Option<(Vec<u8>, HostKey)> {
    let mut record: serde_json::Value = serde_json::from_slice(body).ok()?;
    if record["kind"] != "epoch" || !record["key"].as_str()?.starts_with("ssh-ed25519 ") {
        return None;
    }
    let next = HostKey::from_seed(hash(body).0);
    record["key"] = next.public_line().split(' ').take(2).collect::<Vec<_>>().join(" ").into();
    let by = if record["certified_by"] == "host-key" { host } else { before.unwrap_or(host) };
    record.as_object_mut()?.remove("signature").filter(serde_json::Value::is_string)?;
    let signature = by.sign(Namespace::Epoch, record.to_string().as_bytes());
    let mut text = String::new();
    for chunk in signature.chunks(3) {
        const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let bits = chunk.iter().fold(0, |bits, byte| bits << 8 | usize::from(*byte)) << (8 * (3 - chunk.len()));
        let digits = (0..4).map(|place| char::from(DIGITS[bits >> (18 - 6 * place) & 63]));
        text.extend(digits.take(chunk.len() + 1).chain("==".chars()).take(4));
    }
    record["signature"] = text.into();
    Some((record.to_string().into_bytes(), next))
}

/// Does the same as [`relink`] for arbitrary bytes. Returns the new sealing keys, each with the record that begins its epoch.
fn relink_bytes(db: &Connection, key: &HostKey) -> rusqlite::Result<Vec<(i64, HostKey)>> {
    const PREV: &[u8] = b"\"prev\":\"";
    let mut query = db.prepare("SELECT seq, body FROM record ORDER BY seq")?;
    let rows: Vec<(i64, Vec<u8>)> =
        query.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?;
    let mut prev: Option<String> = None;
    let mut epochs: Vec<(i64, HostKey)> = Vec::new();
    for (seq, mut body) in rows {
        let place = body.windows(PREV.len()).position(|bytes| bytes == PREV).unwrap() + PREV.len();
        if let Some(prev) = prev {
            body.splice(place..place + 64, prev.into_bytes());
        }
        if let Some((again, next)) = certified_anew(&body, epochs.last().map(|(_, last)| last), key) {
            body = again;
            epochs.push((seq, next));
        }
        let digest = hash(&body);
        db.execute("UPDATE record SET body = ?2, hash = ?3 WHERE seq = ?1", params![seq, body, digest.0])?;
        prev = Some(digest.to_string());
    }
    Ok(epochs)
}

/// Values of every wrong type, depth and length in records and documents, with valid signatures: both checkers report them, or
/// neither.
#[test]
fn both_checkers_agree_on_hostile_bytes_with_valid_signatures() {
    let root = own_root();
    let copies = 6;
    // The old keys, which would have to sign again, are erased.
    random_journals(&root, copies, 1138, NO_ROTATIONS);
    let place = Place::new("hostile");
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    let mut cases = Vec::new();
    for copy in 0..copies {
        let key = HostKey::from_openssh(&root.read(&format!("/copies/{copy}.key"))).unwrap();
        for number in 0..60 {
            let path = place.0.join(format!("{copy}-{number}.db"));
            std::fs::copy(root.path(&format!("/copies/{copy}.db")), &path).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
            let db = Connection::open(&path).unwrap();
            forge(&db, &key, &mut random).unwrap();
            db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
            cases.push(Case { path, key: key.public_key(), line: key.public_line(), damage: None });
        }
    }
    let theirs = checker(&cases);
    assert_eq!(theirs.len(), cases.len());
    let mut differ = Vec::new();
    let mut named = 0;
    for (case, other) in cases.iter().zip(&theirs) {
        let (kind, sentence) = verdict(&case.path, &case.key);
        named += usize::from(kind != "intact");
        if (kind == "intact") != (other == "intact") {
            differ.push(format!("{:?}: {kind} {sentence} / {other}", case.path.file_name()));
        }
    }
    assert!(named * 2 > cases.len(), "{named} of {} were noticed", cases.len());
    assert!(differ.is_empty(), "{} differ:\n{}", differ.len(), differ.join("\n"));
}

/// The digest of a document covers its bytes, but not what the record says about them.
#[test]
fn a_record_that_differs_from_its_document_is_reported() {
    let root = own_root();
    let ids = story(&root);
    root.script("jitctl audit export >/dev/null; sqlite3 /var/lib/jit-sudo/journal.db \".backup /root/story.db\"");
    let key = HostKey::from_openssh(&root.read(&format!("{STATE}/host_key"))).unwrap();
    let place = Place::new("words");
    let path = place.0.join("journal.db");
    let words = [
        ("revoked", "request", "reason", serde_json::json!("something else")),
        ("used", "request", "limits", serde_json::json!(["exact"])),
        ("revoked", "request", "duration", serde_json::json!(1)),
        ("revoked", "approval", "comment", serde_json::json!("put in")),
        ("revoked", "approval", "duration", serde_json::json!(60)),
        ("revoked", "grant", "run_as", serde_json::json!("nobody")),
        ("revoked", "grant", "approvers", serde_json::json!(["mallory"])),
        ("revoked", "revocation", "role", serde_json::json!("other")),
        ("revoked", "revocation", "holder", serde_json::json!("mallory")),
        ("reviewed", "review", "role", serde_json::json!("other")),
    ];
    for (which, kind, word, other) in words {
        std::fs::copy(root.path("/root/story.db"), &path).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        let db = Connection::open(&path).unwrap();
        let query = "SELECT seq, body FROM record WHERE grant_id = ?1 AND kind = ?2";
        let (seq, body): (i64, Vec<u8>) =
            db.query_row(query, params![ids[which], kind], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        let mut record: serde_json::Value = serde_json::from_slice(&body).unwrap();
        record[word] = other;
        let body = record.to_string().into_bytes();
        db.execute("UPDATE record SET body = ?2 WHERE seq = ?1", params![seq, body]).unwrap();
        sign_anew(&db, &key).unwrap();
        db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
        drop(db);
        let (kinds, sentence) = verdict(&path, &key.public_key());
        assert!(sentence.contains("its record differs from its bytes"), "{kind} {word}: {kinds} {sentence}");
        let case = Case { path: path.clone(), key: key.public_key(), line: key.public_line(), damage: None };
        let theirs = checker(&[case]).join("\n");
        assert!(theirs.contains("says something else than its bytes"), "{kind} {word}: {theirs}");
    }
}

/// Changes the bytes of a grant and what its record says of them, and signs everything again with the key of the host.
fn widen(db: &Connection, key: &HostKey, id: &str, change: &serde_json::Value) -> rusqlite::Result<()> {
    let changed = |body: &[u8], change: &serde_json::Value| {
        let mut document: serde_json::Value = serde_json::from_slice(body).unwrap();
        document.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        document.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        document
    };
    let body: Vec<u8> = db.query_row("SELECT body FROM granted WHERE id = ?1", [id], |row| row.get(0))?;
    let grant = changed(&body, change);
    let body = grant.to_string().into_bytes();
    let signature = key.sign(Namespace::Grant, &body);
    let set = "UPDATE granted SET body = ?2, signature = ?3, starts = ?4, expires = ?5 WHERE id = ?1";
    db.execute(set, params![id, body, signature, grant["starts"].as_i64(), grant["expires"].as_i64()])?;
    let limits: Vec<&str> = [("one_shot", "one-shot"), ("exact", "exact")]
        .iter()
        .filter(|(flag, _)| grant[flag] == 1)
        .map(|(_, word)| *word)
        .collect();
    let micros = |key: &str| grant[key].as_i64().unwrap() * 1_000_000;
    let said = serde_json::json!({
        "sha256": hash(&body).to_string(), "limits": limits, "starts": micros("starts"), "expires": micros("expires"),
        "run_as": grant["run_as"], "approvers": grant["approvers"],
    });
    let query = "SELECT seq, body FROM record WHERE grant_id = ?1 AND kind = 'grant'";
    let (seq, body): (i64, Vec<u8>) = db.query_row(query, [id], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let body = changed(&body, &said).to_string().into_bytes();
    db.execute("UPDATE record SET body = ?2 WHERE seq = ?1", params![seq, body])?;
    sign_anew(db, key).map(drop)
}

/// The key of the host signs a grant, and does not decide what the approvers allowed.
#[test]
fn a_grant_wider_than_its_request_and_its_approvals_is_reported() {
    let root = own_root();
    let (bob, carol) = (root.person(&["approvers"]), root.person(&["reviewed"]));
    let wanted = id(&request(&root, &carol, "reviewed", &["--for", "30m", "--", "/usr/bin/id", "-u"]));
    let narrow = ["jitctl", "approve", &wanted, "--exact", "--one-shot", "--for", "10m"];
    root.run_as(&bob.name, narrow).succeeded();
    root.script("jitctl audit export >/dev/null; sqlite3 /var/lib/jit-sudo/journal.db \".backup /root/story.db\"");
    let key = HostKey::from_openssh(&root.read(&format!("{STATE}/host_key"))).unwrap();
    let place = Place::new("wider");
    let path = place.0.join("journal.db");
    let both = |change: &serde_json::Value| {
        std::fs::copy(root.path("/root/story.db"), &path).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        let db = Connection::open(&path).unwrap();
        widen(&db, &key, &wanted, change).unwrap();
        db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
        drop(db);
        let case = Case { path: path.clone(), key: key.public_key(), line: key.public_line(), damage: None };
        (verdict(&path, &key.public_key()), checker(&[case]).join("\n"))
    };
    let ((ours, _), theirs) = both(&serde_json::json!({}));
    assert_eq!((ours.as_str(), theirs.as_str()), ("intact", "intact"));
    let query = "SELECT CAST(body AS TEXT) FROM granted";
    let body = root.script(&format!("sqlite3 /root/story.db \"{query}\""));
    let grant: serde_json::Value = serde_json::from_str(body.trim()).unwrap();
    let moved = |key: &str, by: i64| grant[key].as_i64().unwrap() + by;
    let mut command = grant["command"].clone();
    command["argv"] = serde_json::json!(["/usr/bin/whoami"]);
    command["path"] = "/usr/bin/whoami".into();
    let (day, deadline) = (86_400, 3600 * 1_000_000);
    let changes = [
        (serde_json::json!({"exact": 0}), "it is not limited to its command"),
        (serde_json::json!({"one_shot": 0}), "it is not limited to one run"),
        (
            serde_json::json!({"expires": moved("expires", 3600), "boot_deadline": moved("boot_deadline", deadline)}),
            "it is valid for 1h10m, and 10m were approved",
        ),
        (serde_json::json!({"command": command}), "its command is not that of its request"),
        (serde_json::json!({"command": null, "exact": 0}), "its command is not that of its request"),
        (serde_json::json!({"run_as": "carol"}), "its run_as is not that of its request"),
        (
            serde_json::json!({"starts": moved("starts", -day), "expires": moved("expires", -day)}),
            "its record differs from its bytes",
        ),
        (serde_json::json!({"starts": moved("starts", -day)}), "it starts at another time"),
        // Nor by the clocks: the approval would be used on another day, or after a reboot.
        (
            serde_json::json!({
                "issued": moved("issued", day), "starts": moved("starts", day), "expires": moved("expires", day),
                "boot_deadline": moved("boot_deadline", day * 1_000_000),
            }),
            "its record differs from its bytes",
        ),
        (serde_json::json!({"boot_deadline": moved("boot_deadline", 1)}), "its record differs from its bytes"),
        (serde_json::json!({"boot_id": "another"}), "its record differs from its bytes"),
        (serde_json::json!({"this_boot": 1}), "its record differs from its bytes"),
    ];
    for (change, sentence) in changes {
        let ((kind, said), theirs) = both(&change);
        assert!(kind == "granted" && said.contains(sentence), "{change}: {kind} {said}");
        assert!(theirs.starts_with("granted: "), "{change}: {theirs}");
    }
}

/// Applies changes to the record of this kind about an id.
fn rerecord(db: &Connection, id: &str, kind: &str, change: &serde_json::Value) -> rusqlite::Result<()> {
    let query = "SELECT seq, body FROM record WHERE grant_id = ?1 AND kind = ?2";
    let (seq, body): (i64, Vec<u8>) = db.query_row(query, [id, kind], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let mut record: serde_json::Value = serde_json::from_slice(&body).unwrap();
    record.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    record.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    let (body, uid, kind) = (record.to_string().into_bytes(), record["uid"].as_i64(), record["kind"].as_str());
    db.execute("UPDATE record SET body = ?2, uid = ?3, kind = ?4 WHERE seq = ?1", params![seq, body, uid, kind])?;
    Ok(())
}

/// Makes a statement that of another user, or of another kind, with the host's signature.
fn restate(db: &Connection, key: &HostKey, (id, kind, other): (&str, &str, &str), by: &Person) -> rusqlite::Result<()> {
    let query = "SELECT body FROM statement WHERE request = ?1 AND kind = ?2";
    let body: Vec<u8> = db.query_row(query, [id, kind], |row| row.get(0))?;
    let mut document: serde_json::Value = serde_json::from_slice(&body).unwrap();
    (document["by"], document["kind"]) = (by.name.as_str().into(), other.into());
    if other == "release" {
        document["reason"] = "".into();
    }
    let body = document.to_string().into_bytes();
    let set =
        "UPDATE statement SET body = ?3, host_signature = ?4, uid = ?5, kind = ?6 WHERE request = ?1 AND kind = ?2";
    db.execute(set, params![id, kind, body, key.sign(Namespace::Statement, &body), by.uid, other])?;
    let mut said = serde_json::json!({
        "user": by.name, "uid": by.uid, "kind": other, "sha256": hash(&body).to_string(),
    });
    if other == "release" {
        for key in ["holder", "holder_uid", "reason"] {
            said[key] = serde_json::Value::Null;
        }
    }
    rerecord(db, id, kind, &said)
}

/// Makes an approval that of another user, and names it in the grant.
fn reapprove(db: &Connection, key: &HostKey, id: &str, (from, to): (&Person, &Person)) -> rusqlite::Result<()> {
    let query = "SELECT body FROM approval WHERE request = ?1 AND uid = ?2";
    let before: Vec<u8> = db.query_row(query, params![id, from.uid], |row| row.get(0))?;
    let mut document: serde_json::Value = serde_json::from_slice(&before).unwrap();
    document["approver"] = to.name.as_str().into();
    let body = document.to_string().into_bytes();
    let set = "UPDATE approval SET body = ?3, uid = ?4 WHERE request = ?1 AND uid = ?2";
    db.execute(set, params![id, from.uid, body, to.uid])?;
    let (old, new) = (hash(&before).to_string(), hash(&body).to_string());
    rerecord(db, id, "approval", &serde_json::json!({"user": to.name, "uid": to.uid, "sha256": new}))?;
    let grant: Vec<u8> = db.query_row("SELECT body FROM granted WHERE id = ?1", [id], |row| row.get(0))?;
    let grant = String::from_utf8(grant).unwrap().replace(&old, &new).replace(&from.name, &to.name);
    widen(db, key, id, &serde_json::from_str(&grant).unwrap())
}

/// A change of a copy of the database.
type Edit<'a> = dyn Fn(&Connection) -> rusqlite::Result<()> + 'a;

/// The key of the host does not let users decide about their own requests.
#[test]
fn separation_of_duties_is_a_rule_of_the_evidence() {
    let root = own_root();
    root.add_policy("journals", POLICY);
    let (bob, carol) = (root.person(&["approvers"]), root.person(&["reviewed", "urgent"]));
    let done = |person: &Person, words: &[&str]| drop(root.run_as(&person.name, words).succeeded().to_owned());
    let revoked = id(&request(&root, &carol, "reviewed", &[]));
    done(&bob, &["jitctl", "approve", &revoked]);
    done(&bob, &["jitctl", "revoke", &revoked, "--reason", "enough"]);
    let reviewed = id(&request(&root, &carol, "urgent", &["--break-glass"]));
    done(&bob, &["jitctl", "review", &reviewed, "--comment", "fine"]);
    let denied = id(&request(&root, &carol, "reviewed", &[]));
    done(&bob, &["jitctl", "deny", &denied, "--reason", "no"]);
    let cancelled = id(&request(&root, &carol, "reviewed", &[]));
    done(&carol, &["jitctl", "cancel", &cancelled]);
    root.script("jitctl audit export >/dev/null; sqlite3 /var/lib/jit-sudo/journal.db \".backup /root/story.db\"");
    let key = HostKey::from_openssh(&root.read(&format!("{STATE}/host_key"))).unwrap();
    let place = Place::new("duties");
    let path = place.0.join("journal.db");
    let both = |change: &Edit<'_>| {
        std::fs::copy(root.path("/root/story.db"), &path).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        let db = Connection::open(&path).unwrap();
        change(&db).unwrap();
        sign_anew(&db, &key).unwrap();
        db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
        drop(db);
        let case = Case { path: path.clone(), key: key.public_key(), line: key.public_line(), damage: None };
        (verdict(&path, &key.public_key()), checker(&[case]).join("\n"))
    };
    let ((ours, said), theirs) = both(&|_| Ok(()));
    assert_eq!((ours.as_str(), theirs.as_str()), ("intact", "intact"), "{said}");
    let released = |db: &Connection| {
        restate(db, &key, (&revoked, "revocation", "release"), &bob)?;
        db.execute("UPDATE granted SET ended = 'released', ended_reason = x'' WHERE id = ?1", [&revoked]).map(|_| ())
    };
    let review = |db: &Connection| {
        restate(db, &key, (&reviewed, "review", "review"), &carol)?;
        db.execute("UPDATE review_debt SET reviewer = ?2 WHERE id = ?1", [&reviewed, &carol.name]).map(|_| ())
    };
    let denial = |db: &Connection| {
        restate(db, &key, (&denied, "denial", "denial"), &carol)?;
        db.execute("UPDATE request SET ended_by = ?2 WHERE id = ?1", [&denied, &carol.name]).map(|_| ())
    };
    let cancellation = |db: &Connection| {
        restate(db, &key, (&cancelled, "cancellation", "cancellation"), &bob)?;
        db.execute("UPDATE request SET ended_by = ?2 WHERE id = ?1", [&cancelled, &bob.name]).map(|_| ())
    };
    let approval = |db: &Connection| reapprove(db, &key, &revoked, (&bob, &carol));
    let changes: [(&str, &Edit<'_>, &str); 5] = [
        ("statement: ", &released, "its release: its author is not the requester"),
        ("statement: ", &review, "its review: its author used the break-glass"),
        ("statement: ", &denial, "its denial: its author made the request"),
        ("statement: ", &cancellation, "its cancellation: its author is not the requester"),
        ("approval: ", &approval, "its author made the request"),
    ];
    for (table, change, sentence) in changes {
        let ((kind, said), theirs) = both(change);
        assert!(said.contains(sentence), "{sentence}: {kind} {said}");
        assert!(theirs.starts_with(table), "{sentence}: {theirs}");
    }
}

/// An approval that does not count is named by the record of the grant with the reason; one that is only left out is reported.
#[test]
fn a_grant_names_each_recorded_approval_or_its_record_says_why_not() {
    let root = own_root();
    let carol = root.person(&["quorum"]);
    let [bob, dave, erin] = ["approvers"; 3].map(|group| root.person(&[group]));
    let wanted = id(&request(&root, &carol, "quorum", &[]));
    root.run_as(&bob.name, ["jitctl", "approve", &wanted, "--for", "5m"]).succeeded();
    root.script(&format!("gpasswd --delete {} approvers", bob.name));
    for approver in [&dave, &erin] {
        root.run_as(&approver.name, ["jitctl", "approve", &wanted]).succeeded();
    }
    root.script("jitctl audit export >/dev/null; sqlite3 /var/lib/jit-sudo/journal.db \".backup /root/story.db\"");
    let key = HostKey::from_openssh(&root.read(&format!("{STATE}/host_key"))).unwrap();
    let place = Place::new("explained");
    let path = place.0.join("journal.db");
    let both = |change: &serde_json::Value| {
        std::fs::copy(root.path("/root/story.db"), &path).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        let db = Connection::open(&path).unwrap();
        rerecord(&db, &wanted, "grant", change).unwrap();
        sign_anew(&db, &key).unwrap();
        db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
        drop(db);
        let case = Case { path: path.clone(), key: key.public_key(), line: key.public_line(), damage: None };
        (verdict(&path, &key.public_key()), checker(&[case]).join("\n"))
    };
    let ((ours, said), theirs) = both(&serde_json::json!({}));
    assert_eq!((ours.as_str(), theirs.as_str()), ("intact", "intact"), "{said}");
    let query = "SELECT body FROM record WHERE kind = 'grant'";
    let record: serde_json::Value =
        serde_json::from_str(root.script(&format!("sqlite3 /root/story.db \"{query}\"")).trim()).unwrap();
    let not_counted = record["not_counted"].clone();
    assert_eq!(
        (&not_counted[0]["user"], &not_counted[0]["why"]),
        (&bob.name.as_str().into(), &"not-an-approver".into())
    );
    let (mut another, mut named) = (not_counted.clone(), not_counted.clone());
    another[0]["user"] = dave.name.as_str().into();
    named.as_array_mut().unwrap().push(serde_json::json!({"sha256": "0".repeat(64), "user": "x", "why": "unsigned"}));
    let unnamed = format!("it does not name the approval of {}, and its record does not say why", bob.name);
    for (change, sentence) in [
        (serde_json::Value::Null, unnamed.as_str()),
        (another, &unnamed),
        (named, "its record names an approval that was not given"),
    ] {
        let ((kind, said), theirs) = both(&serde_json::json!({"not_counted": change}));
        assert!(kind == "granted" && said.contains(sentence), "{change}: {kind} {said}");
        assert!(theirs.starts_with("granted: "), "{change}: {theirs}");
    }
}

/// Lets every checkpoint state the host of the first one.
fn state_first_host(db: &Connection) {
    let mut query = db.prepare("SELECT seq, body FROM checkpoint ORDER BY seq").unwrap();
    let rows: Vec<(i64, Vec<u8>)> =
        query.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap().collect::<Result<_, _>>().unwrap();
    let read = |body: &[u8]| serde_json::from_slice::<serde_json::Value>(body).unwrap();
    let host = read(&rows[0].1)["host"].clone();
    for (seq, body) in &rows {
        let mut statement = read(body);
        statement["host"] = host.clone();
        let body = statement.to_string().into_bytes();
        db.execute("UPDATE checkpoint SET body = ?2 WHERE seq = ?1", params![seq, body]).unwrap();
    }
}

/// Requests of two hosts without a record of the change are reported: until such a record there is only one host.
#[test]
fn requests_of_two_hosts_without_a_record_of_the_change_are_reported() {
    let root = own_root();
    let carol = root.person(&["reviewed"]);
    request(&root, &carol, "reviewed", &[]);
    root.script(&format!("echo {} >/etc/machine-id", "1".repeat(32)));
    request(&root, &carol, "reviewed", &[]);
    root.script("jitctl audit export >/dev/null; sqlite3 /var/lib/jit-sudo/journal.db \".backup /root/hosts.db\"");
    let key = HostKey::from_openssh(&root.read(&format!("{STATE}/host_key"))).unwrap();
    let place = Place::new("hosts");
    let path = place.0.join("journal.db");
    std::fs::copy(root.path("/root/hosts.db"), &path).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    let both = |path: &Path| {
        let case = Case { path: path.to_owned(), key: key.public_key(), line: key.public_line(), damage: None };
        (verdict(path, &key.public_key()).1, checker(&[case]).join("\n"))
    };
    let (ours, theirs) = both(&path);
    assert_eq!((ours.as_str(), theirs.as_str()), ("", "intact"));
    let db = Connection::open(&path).unwrap();
    let (seq, alert): (i64, Vec<u8>) = db
        .query_row("SELECT seq, body FROM record WHERE kind = 'alert'", [], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap();
    let mut alert: serde_json::Value = serde_json::from_slice(&alert).unwrap();
    alert["code"] = "hook-failed".into();
    alert.as_object_mut().unwrap().remove("identity").unwrap();
    let hidden = alert.to_string().into_bytes();
    db.execute("UPDATE record SET body = ?2 WHERE seq = ?1", params![seq, hidden]).unwrap();
    let both_signed_anew = || {
        sign_anew(&db, &key).unwrap();
        db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
        both(&path)
    };
    let (ours, theirs) = both_signed_anew();
    assert!(ours.contains("states a host that this was not by then"), "{ours}");
    assert!(theirs.contains("states a host that this was not by then"), "{theirs}");
    state_first_host(&db);
    let (ours, theirs) = both_signed_anew();
    assert!(ours.contains("it names another host than this was by then"), "{ours}");
    assert!(theirs.contains("names another host than this was by then"), "{theirs}");
}

/// A journal in which one record or document says something else, with every hash and checkpoint made again.
struct Rewritten<'r> {
    root: &'r PrivateRoot,
    key: HostKey,
    place: Place,
}

impl<'r> Rewritten<'r> {
    fn of(root: &'r PrivateRoot, name: &str) -> Self {
        root.script("jitctl audit export >/dev/null; sqlite3 /var/lib/jit-sudo/journal.db \".backup /root/before.db\"");
        let key = HostKey::from_openssh(&root.read(&format!("{STATE}/host_key"))).unwrap();
        Self { root, key, place: Place::new(name) }
    }

    /// Returns what both checkers say after the change.
    fn said(&self, change: impl Fn(&Connection)) -> (String, String) {
        let path = self.place.0.join("journal.db");
        std::fs::copy(self.root.path("/root/before.db"), &path).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        let db = Connection::open(&path).unwrap();
        change(&db);
        sign_anew(&db, &self.key).unwrap();
        db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
        drop(db);
        let key = self.key.public_key();
        let theirs = Case { path: path.clone(), key: key.clone(), line: self.key.public_line(), damage: None };
        (verdict(&path, &key).1, checker(&[theirs]).join("\n"))
    }
}

/// Replaces the bytes of a document, and its digest in its record.
fn replace_document(db: &Connection, table: &str, kind: &str, change: impl Fn(&str) -> String) {
    let query = format!("SELECT CAST(body AS TEXT) FROM {table}");
    let body: String = db.query_row(&query, [], |row| row.get(0)).unwrap();
    let changed = change(&body);
    assert_ne!(changed, body);
    db.execute(&format!("UPDATE {table} SET body = CAST(?1 AS BLOB)"), [&changed]).unwrap();
    let set = "UPDATE record SET body = CAST(replace(CAST(body AS TEXT), ?1, ?2) AS BLOB) WHERE kind = ?3";
    let digests = [hash(body.as_bytes()).to_string(), hash(changed.as_bytes()).to_string()];
    assert_eq!(db.execute(set, params![digests[0], digests[1], kind]).unwrap(), 1);
}

/// Anyone can recompute the id of a host from its key and machine.
#[test]
fn a_host_id_that_does_not_belong_to_its_key_and_machine_is_reported() {
    let root = own_root();
    let carol = root.person(&["reviewed"]);
    request(&root, &carol, "reviewed", &[]);
    let rewritten = Rewritten::of(&root, "host-id");
    let (ours, theirs) = rewritten.said(|_| ());
    assert_eq!((ours.as_str(), theirs.as_str()), ("", "intact"));
    let set = |text: &str, key: &str, value: &str| {
        let mut document: serde_json::Value = serde_json::from_str(text).unwrap();
        let host = if document["host"].is_object() { &mut document["host"] } else { &mut document["identity"] };
        host[key] = value.into();
        document.to_string()
    };
    for (key, value) in [("machine", "0".repeat(64)), ("machine", "x".to_owned()), ("id", "f".repeat(64))] {
        let (ours, theirs) = rewritten.said(|db| {
            replace_document(db, "request", "request", |text| set(text, key, &value));
            if key == "id" {
                db.execute("UPDATE journal_meta SET value = CAST(?1 AS BLOB) WHERE name = 'host'", [&value]).unwrap();
            }
        });
        assert!(ours.contains("the id does not belong to the key and the machine"), "{key} {value}: {ours}");
        assert!(theirs.contains("request: the host of"), "{key} {value}: {theirs}");
    }
    // The same in the records that name this host.
    root.as_root(["jitctl", "key", "accept", "--reason", "it is ours"]).succeeded();
    let rewritten = Rewritten::of(&root, "host-id");
    for (key, value) in [("machine", "0".repeat(64)), ("machine", "x".to_owned()), ("id", "f".repeat(64))] {
        let (ours, theirs) = rewritten.said(|db| {
            let query = "SELECT CAST(body AS TEXT) FROM record WHERE kind = 'alert'";
            let body: String = db.query_row(query, [], |row| row.get(0)).unwrap();
            let body = set(&body, key, &value);
            db.execute("UPDATE record SET body = CAST(?1 AS BLOB) WHERE kind = 'alert'", [body]).unwrap();
        });
        assert!(ours.contains("names a host of which the id does not belong"), "{key} {value}: {ours}");
        assert!(theirs.contains("the host that it names"), "{key} {value}: {theirs}");
    }
}

#[test]
fn an_approval_of_another_version_than_its_request_is_reported() {
    let root = own_root();
    let (carol, bob) = (root.person(&["quorum"]), root.person(&["approvers"]));
    let pending = id(&request(&root, &carol, "quorum", &[]));
    root.run_as(&bob.name, ["jitctl", "approve", &pending]).succeeded();
    let rewritten = Rewritten::of(&root, "version");
    for version in ["1", "true", "3"] {
        let (ours, theirs) = rewritten.said(|db| {
            replace_document(db, "approval", "approval", |text| {
                text.replace("\"version\":2", &format!("\"version\":{version}"))
            });
        });
        assert!(ours.contains("that of uid"), "{version}: {ours}");
        assert!(theirs.starts_with("approval: "), "{version}: {theirs}");
    }
}

/// Account names may have characters that a terminal does not show. Records have them escaped.
#[test]
fn names_with_invisible_characters_are_intact_for_both_checkers() {
    let root = own_root();
    let [alice, bob] = ["al\u{200c}ice", "b\u{ad}ob"];
    root.add_policy(
        "invisible",
        &format!(
            "[roles.web]\neligible = [\"{alice}\"]\ncommands = [\"/usr/bin/id **\"]\nauthenticate = false\n\
             [roles.web.activation]\nrequire_approval = true\napprovers = [\"{bob}\"]\n"
        ),
    );
    root.script(&format!(
        "printf '%s:x:1101:1101::/:/bin/sh\\n%s:x:1102:1102::/:/bin/sh\\n' '{alice}' '{bob}' >>/etc/passwd
         printf '%s:x:1101:\\n%s:x:1102:\\n' '{alice}' '{bob}' >>/etc/group
         as() {{ uid=$1; shift; setpriv --reuid=$uid --regid=$uid --clear-groups --reset-env \"$@\"; }}
         pending() {{ sqlite3 {STATE}/journal.db \"SELECT id FROM request WHERE state = 'pending'\"; }}
         as 1101 jitctl request --role web --reason x
         id=$(pending); as 1102 jitctl approve $id; as 1102 jitctl revoke $id --reason enough
         as 1101 jitctl request --role web --reason x; as 1102 jitctl deny $(pending) --reason no
         as 1101 jitctl request --role web --reason x; as 1101 jitctl cancel $(pending)"
    ));
    crate::both_say_intact(&root);
}

/// A directory for the test, removed when it is dropped.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("jit-sudo-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::DirBuilder::new().mode(0o700).create(&path).unwrap();
        Self(path)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn now() -> Moment {
    let micros = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros()).unwrap();
    Moment { wall: Timestamp(micros), boot: BootTime(1), boot_id: "0d5e0b7c-1f0a-4c1e-9d50-1a2b3c4d5e6f".to_owned() }
}

/// Removes all records that may be removed; returns whether there were any.
fn prune(path: &Path, (key, id): (&HostKey, &HostId), sealing: &HostKey) -> bool {
    let database = open_database(path).unwrap();
    let journal = Journal::new(&database, "web1", Vec::new());
    // After the deadline of each request.
    let moment = Moment { wall: Timestamp(AT * 1_000_000), ..now() };
    let before = moment.wall.plus_seconds(-86_400);
    let Some(last) = journal.prunable(CutOff::by_time(before), &moment).unwrap() else { return false };
    // A restored copy may be of another epoch.
    if journal.prune(&moment, last, (0, "root"), before, sealing, (key, id)).unwrap().is_none() {
        return false;
    }
    journal.sweep(|_| Ok::<_, JournalError>(())).unwrap();
    true
}

/// The time of both verifications, in seconds since 1970: long after all records.
const AT: i64 = 4_000_000_000;

/// Returns the result of the product's verification: `intact`, `journal`, or the first table that differs.
fn verdict(path: &Path, key: &PublicKey) -> (String, String) {
    let database = match open_database(path) {
        Ok(database) => database,
        Err(error) => return ("schema".to_owned(), error.to_string()),
    };
    let journal = Journal::new(&database, "web1", Vec::new());
    let signers = Signers::Host(key.clone());
    let proven = journal.prove(Known {
        signers,
        anchor: Vec::new(),
        elsewhere: Default::default(),
        sealing_keys: Vec::new(),
        files: None,
        now: Timestamp::from_seconds(AT),
    });
    match proven {
        Err(error) => ("journal".to_owned(), error.to_string()),
        Ok(Ok(_)) => ("intact".to_owned(), String::new()),
        Ok(Err(bad)) => {
            let kind = match &bad.cause {
                Cause::Rows(differences) => differences.found[0].table.name(),
                _ => "journal",
            };
            (kind.to_owned(), bad.to_string())
        }
    }
}

/// Whether the host key is replaced now and then.
const ROTATIONS: &str = "ROTATIONS=1";
const NO_ROTATIONS: &str = "ROTATIONS=0";

/// Runs the script, which leaves copies of the database.
fn random_journals(root: &PrivateRoot, copies: usize, seed: u64, rotations: &str) {
    root.add_policy("journals", POLICY);
    let groups: [&[&str]; 4] = [
        &["reviewed", "quorum", "once", "urgent", "approvers"],
        &["reviewed", "approvers", "once"],
        &["quorum", "self-service", "approvers"],
        &["reviewed", "urgent", "self-service"],
    ];
    let names: Vec<String> = groups.iter().map(|groups| root.person(groups).name).collect();
    let script = format!("{rotations} COPIES={copies} PEOPLE='{}' RANDOM={seed}\n{SCRIPT}", names.join(" "));
    let output = root.command("root", ["bash", "-c", &script]).patience(Duration::from_secs(500)).run();
    output.succeeded();
    assert_eq!(output.stderr, "");
}

struct Case {
    path: PathBuf,
    key: PublicKey,
    line: String,
    /// The damage, and whether it must be reported.
    damage: Option<(&'static str, bool)>,
}

/// Returns `each` journals of each copy, half of them damaged and some of them pruned before.
fn cases(root: &PrivateRoot, copies: usize, each: usize, place: &Path, random: &mut Random) -> Vec<Case> {
    let mut cases = Vec::new();
    for copy in 0..copies {
        let from = root.path(&format!("/copies/{copy}.db"));
        let key = HostKey::from_openssh(&root.read(&format!("/copies/{copy}.key"))).unwrap();
        let sealing = HostKey::from_openssh(&root.read(&format!("/copies/{copy}.sealing"))).unwrap();
        for number in 0..each {
            let path = place.join(format!("{copy}-{number}.db"));
            std::fs::copy(&from, &path).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
            let pruned = number % 5 == 0 && prune(&path, (&key, &id_of(root, &key)), &sealing);
            let db = Connection::open(&path).unwrap();
            let mut damage = None;
            // A damage that changes nothing does not count.
            while number % 2 == 1 && damage.is_none() {
                let (name, noticed, change) = DAMAGE[random.below(DAMAGE.len())];
                db.execute_batch("BEGIN").unwrap();
                match change(&db, random) {
                    Ok(changed) if changed > 0 => {
                        db.execute_batch("COMMIT").unwrap();
                        damage = Some((name, noticed && !pruned));
                    }
                    Ok(_) | Err(_) => db.execute_batch("ROLLBACK").unwrap(),
                }
            }
            db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
            cases.push(Case { path, key: key.public_key(), line: key.public_line(), damage });
        }
    }
    cases
}

fn checker(cases: &[Case]) -> Vec<String> {
    let mut script = Command::new("python3")
        .arg(project().join("tests/check_journal.py"))
        .args(["--at", &AT.to_string(), "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut words = String::new();
    cases.iter().for_each(|case| writeln!(words, "{}\n{}", case.path.display(), case.line).unwrap());
    script.stdin.take().unwrap().write_all(words.as_bytes()).unwrap();
    let output = script.wait_with_output().unwrap();
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

/// Runs both checkers on `copies` random journals, `each` times with or without damage.
fn compare(copies: usize, each: usize) {
    let root = own_root();
    let began = Instant::now();
    random_journals(&root, copies, 4711, ROTATIONS);
    let made = began.elapsed().as_secs_f64();
    let place = Place::new("journals");
    let cases = cases(&root, copies, each, &place.0, &mut Random(0x9e37_79b9_7f4a_7c15));
    let has_fork = "SELECT EXISTS (SELECT 1 FROM record WHERE kind = 'fork')";
    let forked =
        |case: &&Case| Connection::open(&case.path).unwrap().query_row(has_fork, [], |row| row.get(0)) == Ok(true);
    let forked = cases.iter().filter(forked).count();
    assert!(forked > copies, "{forked} journals with a fork");
    let has_rotation = "SELECT EXISTS (SELECT 1 FROM record WHERE kind = 'rotation')";
    let rotated =
        |case: &&Case| Connection::open(&case.path).unwrap().query_row(has_rotation, [], |row| row.get(0)) == Ok(true);
    let rotated = cases.iter().filter(rotated).count();
    assert!(rotated > copies, "{rotated} journals with a rotation");
    let began = Instant::now();
    let ours: Vec<(String, String)> = cases.iter().map(|case| verdict(&case.path, &case.key)).collect();
    let verified = began.elapsed().as_secs_f64();
    let theirs = checker(&cases);
    assert_eq!(ours.len(), theirs.len());
    let (mut kinds, mut unnoticed) = (BTreeMap::<&str, usize>::new(), BTreeMap::<&str, usize>::new());
    for ((case, (kind, sentence)), other) in cases.iter().zip(&ours).zip(&theirs) {
        let theirs = other.split(':').next().unwrap();
        assert_eq!(kind, theirs, "{:?} {:?}: {sentence} / {other}", case.path, case.damage);
        *kinds.entry(kind).or_default() += 1;
        match case.damage {
            None => assert_eq!(kind, "intact", "{:?}: {sentence}", case.path),
            Some((name, noticed)) if kind == "intact" => {
                assert!(!noticed, "{:?}: nobody noticed: {name}", case.path);
                *unnoticed.entry(name).or_default() += 1;
            }
            Some(_) => {}
        }
    }
    println!(
        "{} journals, made in {made:.1} s, verified in {verified:.1} s, compared after {:.1} s: {kinds:?}; harmless or pruned: {unnoticed:?}",
        cases.len(),
        began.elapsed().as_secs_f64()
    );
    assert!(kinds.len() >= 7, "{kinds:?}");
}

#[test]
fn a_checker_written_from_the_documents_agrees_on_random_journals() {
    compare(20, 10);
}

/// `make journals`.
#[test]
#[ignore = "takes a minute or two; `make journals`"]
fn a_thousand_random_journals() {
    compare(100, 10);
}
