//! The privileged product, in safe Rust. docs/design.md shows its modules and their layers.

pub mod broker;
pub mod hooks;
pub mod run;
pub mod shrink;

pub mod refusal;

pub mod activation;
pub mod edit;
pub mod host;
pub mod session;

pub mod audit;

pub mod authorized;
pub mod store;

pub mod auth;
pub mod judge;
pub mod policy_index;
pub mod verify;

pub mod database;
pub mod elevation;
pub mod recording;

pub mod bug;
pub mod console;
pub mod programs;
