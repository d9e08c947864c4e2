//! jitctl as a process against a broker by script: what it asks, what it shows, how it ends.

mod broker;
mod evidence;
mod fixtures;
mod json;
mod screen;
mod support;
mod verbs;
mod waiting;
