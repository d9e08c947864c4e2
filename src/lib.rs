//! The privileged product, in safe Rust. The rooms are listed in floor order.

pub mod audit;
pub mod broker;
pub mod clock;
pub mod database;
pub mod escape;
pub mod names;
pub mod policy;
