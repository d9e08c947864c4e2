//! A safe handle for libpam: one transaction and its conversation; it closes what it opened. Only PAM_SUCCESS counts as
//! success; PAM_IGNORE does not (CVE-2025-23013).

use std::ffi::{CStr, CString, OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr;

use pam_sys::raw;
use pam_sys::types::{PamConversation, PamHandle};

use crate::secret::Secret;
use crate::stall;

mod conversation;
mod modules;
use conversation::ConversationState;
pub use modules::keep_loaded;

unsafe extern "C" {
    /// pam_start(3) with another directory of services than `/etc/pam.d` (Linux-PAM 1.4).
    fn pam_start_confdir(
        service: *const libc::c_char,
        user: *const libc::c_char,
        conversation: *const PamConversation,
        directory: *const libc::c_char,
        handle: *mut *const PamHandle,
    ) -> libc::c_int;
}

/// One message of a PAM module.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Prompt<'a> {
    /// A question whose answer is not echoed.
    Hidden(&'a [u8]),
    /// A question whose answer is echoed.
    Visible(&'a [u8]),
    /// A message.
    Info(&'a [u8]),
    /// An error message.
    Error(&'a [u8]),
}

/// The conversation failed: the user cancelled it, there is no terminal, or it timed out. PAM gets PAM_CONV_ERR; the
/// implementation of [`Conversation`] keeps the reason.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ConversationFailed;

/// The dialogue with the user on behalf of PAM.
pub trait Conversation {
    /// Shows one prompt. Returns the answer to [`Prompt::Hidden`] and [`Prompt::Visible`], and `None` for the others. A
    /// panic in it counts as a failure.
    fn converse(&mut self, prompt: Prompt<'_>) -> Result<Option<Secret>, ConversationFailed>;
}

/// Whether modules may show messages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Messages {
    /// Modules may show messages.
    Shown,
    /// Modules are asked for silence (PAM_SILENT); prompts are not affected.
    Silent,
}

/// Whether an account with an empty password may authenticate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EmptyPassword {
    /// If the service file allows it (`nullok`).
    AsConfigured,
    /// Never (PAM_DISALLOW_NULL_AUTHTOK).
    Refused,
}

/// One PAM transaction. Dropping it closes the session, deletes the credentials that it established, and ends the
/// handle.
///
/// A forked child must leave by exec or [`exit_now`](crate::process::exit_now), so that only the parent drops it.
pub struct Pam {
    handle: *mut PamHandle,
    /// Given to libpam as a raw pointer until pam_end; therefore freed only after it.
    talk: *mut ConversationState,
    status: i32,
    session: Opened,
    credentials: Opened,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Opened {
    Yes,
    No,
}

impl Pam {
    /// Starts a transaction for a user with the service file `/etc/pam.d/SERVICE`.
    ///
    /// # Errors
    /// Those of libpam; a text that contains NUL.
    pub fn start(service: &str, user: &str, conversation: Box<dyn Conversation>) -> Result<Self, PamError> {
        let service = text(service.as_bytes(), START)?;
        Self::begin(user, conversation, |user, speaker, handle| {
            // SAFETY: the strings end in NUL and libpam copies them and the structure; `begin` documents the rest.
            unsafe { raw::pam_start(service.as_ptr(), user.as_ptr(), speaker, handle) }
        })
    }

    /// Starts a transaction with `directory/SERVICE` and its own `directory/other`, if that service exists there: with
    /// a service of `/etc/pam.d`, libpam loads every module that `/etc/pam.d/other` names, needed or not. When that
    /// stack cannot be read, it uses the one of `/etc/pam.d`.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_in(
        directory: &Path,
        service: &str,
        user: &str,
        conversation: Box<dyn Conversation>,
    ) -> Result<Self, PamError> {
        let own = text(directory.as_os_str().as_bytes(), START)?;
        let has_service = directory.join(service).exists();
        let service = text(service.as_bytes(), START)?;
        Self::begin(user, conversation, |user, speaker, handle| {
            // SAFETY: as in `start`.
            let started = |own: &CStr| unsafe {
                pam_start_confdir(service.as_ptr(), user.as_ptr(), speaker, own.as_ptr(), handle)
            };
            if has_service && started(&own) == PAM_SUCCESS {
                return PAM_SUCCESS;
            }
            // SAFETY: as in `start`; a failed start leaves no handle.
            unsafe { raw::pam_start(service.as_ptr(), user.as_ptr(), speaker, handle) }
        })
    }

    /// Creates the transaction. `start` gets the user, a conversation that lives until after pam_end, and the place for
    /// the handle.
    fn begin(
        user: &str,
        conversation: Box<dyn Conversation>,
        start: impl FnOnce(&CStr, *const PamConversation, *mut *const PamHandle) -> libc::c_int,
    ) -> Result<Self, PamError> {
        let user = text(user.as_bytes(), START)?;
        let talk = Box::into_raw(Box::new(ConversationState::new(conversation)));
        let speaker = PamConversation { conv: Some(conversation::speak), data_ptr: talk.cast() };
        let mut handle: *const PamHandle = ptr::null();
        let status = start(&user, &raw const speaker, &raw mut handle);
        let pam = Self { handle: handle.cast_mut(), talk, status, session: Opened::No, credentials: Opened::No };
        if pam.handle.is_null() && status == PAM_SUCCESS {
            return Err(PamError::of(ptr::null_mut(), PAM_SYSTEM_ERR, START));
        }
        if status == PAM_SUCCESS { Ok(pam) } else { Err(PamError::of(pam.handle, status, START)) }
    }

    /// Sets the terminal, as a path such as `/dev/pts/3`.
    pub fn set_tty(&mut self, tty: &OsStr) -> Result<(), PamError> {
        self.set_item(PAM_TTY, tty.as_bytes())
    }

    /// Sets the name of the calling user.
    pub fn set_ruser(&mut self, user: &str) -> Result<(), PamError> {
        self.set_item(PAM_RUSER, user.as_bytes())
    }

    /// Sets the host that the request comes from.
    pub fn set_rhost(&mut self, host: &str) -> Result<(), PamError> {
        self.set_item(PAM_RHOST, host.as_bytes())
    }

    /// Changes the user, for example to the one whose session is opened.
    pub fn set_user(&mut self, user: &str) -> Result<(), PamError> {
        self.set_item(PAM_USER, user.as_bytes())
    }

    /// Returns the user, whom modules may have changed.
    pub fn user(&mut self) -> Result<String, PamError> {
        let mut item: *const libc::c_void = ptr::null();
        // SAFETY: the handle is open; `item` lives through the call.
        let status = unsafe { raw::pam_get_item(self.handle, PAM_USER, &raw mut item) };
        self.judge(status, "pam_get_item")?;
        if item.is_null() {
            return Err(PamError::of(self.handle, PAM_USER_UNKNOWN, "pam_get_item"));
        }
        // SAFETY: PAM_USER is a string that ends in NUL and stays until the item is changed; it is copied here.
        let user = unsafe { CStr::from_ptr(item.cast()) };
        user.to_str().map(str::to_owned).map_err(|_| PamError::of(self.handle, PAM_USER_UNKNOWN, "pam_get_item"))
    }

    /// Authenticates the user (pam_authenticate(3)).
    pub fn authenticate(&mut self, messages: Messages, empty: EmptyPassword) -> Result<(), PamError> {
        let empty = match empty {
            EmptyPassword::AsConfigured => 0,
            EmptyPassword::Refused => PAM_DISALLOW_NULL_AUTHTOK,
        };
        self.call(raw::pam_authenticate, messages.flag() | empty, "pam_authenticate")
    }

    /// Checks whether the account may be used now (pam_acct_mgmt(3)).
    ///
    /// # Errors
    /// After [`PamError::is_expired_password`] the caller may call [`Self::change_expired_password`].
    pub fn account(&mut self, messages: Messages) -> Result<(), PamError> {
        self.call(raw::pam_acct_mgmt, messages.flag(), "pam_acct_mgmt")
    }

    /// Lets the user change an expired password (pam_chauthtok(3)).
    pub fn change_expired_password(&mut self) -> Result<(), PamError> {
        self.call(raw::pam_chauthtok, PAM_CHANGE_EXPIRED_AUTHTOK, "pam_chauthtok")
    }

    /// Establishes the user's credentials (pam_setcred(3)), which drop deletes.
    pub fn establish_credentials(&mut self, messages: Messages) -> Result<(), PamError> {
        self.call(raw::pam_setcred, PAM_ESTABLISH_CRED | messages.flag(), "pam_setcred")?;
        self.credentials = Opened::Yes;
        Ok(())
    }

    /// Deletes the credentials, if there are any.
    pub fn delete_credentials(&mut self) -> Result<(), PamError> {
        if self.credentials == Opened::No {
            return Ok(());
        }
        self.credentials = Opened::No;
        self.call(raw::pam_setcred, PAM_DELETE_CRED | PAM_SILENT, "pam_setcred")
    }

    /// Opens a session (pam_open_session(3)), which drop closes.
    pub fn open_session(&mut self, messages: Messages) -> Result<(), PamError> {
        self.call(raw::pam_open_session, messages.flag(), "pam_open_session")?;
        self.session = Opened::Yes;
        Ok(())
    }

    /// Closes the session, if one is open.
    pub fn close_session(&mut self) -> Result<(), PamError> {
        if self.session == Opened::No {
            return Ok(());
        }
        self.session = Opened::No;
        self.call(raw::pam_close_session, PAM_SILENT, "pam_close_session")
    }

    /// Returns the PAM environment, as `NAME=value` (pam_getenvlist(3)).
    ///
    /// # Errors
    /// Memory is exhausted.
    pub fn environment(&mut self) -> Result<Vec<OsString>, PamError> {
        // SAFETY: the handle is open; the result is null or an array that we own and that ends with null.
        let list = unsafe { raw::pam_getenvlist(self.handle) };
        if list.is_null() {
            return Err(PamError::of(self.handle, PAM_BUF_ERR, "pam_getenvlist"));
        }
        let mut entries = Vec::new();
        let mut next = list;
        loop {
            // SAFETY: `next` points into the array, which ends with null, where we stop.
            let entry = unsafe { *next };
            if entry.is_null() {
                break;
            }
            // SAFETY: an entry is a string that we own and that ends in NUL; it is copied before it is freed.
            entries.push(OsStr::from_bytes(unsafe { CStr::from_ptr(entry) }.to_bytes()).to_owned());
            // SAFETY: libpam allocated it with malloc and passed it to us; it is freed once.
            unsafe { libc::free(entry.cast_mut().cast()) };
            // SAFETY: the entry was not null, so it is not the last element.
            next = unsafe { next.add(1) };
        }
        // SAFETY: as for the entries.
        unsafe { libc::free(list.cast_mut().cast()) };
        Ok(entries)
    }

    /// Puts `NAME=value` into the PAM environment, or removes `NAME` (pam_putenv(3)).
    pub fn put_environment(&mut self, entry: &OsStr) -> Result<(), PamError> {
        let entry = text(entry.as_bytes(), "pam_putenv")?;
        // SAFETY: the handle is open; the string ends in NUL and is copied.
        let status = unsafe { raw::pam_putenv(self.handle, entry.as_ptr()) };
        self.judge(status, "pam_putenv")
    }

    fn set_item(&mut self, item: i32, value: &[u8]) -> Result<(), PamError> {
        let value = text(value, "pam_set_item")?;
        // SAFETY: the handle is open; these items are strings that end in NUL and are copied.
        let status = unsafe { raw::pam_set_item(self.handle, item, value.as_ptr().cast()) };
        self.judge(status, "pam_set_item")
    }

    fn call(
        &mut self,
        function: unsafe extern "C" fn(*mut PamHandle, libc::c_int) -> libc::c_int,
        flags: i32,
        name: &'static str,
    ) -> Result<(), PamError> {
        let _interruption = stall::interruption(); // modules call syslog(3)
        // SAFETY: the handle is open and used by one thread; modules call back through `speak` only.
        let status = unsafe { function(self.handle, flags) };
        self.judge(status, name)
    }

    fn judge(&mut self, status: i32, call: &'static str) -> Result<(), PamError> {
        self.status = status;
        // SAFETY: `talk` is ours until drop, and libpam uses it only during a call, none of which is active.
        let broken_off = unsafe { (*self.talk).take_failure() };
        if status == PAM_SUCCESS {
            return Ok(());
        }
        let mut error = PamError::of(self.handle, status, call);
        error.broken_off = broken_off;
        Err(error)
    }
}

impl Drop for Pam {
    fn drop(&mut self) {
        if !self.handle.is_null() {
            // Errors cannot be reported from here; a caller that needs them closes the session before.
            let _ = self.close_session();
            let _ = self.delete_credentials();
            // SAFETY: the handle is open and ended once, here.
            unsafe { raw::pam_end(self.handle, self.status) };
        }
        // SAFETY: made by Box::into_raw in `start`, and libpam, which had a copy, no longer uses it.
        drop(unsafe { Box::from_raw(self.talk) });
    }
}

impl fmt::Debug for Pam {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pam").field("status", &self.status).finish_non_exhaustive()
    }
}

impl Messages {
    fn flag(self) -> i32 {
        match self {
            Self::Shown => 0,
            Self::Silent => PAM_SILENT,
        }
    }
}

/// A call of libpam that did not return PAM_SUCCESS.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PamError {
    /// libpam's error code.
    pub code: i32,
    /// The name of the function.
    pub call: &'static str,
    /// libpam's text for the error; bytes that are not UTF-8 are replaced.
    pub text: String,
    broken_off: bool,
}

impl PamError {
    /// Returns whether another try makes sense: the answer was wrong, the user unknown, or access denied.
    pub fn is_wrong_password(&self) -> bool {
        !self.broken_off
            && matches!(self.code, PAM_AUTH_ERR | PAM_PERM_DENIED | PAM_AUTHINFO_UNAVAIL | PAM_USER_UNKNOWN)
    }

    /// Returns whether a module allows no further try.
    pub fn is_max_tries(&self) -> bool {
        self.code == PAM_MAXTRIES
    }

    /// Returns whether the password is correct but expired.
    pub fn is_expired_password(&self) -> bool {
        matches!(self.code, PAM_NEW_AUTHTOK_REQD | PAM_AUTHTOK_EXPIRED)
    }

    /// Returns whether a module denies the account, for example because it is locked.
    pub fn is_denied(&self) -> bool {
        self.code == PAM_AUTH_ERR
    }

    /// Returns whether the account itself has expired.
    pub fn is_expired_account(&self) -> bool {
        self.code == PAM_ACCT_EXPIRED
    }

    /// Returns whether the conversation failed or a module aborts: no further try.
    pub fn is_aborted(&self) -> bool {
        self.broken_off || matches!(self.code, PAM_ABORT | PAM_CONV_ERR)
    }

    fn of(handle: *mut PamHandle, code: i32, call: &'static str) -> Self {
        // SAFETY: libpam ignores the handle here; the result is null or a constant string that ends in NUL.
        let text = unsafe { raw::pam_strerror(handle, code) };
        let text = if text.is_null() {
            String::from("unknown error")
        } else {
            // SAFETY: not null, see above; it is copied.
            unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
        };
        Self { code, call, text, broken_off: false }
    }
}

impl fmt::Display for PamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.call, self.text)
    }
}

