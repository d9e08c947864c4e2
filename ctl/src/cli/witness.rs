//! The arguments of the verbs below `witness`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// Below `witness`
#[derive(Debug, Subcommand)]
pub(crate) enum WitnessVerb {
    /// Print the public key of this witness, for `audit verify --witness`
    Key(WitnessKeyWords),
    /// Print how many records of a host this witness has cosigned, for `audit prove --consistency`
    Size(WitnessSizeWords),
    /// Cosign the checkpoint of a host, if its journal has only grown
    ///
    /// Reads what `jitctl audit prove --consistency` writes, one or more times. Checks the signature of the host, and
    /// that the journal begins with the records that this witness has cosigned before. Then stores the checkpoint in
    /// `DIRECTORY/HOST.note`, and prints the line with the cosignature. Give that file to `audit verify --anchor`.
    ///
    /// Each checkpoint is taken by itself. For one that is refused it prints the reason, changes nothing, and exits with
    /// status 1. The first checkpoint of a host is accepted without a proof, and binds the host id and its key to each
    /// other: no other host can use them. If you give the keys of several hosts, write the host id behind each key, as in
    /// the list of known hosts. Without its id, the first checkpoint of a host is refused if the witness knows any other
    /// host. The format is that of C2SP tlog-witness, and the cosignature that of C2SP tlog-cosignature, version 1.
    ///
    /// If the key of a host was replaced (`key rotate`), its host id is another one. Give the rotations with `--rotation`,
    /// and a proof that begins with the size for the old id. Then the new id takes the place of the old one, for which
    /// nothing is cosigned any more.
    Cosign(WitnessCosignWords),
}

/// `witness key`
#[derive(Debug, Args)]
pub(crate) struct WitnessKeyWords {
    /// The directory of the witness; it is created if it is missing
    #[arg(long, value_name = "DIRECTORY")]
    pub(crate) state: PathBuf,
    /// Make the key with this name, such as witness.example.com/one, if there is none
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
}

/// `witness size`
#[derive(Debug, Args)]
pub(crate) struct WitnessSizeWords {
    /// The directory of the witness
    #[arg(long, value_name = "DIRECTORY")]
    pub(crate) state: PathBuf,
    /// The host id, which follows `jit-sudo/` in the first line of a note
    #[arg(value_name = "HOST", value_parser = host)]
    pub(crate) host: String,
}

/// `witness cosign`
#[derive(Debug, Args)]
pub(crate) struct WitnessCosignWords {
    /// The directory of the witness
    #[arg(long, value_name = "DIRECTORY")]
    pub(crate) state: PathBuf,
    /// The public key of the host: a line "ssh-ed25519 AAAA…", or a file of such lines, each with the host id behind the key if there are several (may be repeated)
    #[arg(long, value_name = "KEY", required = true)]
    pub(crate) host_key: Vec<String>,
    /// What `key show --rotations` prints on a host whose key was replaced (may be repeated)
    #[arg(long, value_name = "FILE")]
    pub(crate) rotation: Vec<PathBuf>,
    /// The checkpoint with its proof [default: standard input]
    #[arg(value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
}

fn host(text: &str) -> Result<String, &'static str> {
    let digits = text.strip_prefix("jit-sudo/").unwrap_or(text);
    let is_id = digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    if is_id { Ok(digits.to_owned()) } else { Err("a host id has 64 lower-case hexadecimal digits") }
}
