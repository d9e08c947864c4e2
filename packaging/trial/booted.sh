# Tests the packages with systemd as process 1: the timer, journald, logind, an upgrade during a session, needrestart.

booted() {
    mount_root "$1"
    mount -t proc proc /proc
    boot
    there timeout 120 systemctl is-system-running --wait >/dev/null || true
    prints "it has come up, and no service failed" "" there systemctl list-units --failed --type=service --no-legend --plain
    add_user --groups sudo alice
    holds "installed" there dpkg -i "/root/jit-sudo_$version~previous_$arch.deb" "/root/libpam-jit-sudo_$version~previous_$arch.deb"
    by_systemd
    sweep
    journald
    groups
    outlive
    logind
    upgrade
}

# Starts systemd with a tree of control groups of its own, in nested namespaces.
boot() {
    local group=$root/sys/fs/cgroup/machine
    mkdir "$group"
    (
        echo "$BASHPID" >"$group/cgroup.procs"
        exec unshare --mount --pid --cgroup --fork --kill-child packaging/test --inside init "$base"
    ) &
    within 60 "systemd is process 1" answers "$!"
}

# answers PID: waits until systemd, the child of that process, answers.
answers() {
    local init
    init=$(cat "/proc/$1/task/$1/children") && [ -n "$init" ] && [ -e "$base/up" ] || return 1
    entered=(nsenter --target "${init% }" --mount --pid --uts --ipc --net --cgroup --root --wdns=/)
    there test -S /run/dbus/system_bus_socket
}

# Protects this machine from that systemd: the kernel's settings, modules and clock are not writable for it.
init() {
    root=$base/root
    mount -t proc proc "$root/proc"
    mount --bind "$root/proc/sys" "$root/proc/sys"
    mount -o remount,bind,ro "$root/proc/sys"
    umount "$root/sys/fs/cgroup"
    mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
    rm "$root/usr/sbin/policy-rc.d"
    touch "$base/up"
    cd "$root"
    pivot_root . mnt
    umount -l /mnt
    exec setpriv --bounding-set -sys_module,-sys_rawio,-sys_time,-syslog \
        env -i container=other PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd </dev/null >/dev/null 2>&1
}

# Checks what the package leaves to systemd.
by_systemd() {
    holds "sysusers knows the user of the hooks" there sh -c 'systemd-sysusers --cat-config | grep "^u jit-sudo-hooks"'
    holds "who is there" there getent passwd jit-sudo-hooks
    there mv "$state" "$state.aside"
    holds "where /var begins empty tmpfiles makes the directory" there systemd-tmpfiles --create jit-sudo.conf
    prints "for root alone" "700 root:root" there stat -c '%a %U:%G' "$state"
    there sh -c "rmdir $state && mv $state.aside $state"
    prints "the timer is enabled" enabled there systemctl is-enabled jit-sudo-sweep.timer
    prints "and runs" active there systemctl is-active jit-sudo-sweep.timer
    holds "with a time to fire" there sh -c 'systemctl list-timers --no-legend jit-sudo-sweep.timer | grep "^[^n-].*jit-sudo-sweep.service"'
}

enforcer=/usr/libexec/jit-sudo/jit-sudo-enforcer

# The sandboxed service of the timer closes a run whose supervisor and enforcer were killed.
sweep() {
    add_role
    as alice jit-sudo -n sleep 601 >/dev/null 2>&1 &
    within 20 "a run begins" there pgrep -xf "sleep 601"
    within 20 "which has an enforcer" there pgrep -f "^$enforcer"
    there pkill -KILL -f "^$enforcer"
    there pkill -KILL -x jit-sudo
    holds "it comes after the clock is right" there sh -c 'systemctl show -p After jit-sudo-sweep.service | grep -w time-sync.target'
    holds "the service of the timer succeeds" there systemctl start jit-sudo-sweep.service
    holds "and closes the run that was lost" there sh -c 'journalctl --sync; journalctl -t jit-sudo -o cat | grep -F \"ended_by\":\"lost\"'
    prints "of which nobody is left" "" there sh -c 'pgrep -xf "sleep 601" || true'
}

journald() {
    printf '[audit]\nsyslog = "off"\njournald = true\n' >"$root/etc/jit-sudo/policy.d/audit.toml"
    prints "alice runs something" 0 as alice jit-sudo -n id -u
    there sh -c 'journalctl --sync; journalctl -t jit-sudo -o json JIT_SUDO_KIND=start' | tail -n 1 >"$base/entry"
    there jitctl --json audit list --limit 4 >"$base/records"
    holds "journald has the record, whole, with its number and its hash" python3 - "$base" <<'PYTHON'
import json, sys
entry = json.load(open(sys.argv[1] + "/entry"))
records = json.load(open(sys.argv[1] + "/records"))["records"]["records"]
(record,) = [r for r in records if str(r["seq"]) == entry["JIT_SUDO_SEQ"]]
assert entry["JIT_SUDO_RECORD"] == record["body"] and entry["JIT_SUDO_HEAD"] == record["hash"], entry
assert json.loads(record["body"])["argv"] == ["id", "-u"], record
assert (entry["SYSLOG_IDENTIFIER"], entry["_UID"]) == ("jit-sudo", "0"), entry
PYTHON
}

