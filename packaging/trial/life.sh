# Tests the packages on one system: installed, used, upgraded during a session, removed, purged, installed again.

life() {
    mount_root "$1"
    entered=(chroot "$root")
    add_user --groups sudo alice
    add_user bob
    install_it
    first_run
    profile
    older_database
    edit_and_upgrade
    newer_database
    remove_and_return
    purge
}

install_it() {
    holds "installed with dpkg alone" there dpkg -i "/root/jit-sudo_$version~previous_$arch.deb"
    [ ! -e "$root$state/host_key" ] || fail "the installation made a key, which copies of an image would share"
    say "the installation makes no key"
    holds "the key is made at the first boot" test -L "$root/etc/systemd/system/multi-user.target.wants/jit-sudo-key.service"
    doctor
    modes <<'MODES'
4755 /usr/bin/jit-sudo
4755 /usr/libexec/jit-sudo/jit-sudo-broker
755 /usr/bin/jitctl
700 /var/lib/jit-sudo
600 /var/lib/jit-sudo/host_key
600 /var/lib/jit-sudo/journal.db
711 /etc/jit-sudo
700 /etc/jit-sudo/policy.d
711 /etc/jit-sudo/hooks.d
640 /etc/jit-sudo/policy.toml
644 /etc/pam.d/jit-sudo
MODES
    holds "the user of the hooks is there" there getent passwd jit-sudo-hooks
    [ ! -e "$root/usr/bin/sudo" ] && [ ! -e "$root/usr/local/bin/sudo" ] || fail "the package took the name sudo"
    say "nobody took the name sudo"
    holds "the timer is enabled" test -L "$root/etc/systemd/system/timers.target.wants/jit-sudo-sweep.timer"
    holds "cron sweeps where systemd does not run" there /etc/cron.daily/jit-sudo
}

# No errors; this root has no syslog and perhaps no clock daemon, which are warnings.
doctor() {
    local said
    said=$(there jitctl doctor) || [ $? = 4 ] || fail "doctor: $said"
    say "doctor finds no error"
}

first_run() {
    prints "alice asks, and runs as root" 0 as alice sh -c 'echo secret | jit-sudo -S -p "" --reason "first run" id -u'
    holds "the first run is in the journal" there sh -c "jitctl audit search 'first run' | grep -q alice"
    holds "she gives her grant back" as alice jitctl release
}

# With the profile, the account stack of every service requires a grant, except for root and system users; without it, no longer.
profile() {
    holds "the module's package is installed" there dpkg -i "/root/libpam-jit-sudo_$version~previous_$arch.deb"
    [ -e "$root/usr/share/pam-configs/jit-sudo" ] || fail "there is no profile"
    ! grep -rq pam_jit_sudo "$root/etc/pam.d" || fail "the profile is on"
    say "the profile of pam-auth-update is off"
    cp -a "$root/etc/pam.d" "$base/pam.d"
    prints "with bob's password alice becomes bob" bob as alice sh -c 'echo secret | su bob -c "id -un"'
    holds "the profile is switched on" there pam-auth-update --enable jit-sudo
    for kind in auth account session password; do
        case $kind in account) wanted=1 ;; *) wanted=0 ;; esac
        [ "$(grep -c pam_jit_sudo "$root/etc/pam.d/common-$kind")" = $wanted ] || fail "common-$kind: $(cat "$root/etc/pam.d/common-$kind")"
    done
    say "it is in common-account alone"
    refuses "and without a grant she is refused" "you have no active grant" as alice sh -c 'echo secret | su bob -c "id -un"'
    prints "root is not asked" bob there su bob -c "id -un"
    prints "jit-sudo still takes her to a grant, and to root" 0 as alice sh -c 'echo secret | jit-sudo -S -p "" --reason profile id -u'
    prints "and becomes bob again" bob as alice sh -c 'echo secret | su bob -c "id -un"'
    holds "she gives her grant back" as alice jitctl release
    holds "the profile is switched off" there pam-auth-update --disable jit-sudo
    holds "no file of PAM differs from what it was" diff -r "$base/pam.d" "$root/etc/pam.d"
    holds "switched on once more" there pam-auth-update --enable jit-sudo
    holds "the package is removed" there dpkg -r libpam-jit-sudo
    holds "no file of PAM differs from what it was" diff -r "$base/pam.d" "$root/etc/pam.d"
}

