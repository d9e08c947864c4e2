//! The origins and keys of the checkpoints of an exported file, and the host keys that its records name, which are needed before its
//! records are compared with heads.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek};
use std::os::unix::fs::OpenOptionsExt;

use jit_core::escape::hex;
use jit_core::evidence::epoch_event::EPOCH;
use jit_core::evidence::key_event::{RETIREMENT, ROTATION};
use jit_core::evidence::note::Note;
use jit_core::evidence::{Checkpoint, Origins};

use super::bundle::{CertificateLine, read_line};

/// Reads the checkpoints of a file and its records about host keys, and returns the file at its beginning. A stream is copied into a file without a name first.
pub(super) fn of_export(file: File) -> io::Result<(Origins, File)> {
    let file = if file.metadata()?.is_file() { file } else { copied(file)? };
    let mut origins = Origins::default();
    let mut lines = BufReader::with_capacity(1 << 20, file);
    add(&mut lines, &mut origins)?;
    let mut file = lines.into_inner();
    file.rewind()?;
    Ok((origins, file))
}

fn add(lines: &mut impl BufRead, origins: &mut Origins) -> io::Result<()> {
    let mut line = Vec::new();
    loop {
        read_line(lines, &mut line)?;
        if line.is_empty() {
            return Ok(());
        }
        match Checkpoint::from_line(&line) {
            Some(checkpoint) => Note::parse(&checkpoint.note).iter().for_each(|note| origins.add(note)),
            None => match CertificateLine::read(&line) {
                Some(body) => origins.record(body.as_bytes()),
                None if is_about_keys(&line) => origins.record(&line),
                None => {}
            },
        }
    }
}

/// Whether a line may be a record about a host key.
fn is_about_keys(line: &[u8]) -> bool {
    let kinds = [EPOCH, ROTATION, RETIREMENT].map(|kind| format!("\"kind\":\"{kind}\""));
    std::str::from_utf8(line).is_ok_and(|line| kinds.iter().any(|kind| line.contains(kind.as_str())))
}

fn copied(mut stream: impl Read) -> io::Result<File> {
    let path = std::env::temp_dir().join(format!("jitctl-{}", hex(&sys::random::random::<16>()?)));
    let mut copy = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
    fs::remove_file(&path)?;
    io::copy(&mut stream, &mut copy)?;
    copy.rewind()?;
    Ok(copy)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::fd::OwnedFd;

    use jit_core::evidence::note::{origin, signed_by_host};
    use jit_core::evidence::{Digest, SignedHead, TreeHead};
    use jit_core::grant::HostKey;

    use super::*;

    #[test]
    fn the_origins_of_a_stream_are_read_and_nothing_of_it_is_lost() {
        let (key, head) = (HostKey::from_seed([7; 32]), TreeHead { size: 9, root: Digest([5; 32]) });
        let note = signed_by_host(&key, "ab12", &head).unwrap().to_string();
        let line = Checkpoint { seq: 12, body: b"{}".to_vec(), signature: vec![1; 80], note }.to_line();
        let text = format!("{{\"seq\":1}}\n{line}\nmore\n");
        let (stream, mut writer) = io::pipe().unwrap();
        writer.write_all(text.as_bytes()).unwrap();
        drop(writer);
        let (origins, mut rest) = of_export(File::from(OwnedFd::from(stream))).unwrap();
        let (mut whole, key) = (String::new(), key.public_key());
        rest.read_to_string(&mut whole).unwrap();
        assert_eq!(whole, text);
        let head =
            SignedHead { head, origin: origin("ab12"), key: key.clone(), cosigned: None, witnesses: 0, seq: None };
        assert!(origins.of_journal(vec![head], &[key])[0].is_own);
    }
}
