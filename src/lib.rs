//! The privileged product, in safe Rust. The rooms are listed in floor order, the story first: a room uses only rooms
//! of lower floors (`tests/floors.rs` keeps it so).
//!
//! ```text
//! 9  main, bin/jit-sudo-broker, bin/jit-sudo-hooks
//! 8  run (the story), broker (the door), hooks (telling others), shrink
//! 7  refusal (every "no")
//! 6  session (environment, pty, supervision)   edit (copies)   activation (asking)   host (this machine)
//! 5  audit (records, chain, journal, sinks)
//! 4  authorized (THE GATE)   store (requests and grants)
//! 3  auth (PAM, cache)   policy (judgement)   grant (signatures)
//! 2  elevation (caller, run-as, command)   recording   database   cli
//! 1  names  clock  escape  budget  voice  programs  bug
//! 0  sys (all unsafe code)
//! ```

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
pub mod programs;
pub mod voice;
