//! Open Cybersecurity Schema Framework 1.8.0 (schema.ocsf.io): one event per record. Runs are Process Activity (1007),
//! changes of requests and grants are User Access Management (3005, which 1.9 moves into User Management), a refused run
//! is Authorize Session (3003), an alert is a Detection Finding (2004), a pruning or a backup is Event Log Activity (1008),
//! an edit or the reading of a recording is File System Activity (1001), a change of the policy is Entity Management (3004). `raw_data` holds the exact record.

use std::sync::LazyLock;

use serde_json::{Map, Value, json};

use super::Entry;

const SCHEMA: &str = "1.8.0";

/// The class, its category and the activity.
struct Class {
    uid: i64,
    category: i64,
    activity: i64,
}

const OTHER: i64 = 99;

pub(super) fn line(entry: &Entry<'_>) -> String {
    let class = class(entry);
    let mut event = common(entry, &class);
    match class.uid {
        1001 => file(entry, &mut event),
        1007 => process(entry, &mut event),
        2004 => finding(entry, &mut event),
        3003 => session(entry, &mut event),
        3005 => access(entry, &mut event),
        3004 => policy(entry, &mut event),
        1008 => set(&mut event, "log_name", json!("jit-sudo journal")),
        _ => {}
    }
    if event.get("activity_id") == Some(&json!(OTHER)) {
        set(&mut event, "activity_name", json!(entry.kind()));
    }
    format!("{}\n", Value::Object(event))
}

fn class(entry: &Entry<'_>) -> Class {
    let (uid, category, activity) = match entry.kind() {
        "start" => (1007, 1, 1),
        "end" | "left-ended" => (1007, 1, 2),
        "intervention" => (1007, 1, if entry.text("act") == Some("kill") { 2 } else { OTHER }),
        "left-running" => (1007, 1, OTHER),
        // Created or updated.
        "edit" => (1001, 1, if entry.text("before").is_none() { 1 } else { 3 }),
        "reading" => (1001, 1, 2),
        "reject" => (3003, 3, 1),
        "grant" => (3005, 3, 1),
        "revocation" | "release" => (3005, 3, 2),
        "request" | "approval" | "denial" | "cancellation" | "review" => (3005, 3, OTHER),
        "alert" | "fork" => (2004, 2, 1),
        "prune" => (1008, 1, 2),
        "backup" => (1008, 1, 3),
        "clock" => (1008, 1, OTHER),
        "epoch" | "rotation" | "retirement" => (1008, 1, OTHER),
        // Created or updated.
        "policy" => (3004, 3, if entry.text("replaces").is_none() { 1 } else { 3 }),
        _ => (0, 0, OTHER),
    };
    Class { uid, category, activity }
}

/// Returns the fields that every event has.
fn common(entry: &Entry<'_>, class: &Class) -> Map<String, Value> {
    static PRODUCT: LazyLock<Value> =
        LazyLock::new(|| json!({"name": "jit-sudo", "vendor_name": "jit-sudo", "version": env!("CARGO_PKG_VERSION")}));
    let mut event = Map::new();
    let mut put = |key: &str, value: Value| drop(event.insert(key.to_owned(), value));
    put("class_uid", json!(class.uid));
    put("category_uid", json!(class.category));
    put("activity_id", json!(class.activity));
    put("type_uid", json!(class.uid * 100 + class.activity));
    put("time", json!(entry.number("time").unwrap_or(0).div_euclid(1000)));
    put("severity_id", json!(severity(entry)));
    put("status_id", json!(status(entry)));
    put("message", json!(entry.message()));
    put(
        "metadata",
        json!({"version": SCHEMA, "product": *PRODUCT, "uid": entry.info.hash, "sequence": entry.info.seq,
            "log_name": "jit-sudo", "event_code": entry.kind()}),
    );
    put("raw_data", json!(entry.info.body));
    if let Some(host) = entry.text("host") {
        put("device", json!({"type_id": 0, "hostname": host}));
    }
    if let Some(user) = person(entry.number("uid"), entry.text("user")) {
        put("actor", json!({"user": user}));
    }
    event
}

