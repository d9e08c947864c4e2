//! No sequence of the broker's verbs by whomever yields a grant that the policy does not allow. People of all groups ask,
//! approve, deny, cancel, release and revoke at random; then every grant of the journal is held against the rule.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use harness::{Person, Record};

use crate::own_root;

/// Groups of the six people; each role of the policy is for the group of its name.
const GROUPS: [&[&str]; 6] = [
    &["reviewed", "quorum", "once"],
    &["reviewed", "approvers", "exactly"],
    &["quorum", "self-service"],
    &["quorum", "approvers", "once"],
    &["approvers", "reviewed", "once"],
    &["approvers", "self-service", "exactly"],
];

/// Role, longest grant in seconds, approvals needed, limits that every grant has.
const RULES: [(&str, i64, usize, &[&str]); 5] = [
    ("reviewed", 1800, 1, &[]),
    ("quorum", 3600, 2, &[]),
    ("once", 3600, 0, &["one-shot"]),
    ("self-service", 3600, 0, &[]),
    ("exactly", 3600, 0, &["exact"]),
];

const STEPS: usize = 1200;

/// One random step after the other, by `setpriv` as the person and straight at the broker. The seed is fixed.
const SCRIPT: &str = r#"
set -u
RANDOM=20260
db=/var/lib/jit-sudo/journal.db
any() { local list=("$@"); echo "${list[RANDOM % ${#list[@]}]}"; }
ask() {
    local who=$1
    setpriv --reuid="$who" --regid="$who" --init-groups /usr/libexec/jit-sudo/jit-sudo-broker <<<"$2" >/dev/null
}
for ((step = 0; step < STEPS; step++)); do
    who=$(any $PEOPLE)
    # Mostly a young request: old ones are decided.
    id=$(sqlite3 -readonly $db "SELECT id FROM request ORDER BY rowid DESC LIMIT 1 OFFSET $((RANDOM % 5))")
    narrow="\"one_shot\":$(any true false false),\"exact\":$(any true false false)"
    duration=$(any "" "" ",\"duration\":$(any 0 1 60 1800 3600 3601 99999999 18446744073709551615)")
    case $((RANDOM % 20)) in
    [0-7])
        role=$(any reviewed reviewed quorum quorum once self-service exactly deploy admin no-such)
        command=$(any '' ',"command":["id"]' ',"command":["/usr/bin/id","-u"]' ',"command":["/usr/bin/cat","/etc/shadow"]')
        ask "$who" "{\"verb\":\"request\",\"role\":\"$role\",\"reason\":\"x\",\"one_shot\":$(any true false)$duration$command}"
        ;;
    8 | 9 | 1[0-5]) ask "$who" "{\"verb\":\"approve\",\"id\":\"$id\",$narrow$duration}" ;;
    16) ask "$who" "{\"verb\":\"deny\",\"id\":\"$id\",\"reason\":\"x\"}" ;;
    17) ask "$who" "{\"verb\":\"cancel\",\"id\":\"$id\"}" ;;
    18) ask "$who" "{\"verb\":\"release\"}" ;;
    19) ask "$who" "{\"verb\":\"revoke\",\"target\":$(any '"all"' "{\"id\":\"$id\"}"),\"reason\":\"x\"}" ;;
    esac
done
true
"#;

#[test]
fn no_sequence_of_verbs_yields_a_grant_that_the_policy_does_not_allow() {
    let root = own_root();
    root.write("/etc/jit-sudo/policy.d/rate.toml", 0o640, "[defaults]\nrequest_rate = 100000\n");
    let people = GROUPS.map(|groups| root.person(groups));
    let names: Vec<&str> = people.iter().map(|person| person.name.as_str()).collect();
    let script = format!("STEPS={STEPS} PEOPLE='{}'\n{SCRIPT}", names.join(" "));
    let output = root.command("root", ["bash", "-c", &script]).patience(Duration::from_secs(300)).run();
    assert_eq!(output.succeeded(), "");
    assert_eq!(output.stderr, "");

    let records = root.journal();
    let mut granted: BTreeMap<&str, usize> = BTreeMap::new();
    for (place, record) in records.iter().enumerate().filter(|(_, record)| record.kind() == "grant") {
        if let Err(why) = allowed(record, &records[..place], &people) {
            panic!("a grant that the policy does not allow, because {why}: {}", record.body);
        }
        *granted.entry(record.text("role")).or_default() += 1;
    }
    println!("{} records, grants by role: {granted:?}", records.len());
    for (role, ..) in RULES {
        assert!(granted.get(role).is_some_and(|count| *count > 1), "{role} was never granted: {granted:?}");
    }
    let serves = |kind: &str| records.iter().any(|record| record.kind() == kind);
    for kind in ["denial", "cancellation", "release", "revocation"] {
        assert!(serves(kind), "nobody ever did it: {kind}");
    }
    root.as_root(["jitctl", "audit", "verify"]).succeeded();
}

/// THE RULE, over what happened before the grant.
fn allowed(grant: &Record, before: &[Record], people: &[Person; 6]) -> Result<(), &'static str> {
    let of = |kind: &'static str| {
        before.iter().filter(move |record| record.kind() == kind && record.text("grant") == grant.text("grant"))
    };
    let in_group = |uid: i64, group: &str| {
        people.iter().zip(GROUPS).any(|(person, groups)| i64::from(person.uid) == uid && groups.contains(&group))
    };
    let (uid, role) = (grant.number("uid"), grant.text("role"));
    let request = match of("request").collect::<Vec<_>>()[..] {
        [request] if request.number("uid") == uid && request.text("role") == role => request,
        _ => return Err("nobody has asked so, once"),
    };
    let (_, longest, needed, limits) =
        RULES.into_iter().find(|rule| rule.0 == role).ok_or("it is no role to ask for")?;
    if !in_group(uid, role) {
        return Err("its holder is not eligible");
    }
    if of("denial").chain(of("cancellation")).chain(of("grant")).next().is_some() {
        return Err("its request was decided before");
    }
    let approvers: BTreeSet<i64> = of("approval").map(|approval| approval.number("uid")).collect();
    if approvers.contains(&uid) || approvers.iter().any(|approver| !in_group(*approver, "approvers")) {
        return Err("somebody approved who may not");
    }
    if approvers.len() < needed {
        return Err("approvals are missing");
    }
    // The last approval of each approver counts.
    let last = |uid: &i64| of("approval").rfind(|approval| approval.number("uid") == *uid);
    let narrowed: Vec<&Record> = approvers.iter().filter_map(last).chain([request]).collect();
    let seconds = (grant.number("expires") - grant.number("starts")) / 1_000_000;
    let durations = narrowed.iter().map(|record| record.number("duration")).filter(|seconds| *seconds >= 0);
    if seconds <= 0 || durations.chain([longest]).any(|most| seconds > most) {
        return Err("it is longer than asked, approved or allowed");
    }
    let has = |record: &Record, limit: &str| {
        record.json["limits"].as_array().is_some_and(|limits| limits.iter().any(|known| known == limit))
    };
    for limit in ["one-shot", "exact"] {
        let wanted = limits.contains(&limit) || narrowed.iter().any(|record| has(record, limit));
        if wanted && !has(grant, limit) {
            return Err("it is wider than asked, approved or allowed");
        }
    }
    Ok(())
}
