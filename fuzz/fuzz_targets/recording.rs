#![no_main]
//! What a terminal shows, on its way into a recording and out of it; and files that say that they are recordings.

use jit_sudo_fuzz::cast::recording;
use jit_sudo_fuzz::cut;
use jitctl::readers::recorded;

/// The longest beginning of a character that waits for its end.
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

/// Each piece is an event, and together they are the text.
fn written(pieces: [&[u8]; 2]) {
    let file = recording(&pieces);
    let events = recorded([&file[..]]).expect("a recording");
    assert_eq!(events.iter().map(|event| event.0).collect::<Vec<_>>(), [1_000_000, 2_000_000]);
    let told: String = events.into_iter().map(|event| event.1).collect();
    let whole = pieces.concat();
    let whole = String::from_utf8_lossy(&whole);
    assert!(whole.starts_with(&told) && whole.len() - told.len() <= WAITING, "{whole:?} {told:?}");
}
