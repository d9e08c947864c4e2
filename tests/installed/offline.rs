//! Writes to the journal of a private root with the product's own library, while no program of the root has it open.

use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use harness::PrivateRoot;
use jit_core::clock::{BootTime, Moment, Timestamp};
use jit_core::grant::{HostDescriptor, HostId, HostKey};
use jit_sudo::audit::Journal;
use jit_sudo::database::Database;
use jit_sudo::host::open_database;

const DATABASE: &str = "/var/lib/jit-sudo/journal.db";

/// Calls `act` with the database of the root, which only this process has open meanwhile, and with its journal.
pub(crate) fn in_journal(root: &PrivateRoot, act: impl FnOnce(&Database, &Journal<'_>)) {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let directory = std::env::temp_dir().join(format!("jit-sudo-offline-{}-{number}", std::process::id()));
    let _ = std::fs::remove_dir_all(&directory);
    std::fs::DirBuilder::new().mode(0o700).create(&directory).unwrap();
    let place = directory.join("journal.db");
    root.script(&format!("sqlite3 {DATABASE} 'PRAGMA wal_checkpoint(TRUNCATE)'"));
    std::fs::copy(root.path(DATABASE), &place).unwrap();
    std::fs::set_permissions(&place, std::fs::Permissions::from_mode(0o600)).unwrap();
    {
        let database = open_database(&place).unwrap();
        act(&database, &Journal::new(&database, "web1", Vec::new()));
        database.connection().query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    }
    std::fs::copy(&place, root.path("/root/offline.db")).unwrap();
    let _ = std::fs::remove_dir_all(&directory);
    root.script(&format!("cat /root/offline.db >{DATABASE}; rm -f {DATABASE}-wal {DATABASE}-shm"));
}

/// Returns the id of the host with this key on the machine of the root.
pub(crate) fn id_of(root: &PrivateRoot, key: &HostKey) -> HostId {
    HostDescriptor::of(key, "web1", root.read("/etc/machine-id").trim()).host_id().unwrap()
}

/// Returns the present, by both clocks.
pub(crate) fn now(root: &PrivateRoot) -> Moment {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let up = root.script("cut -d. -f1 /proc/uptime").trim().parse::<i64>().unwrap();
    Moment {
        wall: Timestamp(i64::try_from(wall.as_micros()).unwrap()),
        boot: BootTime(up * 1_000_000),
        boot_id: root.script("cat /proc/sys/kernel/random/boot_id").trim().to_owned(),
    }
}
