//! What a setting of sudo without a key in the policy means for its users: less than with sudo, more, or nothing.

use super::finding::Weight;
use super::tree::{Default, Value};

/// Settings about mail, logs, texts and sudo's own files, and those that jit-sudo always or never has. They change no
/// answer.
const COSMETIC: [&str; 76] = [
    "admin_flag",
    "always_query_group_plugin",
    "authfail_message",
    "case_insensitive_group",
    "case_insensitive_user",
    "compress_io",
    "editor_args",
    "exec_background",
    "fast_glob",
    "fdexec",
    "fqdn",
    "ignore_audit_errors",
    "ignore_dot",
    "ignore_iolog_errors",
    "ignore_local_sudoers",
    "ignore_logfile_errors",
    "ignore_unknown_defaults",
    "insults",
    "iolog_dir",
    "iolog_file",
    "iolog_flush",
    "iolog_group",
    "iolog_mode",
    "iolog_user",
    "lecture_status_dir",
    "legacy_group_processing",
    "log_allowed",
    "log_denied",
    "log_exit_status",
    "log_format",
    "log_host",
    "log_passwords",
    "log_server_cabundle",
    "log_server_keepalive",
    "log_server_peer_cert",
    "log_server_peer_key",
    "log_server_timeout",
    "log_server_verify",
    "log_year",
    "logfile",
    "loglinelen",
    "long_otp_prompt",
    "mail_all_cmnds",
    "mail_always",
    "mail_badpass",
    "mail_no_host",
    "mail_no_perms",
    "mail_no_user",
    "mailerflags",
    "mailerpath",
    "mailfrom",
    "mailsub",
    "mailto",
    "match_group_by_gid",
    "maxseq",
    "netgroup_tuple",
    "pam_askpass_service",
    "pam_rhost",
    "pam_ruser",
    "passprompt_regex",
    "path_info",
    "pwfeedback",
    "set_utmp",
    "sudoers_locale",
    "syslog",
    "syslog_badpri",
    "syslog_goodpri",
    "syslog_maxlen",
    "syslog_pid",
    "timestampdir",
    "timestampowner",
    "tty_name",
    "use_loginclass",
    "utmp_runas",
    "visiblepw",
    "xauthority",
];

/// Settings that restrict commands or callers, with what happens without them. The policy does more without them.
const RESTRICTING: [(&str, &str); 9] = [
    ("runchroot", "commands run in the ordinary root directory"),
    ("intercept", "commands that a command starts are not checked; noexec prevents them"),
    ("log_subcmds", "commands that a command starts are not recorded"),
    ("role", "commands run without this SELinux role"),
    ("type", "commands run without this SELinux type"),
    ("apparmor_profile", "commands run without this AppArmor profile"),
    ("limitprivs", "commands run with all privileges"),
    ("privs", "commands run with all privileges"),
    ("log_servers", "records are not sent to the server; see [audit] in jit-sudo-policy(5)"),
];

/// Returns what the users of the policy have to know.
pub(super) fn meaning(default: &Default) -> (Weight, &'static str) {
    let on = default.value != Value::Off;
    let value = match &default.value {
        Value::Set(text) => text.as_str(),
        _ => "",
    };
    match (default.name.as_str(), on) {
        (name, _) if COSMETIC.contains(&name) => (Weight::Note, "has no counterpart, and changes no answer"),
        (name, true) if RESTRICTING.iter().any(|(known, _)| *known == name) => {
            let known = RESTRICTING.iter().find(|(known, _)| *known == name);
            (Weight::More, known.map_or("has no counterpart", |(_, without)| without))
        }
        ("root_sudo", false) => (Weight::More, "root may run jit-sudo"),
        ("use_netgroups", false) => (Weight::More, "netgroups are used"),
        ("listpw", true) if value == "always" || value == "all" => {
            (Weight::More, "listing one's own permissions needs no password")
        }
        ("listpw", _) => (Weight::Note, "listing one's own permissions needs no password"),
        ("verifypw", true) if value == "all" => (Weight::Note, "is what -v does"),
        ("verifypw", true) if value == "always" => {
            (Weight::More, "-v needs no password if no permission of the caller needs one")
        }
        ("verifypw", _) => (Weight::Less, "-v needs no password only if no permission of the caller needs one"),
        ("secure_path", false) => (
            Weight::Less,
            "commands are searched in the directories of secure_path, and get it as PATH; sudo uses the caller's PATH",
        ),
        ("exempt_group", true) => (Weight::Less, "members of the group need the password too"),
        ("noninteractive_auth", true) => (Weight::Less, "with -n, no PAM module is asked"),
        ("pam_acct_mgmt", false) => (Weight::Less, "accounts are checked"),
        ("pam_session" | "pam_setcred" | "pam_silent", _) => {
            (Weight::Note, "PAM sessions and credentials are always used")
        }
        ("runaspw", true) => (Weight::Less, "the password is the caller's"),
        _ => (Weight::Less, "has no counterpart"),
    }
}
