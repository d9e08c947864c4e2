//! Who holds each request and grant: the record of an approval or a denial names only its id.

use std::collections::BTreeMap;

use jit_core::wire::{AuditShow, RecordInfo};
use serde_json::{Map, Value};

use crate::broker::Broker;

/// The uid and the name of a requester.
pub(super) type Holder = (i64, String);

/// The requesters of the requests that this export names.
#[derive(Default)]
pub(super) struct Holders {
    known: BTreeMap<String, Option<Holder>>,
}

impl Holders {
    /// Learns the requesters from these records; asks the broker about requests that were made before.
    pub(super) fn learn(&mut self, records: &[RecordInfo], broker: &Broker) {
        let mut asked = Vec::new();
        for record in records {
            let fields: Map<String, Value> = serde_json::from_str(&record.body).unwrap_or_default();
            let Some(grant) = fields.get("grant").and_then(Value::as_str) else { continue };
            match fields.get("kind").and_then(Value::as_str) {
                Some("request") => drop(self.known.insert(grant.to_owned(), holder(&fields))),
                Some("approval" | "denial") => asked.push(grant.to_owned()),
                _ => {}
            }
        }
        for grant in asked {
            self.known.entry(grant).or_insert_with_key(|grant| requester(grant, broker));
        }
    }

    /// Returns the requester of a request.
    pub(super) fn of(&self, grant: &str) -> Option<&Holder> {
        self.known.get(grant)?.as_ref()
    }
}

/// Asks the broker for the record of a request; where it was pruned, the requester stays unknown.
fn requester(grant: &str, broker: &Broker) -> Option<Holder> {
    let found = broker.ask(&AuditShow { what: grant.to_owned() }).ok()?;
    found.records.iter().find_map(|record| {
        let fields: Map<String, Value> = serde_json::from_str(&record.body).ok()?;
        (fields.get("kind")?.as_str()? == "request").then(|| holder(&fields))?
    })
}

fn holder(fields: &Map<String, Value>) -> Option<Holder> {
    Some((fields.get("uid")?.as_i64()?, fields.get("user")?.as_str()?.to_owned()))
}
