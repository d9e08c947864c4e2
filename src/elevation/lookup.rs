//! How judgement looks up facts on this host.

use jit_core::policy::Lookup;

/// This host: its name services, kernel and files.
pub const THIS_HOST: Lookup = Lookup {
    gid_of: sys::lookup::gid_of,
    netgroup_has_user: sys::netgroup::has_user,
    netgroup_has_host: sys::netgroup::has_host,
    addresses: sys::lookup::addresses,
    file: sys::lookup::file,
    canonical: sys::lookup::canonical,
};
