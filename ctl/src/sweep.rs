//! The sweep that a timer starts, and its report.

use jit_core::wire::{Failure, Sweep};

use crate::audit::held;
use crate::broker::Broker;
use crate::output::Output;
use crate::screen::Report;
use crate::speech::{Exit, Notice, Trouble};

/// `jitctl sweep`
pub(crate) fn sweep(broker: &Broker) -> Result<Report, Trouble> {
    let swept = broker.ask(&Sweep {})?;
    let (records, recordings) = swept.pruned.as_ref().map_or((0, 0), |pruned| (pruned.records, pruned.recordings));
    let counts = [
        (swept.lost, "lost run closed", "lost runs closed"),
        (
            swept.left,
            "run ended that a finished command had left running",
            "runs ended that finished commands had left running",
        ),
        (swept.shelved, "abandoned recording put to the others", "abandoned recordings put to the others"),
        (swept.compressed, "recording compressed", "recordings compressed"),
        (records, "old record removed", "old records removed"),
        (recordings, "old recording removed", "old recordings removed"),
    ];
    let lines = counts.into_iter().filter(|(count, ..)| *count > 0);
    let mut text: String =
        lines.map(|(count, one, many)| format!("{count} {}\n", if count == 1 { one } else { many })).collect();
    if let Some(pruned) = &swept.pruned {
        text.push_str(&held(pruned));
    }
    let refused = swept.refused.clone();
    if text.is_empty() && refused.is_none() {
        "nothing to do\n".clone_into(&mut text);
    }
    let report = Report::done(Output::Swept(swept), text);
    Ok(match refused {
        Some(Failure { message, hint, .. }) => report.but(Exit::Refused, Notice { message, hint }),
        None => report,
    })
}
