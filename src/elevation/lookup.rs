//! How this host is asked what judgement needs of it.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;

use jit_core::policy::Lookup;

/// This host: its name services, kernel and files.
pub const THIS_HOST: Lookup = Lookup {
    gid_of: |group| Some(sys::users::group_by_name(group).ok()?.map(|group| group.gid)),
    netgroup_has_user: sys::netgroup::has_user,
    netgroup_has_host: sys::netgroup::has_host,
    addresses: || Some(sys::machine::addresses().ok()?.into_iter().map(|own| (own.address, own.mask)).collect()),
    file: |path| Some(seen(fs::metadata(path))?.map(|found| (found.dev(), found.ino()))),
    canonical: |path| seen(fs::canonicalize(path)),
};

/// What is there; `Some(None)` where nothing is.
fn seen<T>(found: io::Result<T>) -> Option<Option<T>> {
    match found {
        Ok(found) => Some(Some(found)),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Some(None),
        Err(_) => None,
    }
}
