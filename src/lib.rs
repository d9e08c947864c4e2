//! The privileged product, in safe Rust. The rooms are listed in floor order.

pub mod broker;
pub mod cli;
pub mod clock;
pub mod escape;
pub mod names;
pub mod policy;
