//! The only unsafe code of jit-sudo: the kernel and libpam, behind safe functions.
//! This room knows no domain word: no grant, no policy, no role.

pub mod lock;
