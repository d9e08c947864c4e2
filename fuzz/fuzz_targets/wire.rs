#![no_main]
//! Questions to the broker, and its answers.

use jit_core::wire::{Ask, Frame, Reply, RequestDocument};
use jit_sudo_fuzz::{json_comes_back, shown};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    json_comes_back::<Ask>(data);
    json_comes_back::<Reply>(data);
    json_comes_back::<Frame>(data);
    json_comes_back::<RequestDocument>(data);
    if let Err(why) = jitctl::readers::answer(data)
        && serde_json::from_slice::<Reply>(data).is_err()
    {
        shown(why);
    }
});
