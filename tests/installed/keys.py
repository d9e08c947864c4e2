"""Runs jit-sudo on terminals of its own, presses ^C all the time from the command's first output on, and prints how often
jit-sudo exited with which status. Usage: keys.py COUNT WORDS..."""
import collections
import os
import pty
import sys
import time

statuses = collections.Counter()
for _ in range(int(sys.argv[1])):
    pid, terminal = pty.fork()
    if pid == 0:
        os.execvp("jit-sudo", ["jit-sudo", *sys.argv[2:]])
    os.read(terminal, 1)  # the command has begun
    os.set_blocking(terminal, False)
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            break
        for act in (lambda: os.write(terminal, b"\x03"), lambda: os.read(terminal, 65536)):
            try:
                act()
            except OSError:
                pass
        time.sleep(0.0004)
    statuses[status] += 1
    os.close(terminal)
print(" ".join(f"{os.waitstatus_to_exitcode(status)}:{count}" for status, count in sorted(statuses.items())))
