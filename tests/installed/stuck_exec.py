#!/usr/bin/python3
"""Processes at an exec that never ends: stuck_exec.py COUNT [NAME [PID]]

Each process has closed, by its exec, a file of a file system in user space (fuse(4), version 7.31) that does not answer. Meanwhile the
kernel lets nobody read its `stat` and `exe`. NAME is the name that they take before, PID the pid of the first one, which must be
free. Needs the right to mount; prints their pids.
"""

import os
import sys
import tempfile

from silent_file import FLUSH, mount, serve

where = tempfile.mkdtemp()
device = mount(where)
for _ in range(int(sys.argv[1])):
    if len(sys.argv) > 3:
        open("/proc/sys/kernel/ns_last_pid", "w").write(str(int(sys.argv[3]) - 1))
    if os.fork() == 0:
        os.close(device)
        os.open(where + "/program", os.O_RDONLY)  # closed at an exec, as python opens files
        if len(sys.argv) > 2:
            open("/proc/self/comm", "w").write(sys.argv[2])
        print(os.getpid(), flush=True)
        os.execv("/usr/bin/sleep", ["sleep", "900"])

serve(device, FLUSH, direct=1)
