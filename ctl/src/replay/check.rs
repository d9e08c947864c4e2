//! Compares every recording with its digest in the journal. The broker only sends the bytes; this process decompresses
//! and compares them without privileges.

use std::io::{self, Read};

use jit_core::evidence::Digest;
use jit_core::wire::{Purpose, RecordingInfo, Recordings, RecordingsChecked};
use sha2::{Digest as _, Sha256};

use super::opened;
use crate::broker::Broker;
use crate::speech::Trouble;
use crate::stream;

/// Compares all recordings.
pub(crate) fn check(broker: &Broker) -> Result<RecordingsChecked, Trouble> {
    let (_, stream) = broker.stream(&Recordings { purpose: Purpose::Verify, after: 0 })?;
    let mut checked = RecordingsChecked::default();
    let mut recordings = stream::Recordings::of(stream);
    while let Some((info, bytes)) = recordings.next()? {
        let Some(expected) = &info.sha256 else {
            checked.unsealed += 1;
            continue;
        };
        let fault = match bytes {
            None => Some("is missing".to_owned()),
            Some(mut bytes) => match digest(&info, &mut bytes) {
                Ok(found) if found.to_string() == *expected => None,
                Ok(_) => Some("was altered: its digest is not the one in the journal".to_owned()),
                Err(_) => Some("was altered: it cannot be unpacked".to_owned()),
            },
        };
        match fault {
            None => checked.intact += 1,
            Some(fault) => checked.bad.push(format!("the recording of run {} {fault}", info.run)),
        }
    }
    Ok(checked)
}

fn digest(info: &RecordingInfo, bytes: &mut dyn Read) -> io::Result<Digest> {
    let mut cast = opened(info, bytes)?;
    let (mut digest, mut piece) = (Sha256::new(), vec![0; 64 << 10]);
    loop {
        match cast.read(&mut piece)? {
            0 => return Ok(Digest(digest.finalize().into())),
            length => digest.update(&piece[..length]),
        }
    }
}
