# Checks the rpms in an empty root, as far as a Debian can.

rpms() (
    base=$(mktemp -d /var/tmp/jit-sudo-packages.XXXXXX)
    trap 'rm -rf "$base"' EXIT
    root=$base/root
    mkdir "$root"
    holds "the rpms go into an empty root" rpm --root "$root" --dbpath /var/lib/rpm --nodeps --noscripts --install \
        "$out/jit-sudo-$version-1.$(uname -m).rpm" "$out/pam_jit_sudo-$version-1.$(uname -m).rpm"
    modes <<'MODES'
4755 /usr/bin/jit-sudo
4755 /usr/libexec/jit-sudo/jit-sudo-broker
755 /usr/bin/jitctl
755 /usr/lib64/security/pam_jit_sudo.so
700 /var/lib/jit-sudo
700 /etc/jit-sudo/policy.d
711 /etc/jit-sudo/hooks.d
640 /etc/jit-sudo/policy.toml
644 /etc/pam.d/jit-sudo
MODES
    ! grep -q '@include' "$root"/etc/pam.d/jit-sudo* || fail "the PAM services are Debian's"
    rpm --root "$root" --dbpath /var/lib/rpm --query --configfiles jit-sudo | grep -qx /etc/jit-sudo/policy.toml || fail "policy.toml is no configuration"
    holds "what was installed is what is in them" rpm --root "$root" --dbpath /var/lib/rpm --verify --nodeps --noscripts jit-sudo pam_jit_sudo
    [ -z "$(find "$root" -perm /6000 ! -path "$root/usr/bin/jit-sudo" ! -path "$root/usr/libexec/jit-sudo/jit-sudo-broker")" ] || fail "something else is set-user-ID"
    say "only two files are set-user-ID"
)
