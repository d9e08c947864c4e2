#!/bin/sh
# A scripted broker, started through a symbolic link in a directory of one test: it writes the request to ask.N there and
# answers with reply.N (or with reply, for every request); `slow` contains the seconds that it waits first.
here=$(dirname "$0")
number=1
while [ -e "$here/ask.$number" ]; do number=$((number + 1)); done
cat > "$here/ask.$number"
env > "$here/environment"
[ -e "$here/slow" ] && sleep "$(cat "$here/slow")"
[ -e "$here/says" ] && cat "$here/says" >&2
[ -e "$here/endless" ] && exec cat /dev/zero
if [ -e "$here/reply.$number" ]; then exec cat "$here/reply.$number"; fi
if [ -e "$here/reply" ]; then exec cat "$here/reply"; fi
exit 7
