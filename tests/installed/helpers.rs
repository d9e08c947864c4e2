//! Programs of the caller's that jit-sudo starts, and what it prints for anybody: they count as processes of the caller, in the control
//! group where jit-sudo was started.

use harness::{PATIENCE, eventually};

use crate::own_root;

#[test]
fn what_needs_no_privilege_is_printed_by_a_process_of_the_caller() {
    let root = own_root();
    let person = root.person(&[]);
    let script = r#"
import fcntl, os, subprocess, time
reader, writer = os.pipe()
os.set_blocking(writer, False)
try:
    while True: os.write(writer, b'x' * 4096)
except BlockingIOError: pass
os.set_blocking(writer, True)
run = lambda option: subprocess.Popen(['jit-sudo', option], stdout=writer, stderr=writer, stdin=subprocess.DEVNULL)
waiting = [run(option) for option in ('-V', '-h', '--nonsense')]
time.sleep(1)
own = open('/proc/self/cgroup').read()
for process in waiting:
    status = open(f'/proc/{process.pid}/status').read()
    uids = status.split('Uid:')[1].split()[:4]
    print(process.poll() is None, set(uids) == {str(os.getuid())}, open(f'/proc/{process.pid}/cgroup').read() == own)
    process.kill()
"#;
    let said = root.run_as(&person.name, ["python3", "-c", script]);
    assert_eq!(said.succeeded(), "True True True\nTrue True True\nTrue True True", "{said:?}");
}

/// The helper leaves the group in which jit-sudo was started, and removes it.
#[test]
fn an_askpass_helper_is_not_born_in_a_group_of_root() {
    let root = own_root();
    let person = root.person(&["password"]);
    let group = "/sys/fs/cgroup/own";
    root.script(&format!("mkdir -p {group}/x {group}/y; chown -R {} {group}", person.name));
    root.write(
        "/tmp/askpass",
        0o755,
        format!(
            "#!/bin/bash\ngrep ^0:: /proc/self/cgroup >>/tmp/groups\n\
             if [ -d {group}/x ]; then echo $$ >{group}/y/cgroup.procs; rmdir {group}/x; fi\necho wrong\n"
        ),
    );
    root.script("touch /tmp/groups; chmod 666 /tmp/groups");
    root.script(&format!(
        "sh -c 'echo $$ >{group}/x/cgroup.procs; exec setpriv --reuid={0} --regid={0} --init-groups env SUDO_ASKPASS=/tmp/askpass jit-sudo -A -v' >/dev/null 2>&1 || :",
        person.name
    ));
    let groups = root.read("/tmp/groups");
    let own: Vec<&str> = groups.lines().map(|line| line.split_once("/own").map_or(line, |(_, below)| below)).collect();
    assert_eq!(own, ["/x", "", ""], "{groups}");
}

/// A run under a frozen grant contains another jit-sudo, which asks for a password.
#[test]
fn an_askpass_helper_in_a_frozen_run_is_frozen() {
    let root = own_root();
    let person = root.person(&["shadowed"]);
    root.add_policy(
        "shadowed",
        "[roles.shadowed]\neligible = [\"%shadowed\"]\nrun_as = [\"%shadowed\"]\nrun_as_groups = [\"shadow\"]\n\
         commands = [\"/usr/bin/bash **\"]\nauthenticate = false\non_expiry = \"freeze\"\n\n\
         [roles.asking]\nstanding = [\"%shadowed\"]\ncommands = [\"/usr/bin/id\"]\n",
    );
    root.write(
        "/tmp/askpass",
        0o755,
        "#!/bin/bash\necho $(date +%s.%N) $(grep ^0:: /proc/self/cgroup) >>/tmp/born\necho wrong\nexec >&- 2>&-\n[ -e /tmp/first ] || { touch /tmp/first; exec sleep 6613; }\n",
    );
    root.script("touch /tmp/born; chmod 666 /tmp/born");
    let words = ["jitctl", "--json", "request", "--role", "shadowed", "--reason", "x", "--for", "6s"];
    root.run_as(&person.name, words).succeeded();
    let run = "export SUDO_ASKPASS=/tmp/askpass; jit-sudo -A /usr/bin/id & while :; do sleep 0.1; date +%s%N >/tmp/alive; done";
    let line = format!("jit-sudo -n -g shadow bash -c '{run}' >/dev/null 2>&1 </dev/null &");
    root.run_as(&person.name, ["sh", "-c", &line]).succeeded();
    let born = || root.read("/tmp/born").lines().count();
    eventually("the first helper", PATIENCE, || (born() == 1 && root.path("/tmp/alive").exists()).then_some(()));
    let stands_still = || {
        let before = root.read("/tmp/alive");
        std::thread::sleep(std::time::Duration::from_millis(500));
        (root.read("/tmp/alive") == before).then_some(())
    };
    eventually("the run is frozen", PATIENCE, stands_still);
    let _ = root.run_as(&person.name, ["pkill", "-9", "-xf", "sleep 6613"]);
    std::thread::sleep(std::time::Duration::from_secs(6));
    assert_eq!(
        born(),
        1,
        "a helper began after the expiry: {} {}",
        root.read("/tmp/born"),
        root.script("date +%s.%N; cat /tmp/alive; jitctl session list")
    );
}