# Creates what the first schema left on a host: the state after `first_run`, by the first version that had one.
older_database() {
    local known key
    known=$(sed -n 's/^pub const SCHEMA_VERSION: i32 = \(.*\);$/\1/p' src/database.rs)
    mv "$root$state" "$base/state"
    mv "$root/etc/machine-id" "$base/"
    tar -C "$root" --numeric-owner -xJf packaging/trial/version-1.tar.xz
    key=$(cut -d ' ' -f 2 "$root$state/host_key.pub")
    holds "upgraded over a database of the first schema" there dpkg -i "/root/jit-sudo_${version}_$arch.deb"
    holds "its journal goes on" there sh -c '{ jitctl audit verify || [ $? -eq 5 ]; } && jitctl audit search "first run" | grep -q alice'
    holds "with its key" there sh -c "jitctl key show | grep -qF $key"
    prints "and the schema of today" "$known" sqlite3 "$root$state/journal.db" 'PRAGMA user_version'
    rm -rf "${root:?}$state"
    mv "$base/state" "$root$state"
    mv "$base/machine-id" "$root/etc/"
    holds "back to the previous version" there dpkg -i "/root/jit-sudo_$version~previous_$arch.deb"
}

edit_and_upgrade() {
    local key
    key=$(there sh -c 'jitctl key show | head -n 2')
    echo '# ours' >>"$root/etc/jit-sudo/policy.toml"
    add_role
    holds "the edited policy is good" there jitctl policy check
    a_session
    holds "upgraded meanwhile" there dpkg -i "/root/jit-sudo_${version}_$arch.deb" "/root/libpam-jit-sudo_${version}_$arch.deb"
    went_on
    tail -n 1 "$root/etc/jit-sudo/policy.toml" | grep -qx '# ours' || fail "the policy was replaced"
    say "the policy is the administrator's"
    prints "the host has its old key" "$key" there sh -c 'jitctl key show | head -n 2'
    prints "who had a role has it" 0 as alice jit-sudo -n id -u
    holds "the journal is intact" there sh -c 'jitctl audit verify || [ $? -eq 5 ]'
    doctor
}

# Starts a run that lasts until `went_on` checks that it was not disturbed.
a_session() {
    rm -f "$root/tmp/begun" "$root/tmp/go"
    as alice jit-sudo -n sh -c 'echo >/tmp/begun; while [ ! -e /tmp/go ]; do sleep 0.1; done; exit 7' &
    session=$!
    within 20 "a session runs" test -e "$root/tmp/begun"
}

went_on() {
    local status=0
    touch "$root/tmp/go"
    wait "$session" || status=$?
    [ "$status" = 7 ] || fail "the session ended with $status"
    say "the session went on and ended as its command did"
}

newer_database() {
    local is
    is=$(sqlite3 "$root$state/journal.db" 'PRAGMA user_version')
    sqlite3 "$root$state/journal.db" 'PRAGMA user_version = 99'
    refuses "an old program refuses a newer database" "but this program supports only" as alice jit-sudo -n id -u
    sqlite3 "$root$state/journal.db" "PRAGMA user_version = $is"
    prints "and serves again with its own" 0 as alice jit-sudo -n id -u
}

