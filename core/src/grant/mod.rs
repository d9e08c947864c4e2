//! Requests, approvals and the signed grants that result from them: exact bytes, signatures and the rules of time. This
//! module opens no file and knows no database; callers pass bytes and moments.

pub mod approval;
pub mod approvers;
pub mod extension;
pub mod host;
pub mod hostkey;
pub mod lifecycle;
pub mod preview;
pub mod public_key;
pub mod quorum;
pub mod signed;
pub mod sshsig;
pub mod statement;
pub mod terms;
pub mod vouchers;
pub mod within;

mod ssh_wire;

pub use approval::{Approval, ApprovalFault, Means, UserVerification};
pub use approvers::Approvers;
pub use host::{HostDescriptor, HostId};
pub use hostkey::{HostKey, HostPublicKey};
pub use preview::Preview;
pub use public_key::PublicKey;
pub use quorum::{Quorum, Uncounted};
pub use signed::SignedGrant;
pub use statement::{
    CarriedStatement, SignedStatement, StatementFault, StatementKind, StatementTerms, VouchedStatement,
};
pub use terms::{ApprovalTerms, CommandTerms, GrantTerms, RequestTerms, TermsFault};
pub use vouchers::Vouchers;
pub use within::{Excess, Limits};

use sha2::{Digest as _, Sha256};

/// Returns the SHA-256 digest of exact bytes.
pub fn digest(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}
