#![no_main]
//! Requests, approvals and statements as texts that were sent by mail or chat.

use jit_sudo_fuzz::shown;
use jitctl::readers::{document, signed_document};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Err(why) = signed_document(text) {
        shown(why);
    }
    match document(text) {
        Ok((read, again)) => {
            let (same, _) = document(&again).expect("what was read is written");
            assert_eq!((same.body, same.signature), (read.body, read.signature));
            // Quotation marks are not part of the document.
            let quoted: String = again.lines().map(|line| format!("> {line}\n")).collect();
            let (same, _) = document(&quoted).expect("a quoted document");
            assert_eq!(document(&again).map(|(read, _)| (read.body, read.signature)), Ok((same.body, same.signature)));
        }
        Err(why) => shown(why),
    }
});