/// Informational 1, Low 2, Medium 3, High 4.
fn severity(entry: &Entry<'_>) -> i64 {
    match entry.kind() {
        "alert" | "fork" => 4,
        "reject" | "denial" | "revocation" | "prune" | "policy" | "rotation" | "retirement" => 3,
        "grant" | "review" => 2,
        _ => 1,
    }
}

/// Unknown 0, Success 1, Failure 2.
fn status(entry: &Entry<'_>) -> i64 {
    match (entry.kind(), entry.number("exit"), entry.number("signal")) {
        ("end", Some(0), _) => 1,
        ("end", None, None) => 0,
        ("end" | "reject" | "denial", ..) => 2,
        _ => 1,
    }
}

fn process(entry: &Entry<'_>, event: &mut Map<String, Value>) {
    let mut process = Map::new();
    set(&mut process, "uid", json!(entry.text("run").unwrap_or("unknown")));
    if let Some(path) = entry.text("path") {
        let name = path.rsplit('/').next().unwrap_or(path);
        let hash = entry.text("sha256").map(|value| json!([{"algorithm_id": 3, "value": value}]));
        let mut file = json!({"name": name, "path": path, "type_id": 1});
        if let (Some(file), Some(hash)) = (file.as_object_mut(), hash) {
            set(file, "hashes", hash);
        }
        set(&mut process, "name", json!(name));
        set(&mut process, "file", file);
    }
    if let Some(line) = entry.command() {
        set(&mut process, "cmd_line", json!(line));
    }
    if let Some(cwd) = entry.text("cwd") {
        set(&mut process, "working_directory", json!(cwd));
    }
    if let Some(user) = person(entry.number("run_as_uid"), entry.text("run_as")) {
        set(&mut process, "user", user);
    }
    set(event, "process", Value::Object(process));
    // The schema requires it; the run of a host without a name also needs one.
    event.entry("device").or_insert_with(|| json!({"type_id": 0, "hostname": "unknown"}));
    if let Some(exit) = entry.number("exit") {
        set(event, "exit_code", json!(exit));
    }
    if let Some(span) = entry.number("duration_us") {
        set(event, "duration", json!(span / 1000));
    }
    if let Some(why) = entry.text("ended_by") {
        set(event, "status_detail", json!(why));
    }
}

/// The file that was edited, or the recording that was read.
fn file(entry: &Entry<'_>, event: &mut Map<String, Value>) {
    let path = entry.text("path");
    let name = path.and_then(|path| path.rsplit('/').next()).or(entry.text("run")).unwrap_or("all recordings");
    let mut file = Map::new();
    set(&mut file, "name", json!(name));
    set(&mut file, "type_id", json!(1));
    path.into_iter().for_each(|path| set(&mut file, "path", json!(path)));
    if let Some(after) = entry.text("after") {
        set(&mut file, "hashes", json!([{"algorithm_id": 3, "value": after}]));
    }
    if let Some(bytes) = entry.number("after_bytes") {
        set(&mut file, "size", json!(bytes));
    }
    set(event, "file", Value::Object(file));
    event.entry("device").or_insert_with(|| json!({"type_id": 0, "hostname": "unknown"}));
}

/// The user whose privileges change: the holder. The record of an approver's decision names only the grant.
fn access(entry: &Entry<'_>, event: &mut Map<String, Value>) {
    let holder = match entry.kind() {
        "approval" | "denial" => entry.holder.and_then(|(uid, name)| person(Some(*uid), Some(name))),
        "revocation" | "review" => person(entry.number("holder_uid"), entry.text("holder")),
        _ => person(entry.number("uid"), entry.text("user")),
    };
    set(event, "user", holder.unwrap_or_else(|| json!({"name": "unknown"})));
    set(event, "privileges", json!([entry.text("role").unwrap_or("unknown")]));
    if let (Some(grant), Some(metadata)) =
        (entry.text("grant"), event.get_mut("metadata").and_then(Value::as_object_mut))
    {
        metadata.insert("correlation_uid".to_owned(), json!(grant));
    }
}

