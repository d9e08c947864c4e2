//! What tests of several rooms and crates are made of. Not in the product.

// A test that cannot look must fail, and a panic is how it does.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use base64ct::{Base64, Encoding};
use ed25519_dalek::SigningKey;

use crate::grant::{Approvers, PublicKey};

/// The key of a person.
pub fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

/// A list that gives the key of each seed to a name.
pub fn approvers(lines: &[(&str, u8)]) -> Approvers {
    let line = |(name, seed): &(&str, u8)| {
        let public = PublicKey::Plain(key(*seed).verifying_key().to_bytes());
        format!("{name} ssh-ed25519 {}\n", Base64::encode_string(&public.blob()))
    };
    Approvers::parse("/a", lines.iter().map(line).collect::<String>().as_bytes()).unwrap()
}
