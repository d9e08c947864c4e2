#!/usr/bin/python3
"""A command on a terminal that can be made to answer no call: held_terminal.py PREFIX front|back COMMAND…

A process of the user reads from the terminal into a page of a file system in user space (fuse(4), version 7.31) that is never
delivered. The kernel holds a lock of the terminal meanwhile: whoever sets its modes waits for ever. PREFIX.held exists when that is
so, and only then the command is started, as a job in the foreground or background. When PREFIX.front is created, the job is brought
to the foreground and continued. When PREFIX.block is created, another process sets the modes: from then on, everybody who asks for
them, reads or writes waits too. Needs `unshare -Urm` and /dev/fuse.
"""

import ctypes
import os
import pty
import select
import signal
import subprocess
import sys
import termios
import time

import silent_file
from silent_file import libc

prefix, place, command = sys.argv[1], sys.argv[2], sys.argv[3:]


def mark(what):
    open(f"{prefix}.{what}", "w").close()


def is_marked(what):
    return os.path.exists(f"{prefix}.{what}")


def hold():
    """Reads standard input, and serves the page that the bytes should go to."""
    where = prefix + ".mount"
    os.mkdir(where)
    device = silent_file.mount(where)
    if os.fork() == 0:
        os.close(device)
        libc.read.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t]
        page = silent_file.page(where)
        mark("reads")
        libc.read(0, page, 4000)
        os._exit(0)
    silent_file.serve(device, silent_file.READ, lambda: mark("held"))


def lead():
    """Leads the session on the terminal, as a shell does."""
    stops = (signal.SIGTTOU, signal.SIGTTIN, signal.SIGTSTP)
    modes = termios.tcgetattr(0)
    for number in stops:
        signal.signal(number, signal.SIG_IGN)
    subprocess.Popen(["unshare", "-Urm", "python3", __file__, prefix, "hold"])
    while not is_marked("held"):
        time.sleep(0.02)
    job = os.fork()
    if job == 0:
        os.setpgid(0, 0)
        if place == "front":
            os.tcsetpgrp(0, os.getpid())
        for number in stops:
            signal.signal(number, signal.SIG_DFL)
        os.execvp(command[0], command)
    done = set()
    while True:
        for what in {"front", "block"} - done:
            if not is_marked(what):
                continue
            done.add(what)
            if what == "front":
                os.tcsetpgrp(0, job)
                os.kill(-job, signal.SIGCONT)
            elif os.fork() == 0:
                mark("blocked")
                termios.tcsetattr(0, termios.TCSANOW, modes)
                os._exit(0)
        time.sleep(0.02)


if place == "hold":
    hold()
pid, leader = pty.fork()
if pid == 0:
    lead()
written = False
while True:
    if is_marked("reads") and not written:
        written = True
        os.write(leader, b"x" * 200 + b"\n" + b"y" * 200 + b"\n")
    if select.select([leader], [], [], 0.1)[0]:
        try:
            os.write(1, os.read(leader, 4096))
        except OSError:
            break
