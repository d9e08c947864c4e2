//! The signatures in the records of the life of the host key, over the exact bytes of the record without its signatures. The record
//! itself is therefore the statement: whoever has it can check it with the old key alone.

use base64ct::{Base64, Encoding};
use serde_json::Value;

use super::key_event::{Retirement, Rotation};
use super::record::{Event, Record, parse};
use crate::escape::unhex;
use crate::grant::sshsig::{Namespace, SignatureFault, signer};
use crate::grant::{HostDescriptor, HostId, HostKey, PublicKey};

/// The keys of the record that hold signatures.
const OLD: &str = "old_signature";
const NEW: &str = "new_signature";
const SIGNATURE: &str = "signature";

/// Signs the record of a rotation with both keys. Other records stay as they are.
///
/// # Errors
/// The record cannot be encoded.
pub fn sign_rotation(mut record: Record, old: &HostKey, new: &HostKey) -> Result<Record, serde_json::Error> {
    let Event::Rotation(rotation) = &mut record.event else { return Ok(record) };
    (rotation.old_signature, rotation.new_signature) = Default::default();
    let signed = record.encode()?;
    let signature = |by: &HostKey| Base64::encode_string(&by.sign(Namespace::Rotation, signed.as_bytes()));
    if let Event::Rotation(rotation) = &mut record.event {
        (rotation.old_signature, rotation.new_signature) = (signature(old), signature(new));
    }
    Ok(record)
}

/// Signs the record of a retirement. Other records stay as they are.
///
/// # Errors
/// The record cannot be encoded.
pub fn sign_retirement(mut record: Record, by: &HostKey) -> Result<Record, serde_json::Error> {
    let Event::Retirement(retirement) = &mut record.event else { return Ok(record) };
    retirement.signature.clear();
    let signature = Base64::encode_string(&by.sign(Namespace::Retirement, record.encode()?.as_bytes()));
    if let Event::Retirement(retirement) = &mut record.event {
        retirement.signature = signature;
    }
    Ok(record)
}

/// Returns the keys of a rotation, the old one and the new one, if both have signed its record.
///
/// # Errors
/// The clause says what is wrong.
pub fn rotated(body: &[u8]) -> Result<(PublicKey, PublicKey), String> {
    let rotation: Rotation = parse(body).map_err(|error| format!("cannot be read: {error}"))?;
    let (old, new) = rotation.keys().ok_or("names a key that is none, or a host of which the id is another")?;
    if old == new {
        return Err("replaces the host key by itself".to_owned());
    }
    for (which, name, key) in [("old", OLD, &old), ("new", NEW, &new)] {
        signed_by(Namespace::Rotation, body, &[OLD, NEW], name, key)
            .map_err(|why| format!("is not signed with the {which} host key: {why}"))?;
    }
    Ok((old, new))
}

/// Returns the key of a retirement, if it has signed its record.
///
/// # Errors
/// The clause says what is wrong.
pub fn retired(body: &[u8]) -> Result<PublicKey, String> {
    let retirement: Retirement = parse(body).map_err(|error| format!("cannot be read: {error}"))?;
    let key = retirement.public_key().ok_or("names a key that is none")?;
    signed_by(Namespace::Retirement, body, &[SIGNATURE], SIGNATURE, &key)
        .map_err(|why| format!("is not signed with the host key: {why}"))?;
    Ok(key)
}

/// Returns whether rotations, given by the exact bytes of their records, lead from the key `old` of a machine to this host. `id`: the
/// host id with the old key. It shows that the machine is the same.
pub fn leads<'r>(
    rotations: impl IntoIterator<Item = &'r str>,
    old: &PublicKey,
    id: &str,
    host: &HostDescriptor,
) -> bool {
    let (Some(new), Some(machine)) = (host.public_key(), unhex::<32>(&host.machine)) else { return false };
    if HostId::of(&old.blob(), &machine).as_str() != id || host.host_id().is_none() {
        return false;
    }
    let mut rest: Vec<(PublicKey, PublicKey)> =
        rotations.into_iter().filter_map(|body| rotated(body.as_bytes()).ok()).collect();
    let mut key = old.clone();
    while key != new {
        let Some(at) = rest.iter().position(|(from, _)| *from == key) else { return false };
        key = rest.swap_remove(at).1;
    }
    true
}

/// Returns the host key `own` and those that it has taken the place of, the latest first, by rotations that are given by the exact bytes
/// of their records. Both keys have signed each of them.
pub fn lineage<'r>(rotations: impl IntoIterator<Item = &'r str>, own: PublicKey) -> Vec<PublicKey> {
    let mut rest: Vec<(PublicKey, PublicKey)> =
        rotations.into_iter().filter_map(|body| rotated(body.as_bytes()).ok()).collect();
    let mut keys = vec![own];
    while let Some(at) = rest.iter().rposition(|(_, to)| keys.last() == Some(to)) {
        keys.push(rest.swap_remove(at).0);
    }
    keys
}

/// Returns the keys whose signed heads count: those that are `given`, and if one of them is of the `lineage`, or none is given, all keys
/// of the lineage.
pub fn followed(given: &[PublicKey], lineage: &[PublicKey]) -> Vec<PublicKey> {
    let is_of_it = given.is_empty() || lineage.iter().any(|key| given.contains(key));
    let added = lineage.iter().filter(|key| is_of_it && !given.contains(key));
    given.iter().chain(added).cloned().collect()
}

/// Checks the signature `name` by `key`, over the record without `all` its signatures.
fn signed_by(
    namespace: Namespace,
    body: &[u8],
    all: &[&str],
    name: &str,
    key: &PublicKey,
) -> Result<(), SignatureFault> {
    let parts = || {
        let mut record: Value = serde_json::from_slice(body).ok()?;
        let object = record.as_object_mut()?;
        let text = object.get(name)?.as_str()?.to_owned();
        all.iter().for_each(|name| drop(object.remove(*name)));
        let signature = Base64::decode_vec(&text).ok().filter(|bytes| Base64::encode_string(bytes) == text)?;
        // The keys of a `Value` are sorted, as those of a record are.
        Some((serde_json::to_vec(&record).ok()?, signature))
    };
    let (signed, signature) = parts().ok_or(SignatureFault::Malformed)?;
    match signer(namespace, &signed, &signature) {
        Ok(by) if by == *key => Ok(()),
        Ok(_) => Err(SignatureFault::WrongKey),
        Err(fault) => Err(fault),
    }
}
