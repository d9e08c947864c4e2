//! Membership in netgroups, from the name service (netgroup(5), innetgr(3)). A service that fails, a name that contains
//! NUL and a netgroup that does not exist all mean: not a member.

use std::ffi::{CStr, CString, c_char, c_int};
use std::ptr;

use nix::sys::utsname::uname;

use crate::no_wait::may_wait_for;

unsafe extern "C" {
    fn innetgr(netgroup: *const c_char, host: *const c_char, user: *const c_char, domain: *const c_char) -> c_int;
}

/// Returns whether `user` is in the netgroup, on any host.
pub fn has_user(netgroup: &str, user: &str) -> bool {
    member(netgroup, None, Some(user))
}

/// Returns whether `host` is in the netgroup, for any user.
pub fn has_host(netgroup: &str, host: &str) -> bool {
    member(netgroup, Some(host), None)
}

fn member(netgroup: &str, host: Option<&str>, user: Option<&str>) -> bool {
    may_wait_for("a netgroup");
    let text = |text: &str| CString::new(text).ok();
    let (Some(netgroup), host, user) = (text(netgroup), host.map(text), user.map(text)) else { return false };
    if host == Some(None) || user == Some(None) {
        return false;
    }
    let (host, user, domain) = (host.flatten(), user.flatten(), domain());
    let pointer = |text: &Option<CString>| text.as_deref().map_or(ptr::null(), CStr::as_ptr);
    // SAFETY: each argument is a string that ends in NUL and lives through the call, or null, which means "any".
    unsafe { innetgr(netgroup.as_ptr(), pointer(&host), pointer(&user), pointer(&domain)) == 1 }
}

/// Returns the NIS domain; `None` when the kernel has no valid one: Linux reports `(none)`.
fn domain() -> Option<CString> {
    let names = uname().ok()?;
    let domain = names.domainname().to_str()?;
    let valid = !domain.is_empty() && !domain.contains(['(', ')', ',', ' ']);
    CString::new(domain).ok().filter(|_| valid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_netgroup_has_no_members() {
        assert!(!has_user("no-such-netgroup", "root") && !has_host("no-such-netgroup", "localhost"));
        assert!(!has_user("no\0such", "root") && !has_user("x", "ro\0ot"));
    }
}
