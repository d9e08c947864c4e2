#![no_main]
//! Requests, approvals and statements as texts that mail and chat have carried.

use jit_sudo_fuzz::shown;
use jitctl::readers::{paper, signed_paper};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Err(why) = signed_paper(text) {
        shown(why);
    }
    match paper(text) {
        Ok((read, again)) => {
            let (same, _) = paper(&again).expect("what was read is written");
            assert_eq!((same.body, same.signature), (read.body, read.signature));
            // Marks of quotation are none of the paper's.
            let quoted: String = again.lines().map(|line| format!("> {line}\n")).collect();
            let (same, _) = paper(&quoted).expect("a quoted paper");
            assert_eq!(paper(&again).map(|(read, _)| (read.body, read.signature)), Ok((same.body, same.signature)));
        }
        Err(why) => shown(why),
    }
});
