//! Arguments that no user types: arbitrary bytes, very many, random.

use super::*;

#[test]
fn a_missing_or_hostile_program_name_changes_nothing() {
    assert_eq!(parse(&[]), Err(UsageError::Usage));
    for name in
        [b"".to_vec(), b"%n%n%n".to_vec(), b"\xff\xfe".to_vec(), b"/".to_vec(), b"-u".to_vec(), vec![b'a'; 1 << 20]]
    {
        let arguments = [OsString::from_vec(name), os("id")];
        assert_eq!(parse(&arguments), Ok(Invocation::Run(Box::new(Run { command: vec![os("id")], ..Run::default() }))));
    }
}

#[test]
fn bytes_that_are_not_utf_8_are_kept_or_shown_escaped() {
    let raw = OsString::from_vec(b"\xff\xfe".to_vec());
    let Ok(Invocation::Run(run)) = parse(&[os("x"), os("-u"), raw.clone(), raw.clone(), raw.clone()]) else { panic!() };
    assert_eq!((run.run_as, run.command), (Some(raw.clone()), vec![raw.clone(), raw]));
    let bad =
        |bytes: &[u8]| parse(&[os("x"), OsString::from_vec(bytes.to_vec())]).unwrap_err().report(CalledAs::JitSudo);
    assert!(bad(b"-\xff").contains("invalid option -- '\\xff'"));
    assert!(bad(b"--\x1b[2J").contains("unrecognized option '--\\x1b[2J'"));
    assert!(bad(b"--preserve-env=\x1b=1").contains("name: \\x1b=1"));
    assert!(bad(format!("--{}", "x".repeat(2 << 20)).as_bytes()).len() < 2000);
    assert!(
        parse(&[os("x"), os("--for"), OsString::from_vec(vec![0xff; 1 << 20])]).unwrap_err().to_string().len() < 2000
    );
}

#[test]
fn two_mebibytes_of_arguments_are_parsed() {
    let mut many = words("-n");
    many.extend(std::iter::repeat_n(os("A=1"), 300_000));
    many.push(os("id"));
    many.extend(std::iter::repeat_n(os("x"), 300_000));
    let Ok(Invocation::Run(run)) = parse(&many) else { panic!() };
    assert_eq!((run.environment.set.len(), run.command.len()), (300_000, 300_001));
    let bundle = OsString::from_vec([b"-".to_vec(), vec![b'n'; 2 << 20]].concat());
    assert!(parse(&[os("x"), bundle, os("id")]).is_ok());
    let trailing = OsString::from_vec([b"-".to_vec(), vec![b'\\'; 1 << 16]].concat());
    assert!(parse(&[os("x"), os("-s"), trailing]).is_err());
}

#[test]
fn random_arguments_never_panic() {
    let mut numbers = fastrand::Rng::with_seed(1);
    let mut random = move |bound: usize| numbers.usize(..bound);
    let pieces = [
        "-",
        "--",
        "u",
        "n",
        "h",
        "K",
        "l",
        "=",
        "A",
        "preserve-env",
        "user",
        "wait",
        "for",
        "1h",
        "\u{1b}",
        "%s",
        "",
        "id",
        "\\",
    ];
    let mut runs = 0;
    for _ in 0..50_000 {
        let count = random(6);
        let mut line = vec![os("jit-sudo")];
        for _ in 0..count {
            let parts = random(4);
            line.push((0..parts).map(|_| pieces[random(pieces.len())]).collect::<String>().into());
        }
        match parse(&line) {
            Ok(Invocation::Run(run)) => {
                runs += 1;
                assert!(!run.command.is_empty() || run.mode != Mode::Command);
                assert!(run.run_as.is_none_or(|user| !user.is_empty()));
            }
            Ok(_) => {}
            Err(error) => assert!(!error.report(CalledAs::JitSudo).chars().any(|c| c.is_control() && c != '\n')),
        }
    }
    assert!(runs > 1000, "{runs}");
}
