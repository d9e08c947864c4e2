//! The handle that libpam gives a module, in safe words. Nothing here outlives the call that it was given for.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::ptr;

/// libpam's transaction; only libpam looks inside.
#[repr(C)]
pub struct RawHandle {
    _private: [u8; 0],
}

#[link(name = "pam")]
unsafe extern "C" {
    fn pam_get_item(handle: *const RawHandle, item: c_int, out: *mut *const c_void) -> c_int;
    fn pam_get_user(handle: *mut RawHandle, out: *mut *const c_char, prompt: *const c_char) -> c_int;
    fn pam_syslog(handle: *const RawHandle, priority: c_int, format: *const c_char, ...);
    fn pam_prompt(handle: *mut RawHandle, style: c_int, out: *mut *mut c_char, format: *const c_char, ...) -> c_int;
}

/// security/_pam_types.h of Linux-PAM; these numbers are its binary interface.
pub(crate) const PAM_SUCCESS: c_int = 0;
/// The account may not do this.
pub(crate) const PAM_PERM_DENIED: c_int = 6;
/// Not authenticated.
pub(crate) const PAM_AUTH_ERR: c_int = 7;
/// A flag: say nothing.
pub(crate) const PAM_SILENT: c_int = 0x8000;

const PAM_ERROR_MSG: c_int = 3;
const PAM_TEXT_INFO: c_int = 4;

/// What a program has told libpam about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Item {
    /// The name of the stack.
    Service = 1,
    /// The host from which somebody comes.
    RemoteHost = 4,
    /// Who asks, on that host.
    RemoteUser = 8,
}

/// How loud a line in syslog is; the facility is always authpriv.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loudness {
    /// Somebody has to mend something.
    Error = 3,
    /// Somebody was refused.
    Notice = 5,
    /// For whoever writes a stack.
    Debug = 7,
}

/// What is said to the user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    /// A refusal.
    Refusal,
    /// Something to know.
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

    /// An item; `None` when it is not set or empty, and `Err` when it is no text.
    pub(crate) fn item(&self, item: Item) -> Result<Option<String>, NoText> {
        let mut found = ptr::null();
        // SAFETY: the handle is libpam's own (see `new`), and `found` lives through the call. The items that `Item` names
        // are strings that end with NUL.
        let answer = unsafe { pam_get_item(self.0, item as c_int, &raw mut found) };
        if answer != PAM_SUCCESS || found.is_null() {
            return Ok(None);
        }
        // SAFETY: libpam has set the pointer to a string that it keeps until the item is set anew, which nobody does while
        // this reads it.
        let text = unsafe { text(found.cast()) }?;
        Ok(Some(text).filter(|text| !text.is_empty()))
    }

    /// The user; asks for the name where the program has not told it.
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

    /// One line in syslog.
    pub(crate) fn log(&self, loudness: Loudness, line: &str) {
        let Some(line) = plain(line) else { return };
        // SAFETY: the format takes one string that ends with NUL, and one is passed.
        unsafe { pam_syslog(self.0, loudness as c_int, c"%s".as_ptr(), line.as_ptr()) };
    }

    /// One line for the user. Whether the program shows it is its own business.
    pub(crate) fn say(&self, tone: Tone, line: &str) {
        let Some(line) = plain(line) else { return };
        let style = match tone {
            Tone::Refusal => PAM_ERROR_MSG,
            Tone::Information => PAM_TEXT_INFO,
        };
        // SAFETY: as in `log`; without a place for a response libpam frees what the program answers.
        unsafe { pam_prompt(self.0, style, ptr::null_mut(), c"%s".as_ptr(), line.as_ptr()) };
    }
}

/// Something that should be a name is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NoText;

/// Without anything that a terminal or a reader of logs would obey.
fn plain(line: &str) -> Option<CString> {
    let shown: String = line.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
    CString::new(shown).ok()
}

/// # Safety
/// `from` points to a string that ends with NUL and does not change during the call.
unsafe fn text(from: *const c_char) -> Result<String, NoText> {
    // SAFETY: the caller of this function says so.
    let text = unsafe { CStr::from_ptr(from) };
    text.to_str().map(str::to_owned).map_err(|_| NoText)
}

/// The words behind the module's name.
///
/// # Safety
/// `words` points to `count` pointers to strings that end with NUL, as libpam passes them to an entry point.
pub(crate) unsafe fn words(count: c_int, words: *const *const c_char) -> Result<Vec<String>, NoText> {
    let count = usize::try_from(count).map_err(|_| NoText)?;
    // SAFETY: the caller of this function says so of each place below `count`.
    (0..count).map(|place| unsafe { text(*words.add(place)) }).collect()
}
