//! What the signer of a statement or an approval needs of a request: its documents, and the host that they describe.

use jit_core::names::IdPrefix;
use jit_core::wire::{Documents, DocumentsInfo};

use crate::armor::Request;
use crate::broker::Broker;
use crate::clean::clean;
use crate::speech::Trouble;

/// Fetches the documents of one request.
pub(crate) fn fetch(id: IdPrefix, broker: &Broker) -> Result<DocumentsInfo, Trouble> {
    Ok(broker.ask(&Documents { id })?)
}

/// Returns the host of a request from elsewhere, for the user who signs a statement about it.
pub(crate) fn host_of(request: &Request) -> String {
    format!("  on {}, host key {}", clean(&request.terms.host.name), request.host_key.fingerprint())
}
