use super::*;

fn read<V: Verb>(text: &str) -> Result<V, String> {
    let question: Question = serde_json::from_str(text).map_err(|error| error.to_string())?;
    if question.verb() != V::NAME {
        return Err(format!("another verb: {}", question.verb()));
    }
    question.read().map_err(|error| error.to_string())
}

#[test]
fn questions_are_parsed_as_documented() {
    assert!(matches!(read(r#"{"verb":"roles"}"#), Ok(Roles {})));
    assert!(matches!(read(r#"{"all":true,"verb":"requests"}"#), Ok(Requests { all: true, before: None })));
    let new: NewRequest = read(r#"{"verb":"request","role":"ops","reason":"a\\x00b","command":["id"]}"#).unwrap();
    assert_eq!(new.reason.map(|word| word.as_bytes().to_vec()), Some(b"a\0b".to_vec()));
    let why: Why = read(r#"{"verb":"why","user":"alice","run_as":"root","command":["id"]}"#).unwrap();
    assert_eq!((why.user.unwrap().as_str(), why.command.command.len()), ("alice", 1));
}

#[test]
fn a_question_that_is_written_is_read_back() {
    let question = Release { id: None }.to_question().unwrap();
    assert_eq!(question, br#"{"verb":"release"}"#);
    let question = KeyAccept { reason: "a\nb".into() }.to_question().unwrap();
    assert_eq!(read::<KeyAccept>(std::str::from_utf8(&question).unwrap()).unwrap().reason, "a\nb".into());
}

#[test]
fn an_invalid_question_is_rejected() {
    for text in ["", "null", "[]", "{}", r#"{"verb":7}"#, r#"{"verb":"roles"} {"verb":"roles"}"#] {
        assert!(serde_json::from_str::<Question>(text).is_err(), "{text}");
    }
    let refused = [
        read::<Roles>(r#"{"verb":"roles","uid":0}"#).map(drop),
        read::<NewRequest>(r#"{"verb":"request","uid":0}"#).map(drop),
        read::<NewRequest>(r#"{"verb":"request","role":"a b"}"#).map(drop),
        read::<NewRequest>(r#"{"verb":"request","role":"ops","role":"web"}"#).map(drop),
        read::<NewRequest>(r#"{"verb":"request","reason":"\\"}"#).map(drop),
        read::<Show>(r#"{"verb":"show","id":"../../etc"}"#).map(drop),
        read::<Show>(r#"{"verb":"show","id":""}"#).map(drop),
        read::<Approve>(r#"{"verb":"approve","id":"abc","duration":-1}"#).map(drop),
        read::<Why>(r#"{"verb":"why","command":["id"],"uid":0}"#).map(drop),
        read::<PolicyTest>(r#"{"verb":"policy-test","user":"alice","command":["id"],"as":"root"}"#).map(drop),
    ];
    assert!(refused.iter().all(Result::is_err), "{refused:?}");
}

#[test]
fn a_reply_answers_its_own_verb() {
    let good = serde_json::to_string(&Reply::<Roles>::Ok(Vec::new())).unwrap();
    assert_eq!(good, r#"{"ok":{"roles":[]}}"#);
    assert!(matches!(serde_json::from_str(&good), Ok(Reply::<Roles>::Ok(roles)) if roles.is_empty()));
    assert!(serde_json::from_str::<Reply<Sessions>>(&good).is_err());
    let error = r#"{"error":{"code":"not-root","message":"no","exit":1}}"#;
    assert!(matches!(serde_json::from_str(error), Ok(Reply::<Sweep>::Error(failure)) if failure.code == "not-root"));
    for text in [
        "{}",
        r#"{"ok":{}}"#,
        r#"{"ok":[]}"#,
        r#"{"ok":{"roles":[]},"error":{"code":"x","message":"x","exit":1}}"#,
        r#"{"ok":{"roles":[],"roles":[]}}"#,
        r#"{"ok":{"roles":[],"sessions":[]}}"#,
    ] {
        assert!(serde_json::from_str::<Reply<Roles>>(text).is_err(), "{text}");
    }
}

#[test]
fn random_bytes_never_panic() {
    let mut random = fastrand::Rng::with_seed(1);
    let seeds = [
        r#"{"verb":"request","role":"ops","duration":3600,"reason":"x","command":["id","-u"],"one_shot":true}"#,
        r#"{"verb":"revoke","target":{"id":"abc"},"reason":"x"}"#,
        r#"{"verb":"import","approval":"{}","signature":"-----BEGIN SSH SIGNATURE-----"}"#,
        r#"{"verb":"audit-list","after":0,"limit":10,"newest":true,"kind":"start"}"#,
    ];
    for round in 0..20_000 {
        let mut bytes = seeds[round % seeds.len()].as_bytes().to_vec();
        for _ in 0..random.usize(1..5) {
            let place = random.usize(..bytes.len());
            bytes[place] = random.u8(..);
        }
        let Ok(question) = serde_json::from_slice::<Question>(&bytes) else { continue };
        let _ = match round % seeds.len() {
            0 => question.read::<NewRequest>().map(drop),
            1 => question.read::<Revoke>().map(drop),
            2 => question.read::<Import>().map(drop),
            _ => question.read::<AuditList>().map(drop),
        };
    }
}
