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
import subprocess
import sys
import tempfile

import silent_file
from silent_file import libc


def wait_for_ever(where, line):
    page = silent_file.page(where)
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
    device = silent_file.mount(where)
    waiter = os.fork()
    if waiter == 0:
        os.close(device)
        wait_for_ever(where, socket.socket(fileno=fd))
    # The waiter hangs when it reads.
    silent_file.serve(device, silent_file.READ, lambda: open(told, "w").write(f"{waiter}\n"))


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
