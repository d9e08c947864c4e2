#![no_main]
//! The output of a terminal, written to a recording and read from it; and files that claim to be recordings.

use jit_sudo_fuzz::cast::recording;
use jit_sudo_fuzz::cut;
use jitctl::readers::recorded;

/// The maximum length of an incomplete character that waits for its end.
const WAITING: usize = "\u{fffd}".len();

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((seed, bytes)) = data.split_first() else { return };
    let (begin, end) = bytes.split_at(cut(bytes.len(), *seed));
    written([begin, end]);
    written([bytes, b""]);
    assert_eq!(recorded([begin, end]), recorded([bytes]), "a recording may come in pieces");
    let header = b"{\"version\":2,\"width\":80,\"height\":24}\n";
    assert_eq!(recorded([header, begin, end]), recorded([&[header, bytes].concat()[..]]));
});

/// Checks that each piece is one event, and that together they are the text.
fn written(pieces: [&[u8]; 2]) {
    let file = recording(&pieces);
    let events = recorded([&file[..]]).expect("a recording");
    assert_eq!(events.iter().map(|event| event.0).collect::<Vec<_>>(), [1_000_000, 2_000_000]);
    let told: String = events.into_iter().map(|event| event.1).collect();
    let whole = pieces.concat();
    let whole = String::from_utf8_lossy(&whole);
    assert!(whole.starts_with(&told) && whole.len() - told.len() <= WAITING, "{whole:?} {told:?}");
}
