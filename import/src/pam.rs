//! The PAM service of sudo on this host: where it has more than the usual includes, such as a second factor, the roles
//! use it instead of that of jit-sudo.

use std::fs;
use std::path::Path;

use super::finding::Findings;
use super::settings::Settings;
use super::toml::quoted;
use super::tree::Position;

/// The services that distributions include in that of sudo.
const USUAL: [&str; 8] = [
    "common-auth",
    "common-account",
    "common-session",
    "common-session-noninteractive",
    "common-password",
    "system-auth",
    "system-login",
    "login",
];

/// Sets `pam_service` and `pam_login_service` if those of sudo ask for more.
pub(super) fn carry_over(directory: &Path, settings: &mut Settings, findings: &mut Findings) {
    for (service, key, ours) in [("sudo", "pam_service", "jit-sudo"), ("sudo-i", "pam_login_service", "jit-sudo-i")] {
        let own = |service: &str| {
            fs::read_to_string(directory.join(service)).map(|text| own_lines(&text)).unwrap_or_default()
        };
        let (theirs, ours) = (own(service), own(ours));
        let missing = theirs.iter().find(|(_, line)| !ours.iter().any(|(_, known)| known == line));
        if let Some((number, line)) = missing
            && !settings.keys.contains_key(key)
        {
            settings.keys.insert(key.to_owned(), quoted(service));
            let file = directory.join(service).to_string_lossy().into();
            let why = format!("{line}: kept by {key} = \"{service}\", so keep this file when sudo is removed");
            findings.note(&Position { file, line: *number }, why);
        }
    }
}

/// Returns the lines for authentication and accounts that are no usual include, with their numbers.
fn own_lines(text: &str) -> Vec<(usize, String)> {
    let mut lines = Vec::new();
    for (line, number) in text.lines().zip(1..) {
        let line = line.split('#').next().unwrap_or_default();
        let words: Vec<&str> = line.split_whitespace().collect();
        let own = match words.as_slice() {
            ["@include", service] => !USUAL.contains(service),
            [kind, "include" | "substack", service, ..] => is_asked(kind) && !USUAL.contains(service),
            [kind, ..] => is_asked(kind),
            [] => false,
        };
        if own {
            lines.push((number, words.join(" ")));
        }
    }
    lines
}

fn is_asked(kind: &str) -> bool {
    matches!(kind.trim_start_matches('-').to_ascii_lowercase().as_str(), "auth" | "account")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_distributions_do_not_include_counts() {
        let usual = "#%PAM-1.0\nsession required pam_limits.so\n@include common-auth\n@include common-account\n\
                     auth include system-auth\naccount  include  system-auth\n-session optional pam_x.so\n";
        assert_eq!(own_lines(usual), []);
        let more = format!("{usual}auth  required pam_u2f.so cue # key\n@include common-totp\n");
        let told: Vec<String> = own_lines(&more).into_iter().map(|(number, line)| format!("{number} {line}")).collect();
        assert_eq!(told, ["8 auth required pam_u2f.so cue", "9 @include common-totp"]);
    }
}
