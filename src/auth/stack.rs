//! Determines whether the auth stack of a PAM service accepts a user who proves nothing: PAM reports to its caller that it
//! accepted, but not which module did.
//! May not: read a file; the contents are passed in.

/// How many lines, and how many nested inclusions, are processed.
const LINES: u32 = 1000;
const DEPTH: u32 = 8;

/// What a module returns for a user who knows no secret but meets every other condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PamResult {
    Success,
    Ignore,
    Failure,
}

/// What the control field makes of a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Ignore,
    Ok,
    Done,
    Bad,
    Die,
    Reset,
    Skip(u32),
}

/// The state of the stack so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Impression {
    None,
    Positive,
    Negative,
}

/// Modules that are known to check a secret, a token or a fingerprint, or to deny everybody. Any other may accept without that:
/// `pam_permit.so`, `pam_rootok.so` (which sees the uid of a set-user-ID program), or an unknown one.
const CHECK: [&str; 23] = [
    "pam_deny.so",
    "pam_duo.so",
    "pam_faillock.so",
    "pam_fprintd.so",
    "pam_google_authenticator.so",
    "pam_himmelblau.so",
    "pam_kanidm.so",
    "pam_krb5.so",
    "pam_ldap.so",
    "pam_mysql.so",
    "pam_oath.so",
    "pam_p11.so",
    "pam_pkcs11.so",
    "pam_pwdfile.so",
    "pam_radius_auth.so",
    "pam_sss.so",
    "pam_systemd_home.so",
    "pam_tacplus.so",
    "pam_u2f.so",
    "pam_unix.so",
    "pam_userdb.so",
    "pam_winbind.so",
    "pam_yubico.so",
];

/// Modules that neither accept nor deny.
const SILENT: [&str; 10] = [
    "pam_env.so",
    "pam_faildelay.so",
    "pam_group.so",
    "pam_nologin.so",
    "pam_warn.so",
    "pam_echo.so",
    "pam_keyinit.so",
    "pam_mail.so",
    "pam_motd.so",
    "pam_umask.so",
];

/// Whether the auth stack of `service` succeeds although every module that is known to check a secret fails. `read` returns the
/// text of a service, `None` where there is none.
pub fn succeeds_unproved(service: &str, read: &dyn Fn(&str) -> Option<String>) -> bool {
    let mut walk = Walk { read, lines: LINES };
    walk.stack(service, Impression::None, 0).is_some_and(|end| end.impression == Impression::Positive)
}

struct Walk<'a> {
    read: &'a dyn Fn(&str) -> Option<String>,
    lines: u32,
}

/// The state at the end of a stack.
struct StackEnd {
    impression: Impression,
    /// Whether no later module is called.
    decided: bool,
}

impl Walk<'_> {
    /// Returns `None` when the stack cannot be read to its end: then it accepts no user.
    fn stack(&mut self, service: &str, mut impression: Impression, depth: u32) -> Option<StackEnd> {
        if depth > DEPTH {
            return None;
        }
        let text = (self.read)(service)?.replace("\\\n", " ");
        let mut skip = 0;
        for line in text.lines().map(|line| line.split('#').next().unwrap_or_default().trim()) {
            self.lines = self.lines.checked_sub(1)?;
            let Some((action, module)) = entry(line) else { continue };
            if skip > 0 {
                skip -= 1;
                continue;
            }
            match action {
                Control::Include | Control::Substack => {
                    let end = self.stack(module, impression, depth.saturating_add(1))?;
                    impression = end.impression;
                    if end.decided && action == Control::Include {
                        return Some(end);
                    }
                }
                Control::Module(control) => match control.action(says(module)) {
                    Action::Ignore => {}
                    Action::Reset => impression = Impression::None,
                    Action::Bad => impression = Impression::Negative,
                    Action::Die => return Some(StackEnd { impression: Impression::Negative, decided: true }),
                    taken @ (Action::Ok | Action::Done | Action::Skip(_)) => {
                        if impression == Impression::None && says(module) == PamResult::Success {
                            impression = Impression::Positive;
                        }
                        if let Action::Skip(count) = taken {
                            skip = count;
                        } else if taken == Action::Done && impression == Impression::Positive {
                            return Some(StackEnd { impression, decided: true });
                        }
                    }
                },
            }
        }
        Some(StackEnd { impression, decided: false })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Control<'l> {
    Include,
    Substack,
    Module(Word<'l>),
}

/// The control field of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Word<'l>(&'l str);

impl Word<'_> {
    fn action(self, said: PamResult) -> Action {
        let (success, ignore, other) = match self.0 {
            word if word.eq_ignore_ascii_case("required") => (Action::Ok, Action::Ignore, Action::Bad),
            word if word.eq_ignore_ascii_case("requisite") => (Action::Ok, Action::Ignore, Action::Die),
            word if word.eq_ignore_ascii_case("sufficient") => (Action::Done, Action::Ignore, Action::Ignore),
            word if word.eq_ignore_ascii_case("optional") => (Action::Ok, Action::Ignore, Action::Ignore),
            list => return listed(list, said),
        };
        match said {
            PamResult::Success => success,
            PamResult::Ignore => ignore,
            PamResult::Failure => other,
        }
    }
}

/// Looks up a result in a list such as `success=1 default=ignore`.
fn listed(list: &str, said: PamResult) -> Action {
    let named =
        |wanted: &str| list.split_ascii_whitespace().find_map(|pair| pair.strip_prefix(wanted)?.strip_prefix('='));
    let word = match said {
        PamResult::Success => named("success"),
        PamResult::Ignore => named("ignore"),
        PamResult::Failure => named("auth_err"),
    };
    match word.or_else(|| named("default")).unwrap_or("bad") {
        "ignore" => Action::Ignore,
        "ok" => Action::Ok,
        "done" => Action::Done,
        "die" => Action::Die,
        "reset" => Action::Reset,
        number => number.parse().map_or(Action::Bad, Action::Skip),
    }
}

