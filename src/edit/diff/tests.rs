use super::*;

/// Applies a difference as `patch` does.
fn patch(old: &str, difference: &str) -> String {
    let old = lines(old);
    let (mut new, mut at) = (String::new(), 0);
    let mut rest = difference.split_inclusive('\n').skip(2).peekable();
    while let Some(line) = rest.next() {
        let no_newline = rest.peek().is_some_and(|next| next.starts_with('\\'));
        let text = if no_newline { line[1..].trim_end_matches('\n') } else { &line[1..] };
        match &line[..1] {
            "@" => {
                let from = line[4..].split([' ', ',']).next().unwrap().parse::<usize>().unwrap();
                let none = line[4..].split(' ').next().unwrap().ends_with(",0");
                let from = if none { from } else { from - 1 };
                old[at..from].iter().for_each(|line| new.push_str(line));
                at = from;
            }
            " " => {
                assert_eq!(old[at], text);
                new.push_str(text);
                at += 1;
            }
            "-" => {
                assert_eq!(old[at], text);
                at += 1;
            }
            "+" => new.push_str(text),
            _ => {}
        }
    }
    old[at..].iter().for_each(|line| new.push_str(line));
    new
}

#[test]
fn a_difference_looks_like_that_of_diff() {
    let old = "1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n11\n12\n13\n";
    let new = "1\n2\n3\n4\nfive\n6\n7\n8\n9\n10\n11\n12\n13\n14";
    assert_eq!(
        unified("/etc/x", Some(old.as_bytes()), new.as_bytes()).unwrap(),
        "--- /etc/x\n+++ /etc/x\n@@ -2,7 +2,7 @@\n 2\n 3\n 4\n-5\n+five\n 6\n 7\n 8\n@@ -11,3 +11,4 @@\n 11\n 12\n 13\n+14\n\
         \\ No newline at end of file\n"
    );
    assert_eq!(unified("/etc/x", None, b"one\n").unwrap(), "--- /dev/null\n+++ /etc/x\n@@ -0,0 +1 @@\n+one\n");
    assert_eq!(unified("/x", Some(b"one\n"), b"").unwrap(), "--- /x\n+++ /x\n@@ -1 +0,0 @@\n-one\n");
}

#[test]
fn a_binary_or_long_text_has_no_difference() {
    assert_eq!(unified("/x", Some(b"a\0b"), b"text"), None);
    assert_eq!(unified("/x", Some(b"text"), b"\xff"), None);
    assert_eq!(unified("/x", None, &vec![b'a'; LONGEST + 1]), None);
    assert_eq!(unified("/x", None, &vec![b'a'; LONGEST_DIFFERENCE + 1]), None);
}

#[test]
fn two_texts_with_nothing_in_common_are_one_change() {
    let text = |mark: &str| (0..2000).map(|n| format!("{mark}{n}\n")).collect::<String>();
    let (old, new) = (text("a"), text("b"));
    let difference = unified("/x", Some(old.as_bytes()), new.as_bytes()).unwrap();
    assert!(difference.contains("@@ -1,2000 +1,2000 @@"));
    assert_eq!(patch(&old, &difference), new);
}

#[test]
fn every_difference_patches_one_text_into_the_other() {
    let mut state = 7_u64;
    let mut random = |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    for _ in 0..3000 {
        let mut text = || {
            let count = random(25);
            let mut text: String = (0..count).map(|_| format!("{}\n", random(4))).collect();
            if random(3) == 0 {
                text.push_str("end");
            }
            text
        };
        let (old, new) = (text(), text());
        let difference = unified("/x", Some(old.as_bytes()), new.as_bytes()).unwrap();
        assert_eq!(patch(&old, &difference), new, "{old:?} {new:?}\n{difference}");
    }
}
