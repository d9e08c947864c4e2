//! The only door from the unprivileged tools to the grant database: a table of verbs and who may call each.

pub mod wire;
