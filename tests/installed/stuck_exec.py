#!/usr/bin/python3
"""Processes at an exec that never ends: stuck_exec.py COUNT [NAME [PID]]

Each process has closed, by its exec, a file of a file system in user space (fuse(4), version 7.31) that does not answer. Meanwhile the
kernel lets nobody read its `stat` and `exe`. NAME is the name that they take before, PID the pid of the first one, which must be
free. Needs the right to mount; prints their pids.
"""

import ctypes
import os
import struct
import sys
import tempfile

LOOKUP, FORGET, GETATTR, OPEN, FLUSH, INIT, INTERRUPT, FORGET_ALL = 1, 2, 3, 14, 25, 26, 36, 42
where = tempfile.mkdtemp()
device = os.open("/dev/fuse", os.O_RDWR)
options = f"fd={device},rootmode=40000,user_id=0,group_id=0".encode()
if ctypes.CDLL(None).mount(b"stuck", where.encode(), b"fuse", 2 | 4, options):  # nosuid, nodev
    sys.exit("cannot mount")
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


def attributes(node):
    mode, size, links = (0o40755, 4096, 2) if node == 1 else (0o100777, 4096, 1)
    return struct.pack("<6Q10I", node, size, 8, 1, 1, 1, 0, 0, 0, mode, links, 0, 0, 0, 4096, 0)


def reply(request, data=b"", error=0):
    os.write(device, struct.pack("<IiQ", 16 + len(data), -error, request) + data)


while True:
    message = os.read(device, 1 << 20)
    _, kind, request, node, _, _, _, _ = struct.unpack("<IIQQIIII", message[:40])
    if kind == INIT:
        reply(request, struct.pack("<4I2H2I2H8I", 7, 31, 131072, 0, 12, 10, 131072, 1, 32, 0, *[0] * 8))
    elif kind == LOOKUP:
        reply(request, struct.pack("<4Q2I", 2, 0, 1000, 1000, 0, 0) + attributes(2))
    elif kind == GETATTR:
        reply(request, struct.pack("<QII", 1000, 0, 0) + attributes(node))
    elif kind == OPEN:
        reply(request, struct.pack("<QII", 0, 1, 0))
    elif kind not in (FLUSH, FORGET, INTERRUPT, FORGET_ALL):
        reply(request, error=38)
