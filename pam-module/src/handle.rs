//! A safe wrapper for the handle that libpam passes to a module. Nothing here outlives the call to which it was passed.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::ptr;

use crate::session::Session;

/// libpam's transaction, opaque to modules.
#[repr(C)]
pub struct RawHandle {
    _private: [u8; 0],
}

/// The cleanup function of pam_set_data(3).
type Cleanup = extern "C" fn(*mut RawHandle, *mut c_void, c_int);

#[link(name = "pam")]
unsafe extern "C" {
    fn pam_putenv(handle: *mut RawHandle, variable: *const c_char) -> c_int;
    fn pam_set_data(handle: *mut RawHandle, name: *const c_char, data: *mut c_void, cleanup: Option<Cleanup>) -> c_int;
    fn pam_get_data(handle: *const RawHandle, name: *const c_char, out: *mut *const c_void) -> c_int;
    fn pam_get_item(handle: *const RawHandle, item: c_int, out: *mut *const c_void) -> c_int;
    fn pam_get_user(handle: *mut RawHandle, out: *mut *const c_char, prompt: *const c_char) -> c_int;
    fn pam_syslog(handle: *const RawHandle, priority: c_int, format: *const c_char, ...);
    fn pam_prompt(handle: *mut RawHandle, style: c_int, out: *mut *mut c_char, format: *const c_char, ...) -> c_int;
}

/// From security/_pam_types.h of Linux-PAM; these numbers are part of its ABI.
pub(crate) const PAM_SUCCESS: c_int = 0;
/// Permission denied.
pub(crate) const PAM_PERM_DENIED: c_int = 6;
/// Authentication failure.
pub(crate) const PAM_AUTH_ERR: c_int = 7;
/// The session cannot be opened.
pub(crate) const PAM_SESSION_ERR: c_int = 14;
/// A flag: show no messages.
pub(crate) const PAM_SILENT: c_int = 0x8000;

const PAM_ERROR_MSG: c_int = 3;
const PAM_TEXT_INFO: c_int = 4;

/// An item that the calling program has set in libpam.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Item {
    /// The name of the stack.
    Service = 1,
    /// The terminal.
    Terminal = 3,
    /// The host from which the user comes.
    RemoteHost = 4,
    /// The requesting user on that host.
    RemoteUser = 8,
}

/// The severity of a syslog message; the facility is always authpriv.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loudness {
    /// An administrator has to fix something.
    Error = 3,
    /// A user was denied.
    Notice = 5,
    /// For administrators who write a PAM stack.
    Debug = 7,
}

/// The kind of a message to the user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    /// A denial.
    Refusal,
    /// Information.
    Information,
}

/// The transaction of one call into the module.
pub(crate) struct Handle(*mut RawHandle);

impl Handle {
    /// # Safety
    /// `raw` is what libpam has passed to an entry point that has not returned yet.
    pub(crate) unsafe fn new(raw: *mut RawHandle) -> Self {
        Self(raw)
    }

    /// Returns an item; `None` when it is unset or empty, an error when it is not UTF-8.
    pub(crate) fn item(&self, item: Item) -> Result<Option<String>, NoText> {
        let mut found = ptr::null();
        // SAFETY: the handle is libpam's own (see `new`), and `found` lives through the call. The items that `Item` names
        // are strings that end with NUL.
        let answer = unsafe { pam_get_item(self.0, item as c_int, &raw mut found) };
        if answer != PAM_SUCCESS || found.is_null() {
            return Ok(None);
        }
        // SAFETY: libpam has set the pointer to a string that it keeps until the item is set again, which does not happen while
        // this reads it.
        let text = unsafe { text(found.cast()) }?;
        Ok(Some(text).filter(|text| !text.is_empty()))
    }

    /// Returns the user name; libpam prompts for it when the program has not set it.
    pub(crate) fn user(&self) -> Result<String, NoText> {
        let mut found = ptr::null();
        // SAFETY: as in `item`; no prompt of our own is given.
        let answer = unsafe { pam_get_user(self.0, &raw mut found, ptr::null()) };
        if answer != PAM_SUCCESS || found.is_null() {
            return Err(NoText);
        }
        // SAFETY: as in `item`.
        unsafe { text(found) }
    }

    /// Writes one line to syslog.
    pub(crate) fn log(&self, loudness: Loudness, line: &str) {
        let Some(line) = plain(line) else { return };
        // SAFETY: the format takes one string that ends with NUL, and one is passed.
        unsafe { pam_syslog(self.0, loudness as c_int, c"%s".as_ptr(), line.as_ptr()) };
    }

    /// Shows one line to the user, if the program does so.
    pub(crate) fn say(&self, tone: Tone, line: &str) {
        let Some(line) = plain(line) else { return };
        let style = match tone {
            Tone::Refusal => PAM_ERROR_MSG,
            Tone::Information => PAM_TEXT_INFO,
        };
        // SAFETY: as in `log`; without a pointer for the response libpam frees it.
        unsafe { pam_prompt(self.0, style, ptr::null_mut(), c"%s".as_ptr(), line.as_ptr()) };
    }
}

