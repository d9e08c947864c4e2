//! Keeps the modules that libpam loaded in memory, for a process that ends with its PAM transaction: pam_end would
//! unmap a dozen libraries one by one.

use std::ffi::{CStr, CString};

/// Adds a reference to each loaded library, so that the dlclose of a later pam_end unmaps nothing. Data that modules
/// registered for cleanup (pam_set_data(3)) is still cleaned up. A library for which this fails is unmapped, which is
/// harmless.
pub fn keep_loaded() {
    let mut names: Vec<CString> = Vec::with_capacity(32);
    // SAFETY: `collect` has the required type, and gets `names` back as its last argument, during the call alone.
    unsafe { libc::dl_iterate_phdr(Some(collect), (&raw mut names).cast()) };
    for name in names {
        // SAFETY: the name ends in NUL. With RTLD_NOLOAD nothing is loaded and no code runs; the loaded library gets
        // one more reference, which is never released.
        let _ = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_LAZY | libc::RTLD_NOLOAD) };
    }
}

unsafe extern "C" fn collect(
    library: *mut libc::dl_phdr_info,
    _size: libc::size_t,
    names: *mut libc::c_void,
) -> libc::c_int {
    // SAFETY: `keep_loaded` passes a vector of this type that it does not touch meanwhile.
    let names = unsafe { &mut *names.cast::<Vec<CString>>() };
    // SAFETY: the loader passes a description that lives through the call, whose name ends in NUL or is null.
    let name = unsafe { (*library).dlpi_name };
    if !name.is_null() {
        // SAFETY: see above.
        let name = unsafe { CStr::from_ptr(name) };
        // The program itself has no name.
        if !name.is_empty() {
            names.push(name.to_owned());
        }
    }
    0
}
