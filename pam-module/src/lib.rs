//! pam_jit_sudo.so: the PAM stack of sshd, su, sudo or login asks whether a user holds an active grant. This code runs inside other
//! programs: it opens no database and no file, starts no thread, handles no signal, prints nothing, and denies on every error. The
//! broker decides who holds a grant.

mod broker;
mod decision;
mod handle;
mod options;
mod question;
mod session;

use std::ffi::{c_char, c_int};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

use decision::{close, decide};
use handle::{Handle, Loudness, PAM_AUTH_ERR, PAM_PERM_DENIED, PAM_SESSION_ERR, PAM_SUCCESS, RawHandle, words};

/// The management group of a PAM stack that called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Facility {
    Auth,
    Account,
    Session,
}

impl Facility {
    /// Returns its entry point, without the common prefix pam_sm_.
    fn entry(self) -> &'static str {
        match self {
            Self::Auth => "authenticate",
            Self::Account => "acct_mgmt",
            Self::Session => "open_session",
        }
    }

    /// Returns its only result besides success; never one that a stack ignores.
    fn denied(self) -> c_int {
        match self {
            Self::Auth => PAM_AUTH_ERR,
            Self::Account => PAM_PERM_DENIED,
            Self::Session => PAM_SESSION_ERR,
        }
    }
}

/// auth: an active grant is the proof.
///
/// # Safety
/// Called only by libpam, see pam_sm_authenticate(3).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pam_sm_authenticate(
    handle: *mut RawHandle,
    flags: c_int,
    count: c_int,
    arguments: *const *const c_char,
) -> c_int {
    // SAFETY: the arguments are passed on as libpam passed them.
    unsafe { enter(Facility::Auth, handle, flags, count, arguments) }
}

/// auth: there are no credentials to set.
///
/// # Safety
/// Called only by libpam, see pam_sm_setcred(3).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pam_sm_setcred(_: *mut RawHandle, _: c_int, _: c_int, _: *const *const c_char) -> c_int {
    PAM_SUCCESS
}

/// account: an active grant is required besides authentication.
///
/// # Safety
/// Called only by libpam, see pam_sm_acct_mgmt(3).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pam_sm_acct_mgmt(
    handle: *mut RawHandle,
    flags: c_int,
    count: c_int,
    arguments: *const *const c_char,
) -> c_int {
    // SAFETY: the arguments are passed on as libpam passed them.
    unsafe { enter(Facility::Account, handle, flags, count, arguments) }
}

/// session: recorded, and limited to the time of the grant.
///
/// # Safety
/// Called only by libpam, see pam_sm_open_session(3).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pam_sm_open_session(
    handle: *mut RawHandle,
    flags: c_int,
    count: c_int,
    arguments: *const *const c_char,
) -> c_int {
    // SAFETY: the arguments are passed on as libpam passed them.
    unsafe { enter(Facility::Session, handle, flags, count, arguments) }
}

/// session: records its end. A failure is logged to syslog and does not keep the user from leaving.
///
/// # Safety
/// Called only by libpam, see pam_sm_close_session(3).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pam_sm_close_session(
    handle: *mut RawHandle,
    _: c_int,
    _: c_int,
    _: *const *const c_char,
) -> c_int {
    // SAFETY: libpam has passed the handle, and waits for this function.
    let handle = unsafe { Handle::new(handle) };
    walled("close_session", &handle, PAM_SESSION_ERR, || close(&handle))
}

/// # Safety
/// The arguments are those of an entry point, and libpam waits for it.
unsafe fn enter(
    facility: Facility,
    handle: *mut RawHandle,
    flags: c_int,
    count: c_int,
    arguments: *const *const c_char,
) -> c_int {
    // SAFETY: the caller of this function guarantees that.
    let handle = unsafe { Handle::new(handle) };
    walled(facility.entry(), &handle, facility.denied(), || {
        // SAFETY: as above.
        let Ok(words) = (unsafe { words(count, arguments) }) else {
            handle.log(Loudness::Error, "the options are not UTF-8");
            return facility.denied();
        };
        decide(facility, &handle, flags, &words)
    })
}

/// Keeps a panic from unwinding into the program, and denies when one occurs.
fn walled(entry: &str, handle: &Handle, denied: c_int, call: impl FnOnce() -> c_int) -> c_int {
    // The module has its own copy of the standard library, and so its own panic hook.
    static SILENCE: Once = Once::new();
    let answer = catch_unwind(AssertUnwindSafe(|| {
        SILENCE.call_once(|| std::panic::set_hook(Box::new(|_| {})));
        let answer = call();
        panics::here(entry);
        answer
    }));
    answer.unwrap_or_else(|_| {
        handle.log(Loudness::Error, "denied: the module has panicked, which is a bug in it");
        denied
    })
}

/// Only for the test of `walled`, which builds a module with this feature: an entry point panics at its end, when it is about to
/// return success, if a file of this name exists.
mod panics {
    #[cfg(feature = "panics")]
    #[allow(clippy::panic)]
    pub(super) fn here(entry: &str) {
        if std::path::Path::new("/run/pam_jit_sudo-panics").join(entry).exists() {
            panic!("as the test wants it");
        }
    }

    #[cfg(not(feature = "panics"))]
    pub(super) fn here(_: &str) {}
}
