//! Events for the tests of this room.

use crate::audit::open_run::Process;
use crate::audit::record::*;
use crate::clock::{BootTime, Moment, Timestamp};
use crate::names::{GrantId, RoleName};

pub(super) const SELF: Process = Process { pid: 4242, start: 1_000 };

pub(super) fn moment(second: i64) -> Moment {
    Moment {
        wall: Timestamp(1_800_000_000_000_000 + second * 1_000_000),
        boot: BootTime(second * 1_000_000),
        boot_id: "0d5e0b7c-1f0a-4c1e-9d50-1a2b3c4d5e6f".to_owned(),
    }
}

pub(super) fn grant() -> GrantId {
    GrantId::from_random([7; 8])
}

pub(super) fn role() -> RoleName {
    RoleName::parse("web-ops").unwrap()
}

pub(super) fn start(run: &str) -> Start {
    Start {
        run: run.to_owned(),
        uid: 1000,
        user: "alice".into(),
        gid: 1000,
        groups: vec![1000, 27],
        tty: Some("/dev/pts/3".into()),
        cwd: "/home/alice".into(),
        pid: 4242,
        run_as: "root".into(),
        run_as_uid: 0,
        run_as_gid: 0,
        run_as_groups: vec![0],
        argv: vec!["/usr/bin/systemctl".into(), "restart".into(), "nginx".into()],
        environment: vec![
            Variable { name: "HOME".into(), value: Some("/root".into()), digest: None },
            Variable { name: "API_TOKEN".into(), value: None, digest: Some(Digest([9; 32])) },
        ],
        path: "/usr/bin/systemctl".into(),
        dev: 65024,
        ino: 123456,
        sha256: Digest([3; 32]),
        role: Some(role()),
        assignment: Assignment::Grant,
        grant: Some(grant()),
        authenticated: Authentication::Password,
    }
}
