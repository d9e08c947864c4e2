//! What a person demands of a running session, as it is stored with the run.

use jit_core::evidence::record::Act;

/// What a person demands of a running session. Its supervisor reads it when the bell was rung.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// To freeze, or to end; a demand to thaw is stored as no demand.
    pub act: Act,
    /// The name of the person.
    pub by: String,
}

/// The person whose demands only that person takes back.
const ROOT: &str = "root";

impl Wish {
    /// Returns the demand of the person with this uid and name. Root is recognized by the uid, whatever the account is called.
    pub fn of(act: Act, uid: u32, name: &str) -> Self {
        Self { act, by: if uid == 0 { ROOT } else { name }.to_owned() }
    }

    pub(super) fn to_text(&self) -> Option<String> {
        match self.act {
            Act::Freeze => Some(format!("freeze {}", self.by)),
            Act::Kill => Some(format!("kill {}", self.by)),
            Act::Thaw => None,
        }
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        let (act, by) = match text.split_once(' ')? {
            ("freeze", by) => (Act::Freeze, by),
            ("kill", by) => (Act::Kill, by),
            _ => return None,
        };
        Some(Self { act, by: by.to_owned() })
    }

    /// Whether a later demand may replace this one. A kill is final. What root has frozen, only root thaws, and nobody thaws their
    /// own session where another person has frozen it.
    pub(super) fn yields_to(&self, later: &Self, is_own_session: bool) -> bool {
        match (self.act, later.act) {
            (_, Act::Kill) | (Act::Thaw, _) => true,
            (Act::Kill, Act::Freeze | Act::Thaw) => false,
            (Act::Freeze, Act::Freeze | Act::Thaw) => {
                later.by == ROOT || later.by == self.by || (self.by != ROOT && !is_own_session)
            }
        }
    }
}
