//! The modules that libpam has loaded stay loaded to the end of a process that ends with its PAM transaction: pam_end
//! would unmap a dozen libraries one by one.

use std::ffi::{CStr, CString};

/// Makes the dlclose of every pam_end from now on give back a reference and nothing else. What modules registered to be
/// cleaned up (pam_set_data(3)) is cleaned up all the same. A library that cannot be kept is unmapped: no harm.
pub fn keep_loaded() {
    let mut names: Vec<CString> = Vec::with_capacity(32);
    // SAFETY: `collect` has the type that is asked for, and is given `names` back as its last argument, during the call
    // alone.
    unsafe { libc::dl_iterate_phdr(Some(collect), (&raw mut names).cast()) };
    for name in names {
        // SAFETY: the name ends in NUL. With RTLD_NOLOAD nothing is loaded and no code runs; the library that has this
        // name already gets one more reference, which is never given back.
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
