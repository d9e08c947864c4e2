//! The writer of recordings, which belongs to the privileged crate: included as source, so that these targets need
//! neither SQLite nor libpam.

#[allow(dead_code, unreachable_pub, clippy::all)]
#[path = "../../src/recording/cast.rs"]
mod writer;

use std::time::Duration;

use writer::{Carry, Kind, Text, push_event};

/// Returns a recording of these pieces of a terminal's output, one event each.
pub fn recording(pieces: &[&[u8]]) -> Vec<u8> {
    let mut bytes = b"{\"version\":2,\"width\":80,\"height\":24}\n".to_vec();
    let mut carry = Carry::default();
    for (second, piece) in (1..).zip(pieces) {
        push_event(
            &mut bytes,
            Duration::from_secs(second),
            Kind::Output,
            &mut Text { bytes: piece, carry: &mut carry },
        );
    }
    bytes
}