/// The name under which the module keeps its sessions in the transaction between two calls.
const KEPT: &CStr = c"pam_jit_sudo";

impl Handle {
    /// Sets a variable of the session's environment.
    pub(crate) fn set_variable(&self, name: &str, value: &str) -> Result<(), NotKept> {
        let variable = CString::new(format!("{name}={value}")).map_err(|_| NotKept)?;
        // SAFETY: a string that ends with NUL, of which libpam makes a copy.
        kept(unsafe { pam_putenv(self.0, variable.as_ptr()) })
    }

    /// Stores a text for another module (pam_set_data(3)).
    pub(crate) fn leave(&self, name: &CStr, value: &str) -> Result<(), NotKept> {
        let value = CString::new(value).map_err(|_| NotKept)?.into_raw();
        // SAFETY: both are strings that end with NUL; libpam copies the name and gives the value back to `drop_text`.
        let answer = unsafe { pam_set_data(self.0, name.as_ptr(), value.cast(), Some(drop_text)) };
        if answer != PAM_SUCCESS {
            // SAFETY: libpam has not taken it, so it is still ours, and was made by `into_raw` above.
            drop(unsafe { CString::from_raw(value) });
        }
        kept(answer)
    }

    /// Keeps a session until it is taken, or until the transaction ends.
    pub(crate) fn keep(&self, session: Session) -> Result<(), NotKept> {
        let mut sessions = self.take_all();
        sessions.push(session);
        let sessions = Box::into_raw(Box::new(sessions));
        // SAFETY: libpam gives the box back to `drop_sessions`; nothing else is kept under this name.
        let answer = unsafe { pam_set_data(self.0, KEPT.as_ptr(), sessions.cast(), Some(drop_sessions)) };
        if answer != PAM_SUCCESS {
            // SAFETY: libpam has not taken it, so it is still ours, and was made by `into_raw` above.
            drop(unsafe { Box::from_raw(sessions) });
        }
        kept(answer)
    }

    /// Takes out the session that was kept last.
    pub(crate) fn take(&self) -> Option<Session> {
        // SAFETY: as in `take_all`.
        unsafe { self.kept()?.as_mut() }?.pop()
    }

    fn take_all(&self) -> Vec<Session> {
        // SAFETY: what is kept is a vector of ours, alive until libpam calls `drop_sessions`, and libpam makes no other call
        // meanwhile.
        self.kept().and_then(|kept| unsafe { kept.as_mut() }).map(std::mem::take).unwrap_or_default()
    }

    fn kept(&self) -> Option<*mut Vec<Session>> {
        let mut found = ptr::null();
        // SAFETY: the name ends with NUL and `found` lives through the call.
        let answer = unsafe { pam_get_data(self.0, KEPT.as_ptr(), &raw mut found) };
        (answer == PAM_SUCCESS && !found.is_null()).then(|| found.cast_mut().cast())
    }
}

extern "C" fn drop_text(_: *mut RawHandle, text: *mut c_void, _: c_int) {
    // SAFETY: libpam gives back what `leave` has given it, once.
    drop(unsafe { CString::from_raw(text.cast()) });
}

extern "C" fn drop_sessions(_: *mut RawHandle, sessions: *mut c_void, _: c_int) {
    // SAFETY: libpam gives back what `keep` has given it, once.
    drop(unsafe { Box::from_raw(sessions.cast::<Vec<Session>>()) });
}

fn kept(answer: c_int) -> Result<(), NotKept> {
    if answer == PAM_SUCCESS { Ok(()) } else { Err(NotKept) }
}

/// Returned when libpam did not store what a session needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NotKept;

/// Returned when an item or an option is not UTF-8.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NoText;

/// Replaces control characters, which a terminal or a log reader might interpret.
fn plain(line: &str) -> Option<CString> {
    let shown: String = line.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
    CString::new(shown).ok()
}

/// # Safety
/// `from` points to a string that ends with NUL and does not change during the call.
unsafe fn text(from: *const c_char) -> Result<String, NoText> {
    // SAFETY: the caller of this function guarantees that.
    let text = unsafe { CStr::from_ptr(from) };
    text.to_str().map(str::to_owned).map_err(|_| NoText)
}

/// Returns the options of the module.
///
/// # Safety
/// `words` points to `count` pointers to strings that end with NUL, as libpam passes them to an entry point.
pub(crate) unsafe fn words(count: c_int, words: *const *const c_char) -> Result<Vec<String>, NoText> {
    let count = usize::try_from(count).map_err(|_| NoText)?;
    // SAFETY: the caller of this function guarantees that for each index below `count`.
    (0..count).map(|place| unsafe { text(*words.add(place)) }).collect()
}