fn session(entry: &Entry<'_>, event: &mut Map<String, Value>) {
    let user = person(entry.number("uid"), entry.text("user"));
    set(event, "user", user.unwrap_or_else(|| json!({"name": "unknown"})));
    set(event, "privileges", json!([entry.command().unwrap_or_else(|| "unknown".to_owned())]));
    if let Some(code) = entry.text("code") {
        set(event, "status_code", json!(code));
    }
}

/// The actor stays unnamed, because no record says who changed the policy.
fn policy(entry: &Entry<'_>, event: &mut Map<String, Value>) {
    let digest = entry.text("policy").unwrap_or("unknown");
    let policy = json!({"name": "jit-sudo policy", "uid": digest, "version": digest});
    set(event, "entity", json!({"type": "Policy", "type_id": 5, "name": "jit-sudo policy", "policy": policy}));
}

fn finding(entry: &Entry<'_>, event: &mut Map<String, Value>) {
    let title = entry.text("sentence").or(entry.text("code")).unwrap_or("alert");
    set(event, "finding_info", json!({"uid": entry.info.hash, "title": title}));
}

fn person(uid: Option<i64>, name: Option<&str>) -> Option<Value> {
    let mut person = Map::new();
    uid.into_iter().for_each(|uid| set(&mut person, "uid", json!(uid.to_string())));
    name.into_iter().for_each(|name| set(&mut person, "name", json!(name)));
    (!person.is_empty()).then_some(Value::Object(person))
}

fn set(object: &mut Map<String, Value>, key: &str, value: Value) {
    object.insert(key.to_owned(), value);
}

#[cfg(test)]
mod tests {
    use jit_core::wire::RecordInfo;

    use super::super::holders::Holders;
    use super::*;

    /// The published schema for the classes and objects that are used here; see CONTRIBUTING.md.
    const PUBLISHED: &str = include_str!("ocsf-1.8.0.json");

