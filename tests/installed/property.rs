//! No sequence of the broker's verbs, by any users, leads to a grant that the policy does not allow. Users of all groups request,
//! approve, deny, cancel, extend, release, revoke, use break-glass and review at random; then every grant in the journal is
//! checked against the rule.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use harness::{Person, Record};

use crate::own_root;

/// Groups of the six users; each role of the policy is for the group of its name.
const GROUPS: [&[&str]; 6] = [
    &["reviewed", "quorum", "once", "urgent"],
    &["reviewed", "approvers", "exactly"],
    &["quorum", "self-service"],
    &["quorum", "approvers", "once"],
    &["approvers", "reviewed", "once", "urgent"],
    &["approvers", "self-service", "exactly"],
];

/// Role, longest grant in seconds, required approvals, limits of every grant.
const RULES: [(&str, i64, usize, &[&str]); 6] = [
    ("reviewed", 1800, 1, &[]),
    ("quorum", 3600, 2, &[]),
    ("once", 3600, 0, &["one-shot"]),
    ("self-service", 3600, 0, &[]),
    ("exactly", 3600, 0, &["exact"]),
    ("urgent", 600, 1, &[]),
];

/// A break-glass role, and a high limit of requests.
const POLICY: &str = r#"
[defaults]
request_rate = 100000

[roles.urgent]
eligible = ["%urgent"]
commands = ["/usr/bin/id **"]

[roles.urgent.activation]
maximum_duration = "10m"
require_approval = true
approvers        = ["%approvers"]
break_glass      = true
"#;

const STEPS: usize = 1200;

/// Executes one random step after the other, with `setpriv` as the user and directly with the broker. The seed is fixed.
const SCRIPT: &str = r#"
set -u
RANDOM=20260
db=/var/lib/jit-sudo/journal.db
# The first word says which number of this step decides.
any() { local number=${numbers[$1]} list=("${@:2}"); echo "${list[number % ${#list[@]}]}"; }
ask() {
    local who=$1
    setpriv --reuid="$who" --regid="$who" --init-groups /usr/libexec/jit-sudo/jit-sudo-broker <<<"$2" >/dev/null
}
for ((step = 0; step < STEPS; step++)); do
    # Drawn here, because bash seeds RANDOM again in every subshell.
    for ((i = 0; i < 12; i++)); do numbers[i]=$RANDOM; done
    who=$(any 0 $PEOPLE)
    # Mostly a young request: old ones are decided.
    id=$(sqlite3 -readonly $db "SELECT id FROM request ORDER BY rowid DESC LIMIT 1 OFFSET $((numbers[1] % 5))")
    open="SELECT id, uid FROM granted WHERE ended IS NULL ORDER BY rowid DESC LIMIT 1 OFFSET $((numbers[2] % 3))"
    IFS='|' read -r grant holder <<<"$(sqlite3 -readonly $db "$open")"
    debt=$(sqlite3 -readonly $db "SELECT id FROM review_debt WHERE reviewer IS NULL ORDER BY id LIMIT 1")
    narrow="\"one_shot\":$(any 3 true false false),\"exact\":$(any 4 true false false)"
    duration=$(any 5 "" "" ",\"duration\":$(any 6 0 1 60 1800 3600 3601 99999999 18446744073709551615)")
    case $((numbers[7] % 24)) in
    [0-7])
        role=$(any 8 reviewed reviewed quorum quorum once self-service exactly urgent deploy admin no-such)
        command=$(any 9 '' ',"command":["id"]' ',"command":["/usr/bin/id","-u"]' ',"command":["/usr/bin/cat","/etc/shadow"]')
        ask "$who" "{\"verb\":\"request\",\"role\":\"$role\",\"reason\":\"x\",\"one_shot\":$(any 10 true false)$duration$command}"
        ;;
    8 | 9 | 1[0-5]) ask "$who" "{\"verb\":\"approve\",\"id\":\"$id\",$narrow$duration}" ;;
    16) ask "$who" "{\"verb\":\"deny\",\"id\":\"$id\",\"reason\":\"x\"}" ;;
    17) ask "$who" "{\"verb\":\"cancel\",\"id\":\"$id\"}" ;;
    18) ask "$who" "{\"verb\":\"release\"}" ;;
    20 | 21) ask "$(any 8 "$who" "${holder:-$who}")" "{\"verb\":\"extend\",\"id\":\"$grant\",\"reason\":\"x\"$duration}" ;;
    22) ask "$who" "{\"verb\":\"request\",\"role\":\"$(any 8 urgent reviewed)\",\"reason\":\"x\",\"break_glass\":true}" ;;
    23) ask "$who" "{\"verb\":\"review-settle\",\"id\":\"$(any 8 "$debt" "$debt" "$id")\",\"comment\":\"x\"}" ;;
    19) ask "$who" "{\"verb\":\"revoke\",\"target\":$(any 8 '"all"' "{\"id\":\"$grant\"}" "{\"id\":\"$id\"}"),\"reason\":\"x\"}" ;;
    esac
