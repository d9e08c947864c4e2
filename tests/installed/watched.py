#!/usr/bin/python3
"""A descriptor whose last close never ends: watched.py FD COMMAND...

Executes COMMAND with an eventfd that an epoll instance watches. Another process waits for events of that instance, into a page of a
file system in user space (fuse(4), version 7.31) that is never delivered, and so holds the lock that the last close of the eventfd
needs (eventpoll_release in the kernel). Needs user namespaces; the waiter writes its pid to /tmp/watched.USER.
"""

import array
import ctypes
import os
import select
import socket
import struct
import subprocess
import sys
import tempfile

LOOKUP, FORGET, GETATTR, OPEN, READ, FLUSH, INIT, INTERRUPT, FORGET_ALL = 1, 2, 3, 14, 15, 25, 26, 36, 42
libc = ctypes.CDLL(None)


def wait_for_ever(where, line):
    file = os.open(where + "/program", os.O_RDONLY)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
    page = libc.mmap(None, 4096, 3, 2, file, 0)
    epoll, watched, ready = select.epoll(), os.eventfd(0), os.eventfd(1)
    epoll.register(watched, select.EPOLLIN)
    epoll.register(ready, select.EPOLLIN)
    line.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [watched]))])
    os.close(watched)
    libc.epoll_wait.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_int]
    libc.epoll_wait(epoll.fileno(), page, 8, -1)
    os._exit(1)


def serve(fd, told):
    where = tempfile.mkdtemp()
    device = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={device},rootmode=40000,user_id=0,group_id=0".encode()
    if libc.mount(b"watched", where.encode(), b"fuse", 2 | 4, options):  # nosuid, nodev
        sys.exit("cannot mount")
    waiter = os.fork()
    if waiter == 0:
        os.close(device)
        wait_for_ever(where, socket.socket(fileno=fd))

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
            reply(request, struct.pack("<QII", 0, 0, 0))
        elif kind == FLUSH:
            reply(request)
        elif kind == READ:  # never answered: the waiter hangs now
            open(told, "w").write(f"{waiter}\n")
        elif kind not in (FORGET, INTERRUPT, FORGET_ALL):
            reply(request, error=38)


if sys.argv[1] == "--serve":
    serve(int(sys.argv[2]), sys.argv[3])
ours, theirs = socket.socketpair()
told = f"/tmp/watched.{os.getuid()}"
words = ["unshare", "-Urm", "python3", sys.argv[0], "--serve", str(theirs.fileno()), told]
silent = subprocess.DEVNULL
subprocess.Popen(words, pass_fds=[theirs.fileno()], start_new_session=True, stdin=silent, stdout=silent, stderr=silent)
_, passed, _, _ = ours.recvmsg(1, 1000)
fd = array.array("i", passed[0][2])[0]
while not os.path.exists(told):
    select.select([], [], [], 0.02)
os.dup2(fd, int(sys.argv[1]))
os.execvp(sys.argv[2], sys.argv[2:])