    const RECORDS: [&str; 30] = [
        r#"{"kind":"start","run":"r","uid":7,"user":"alice","run_as":"root","run_as_uid":0,"argv":["/bin/ls","a b"],"path":"/bin/ls","cwd":"/","sha256":"ab","host":"web1","time":1800000000000001}"#,
        r#"{"kind":"end","run":"r","uid":7,"exit":3,"duration_us":5000,"ended_by":"itself","host":"web1","time":1}"#,
        r#"{"kind":"end","run":"r","uid":7,"ended_by":"lost","host":"web1","time":1}"#,
        r#"{"kind":"reject","uid":7,"user":"alice","argv":["ls"],"code":"no-grant","sentence":"Sorry","host":"web1","time":1}"#,
        r#"{"kind":"reject","uid":7,"user":"alice","argv":[],"code":"no-grant","sentence":"Sorry","host":"web1","time":1}"#,
        r#"{"kind":"request","grant":"g","uid":7,"user":"alice","role":"ops","host":"web1","time":1}"#,
        r#"{"kind":"approval","grant":"g","uid":8,"user":"bob","role":"ops","host":"web1","time":1}"#,
        r#"{"kind":"denial","grant":"g","uid":8,"user":"bob","role":"ops","reason":"no","host":"web1","time":1}"#,
        r#"{"kind":"grant","grant":"g","uid":7,"user":"alice","role":"ops","host":"web1","time":1}"#,
        r#"{"kind":"revocation","grant":"g","uid":8,"user":"bob","holder_uid":7,"holder":"alice","role":"ops","host":"web1","time":1}"#,
        r#"{"kind":"alert","code":"clock-set-back","sentence":"the clock was set back","host":"web1","time":1}"#,
        r#"{"kind":"review","uid":8,"user":"bob","holder":"%web","role":"ops","verdict":"confirmed","comment":"x","host":"web1","time":1}"#,
        r#"{"kind":"prune","uid":0,"user":"root","through":7,"host":"web1","time":1}"#,
        r#"{"kind":"policy","policy":"aa","file_count":1,"files":[],"added_count":3,"caller":"alice","caller_uid":7,"host":"web1","time":1}"#,
        r#"{"kind":"policy","policy":"bb","replaces":"aa","file_count":1,"files":[],"removed_count":1,"host":"web1","time":1}"#,
        r#"{"kind":"edit","run":"r","uid":7,"path":"/etc/hosts","after":"cd","after_bytes":9,"host":"web1","time":1}"#,
        r#"{"kind":"edit","run":"r","uid":7,"path":"/etc/hosts","before":"ab","after":"cd","after_bytes":9,"host":"web1","time":1}"#,
        r#"{"kind":"reading","uid":8,"user":"bob","purpose":"search","host":"web1","time":1}"#,
        r#"{"kind":"intervention","uid":8,"user":"bob","act":"kill","run":"r","holder":"alice","holder_uid":7,"reason":"x","host":"web1","time":1}"#,
        r#"{"kind":"intervention","uid":8,"user":"bob","act":"freeze","run":"r","holder":"alice","holder_uid":7,"reason":"x","host":"web1","time":1}"#,
        r#"{"kind":"backup","uid":0,"user":"root","file":"/root/b","through":7,"host":"web1","time":1}"#,
        r#"{"kind":"left-running","run":"r","uid":7,"count":1,"processes":[],"host":"web1","time":1}"#,
        r#"{"kind":"left-ended","run":"r","uid":7,"ended_by":"expiry","host":"web1","time":1}"#,
        r#"{"kind":"fork","continues":10,"highest":30,"heads":[],"sentence":"records are lost","host":"web1","time":1}"#,
        r#"{"kind":"clock","confirmed_by":"synchronised","host":"web1","time":1}"#,
        r#"{"kind":"rotation","uid":0,"user":"root","reason":"yearly","old_key":"ssh-ed25519 AAAA","host":"web1","time":1}"#,
        r#"{"kind":"retirement","uid":0,"user":"root","reason":"scrapped","key":"ssh-ed25519 AAAA","host":"web1","time":1}"#,
        r#"{"kind":"epoch","number":2,"line":1,"key":"ssh-ed25519 AAAA","certified_by":"sealing-key","signature":"AA==","host":"web1","time":1}"#,
        r#"{"kind":"novel","host":"web1","time":1}"#,
        "not a record",
    ];

    #[test]
    fn an_approval_is_about_its_requester() {
        let info = |body: &str| RecordInfo { seq: 3, body: body.to_owned(), hash: "ab".repeat(32) };
        let mut holders = Holders::default();
        holders.learn(&[info(RECORDS[5])], &crate::Broker::at("/nonexistent".as_ref()));
        let approval = info(RECORDS[6]);
        let event: Value = serde_json::from_str(&line(&Entry::read(&approval).held_by(&holders))).unwrap();
        assert_eq!((&event["user"]["name"], &event["actor"]["user"]["name"]), (&json!("alice"), &json!("bob")));
    }

    fn event(body: &str) -> Value {
        let info = RecordInfo { seq: 3, body: body.to_owned(), hash: "ab".repeat(32) };
        let line = line(&Entry::read(&info));
        assert!(line.ends_with('\n') && line.lines().count() == 1);
        serde_json::from_str(&line).unwrap()
    }

    #[test]
    fn every_event_has_what_the_published_schema_requires() {
        let schema: Value = serde_json::from_str(PUBLISHED).unwrap();
        assert_eq!(schema["version"], SCHEMA);
        for body in RECORDS {
            let event = event(body);
            let class = &schema["classes"][event["class_uid"].to_string()];
            assert!(class.is_object(), "{event}");
            assert_eq!(event["category_uid"], class["category_uid"], "{event}");
            let type_uid = event["class_uid"].as_i64().unwrap() * 100 + event["activity_id"].as_i64().unwrap();
            assert_eq!(event["type_uid"], type_uid);
            check(&event, class, &schema, "event");
        }
    }

