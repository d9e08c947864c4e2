//! How the kernel and libc answer: -1 and `errno` become an `io::Error`. Nothing else lives here.

use std::io;

/// The answer, or the error in `errno` when it is -1.
pub(crate) fn check(answer: libc::c_int) -> io::Result<libc::c_int> {
    if answer == -1 { Err(io::Error::last_os_error()) } else { Ok(answer) }
}

/// A length, or the error in `errno` when it is negative.
pub(crate) fn check_length(answer: libc::ssize_t) -> io::Result<usize> {
    usize::try_from(answer).map_err(|_| io::Error::last_os_error())
}

/// Calls again for as long as a signal interrupted the call.
pub(crate) fn retry<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            answer => return answer,
        }
    }
}
