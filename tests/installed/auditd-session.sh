# Runs in the mounts of a private root and the first PID namespace: starts a real auditd, and runs of the user $1. Restores the
# settings of the kernel at the end.
mount -t proc proc /proc
enabled=$(auditctl -s | awk '$1 == "enabled" { print $2 }')
auditd -n -c /etc/audit >/root/auditd.out 2>&1 &
daemon=$!
trap 'kill $daemon; wait $daemon || true; auditctl -e "$enabled" >/dev/null' EXIT
tries=0
until auditctl -s | grep -q "^pid $daemon$"; do
    tries=$((tries + 1)); [ $tries -lt 200 ] || { cat /root/auditd.out >&2; exit 1; }
    sleep 0.05
done
auditctl -e 1 >/dev/null
run() { setpriv --reuid "$person" --regid "$person" --init-groups --reset-env jit-sudo -n "$@"; }
person=$1
run true
run true "$(printf 'line\nfeed \033[2J "quoted"')"
run true "$(printf '\377\376 not UTF-8')"
run true "$(head -c 20000 /dev/zero | tr '\0' x)"
! setpriv --reuid alice --regid alice --init-groups --reset-env jit-sudo -n id 'a b'
# A daemon that is stopped misses records and gets them when it is back. Records that it has read but not yet written when it is
# stopped are lost, which is not tested, so it gets a moment.
sleep 0.5
kill $daemon; wait $daemon || true
run true away
auditd -n -c /etc/audit >/root/auditd.out 2>&1 &
daemon=$!
until auditctl -s | grep -q "^pid $daemon$"; do sleep 0.05; done
auditctl -e 1 >/dev/null
run true back
sleep 0.5
