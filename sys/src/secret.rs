//! Bytes that are wiped when they are no longer needed. No `Debug`, no `Clone`, no comparison.

/// The longest answer to a prompt, in bytes without its end of line (sudo's SUDO_CONV_REPL_MAX).
pub const MAX_SECRET: usize = 1023;

/// A password or another answer to a prompt; its memory is zeroed on drop.
pub struct Secret(Vec<u8>);

impl Secret {
    /// Takes ownership of the bytes. The caller avoids earlier copies, for example by a `Vec` that grew.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// Returns the bytes, without an end of line.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Creates an empty secret with room for [`MAX_SECRET`] bytes, so that filling it never reallocates it.
    pub(crate) fn with_room() -> Self {
        Self(Vec::with_capacity(MAX_SECRET + 1))
    }

    /// Appends a byte; returns `false` when there is no room.
    pub(crate) fn push(&mut self, byte: u8) -> bool {
        let room = self.0.len() < MAX_SECRET && self.0.len() < self.0.capacity();
        if room {
            self.0.push(byte);
        }
        room
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.clear();
        wipe_spare(&mut self.0);
    }
}

/// Zeroes bytes in a way that the compiler does not remove.
pub(crate) fn wipe(bytes: &mut [u8]) {
    // SAFETY: pointer and length come from one exclusive slice of bytes, for which zero is a valid value.
    unsafe { libc::explicit_bzero(bytes.as_mut_ptr().cast(), bytes.len()) }
}

fn wipe_spare(bytes: &mut Vec<u8>) {
    let spare = bytes.spare_capacity_mut();
    // SAFETY: the spare capacity is owned by the vector, exclusively borrowed, and writing to uninitialised bytes
    // through a raw pointer is allowed.
    unsafe { libc::explicit_bzero(spare.as_mut_ptr().cast(), spare.len()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_secret_accepts_no_more_bytes() {
        let mut secret = Secret::with_room();
        assert!((0..MAX_SECRET).all(|_| secret.push(b'x')));
        assert!(!secret.push(b'x'));
        assert_eq!(secret.as_bytes().len(), MAX_SECRET);
    }

    #[test]
    fn wiping_zeroes_every_byte() {
        let mut bytes = *b"hunter2";
        wipe(&mut bytes);
        assert_eq!(bytes, [0; 7]);
    }

    #[test]
    fn dropping_a_secret_wipes_it() {
        let mut bytes = b"hunter2".to_vec();
        bytes.clear();
        wipe_spare(&mut bytes);
        // SAFETY: the first seven bytes were initialised above and then zeroed in place; the vector was not moved.
        unsafe { bytes.set_len(7) };
        assert_eq!(bytes, [0; 7]);
    }
}
