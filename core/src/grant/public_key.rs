//! The public keys of approvers as OpenSSH writes them: ed25519 (RFC 8709) and ed25519 in a FIDO2 token (PROTOCOL.u2f).
//! This module does not know the owners of keys.

use base64ct::{Base64, Base64Unpadded, Encoding};
use ed25519_dalek::VerifyingKey;

use super::digest;
use super::ssh_wire::{Reader, push_string};

pub(super) const PLAIN: &str = "ssh-ed25519";
pub(super) const TOKEN: &str = "sk-ssh-ed25519@openssh.com";

/// The maximum length of the application string of a token's key, in bytes; usually it is `ssh:` and a name.
const APPLICATION_LIMIT: usize = 1024;

/// A public key that may sign approvals.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PublicKey {
    /// `ssh-ed25519`
    Plain([u8; 32]),
    /// `sk-ssh-ed25519@openssh.com`: in a token, which signs for one application.
    Token {
        /// The point.
        point: [u8; 32],
        /// The application that the token signs for.
        application: Vec<u8>,
    },
}

impl PublicKey {
    /// Parses the binary form; exactly one encoding is accepted. `point` checks whether the point can be trusted.
    pub fn from_blob(blob: &[u8]) -> Option<Self> {
        let mut fields = Reader::new(blob);
        let algorithm = fields.string()?;
        let point: [u8; 32] = fields.string()?.try_into().ok()?;
        let key = if algorithm == PLAIN.as_bytes() {
            Self::Plain(point)
        } else if algorithm == TOKEN.as_bytes() {
            let application = fields.string()?.to_vec();
            (application.len() <= APPLICATION_LIMIT).then_some(())?;
            Self::Token { point, application }
        } else {
            return None;
        };
        fields.end()?;
        Some(key)
    }

    /// Parses the two words of a public key file: `ssh-ed25519 AAAA…`. A point of low order is rejected.
    pub fn from_words(algorithm: &str, encoded: &str) -> Option<Self> {
        // The longest possible blob, in base64.
        if encoded.len() > 2 * (APPLICATION_LIMIT + 128) {
            return None;
        }
        let key = Self::from_blob(&Base64::decode_vec(encoded).ok()?)?;
        key.point()?;
        (key.algorithm() == algorithm).then_some(key)
    }

    /// Returns the binary form.
    pub fn blob(&self) -> Vec<u8> {
        let mut blob = Vec::with_capacity(96);
        push_string(&mut blob, self.algorithm().as_bytes());
        match self {
            Self::Plain(point) => push_string(&mut blob, point),
            Self::Token { point, application } => {
                push_string(&mut blob, point);
                push_string(&mut blob, application);
            }
        }
        blob
    }

    /// Returns the fingerprint `SHA256:…`, as `ssh-keygen -l` prints it.
    pub fn fingerprint(&self) -> String {
        format!("SHA256:{}", Base64Unpadded::encode_string(&digest(&self.blob())))
    }

    /// Returns OpenSSH's name for the kind of key.
    pub fn algorithm(&self) -> &'static str {
        match self {
            Self::Plain(_) => PLAIN,
            Self::Token { .. } => TOKEN,
        }
    }

    /// Returns the point, unless it is invalid, of low order, or not in canonical form.
    pub(super) fn point(&self) -> Option<VerifyingKey> {
        let (Self::Plain(bytes) | Self::Token { point: bytes, .. }) = self;
        VerifyingKey::from_bytes(bytes).ok().filter(|key| !key.is_weak() && is_reduced(bytes))
    }
}

/// Whether the coordinate y of an encoded point (RFC 8032, 5.1.2) is less than the prime 2^255 - 19. Then the encoding is canonical,
/// except that of the points with x = 0, which have two and are of low order.
fn is_reduced(point: &[u8; 32]) -> bool {
    let [low, middle @ .., high] = point;
    *low < 0xed || high & 0x7f != 0x7f || middle.iter().any(|byte| *byte != 0xff)
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::SigningKey;

    use super::*;

    /// All encodings of a y that is not less than the prime, some below it, and some ordinary points.
    #[test]
    fn a_point_is_accepted_in_its_only_canonical_form() {
        let near_prime = (0..=255).flat_map(|low| [0x7f, 0xff].map(|high| (low, high))).map(|(low, high)| {
            let mut point = [0xff; 32];
            (point[0], point[31]) = (low, high);
            point
        });
        let ordinary = (0..64).flat_map(|seed| {
            let point = SigningKey::from_bytes(&[seed; 32]).verifying_key().to_bytes();
            let mut negative = point;
            negative[31] ^= 0x80;
            [point, negative]
        });
        let small = (0..=255).map(|low| {
            let mut point = [0; 32];
            point[0] = low;
            point
        });
        let mut accepted = 0;
        for point in near_prime.chain(ordinary).chain(small) {
            let canonical = VerifyingKey::from_bytes(&point)
                .ok()
                .filter(|key| !key.is_weak() && key.to_edwards().compress().as_bytes() == &point);
            assert_eq!(PublicKey::Plain(point).point(), canonical, "{point:x?}");
            accepted += usize::from(canonical.is_some());
        }
        assert!(accepted > 128);
    }

    #[test]
    fn both_kinds_round_trip_and_truncated_keys_are_rejected() {
        let point = SigningKey::from_bytes(&[3; 32]).verifying_key().to_bytes();
        for key in [PublicKey::Plain(point), PublicKey::Token { point, application: b"ssh:".to_vec() }] {
            let blob = key.blob();
            assert_eq!(PublicKey::from_blob(&blob), Some(key.clone()));
            assert_eq!(PublicKey::from_words(key.algorithm(), &Base64::encode_string(&blob)), Some(key));
            for length in 0..blob.len() {
                assert_eq!(PublicKey::from_blob(&blob[..length]), None);
            }
            assert_eq!(PublicKey::from_blob(&[&blob[..], b"x"].concat()), None);
        }
    }

    #[test]
    fn a_key_of_low_order_is_rejected() {
        for point in [[0; 32], std::array::from_fn(|index| u8::from(index == 0)), [0xff; 32]] {
            let blob = PublicKey::Plain(point).blob();
            assert_eq!(PublicKey::from_words(PLAIN, &Base64::encode_string(&blob)), None);
        }
    }

    #[test]
    fn a_name_that_differs_from_the_blob_is_rejected() {
        let point = SigningKey::from_bytes(&[3; 32]).verifying_key().to_bytes();
        assert_eq!(PublicKey::from_words(TOKEN, &Base64::encode_string(&PublicKey::Plain(point).blob())), None);
    }
}