/// Returns the control field and the module, or the service, of a line of the auth stack.
fn entry(line: &str) -> Option<(Control<'_>, &str)> {
    if let Some(service) = line.strip_prefix("@include") {
        return Some((Control::Include, service.trim()));
    }
    let rest = line.strip_prefix('-').unwrap_or(line);
    let (kind, rest) = rest.split_once(char::is_whitespace)?;
    let rest = rest.trim_start();
    let (control, rest) = match rest.strip_prefix('[') {
        Some(list) => list.split_once(']')?,
        None => rest.split_once(char::is_whitespace)?,
    };
    let mut words = rest.split_ascii_whitespace();
    let module = words.next()?;
    if !kind.eq_ignore_ascii_case("auth") {
        return None;
    }
    let control = match control {
        word if word.eq_ignore_ascii_case("include") => Control::Include,
        word if word.eq_ignore_ascii_case("substack") => Control::Substack,
        word => Control::Module(Word(word)),
    };
    // With `trust`, pam_wheel accepts members of a group; with `preauth` and `authsucc`, pam_faillock(8) checks no secret.
    let opens: &[&str] = match module.rsplit('/').next() {
        Some("pam_wheel.so") => &["trust"],
        Some("pam_faillock.so") => &["preauth", "authsucc"],
        _ => &[],
    };
    let module = if words.any(|option| opens.contains(&option)) { "pam_permit.so" } else { module };
    Some((control, module))
}

fn says(module: &str) -> PamResult {
    let name = module.rsplit('/').next().unwrap_or(module);
    if CHECK.contains(&name) {
        PamResult::Failure
    } else if SILENT.contains(&name) {
        PamResult::Ignore
    } else {
        PamResult::Success
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEBIAN: &str = "auth\t[success=2 default=ignore]\tpam_unix.so nullok\nauth [success=1 default=ignore] pam_sss.so use_first_pass\n\
        auth\trequisite\tpam_deny.so\nauth\trequired\tpam_permit.so\nauth\toptional\tpam_cap.so\n";
    const FEDORA: &str = "auth required pam_env.so\nauth required pam_faildelay.so delay=2000000\nauth [default=1 ignore=ignore success=ok] pam_usertype.so isregular\n\
        auth [default=1 ignore=ignore success=ok] pam_localuser.so\nauth sufficient pam_unix.so nullok\nauth [default=1 ignore=ignore success=ok] pam_usertype.so isregular\n\
        auth sufficient pam_sss.so forward_pass\nauth required pam_deny.so\n";

    fn open(text: &str) -> bool {
        let read = |service: &str| match service {
            "service" => Some(text.to_owned()),
            "common-auth" => Some(DEBIAN.to_owned()),
            "system-auth" => Some(FEDORA.to_owned()),
            "open" => Some("auth sufficient pam_permit.so\n".to_owned()),
            "itself" => Some("@include itself\n".to_owned()),
            _ => None,
        };
        succeeds_unproved("service", &read)
    }

    #[test]
    fn a_stack_that_accepts_without_proof_is_found() {
        for text in [
            "auth optional pam_unix.so\nauth required pam_permit.so\n",
            "auth sufficient pam_unix.so\nauth required pam_permit.so\n",
            "auth [success=1 default=ignore] pam_unix.so\nauth optional pam_permit.so\n",
            "auth sufficient pam_succeed_if.so user ingroup wheel\n@include common-auth\n",
            "auth required pam_env.so\nauth include open\n@include common-auth\n",
            "auth substack open\n",
            "-auth sufficient \\\n pam_wheel.so trust use_uid\n@include common-auth\n",
            "auth sufficient pam_rootok.so\n@include common-auth\n",
            "auth sufficient pam_unix.so\nauth required pam_rootok.so\n",
            "auth optional pam_unix.so\nauth required pam_lastlog.so\n",
            "auth sufficient pam_nobody_knows.so\n@include common-auth\n",
            "auth required pam_faillock.so silent preauth\nauth optional pam_unix.so\nauth sufficient pam_permit.so\n",
            "auth required /lib/security/pam_faillock.so conf=/etc/f preauth\nauth optional pam_unix.so\nauth sufficient pam_permit.so\n",
            "auth OPTIONAL pam_unix.so\nauth SUFFICIENT pam_permit.so\n",
            "auth Include open\n",
            "auth sufficient pam_wheel.so use_uid trust\n@include common-auth\n",
            "auth optional pam_unix.so\nauth sufficient pam_sss_gss.so\n",
            "auth optional pam_unix.so\nauth sufficient pam_gssapi.so\n",
            "auth [default=ok] pam_unix.so\nauth required /lib/security/pam_permit.so\n",
        ] {
            assert!(open(text), "{text}");
        }
    }

    #[test]
    fn a_stack_that_requires_a_proof_is_not_reported() {
        for text in [
            "@include common-auth\n",
            "auth include system-auth\n",
            "auth substack system-auth\nauth optional pam_permit.so\n",
            "auth required pam_unix.so\nauth required pam_permit.so\n",
            "auth required pam_faillock.so preauth\nauth sufficient pam_unix.so\nauth required pam_faillock.so authfail\n",
            "auth required pam_unix.so\naccount sufficient pam_permit.so\n",
            "auth requisite pam_deny.so\nauth sufficient pam_permit.so\n",
            "@include itself\n",
            "@include missing\n",
            "# auth sufficient pam_permit.so\n",
            "",
        ] {
            assert!(!open(text), "{text}");
        }
    }
}
