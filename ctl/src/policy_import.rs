//! `jitctl policy import`: converts without the broker, and writes only to its output.

use chrono::Utc;
use import::{Authors, ImportError, Imported, People, Sudoers};

use crate::cases::this_host;
use crate::cli::PolicyImportWords;
use crate::output::{ImportedPolicy, Output};
use crate::screen::{Report, Screen};
use crate::speech::{Exit, Notice, Trouble};

/// `jitctl policy import`
pub(crate) fn import(words: &PolicyImportWords, screen: &Screen) -> Result<Report, Trouble> {
    let host = this_host().unwrap_or_default();
    let wanted = Sudoers {
        file: &words.file,
        authors: if words.untrusted { Authors::Anybody } else { Authors::Root },
        host: &host,
        now: Utc::now(),
        people: if words.eligible { People::Eligible } else { People::Standing },
    };
    let Imported { policy, roles, left_out, wider, notes, untrusted } = import::import(&wanted).map_err(trouble)?;
    for line in &untrusted {
        screen.note(&Notice::new(format!("warning: {line}, so sudo would not read it")));
    }
    for line in &notes {
        screen.note(&Notice::new(format!("note: {line}")));
    }
    for line in &wider {
        screen.note(&Notice::new(format!("warning: {line}")));
    }
    for line in &left_out {
        screen.note(&Notice::new(line));
    }
    let count = left_out.len() + wider.len();
    let answer = ImportedPolicy { policy: policy.clone(), roles, left_out, wider, notes, untrusted };
    let report = Report::done(Output::PolicyImported(answer), policy);
    match count {
        0 => Ok(report),
        1 => Ok(report.but(Exit::Refused, Notice::new("1 thing is not converted; the rest is the policy"))),
        _ => {
            Ok(report
                .but(Exit::Refused, Notice::new(format!("{count} things are not converted; the rest is the policy"))))
        }
    }
}

fn trouble(error: ImportError) -> Trouble {
    let code = match error {
        ImportError::Unreadable(..) => "unreadable-file",
        ImportError::Untrusted(..) | ImportError::Exposed(..) => "untrusted-file",
        ImportError::NoPolicy(..) => "bad-policy",
    };
    let notice = Notice::new(error.to_string());
    Trouble::Local(
        code,
        match error.cure() {
            Some(cure) => notice.with_hint(cure),
            None => notice,
        },
    )
}
