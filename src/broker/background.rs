//! Background that helps an approver to decide: how often the requester ran the command before, and what else the role allows.

use super::Context;
use super::failure::Refused;
use crate::store::StoredRequest;
use jit_core::escape::Word;
use jit_core::names::{GrantId, RoleName};
use jit_core::policy::RolePower;
use jit_core::wire::{Background, GrantInfo, Precedent, texts};

impl Context<'_> {
    /// Returns one request with its background.
    pub(super) fn told(&self, request: &StoredRequest) -> Result<GrantInfo, Refused> {
        let background = Some(self.background(request, Vec::new())?);
        Ok(GrantInfo { background, ..self.info(request)? })
    }

    /// Returns a request that was just made, with the roles among which its own was chosen.
    pub(super) fn told_new(&self, id: &GrantId, chosen_among: Vec<RoleName>) -> Result<GrantInfo, Refused> {
        let request = self.host.store().request(id, self.now.seconds())?;
        let background = Some(self.background(&request, chosen_among)?);
        Ok(GrantInfo { background, ..self.info(&request)? })
    }

    fn background(&self, request: &StoredRequest, chosen_among: Vec<RoleName>) -> Result<Background, Refused> {
        let terms = &request.terms;
        let run_as = Word::from(terms.run_as.as_str());
        let precedent = match &terms.command {
            None => None,
            Some(command) => {
                let arguments = command.argv.get(1..).unwrap_or_default();
                self.journal.precedent(&terms.person(), &run_as, &command.path, arguments)?
            }
        };
        let role = self.policy.role(&terms.role)?;
        let is_as_then = role.as_ref().is_some_and(|role| role.digest == terms.role_digest);
        let now = role.as_ref().map(RolePower::of);
        let then = if is_as_then { None } else { self.host.store().role(&terms.role_digest) };
        let role_commands = now.as_ref().map_or_else(Vec::new, |now| texts(&now.commands));
        let commands_then = then.as_ref().map(|then| texts(&then.commands)).filter(|then| *then != role_commands);
        let run_as = |power: Option<&RolePower>| power.map(|power| power.run_as.as_written()).unwrap_or_default();
        Ok(Background {
            precedent: precedent.map(|found| Precedent { runs: found.runs, last: found.last.seconds() }),
            role_commands,
            role_commands_then: commands_then.unwrap_or_default(),
            role_run_as: run_as(now.as_ref()),
            role_run_as_then: run_as(then.as_ref()),
            role_options: now.map(|now| now.particulars()).unwrap_or_default(),
            role_options_then: then.map(|then| then.particulars()),
            chosen_among,
        })
    }
}