    /// Checks required attributes, constraints, unknown attributes, types and enumerations, at every depth.
    fn check(object: &Value, published: &Value, schema: &Value, place: &str) {
        let fields = object.as_object().unwrap_or_else(|| panic!("{place}: {object}"));
        let attributes = published["attributes"].as_object().unwrap();
        for (name, attribute) in attributes {
            assert!(attribute["required"] != true || fields.contains_key(name), "{place} lacks {name}: {object}");
        }
        let present = |names: &Value| {
            names.as_array().unwrap().iter().filter(|name| fields.contains_key(name.as_str().unwrap())).count()
        };
        let constraints = &published["constraints"];
        assert!(
            constraints["at_least_one"].is_null() || present(&constraints["at_least_one"]) >= 1,
            "{place}: {object}"
        );
        assert!(constraints["just_one"].is_null() || present(&constraints["just_one"]) == 1, "{place}: {object}");
        for (name, value) in fields {
            let attribute = attributes.get(name).unwrap_or_else(|| panic!("{place} has no {name} in the schema"));
            let values: Vec<&Value> = match (attribute["array"] == true, value.as_array()) {
                (true, Some(values)) => values.iter().collect(),
                (false, None) => vec![value],
                _ => panic!("{place}.{name}: {value}"),
            };
            for value in values {
                match attribute["type"].as_str().unwrap() {
                    "object_t" => {
                        let inner = &schema["objects"][attribute["object"].as_str().unwrap()];
                        check(value, inner, schema, &format!("{place}.{name}"));
                    }
                    "integer_t" | "long_t" | "timestamp_t" => assert!(value.is_i64(), "{place}.{name}: {value}"),
                    _ => assert!(value.is_string(), "{place}.{name}: {value}"),
                }
                let known = attribute["enum"].as_array();
                assert!(known.is_none_or(|known| known.contains(&json!(value.to_string()))), "{place}.{name}: {value}");
            }
        }
    }

    #[test]
    fn an_event_says_who_did_what_to_whom() {
        let start = event(RECORDS[0]);
        assert_eq!((&start["class_uid"], &start["type_uid"]), (&json!(1007), &json!(100_701)));
        assert_eq!(
            (&start["actor"]["user"]["name"], &start["process"]["user"]["name"]),
            (&json!("alice"), &json!("root"))
        );
        assert_eq!(start["process"]["cmd_line"], "/bin/ls 'a b'");
        assert_eq!((&start["time"], &start["raw_data"]), (&json!(1_800_000_000_000_i64), &json!(RECORDS[0])));
        let end = event(RECORDS[1]);
        assert_eq!((&end["exit_code"], &end["status_id"], &end["duration"]), (&json!(3), &json!(2), &json!(5)));
        let revocation = event(RECORDS[9]);
        assert_eq!(
            (&revocation["user"]["name"], &revocation["actor"]["user"]["name"]),
            (&json!("alice"), &json!("bob"))
        );
        for (record, type_uid) in
            [(15, 100_101), (16, 100_103), (17, 100_102), (18, 100_702), (19, 100_799), (20, 100_803)]
        {
            assert_eq!(event(RECORDS[record])["type_uid"], type_uid, "{}", RECORDS[record]);
        }
        assert_eq!(event(RECORDS[16])["file"]["path"], "/etc/hosts");
        let (first, second) = (event(RECORDS[13]), event(RECORDS[14]));
        assert_eq!((&first["type_uid"], &second["type_uid"]), (&json!(300_401), &json!(300_403)));
        assert_eq!((&second["entity"]["policy"]["uid"], &second["severity_id"]), (&json!("bb"), &json!(3)));
        assert!(first["actor"].is_null(), "the first user of a policy is not its author: {first}");
        assert_eq!(first["message"], "3 roles added; first used by alice");
    }
}
