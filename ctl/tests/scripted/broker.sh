#!/bin/sh
# A broker by script. It is reached through a link in a directory of one test: what it is asked goes to ask.N there,
# what it answers is in reply.N (or in reply, for every question); `slow` holds the seconds it thinks first.
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
