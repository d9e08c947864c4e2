# The systems in which packages are tested. debootstrap creates each once, from an archive whose signature is checked; they are
# kept in $target. Each trial uses a copy, which is removed afterwards.

# The definition of a system, and its packages besides the minimal ones.
describe() {
    suite=${1%-*} mirror=http://deb.debian.org/debian components=main script=
    keyring=/usr/share/keyrings/debian-archive-keyring.gpg
    case $suite in
    noble)
        mirror=http://archive.ubuntu.com/ubuntu components=main,universe
        # This machine's debootstrap may be older than the suite; Ubuntu's suites share one script.
        script=/usr/share/debootstrap/scripts/jammy
        keyring=$target/ubuntu-keyring.gpg
        [ -e "$keyring" ] || ubuntu_keyring
        ;;
    esac
    case $1 in
    *-reference) with=$(packaging/deps names try) ;;
    *-booted) with="systemd-sysv dbus-user-session libpam-systemd openssh-server openssh-client needrestart procps" ;;
    *) with="cron rsyslog systemd-standalone-sysusers systemd-standalone-tmpfiles" ;;
    esac
}

# make_root NAME: creates the system if it is missing.
make_root() {
    local suite mirror components script keyring with root=$target/$1
    [ ! -e "$root/etc/debian_version" ] || return 0
    describe "$1"
    say "making a $1, once"
    rm -rf "$root.new"
    bootstrap "$root.new" >"$target/$1.log" 2>&1 || { tail "$target/$1.log" >&2; fail "no $1 could be made"; }
    mv "$root.new" "$root"
}

# shellcheck disable=SC2086  # no script means no argument, and a package is a word
bootstrap() {
    debootstrap --variant=minbase --force-check-gpg --keyring="$keyring" --components="$components" "$suite" "$1" "$mirror" $script &&
        printf '#!/bin/sh\nexit 101\n' >"$1/usr/sbin/policy-rc.d" &&
        chmod 755 "$1/usr/sbin/policy-rc.d" &&
        unshare --mount --pid --fork --mount-proc="$1/proc" chroot "$1" /usr/bin/env DEBIAN_FRONTEND=noninteractive \
            apt-get -qq -o Dpkg::Use-Pty=0 install --no-install-recommends -y $with
}

# Installs Ubuntu's keys from a package in the archive of a Debian whose signature was checked.
ubuntu_keyring() {
    local work=$target/ubuntu-keyring
    make_root trixie
    rm -rf "$work"
    mkdir -p "$work"
    chroot "$target/trixie" sh -c 'cd /tmp && apt-get -qq download ubuntu-keyring'
    dpkg-deb --extract "$target"/trixie/tmp/ubuntu-keyring_*.deb "$work"
    rm "$target"/trixie/tmp/ubuntu-keyring_*.deb
    cp "$work/usr/share/keyrings/ubuntu-archive-keyring.gpg" "$target/ubuntu-keyring.gpg"
    rm -rf "$work"
}

# enclosed NAME: runs packaging/test --inside NAME in namespaces of its own, with a control group as its root.
enclosed() (
    base=$(mktemp -d /var/tmp/jit-sudo-packages.XXXXXX)
    cgroup=
    trap clear_up EXIT
    own_cgroup
    (
        [ -z "$cgroup" ] || echo "$BASHPID" >"$cgroup/cgroup.procs"
        exec unshare --mount --pid --uts --ipc --net --cgroup --fork --kill-child packaging/test --inside "$1" "$base"
    )
)

own_cgroup() {
    local tree
    tree=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/self/mounts)
    [ -n "$tree" ] || return 0
    cgroup=$tree/${base##*/}
    mkdir "$cgroup"
}

clear_up() {
    local tries
    # A process leaves its group a moment after it has exited.
    for tries in $(seq 100); do
        [ -d "$cgroup" ] || break
        find "$cgroup" -depth -type d -exec rmdir {} + 2>/dev/null && break
        sleep 0.1
    done
    rm -rf --one-file-system "$base"
}

# mount_root NAME: mounts a copy of that system as $base/root, with devices of its own.
mount_root() {
    root=$base/root
    mount --make-rprivate /
    mkdir "$base/upper" "$base/work" "$root"
    mount -t overlay overlay -o "lowerdir=$target/$1,upperdir=$base/upper,workdir=$base/work" "$root"
    mount -t proc proc "$root/proc"
    mount -t tmpfs -o mode=755 tmpfs "$root/run"
    mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
    mount -t sysfs -o ro sysfs "$root/sys"
    mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup" 2>/dev/null || say "no cgroup2 here"
    mount_devices
    hostname web1
    tr -d - </proc/sys/kernel/random/uuid >"$root/etc/machine-id"
    echo web1 >"$root/etc/hostname"
    echo "127.0.1.1 web1" >>"$root/etc/hosts"
    cp "$out"/*.deb "$root/root/"
}

mount_devices() {
    local name
    mount -t tmpfs -o mode=755 tmpfs "$root/dev"
    for name in null:3 zero:5 full:7 random:8 urandom:9; do
        mknod -m 666 "$root/dev/${name%:*}" c 1 "${name#*:}"
    done
    mknod -m 666 "$root/dev/tty" c 5 0
    mkdir "$root/dev/pts" "$root/dev/shm"
    mount -t devpts -o newinstance,ptmxmode=666,mode=620,gid=5 devpts "$root/dev/pts"
    mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
    ln -s pts/ptmx "$root/dev/ptmx"
    ln -s /proc/self/fd "$root/dev/fd"
    ln -s /proc/self/fd/0 "$root/dev/stdin"
    ln -s /proc/self/fd/1 "$root/dev/stdout"
    ln -s /proc/self/fd/2 "$root/dev/stderr"
}

add_user() {
    there useradd --create-home --shell /bin/bash "$@"
    echo "${*: -1}:secret" | there chpasswd
}

# Lets alice run everything without a request or a password.
add_role() {
    printf '[roles.deploy]\nstanding = ["alice"]\ncommands = ["ALL"]\nauthenticate = false\n' >"$root/etc/jit-sudo/policy.d/deploy.toml"
}
