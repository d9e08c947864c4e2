//! Approvals that were signed elsewhere. The user who submits one is not trusted: everything is derived from its exact bytes, the
//! signature over them, the list of keys, the policy, and the request stored on this host.

use super::Context;
use super::approvals::{narrows, same_role};
use super::failure::{Refused, refused};
use super::words::described;
use crate::activation::WORDS_LIMIT;
use crate::store::{FindError, StoredRequest};
use crate::verify::Attested;
use jit_core::escape::hex;
use jit_core::grant::sshsig::dearmor;
use jit_core::grant::terms::decode;
use jit_core::grant::{Approval, ApprovalFault, ApprovalTerms, TermsFault, UserVerification, digest};
use jit_core::wire::ImportInfo;

/// The longest approval in bytes: its comment with every byte escaped, and the other fields.
const APPROVAL_LIMIT: usize = 32 << 10;

/// The command that makes a key for a role with `user_verification`.
pub(super) const VERIFYING_KEY: &str = "ssh-keygen -t ed25519-sk -O verify-required";

impl Context<'_> {
    pub(super) fn import(&self, text: &str, signature: &str) -> Result<ImportInfo, Refused> {
        let mut approval = read(text, signature)?;
        let terms = approval.terms.clone();
        let identity = self.host.record_identity()?;
        if terms.host != identity.id.as_str() {
            return Err(refused("other-host", "the approval was made for another host"));
        }
        let name = &terms.approver;
        let approvers = self.host.approvers()?;
        // The signature is verified first, so that a caller without an approver's key learns nothing about existing requests. The
        // requester is not known yet; the requester's own key and the demands of the role are checked below.
        let key = approval
            .signer(&approvers, UserVerification::NotDemanded, self.now.seconds())
            .map_err(|fault| refused("bad-approval", fault))?;

        let request = self.named(&approval)?;
        self.in_time("approval", &terms.id, terms.at, request.terms.created)?;
        let unknown = || refused("unknown-user", format!("{name} is not a user of this host"));
        let account = sys::users::account_by_name(name.as_str())
            .map_err(|error| refused("lookup", format!("unable to look up {name}: {error}")))?
            .ok_or_else(unknown)?;
        // Looks the account up again by uid: two names of one uid are one person.
        let approver = described(account.uid)?.filter(|approver| approver.name() == name).ok_or_else(unknown)?;
        let role = self.decidable(&request, &approver)?;
        self.still_pending(&request)?;
        if approvers.is_of(&key, &request.terms.user) {
            return Err(refused("own-request", ApprovalFault::OwnKey(key.fingerprint())));
        }
        same_role(&terms, &request.terms)?;
        narrows(&terms, &request.terms, &role)?;
        approval.uid = approver.uid();
        let requester = &request.terms.user;
        let (attested, key) = Attested::signed(approval, requester, &role.activation, &approvers, self.now.seconds())
            .map_err(|fault| match &fault {
            ApprovalFault::NotVerified(_) => refused("bad-approval", fault).hint(VERIFYING_KEY),
            _ => refused("bad-approval", fault),
        })?;

        let count = self.add(&attested, &request, &role, &identity)?;
        let now = self.host.store().request(&request.terms.id, self.now.seconds())?;
        Ok(ImportInfo {
            id: request.terms.id,
            approver: terms.approver,
            key: key.fingerprint(),
            state: now.state.as_str().to_owned(),
            approvals: u32::try_from(count).unwrap_or(u32::MAX),
            approvals_needed: request.terms.needed.max(role.activation.approvals),
        })
    }

    /// Returns the request that the approval names; its bytes must be identical.
    fn named(&self, approval: &Approval) -> Result<StoredRequest, Refused> {
        let id = &approval.terms.id;
        let request = self.host.store().request(id, self.now.seconds()).map_err(|error| match error {
            FindError::Unknown => refused("unknown-id", format!("there is no request {id}")),
            error => error.into(),
        })?;
        if approval.terms.request == hex(&digest(&request.bytes)) {
            Ok(request)
        } else {
            Err(refused("other-request", format!("the approval was made for another request than {id} of this host")))
        }
    }
}

/// Parses an approval. Does not verify its signature.
fn read(text: &str, signature: &str) -> Result<Approval, Refused> {
    let malformed = |what: &str| refused("malformed", what);
    if text.len() > APPROVAL_LIMIT || signature.len() > APPROVAL_LIMIT {
        return Err(refused("too-large", format!("the approval is longer than {APPROVAL_LIMIT} bytes")));
    }
    let bytes = text.as_bytes().to_vec();
    let terms: ApprovalTerms = decode(&bytes).map_err(|fault| match fault {
        TermsFault::Malformed => malformed("the text is not an approval"),
        fault => refused("other-version", format!("the approval cannot be used: {fault}")),
    })?;
    if terms.comment.as_bytes().len() > WORDS_LIMIT {
        return Err(refused("too-long", format!("the comment is longer than {WORDS_LIMIT} bytes")));
    }
    let signature = dearmor(signature).ok_or_else(|| malformed("the signature is not in OpenSSH's format"))?;
    // No account has this uid; the caller sets the right one after looking up the account.
    Ok(Approval { terms, bytes, uid: u32::MAX, signature: Some(signature) })
}
