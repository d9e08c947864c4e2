use super::*;

fn ask(text: &str) -> Result<Ask, String> {
    serde_json::from_str(text).map_err(|error| error.to_string())
}

#[test]
fn questions_are_read_as_they_are_documented() {
    assert!(matches!(ask(r#"{"verb":"roles"}"#), Ok(Ask::Roles {})));
    assert!(matches!(ask(r#"{"verb":"requests","all":true}"#), Ok(Ask::Requests { all: true, before: None })));
    match ask(r#"{"verb":"request","role":"ops","reason":"a\\x00b","command":["id"]}"#) {
        Ok(Ask::Request(new)) => {
            assert_eq!(new.reason.map(|word| word.as_bytes().to_vec()), Some(b"a\0b".to_vec()))
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_not_a_question_is_refused_by_name() {
    for text in [
        "",
        "null",
        "[]",
        r#"{"verb":"become-root"}"#,
        r#"{"verb":"roles","uid":0}"#,
        r#"{"verb":"request","uid":0}"#,
        r#"{"verb":"show","id":"../../etc"}"#,
        r#"{"verb":"show","id":""}"#,
        r#"{"verb":"approve","id":"abc","duration":-1}"#,
        r#"{"verb":"request","role":"a b"}"#,
        r#"{"verb":"request","reason":"\\"}"#,
        r#"{"verb":"roles"} {"verb":"roles"}"#,
    ] {
        assert!(ask(text).is_err(), "{text}");
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
        let _ = serde_json::from_slice::<Ask>(&bytes);
    }
}
