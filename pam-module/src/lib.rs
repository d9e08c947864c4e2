//! pam_jit_sudo.so: the stack of sshd, su, sudo or login asks whether somebody holds an active grant. Code that lives in
//! other people's programs: it opens no database and no file, starts no thread, handles no signal, prints nothing, and
//! whatever goes wrong is a no. Who holds what is the broker's to say.

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

/// What of a stack is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Facility {
    Auth,
    Account,
    Session,
}

impl Facility {
    /// Its entry point, without the prefix that all have.
    fn entry(self) -> &'static str {
        match self {
            Self::Auth => "authenticate",
            Self::Account => "acct_mgmt",
            Self::Session => "open_session",
        }
    }

    /// The one answer besides success: never one that a stack passes over.
    fn denied(self) -> c_int {
        match self {
            Self::Auth => PAM_AUTH_ERR,
            Self::Account => PAM_PERM_DENIED,
            Self::Session => PAM_SESSION_ERR,
        }
    }
}

/// auth: the grant proves that somebody may.
///
/// # Safety
/// For libpam alone: see pam_sm_authenticate(3).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pam_sm_authenticate(
    handle: *mut RawHandle,
    flags: c_int,
    count: c_int,
    arguments: *const *const c_char,
) -> c_int {
    // SAFETY: what libpam has passed is passed on.
    unsafe { enter(Facility::Auth, handle, flags, count, arguments) }
}

/// auth: there are no credentials to set.
///
/// # Safety
/// For libpam alone: see pam_sm_setcred(3).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pam_sm_setcred(_: *mut RawHandle, _: c_int, _: c_int, _: *const *const c_char) -> c_int {
    PAM_SUCCESS
}

/// account: the grant must be there as well.
///
/// # Safety
/// For libpam alone: see pam_sm_acct_mgmt(3).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pam_sm_acct_mgmt(
    handle: *mut RawHandle,
    flags: c_int,
    count: c_int,
    arguments: *const *const c_char,
) -> c_int {
    // SAFETY: what libpam has passed is passed on.
    unsafe { enter(Facility::Account, handle, flags, count, arguments) }
}

/// session: it is recorded, and lasts as long as the grant.
///
/// # Safety
/// For libpam alone: see pam_sm_open_session(3).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pam_sm_open_session(
    handle: *mut RawHandle,
    flags: c_int,
    count: c_int,
    arguments: *const *const c_char,
) -> c_int {
    // SAFETY: what libpam has passed is passed on.
    unsafe { enter(Facility::Session, handle, flags, count, arguments) }
}

/// session: its end is recorded. Whoever leaves is not held up: what fails here is in syslog.
///
/// # Safety
/// For libpam alone: see pam_sm_close_session(3).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pam_sm_close_session(
    handle: *mut RawHandle,
    _: c_int,
    _: c_int,
    _: *const *const c_char,
) -> c_int {
    // SAFETY: libpam has passed it, and waits for this function.
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
    // SAFETY: the caller of this function says so.
    let handle = unsafe { Handle::new(handle) };
    walled(facility.entry(), &handle, facility.denied(), || {
        // SAFETY: as above.
        let Ok(words) = (unsafe { words(count, arguments) }) else {
            handle.log(Loudness::Error, "the options are no text");
            return facility.denied();
        };
        decide(facility, &handle, flags, &words)
    })
}

/// The wall between the module and the program: a panic stays on this side, and is a no.
fn walled(entry: &str, handle: &Handle, denied: c_int, call: impl FnOnce() -> c_int) -> c_int {
    // This copy of the standard library is the module's own: the program's hook is another one.
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

/// For the test of the wall alone, which builds a module of its own with this feature: an entry point panics when all is done
/// and a yes on its tongue, where there is a file of this name.
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