# Creates a control group for the command, beside those of systemd and of alice's own manager.
groups() {
    local user=/user.slice/user-1000.slice was group
    as alice sh -c 'mkdir -m 700 ~/.ssh && ssh-keygen -q -t ed25519 -N "" -f ~/.ssh/id && cp ~/.ssh/id.pub ~/.ssh/authorized_keys'
    holds "alice is in a session of logind" ssh_alice "grep -x '0::$user/session-.*\.scope' /proc/self/cgroup"
    holds "what she runs is in a group of its own" ssh_alice 'jit-sudo -n grep "^0::/jit-sudo/[a-z0-9]*\.[0-9]*-[0-9]*$" /proc/self/cgroup'
    holds "also from a unit of hers" ssh_alice \
        'systemd-run --user --quiet --pipe --wait jit-sudo -n grep "^0::/jit-sudo/[a-z0-9]*\.[0-9]*-[0-9]*$" /proc/self/cgroup'
    ssh_alice 'systemd-run --user --quiet --unit=mine jit-sudo -n sh -c "trap exit TERM; while sleep 0.1; do date +%N >/tmp/alive; done"'
    within 20 "a run of such a unit goes on" there test -s /tmp/alive
    there systemctl daemon-reload
    ssh_alice "echo 1 >/sys/fs/cgroup$user/user@1000.service/app.slice/mine.service/cgroup.freeze"
    was=$(there cat /tmp/alive)
    within 20 "though systemd has read everything anew, and she has frozen her unit" changed "$was" /tmp/alive
    group=$(there sh -c 'sed -n s/^0:://p "/proc/$(pgrep -n -f "^sh -c trap")/cgroup"')
    there test -d "/sys/fs/cgroup$group" || fail "it has no group"
    there pkill -TERM -x jit-sudo
    within 20 "when it has ended its group is gone" there test ! -e "/sys/fs/cgroup$group"
    ssh_alice 'jit-sudo -n sleep 602' &
    within 20 "she runs something else" there pgrep -xf "sleep 602"
    holds "logind ends her session" there loginctl terminate-user alice
    holds "what she ran goes on, for all to see" there sh -c 'pgrep -xf "sleep 602" && jitctl --json session list | grep -F "\"602\""'
    holds "until somebody ends it" there sh -c \
        'run=$(jitctl --json session list | sed -n "s/.*\"run\":\"\([^\"]*\)\".*/\1/p") && jitctl session kill "$run" --reason over'
    within 2 "which is at once" there sh -c '! pgrep -xf "sleep 602"'
    within 2 "and recorded" there sh -c 'jitctl --json audit list --limit 1 | grep -F ended_by | grep -F kill'
}

changed() {
    [ "$(there cat "$2")" != "$1" ]
}

ssh_alice() {
    as alice ssh -q -i /home/alice/.ssh/id -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null \
        alice@127.0.0.1 "$@" </dev/null
}

# The module leaves the expiry of a grant to logind, which ends the session even without the enforcer.
logind() {
    printf '[roles.shell]\neligible = ["alice"]\ncommands = ["ALL"]\n' >"$root/etc/jit-sudo/policy.d/shell.toml"
    sed -i 's/^@include common-session$/session required pam_jit_sudo.so role=shell\n&/' "$root/etc/pam.d/sshd"
    refuses "without a grant there is no session" "" ssh_alice true
    holds "alice asks" as alice jitctl request --role shell --for 20s --reason night
    ssh_alice 'sleep 603' 2>/dev/null &
    within 20 "and has a session" there pgrep -xf "sleep 603"
    holds "logind knows when it has to end" there sh -c 'systemctl show -P RuntimeMaxUSec "session-*.scope" | grep -xE "1[0-9]s|2[01]s"'
    there pkill -KILL -x jit-sudo-broker
    within 60 "and ends it, though its supervisor was killed" there sh -c '! pgrep -xf "sleep 603"'
    holds "as systemd says" there sh -c 'journalctl -b -u "session-*.scope" | grep "reached runtime time limit"'
    holds "alice asks again" as alice jitctl request --role shell --for 8s --reason night
    ssh_alice 'sleep 604' 2>/dev/null &
    within 20 "and has a session" there pgrep -xf "sleep 604"
    within 40 "which its supervisor ends" there sh -c '! pgrep -xf "sleep 604"'
    within 20 "and records" there sh -c 'jitctl --json audit list --limit 1 | grep -F ended_by | grep -F expiry'
}

# Replaces the programs during a session of sshd, and a run in it, that the old programs supervise.
upgrade() {
    local session status=0
    holds "alice asks for longer" as alice jitctl request --role shell --for 1h --reason day
    ssh_alice 'jit-sudo -n sh -c "echo >/tmp/begun; while [ ! -e /tmp/go ]; do sleep 0.1; done; exit 7"; exit $?' &
    session=$!
    within 20 "a session runs, and something in it" there test -e /tmp/begun
    holds "upgraded meanwhile" there dpkg -i "/root/jit-sudo_${version}_$arch.deb" "/root/libpam-jit-sudo_${version}_$arch.deb"
    prints "the timer runs on" active there systemctl is-active jit-sudo-sweep.timer
    prints "no service failed" "" there systemctl list-units --failed --type=service --no-legend --plain
    needrestart
    there touch /tmp/go
    wait "$session" || status=$?
    [ "$status" = 7 ] || fail "the session ended with $status"
    say "the session went on and ended as its command did"
    holds "the journal is intact" there sh -c 'jitctl audit verify || [ $? -eq 5 ]'
}

# needrestart would name sshd or its session, which use the old module, and the old programs.
needrestart() {
    local file=/etc/needrestart/conf.d/jit-sudo.conf
    prints "needrestart has nothing to say" "" there sh -c 'needrestart -b -l -r l | sed /^NEEDRESTART-VER/d'
    there mv $file /root/
    holds "without our file it would" there sh -c 'needrestart -b -l -r l | grep "^NEEDRESTART-S"'
    there mv "/root/${file##*/}" $file
}