done
true
"#;

#[test]
fn no_sequence_of_verbs_yields_a_grant_that_the_policy_does_not_allow() {
    let root = own_root();
    root.add_policy("property", POLICY);
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
    for kind in ["denial", "cancellation", "release", "revocation", "review"] {
        assert!(serves(kind), "nobody ever did it: {kind}");
    }
    let special =
        |key: &str| records.iter().filter(|record| record.kind() == "grant" && !record.json[key].is_null()).count();
    let (extensions, glasses) = (special("extends"), special("break_glass"));
    println!("{extensions} extensions, {glasses} broken glasses");
    assert!(extensions > 0 && glasses > 0, "{extensions} {glasses}");
    root.as_root(["jitctl", "audit", "verify"]).intact();
}

/// THE RULE, applied to the records before the grant.
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
    let has = |record: &Record, limit: &str| {
        record.json["limits"].as_array().is_some_and(|limits| limits.iter().any(|known| known == limit))
    };
    if let Some(old) = grant.json["extends"].as_str() {
        let of_old = |kind: &str| before.iter().find(|record| record.kind() == kind && record.text("grant") == old);
        let old = of_old("grant").ok_or("it extends no grant")?;
        if of_old("revocation").or(of_old("release")).is_some() {
            return Err("it extends what was taken back");
        }
        if (old.number("uid"), old.text("role")) != (uid, role) || grant.number("starts") < old.number("expires") {
            return Err("it extends the grant of somebody else, of another role, or before its end");
        }
        if ["one-shot", "exact"].iter().any(|limit| has(old, limit) && !has(grant, limit)) {
            return Err("it is wider than what it extends");
        }
    }
    if grant.number("break_glass") == 1 {
        return by_glass(grant, before, people);
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
    for limit in ["one-shot", "exact"] {
        let wanted = limits.contains(&limit) || narrowed.iter().any(|record| has(record, limit));
        if wanted && !has(grant, limit) {
            return Err("it is wider than asked, approved or allowed");
        }
    }
    Ok(())
}

/// The rule for break-glass: the role permits it, and an approver has reviewed every earlier use by its holder.
fn by_glass(grant: &Record, before: &[Record], people: &[Person; 6]) -> Result<(), &'static str> {
    let uid = grant.number("uid");
    if grant.text("role") != "urgent" {
        return Err("its role has no glass to break");
    }
    let broken = before
        .iter()
        .rfind(|record| record.number("break_glass") == 1 && record.kind() == "grant" && record.number("uid") == uid);
    let Some(broken) = broken else { return Ok(()) };
    let review = before.iter().find(|record| record.kind() == "review" && record.text("grant") == broken.text("grant"));
    let reviewer = review.ok_or("nobody has reviewed what its holder broke before")?.number("uid");
    let approves = people
        .iter()
        .zip(GROUPS)
        .any(|(person, groups)| i64::from(person.uid) == reviewer && groups.contains(&"approvers"));
    if reviewer == uid || !approves { Err("somebody reviewed who may not") } else { Ok(()) }
}
