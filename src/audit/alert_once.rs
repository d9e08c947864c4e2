//! An alert about a state that lasts: it is recorded once, and again only when many others have followed.

use super::journal::{Journal, Written};
use super::{Between, Filter, JournalError, Order};
use crate::database::Durability;
use jit_core::clock::Moment;
use jit_core::evidence::Record;
use jit_core::evidence::record::{Alert, Event};

/// How many of the newest alerts are searched.
const LOOK_BACK: u32 = 100;

impl Journal<'_> {
    /// Records an alert, unless one with this code is among the newest.
    pub fn alert_once(&self, moment: &Moment, code: &str, sentence: &str) -> Result<Option<Written>, JournalError> {
        let filter = Filter { kind: Some("alert"), ..Filter::default() };
        let newest = self.list(Between::after(0), LOOK_BACK, Order::Newest, &filter)?;
        let same = |event: Event| matches!(event, Event::Alert(alert) if alert.code == code);
        if newest.records.iter().any(|record| Record::decode(&record.body).is_ok_and(|record| same(record.event))) {
            return Ok(None);
        }
        let event = Event::Alert(Box::new(Alert::new(code, sentence)));
        self.database.write(Durability::Synced, |tx| self.append(tx, moment, event)).map(Some)
    }
}