impl std::error::Error for PamError {}

fn text(bytes: &[u8], call: &'static str) -> Result<CString, PamError> {
    CString::new(bytes).map_err(|_| PamError::of(ptr::null_mut(), PAM_BAD_ITEM, call))
}

const START: &str = "pam_start";

// _pam_types.h of Linux-PAM.
const PAM_SUCCESS: i32 = 0;
const PAM_SYSTEM_ERR: i32 = 4;
const PAM_BUF_ERR: i32 = 5;
const PAM_PERM_DENIED: i32 = 6;
const PAM_AUTH_ERR: i32 = 7;
const PAM_AUTHINFO_UNAVAIL: i32 = 9;
const PAM_USER_UNKNOWN: i32 = 10;
const PAM_MAXTRIES: i32 = 11;
const PAM_NEW_AUTHTOK_REQD: i32 = 12;
const PAM_ACCT_EXPIRED: i32 = 13;
const PAM_CONV_ERR: i32 = 19;
const PAM_ABORT: i32 = 26;
const PAM_AUTHTOK_EXPIRED: i32 = 27;
const PAM_BAD_ITEM: i32 = 29;
const PAM_USER: i32 = 2;
const PAM_TTY: i32 = 3;
const PAM_RHOST: i32 = 4;
const PAM_RUSER: i32 = 8;
const PAM_SILENT: i32 = 0x8000;
const PAM_DISALLOW_NULL_AUTHTOK: i32 = 1;
const PAM_ESTABLISH_CRED: i32 = 2;
const PAM_DELETE_CRED: i32 = 4;
const PAM_CHANGE_EXPIRED_AUTHTOK: i32 = 0x20;

#[cfg(test)]
mod tests;
