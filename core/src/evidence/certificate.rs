//! The certificate in the record of an epoch: the signature of the key that certifies its sealing key, over the exact bytes of the
//! record without the signature.

use base64ct::{Base64, Encoding};
use serde_json::Value;

use super::record::{Event, Record};
use crate::grant::sshsig::{Namespace, signer};
use crate::grant::{HostKey, PublicKey};

/// The key that holds the signature.
const SIGNATURE: &str = "signature";

/// Signs the record of an epoch with the key that certifies its sealing key. Other records stay as they are.
///
/// # Errors
/// The record cannot be encoded.
pub fn certify(mut record: Record, by: &HostKey) -> Result<Record, serde_json::Error> {
    let Event::Epoch(epoch) = &mut record.event else { return Ok(record) };
    epoch.signature.clear();
    let signature = Base64::encode_string(&by.sign(Namespace::Epoch, record.encode()?.as_bytes()));
    if let Event::Epoch(epoch) = &mut record.event {
        epoch.signature = signature;
    }
    Ok(record)
}

/// Returns the key that certified the sealing key of an `epoch` record; nothing else is checked.
pub fn certifier(body: &[u8]) -> Option<PublicKey> {
    let (signed, signature) = certificate_parts(body)?;
    signer(Namespace::Epoch, &signed, &signature).ok()
}

/// Returns the signed bytes of an `epoch` record, and its signature.
pub(super) fn certificate_parts(body: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let mut record: Value = serde_json::from_slice(body).ok()?;
    let Value::String(text) = record.as_object_mut()?.remove(SIGNATURE)? else { return None };
    let signature = Base64::decode_vec(&text).ok().filter(|bytes| Base64::encode_string(bytes) == text)?;
    // The keys of a `Value` are sorted, as those of a record are.
    Some((serde_json::to_vec(&record).ok()?, signature))
}
