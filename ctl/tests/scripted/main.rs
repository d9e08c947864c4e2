//! Runs jitctl as a process with a scripted broker: the requests it sends, its output, its exit status.

mod broker;
mod evidence;
mod fixtures;
mod json;
mod screen;
mod support;
mod verbs;
mod waiting;