remove_and_return() {
    local key
    key=$(there sh -c 'jitctl key show | head -n 2')
    # As in Ubuntu 25.10, where sudo is one of several alternatives.
    there ln -s true /usr/bin/sudo.ws
    there update-alternatives --quiet --install /usr/bin/sudo sudo /usr/bin/sudo.ws 40
    there update-alternatives --quiet --install /usr/bin/sudo sudo /usr/bin/jit-sudo 100 --slave /usr/bin/sudoedit sudoedit /usr/bin/jit-sudoedit
    prints "by an alternative it answers to sudo" 0 as alice sudo -n id -u
    prints "and to sudoedit" /usr/bin/jit-sudo there realpath /usr/bin/sudoedit
    a_session
    holds "removed meanwhile" there dpkg -r libpam-jit-sudo jit-sudo
    went_on
    [ ! -e "$root/usr/bin/jit-sudo" ] && [ ! -L "$root/usr/bin/sudoedit" ] || fail "something stayed"
    [ -e "$root/etc/jit-sudo/policy.d/deploy.toml" ] && [ -e "$root$state/journal.db" ] || fail "policy or evidence went"
    say "the programs and the alternative are gone, policy and evidence stay"
    prints "the other sudo has its name back" /usr/bin/true there realpath /usr/bin/sudo
    there update-alternatives --quiet --remove sudo /usr/bin/sudo.ws
    holds "installed again" there dpkg -i "/root/jit-sudo_${version}_$arch.deb"
    prints "with the same key" "$key" there sh -c 'jitctl key show | head -n 2'
    prints "every run has its end, also the one during which it was removed" '{"sessions":[]}' there jitctl --json session list
    prints "and none was lost" "" there sh -c 'jitctl audit list | grep lost || true'
    holds "and the same journal" there sh -c '{ jitctl audit verify || [ $? -eq 5 ]; } && jitctl audit search "first run" | grep -q alice'
    there ln -s /usr/bin/jit-sudo /usr/local/bin/sudo
    prints "by a link it answers to sudo as well" 0 as alice /usr/local/bin/sudo -n id -u
    rm "$root/usr/local/bin/sudo"
}

purge() {
    holds "purged" there dpkg --purge jit-sudo
    [ -e "$root$state/journal.db" ] && [ ! -e "$root/etc/jit-sudo/policy.toml" ] || fail "purging took evidence, or left the policy"
    say "without a word purging keeps the evidence"
    holds "installed again" there dpkg -i "/root/jit-sudo_${version}_$arch.deb"
    holds "the old journal goes on" there sh -c '{ jitctl audit verify || [ $? -eq 5 ]; } && jitctl audit search "first run" | grep -q alice'
    holds "on a terminal purging asks first" purge_saying no
    [ -e "$root$state/journal.db" ] || fail "the answer was no, and the evidence went"
    say "and keeps the evidence when the answer is no"
    holds "installed again" there dpkg -i "/root/jit-sudo_${version}_$arch.deb"
    holds "asked again" purge_saying yes
    [ ! -e "$root$state" ] || fail "evidence stayed: $(ls "$root$state")"
    say "and removes it when the answer is yes"
    holds "installed on a host that knows nothing any more" there dpkg -i "/root/jit-sudo_${version}_$arch.deb"
    prints "a new journal begins" 1 there sh -c 'jit-sudo -n true; jitctl --json audit list --limit 1 | grep -c "\"seq\""'
    echo 'jit-sudo jit-sudo/purge-evidence boolean true' | there debconf-set-selections
    holds "purged, with the word given before" there dpkg --purge jit-sudo
    [ ! -e "$root$state" ] || fail "evidence stayed: $(ls "$root$state")"
    say "the evidence is gone"
}

# Types an answer to the question of debconf, on a terminal.
purge_saying() {
    mkfifo "$base/typed"
    exec 7<>"$base/typed"
    echo "$1" >&7
    script -qec "chroot '$root' /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin TERM=dumb DEBIAN_FRONTEND=teletype \
        dpkg --purge jit-sudo" /dev/null <&7 >"$base/asked"
    exec 7>&-
    rm "$base/typed"
    grep -q 'Remove the journal, its key and all recordings?' "$base/asked"
}
