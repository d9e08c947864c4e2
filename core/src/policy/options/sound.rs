//! What holds of the options of each policy, whoever has read its files.

use std::borrow::Cow;
use std::path::PathBuf;

use super::values::{absolute, pam_service, words};
use super::variables::variable;
use super::{Options, RESOURCES};

impl Options {
    /// The key whose value no file could have given; `None` where there is none.
    pub(in super::super) fn unsound(&self) -> Option<&'static str> {
        let is_path = |path: &PathBuf| path.to_str().is_some_and(|path| absolute(path).is_ok());
        let is_part = |path: &PathBuf| is_path(path) && !path.as_os_str().as_encoded_bytes().contains(&b':');
        let are_paths = |paths: &[PathBuf]| !paths.is_empty() && paths.iter().all(is_part);
        let are_variables = |list: &[Cow<'static, str>]| list.iter().all(|entry| variable(entry).is_ok());
        let checks = [
            ("env_keep", are_variables(&self.env_keep)),
            ("env_check", are_variables(&self.env_check)),
            ("env_delete", are_variables(&self.env_delete)),
            ("secure_path", are_paths(&self.secure_path)),
            ("closefrom", (3..1_048_577).contains(&self.closefrom)),
            ("rlimits", self.rlimits.keys().all(|name| RESOURCES.contains(&name.as_str()))),
            ("passwd_tries", (1..11).contains(&self.passwd_tries)),
            ("passprompt", words(&self.passprompt).is_ok()),
            ("badpass_message", words(&self.badpass_message).is_ok()),
            ("lecture_file", self.lecture_file.as_ref().is_none_or(is_path)),
            ("pam_login_service", self.pam_login_service.as_ref().is_none_or(|name| pam_service(name).is_ok())),
            ("editor", are_paths(&self.editor)),
        ];
        checks.into_iter().find(|(_, is_sound)| !is_sound).map(|(key, _)| key)
    }
}
