# The output of the trials, and helpers that act in the root under test: `entered` is the command that enters it.

say() {
    echo "packages: $*"
}

fail() {
    echo "packages: FAILED: $*" >&2
    [ -z "${HOLD-}" ] || { echo "packages: held in the namespaces of $base: ${entered[*]-}" >&2; sleep infinity; }
    exit 1
}

# holds WHAT COMMAND…: checks that the command succeeds.
holds() {
    local what=$1
    shift
    "$@" >"$base/said" 2>&1 || { cat "$base/said" >&2; fail "$what"; }
    say "$what"
}

# prints WHAT WANTED COMMAND…: checks the command's standard output.
prints() {
    local what=$1 wanted=$2 found
    shift 2
    found=$("$@" 2>"$base/said") || { cat "$base/said" >&2; fail "$what: $found"; }
    [ "$found" = "$wanted" ] || { cat "$base/said" >&2; fail "$what: '$found' instead of '$wanted'"; }
    say "$what"
}

# refuses WHAT WORDS COMMAND…: checks that the command fails and prints this text.
refuses() {
    local what=$1 words=$2 found
    shift 2
    found=$("$@" 2>&1) && fail "$what: it was done: $found"
    case $found in *"$words"*) say "$what" ;; *) fail "$what: $found" ;; esac
}

# within SECONDS WHAT COMMAND…: checks that the command succeeds within this time.
within() {
    local seconds=$1 what=$2 begun=$SECONDS
    shift 2
    until "$@" >"$base/said" 2>&1; do
        [ $((SECONDS - begun)) -lt "$seconds" ] || { cat "$base/said" >&2; fail "$what"; }
        sleep 0.2
    done
    say "$what"
}

there() {
    "${entered[@]}" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 "$@"
}

# as USER COMMAND…
as() {
    local user=$1
    shift
    there setpriv --reuid "$user" --regid "$user" --init-groups --reset-env "$@"
}

# Reads lines of mode and file.
modes() {
    local mode file
    while read -r mode file; do
        [ "$(stat -c '%a %U:%G' "$root$file")" = "$mode root:root" ] || fail "$file is $(stat -c '%a %U:%G' "$root$file")"
    done
    say "files have their owners and modes"
}
