//! Checks which system calls this kernel supports and no filter on this process denies.

use std::io;

/// Returns those of clone3(2), pidfd_open(2) and pidfd_send_signal(2) that are missing. Calls each with arguments for
/// which an existing call fails with another error.
pub fn missing() -> Vec<&'static str> {
    let none: *const libc::c_void = std::ptr::null();
    // SAFETY: a structure of no bytes is too small to be read.
    let clone3 = || unsafe { libc::syscall(libc::SYS_clone3, none, 0) };
    // SAFETY: there is no process 0.
    let pidfd_open = || unsafe { libc::syscall(libc::SYS_pidfd_open, 0, 0) };
    // SAFETY: there is no descriptor -1, and signal 0 sends nothing.
    let pidfd_send_signal = || unsafe { libc::syscall(libc::SYS_pidfd_send_signal, -1, 0, none, 0) };
    let calls: [(&str, &dyn Fn() -> libc::c_long); 3] =
        [("clone3", &clone3), ("pidfd_open", &pidfd_open), ("pidfd_send_signal", &pidfd_send_signal)];
    calls.into_iter().filter(|(_, call)| is_missing(*call)).map(|(name, _)| name).collect()
}

fn is_missing(call: &dyn Fn() -> libc::c_long) -> bool {
    call() == -1 && matches!(io::Error::last_os_error().raw_os_error(), Some(libc::ENOSYS | libc::EPERM))
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_present_kernel_has_all_of_them() {
        assert_eq!(super::missing(), Vec::<&str>::new());
    }
}
