//! A security key in software, for tests only: OpenSSH's own ssh-keygen loads it in place of a FIDO2 token (`SSH_SK_PROVIDER`;
//! PROTOCOL.u2f and sk-api.h of OpenSSH). Secrets that a token keeps to itself are written into the key handle here, so it
//! protects nothing. It acts as if its holder touched it, unless `TOKEN_TOUCH=never` is in the environment. Its PIN is 1234, and
//! it reports a verified user when that was typed.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::fs::File;
use std::io::Read;
use std::ptr;

use ed25519_dalek::{Signer, SigningKey};
use sha2::{Digest, Sha256};

/// The interface of OpenSSH 8.9 and later (sk-api.h, SSH_SK_VERSION_MAJOR).
const VERSION: u32 = 0x000a_0000;

const ED25519: u32 = 1;
const USER_PRESENCE: u8 = 1;
const USER_VERIFICATION: u8 = 4;
const PIN: &CStr = c"1234";

const GENERAL: c_int = -1;
const UNSUPPORTED: c_int = -2;
const PIN_REQUIRED: c_int = -3;

/// A struct of sk-api.h; the caller passes each pointer to free(3).
#[repr(C)]
pub struct Enrolled {
    flags: u8,
    public_key: *mut u8,
    public_key_len: usize,
    key_handle: *mut u8,
    key_handle_len: usize,
    signature: *mut u8,
    signature_len: usize,
    attestation_cert: *mut u8,
    attestation_cert_len: usize,
    authdata: *mut u8,
    authdata_len: usize,
}

/// A struct of sk-api.h; the caller passes each pointer to free(3).
#[repr(C)]
pub struct Signed {
    flags: u8,
    counter: u32,
    sig_r: *mut u8,
    sig_r_len: usize,
    sig_s: *mut u8,
    sig_s_len: usize,
}

/// Returns the version of the interface.
#[unsafe(no_mangle)]
pub extern "C" fn sk_api_version() -> u32 {
    VERSION
}

/// Creates a new key, if the token is touched.
///
/// # Safety
/// Only for OpenSSH: see sk-api.h.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sk_enroll(
    algorithm: u32,
    _challenge: *const u8,
    _challenge_len: usize,
    _application: *const c_char,
    flags: u8,
    _pin: *const c_char,
    _options: *mut *mut c_void,
    out: *mut *mut Enrolled,
) -> c_int {
    if algorithm != ED25519 {
        return UNSUPPORTED;
    }
    let mut seed = [0; 32];
    if !is_touched() || File::open("/dev/urandom").and_then(|mut random| random.read_exact(&mut seed)).is_err() {
        return GENERAL;
    }
    let (public_key, public_key_len) = given(SigningKey::from_bytes(&seed).verifying_key().as_bytes());
    let (key_handle, key_handle_len) = given(&seed);
    let (signature, signature_len) = given(&[0; 64]); // of the manufacturer, which the tests do not use
    let enrolled = Enrolled {
        flags,
        public_key,
        public_key_len,
        key_handle,
        key_handle_len,
        signature,
        signature_len,
        attestation_cert: ptr::null_mut(),
        attestation_cert_len: 0,
        authdata: ptr::null_mut(),
        authdata_len: 0,
    };
    // SAFETY: the caller passes a valid pointer for the answer.
    unsafe { out.write(boxed(enrolled)) };
    0
}

/// Signs the application, the flags, a counter and the data (PROTOCOL.u2f). Where user presence is required, the token must be
/// touched.
///
/// # Safety
/// Only for OpenSSH: see sk-api.h.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sk_sign(
    algorithm: u32,
    data: *const u8,
    data_len: usize,
    application: *const c_char,
    handle: *const u8,
    handle_len: usize,
    flags: u8,
    pin: *const c_char,
    _options: *mut *mut c_void,
    out: *mut *mut Signed,
) -> c_int {
    // SAFETY: the caller passes the number of bytes at each pointer, and the application ends with NUL.
    let (data, handle, application) = unsafe {
        (
            std::slice::from_raw_parts(data, data_len),
            std::slice::from_raw_parts(handle, handle_len),
            CStr::from_ptr(application),
        )
    };
    let Ok(seed) = <&[u8; 32]>::try_from(handle) else { return GENERAL };
    if algorithm != ED25519 {
        return UNSUPPORTED;
    }
    if flags & USER_PRESENCE != 0 && !is_touched() {
        return GENERAL;
    }
    // SAFETY: the caller passes a string that ends with NUL, or a null pointer.
    let is_known = !pin.is_null() && unsafe { CStr::from_ptr(pin) } == PIN;
    if flags & USER_VERIFICATION != 0 && !is_known {
        return PIN_REQUIRED;
    }
    let flags = flags & (USER_PRESENCE | USER_VERIFICATION);
    let counter: u32 = 7;
    let mut message = Sha256::digest(application.to_bytes()).to_vec();
    message.push(flags);
    message.extend_from_slice(&counter.to_be_bytes());
    message.extend_from_slice(&Sha256::digest(data));
    let (sig_r, sig_r_len) = given(&SigningKey::from_bytes(seed).sign(&message).to_bytes());
    // SAFETY: the caller passes a valid pointer for the answer.
    unsafe { out.write(boxed(Signed { flags, counter, sig_r, sig_r_len, sig_s: ptr::null_mut(), sig_s_len: 0 })) };
    0
}

/// Fails: the token stores no keys.
///
/// # Safety
/// Only for OpenSSH: see sk-api.h.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sk_load_resident_keys(
    _pin: *const c_char,
    _options: *mut *mut c_void,
    _keys: *mut *mut *mut c_void,
    _count: *mut usize,
) -> c_int {
    UNSUPPORTED
}

fn is_touched() -> bool {
    std::env::var_os("TOKEN_TOUCH").is_none_or(|how| how != "never")
}

/// Copies bytes to memory that the caller frees.
fn given(bytes: &[u8]) -> (*mut u8, usize) {
    // SAFETY: copies the length of the slice to newly allocated memory. If calloc of a few bytes fails, which has nothing to do
    // with the tests, the program aborts.
    unsafe {
        let place = libc::calloc(1, bytes.len()).cast::<u8>();
        if place.is_null() {
            libc::abort();
        }
        ptr::copy_nonoverlapping(bytes.as_ptr(), place, bytes.len());
        (place, bytes.len())
    }
}

/// Copies a value to memory that the caller frees.
fn boxed<T>(value: T) -> *mut T {
    // SAFETY: calloc returns memory that is aligned for every type used here, of the size of the value; see `given`.
    unsafe {
        let place = libc::calloc(1, size_of::<T>()).cast::<T>();
        if place.is_null() {
            libc::abort();
        }
        place.write(value);
        place
    }
}
