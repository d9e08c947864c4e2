//! Random bytes from the kernel. Waits until its pool is ready, once after boot.

use std::io;

use crate::kernel::{check_length, retry};

/// Returns `N` random bytes (getrandom(2)).
pub fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    let mut rest = &mut bytes[..];
    while !rest.is_empty() {
        // SAFETY: pointer and length describe `rest`, which is exclusively borrowed through the call.
        let length = retry(|| check_length(unsafe { libc::getrandom(rest.as_mut_ptr().cast(), rest.len(), 0) }))?;
        rest = rest.get_mut(length..).ok_or_else(|| io::Error::other("getrandom gave more than was asked for"))?;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_values_differ() {
        assert_ne!(random::<32>().unwrap(), random::<32>().unwrap());
        assert_eq!(random::<0>().unwrap(), []);
        assert!(random::<1000>().unwrap().iter().any(|byte| *byte != 0));
    }
}
