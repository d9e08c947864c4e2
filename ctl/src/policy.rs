//! The policy, checked by those who may read it.

use jit_sudo::broker::wire::{Answer, Ask, PolicyInfo};

use crate::cli::PolicyCheckWords;
use crate::door::{Broker, answer};
use crate::later;
use crate::screen::{Report, clean};
use crate::speech::Trouble;

/// `jitctl policy check`: the installed policy is read by the broker, files by ourselves with the caller's rights.
pub(crate) fn check(words: &PolicyCheckWords, broker: &Broker) -> Result<Report, Trouble> {
    let policy = if words.files.is_empty() {
        answer!(broker.ask(&Ask::PolicyCheck {})?, Answer::PolicyChecked(policy) => policy)
    } else {
        return Err(later::refuse("policy check ", "FILE"));
    };
    let text = summary(&policy);
    Ok(Report::done(Answer::PolicyChecked(policy), text))
}

fn summary(policy: &PolicyInfo) -> String {
    let mut text = String::new();
    for file in &policy.files {
        text.push_str(&format!("read {}\n", clean(file)));
    }
    for warning in &policy.warnings {
        text.push_str(&format!("warning: {}\n", clean(warning)));
    }
    text.push_str(&format!("the policy is good: {} roles, {} command rules\n", policy.roles, policy.rules));
    text
}
