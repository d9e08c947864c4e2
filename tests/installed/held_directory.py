#!/usr/bin/python3
"""Lists a directory into a page that is never delivered: held_directory.py PREFIX DIRECTORY [NAME]

The page is that of a file system in user space (fuse(4), version 7.31). The kernel holds the lock of the directory meanwhile.
PREFIX.held exists when that is so. Then a process tries to create a name there, whether it may or not: it waits for the lock, and
whoever looks up a name there that the kernel does not have in memory, lists or creates waits behind it. PREFIX.refused exists if
the directory cannot be opened. With NAME, every other name in the directory is looked up before, so that only the look-up of NAME
waits. Needs `unshare -Urm` and /dev/fuse.
"""

import ctypes
import os
import sys

import silent_file
from silent_file import libc

prefix, directory = sys.argv[1:3]
GETDENTS = {"x86_64": 217, "aarch64": 61}[os.uname().machine]


def mark(what):
    open(f"{prefix}.{what}", "w").close()


def held():
    if os.fork() == 0:
        os.close(device)  # otherwise the file system would outlive its server, and the lock with it
        try:
            os.mkdir(directory + "/never")
        except OSError:
            pass
        os._exit(0)
    mark("held")


try:
    listed = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
except PermissionError:
    mark("refused")
    sys.exit()
if len(sys.argv) > 3:
    for name in os.listdir(directory):
        if name != sys.argv[3]:
            try:
                os.lstat(f"{directory}/{name}")
            except OSError:
                pass
    os.lseek(listed, 0, os.SEEK_SET)
where = prefix + ".mount"
os.mkdir(where)
device = silent_file.mount(where)
if os.fork() == 0:
    os.close(device)
    libc.syscall.argtypes = [ctypes.c_long, ctypes.c_int, ctypes.c_void_p, ctypes.c_ulong]
    libc.syscall(GETDENTS, listed, silent_file.page(where), 4096)
    os._exit(0)
silent_file.serve(device, silent_file.READ, held)
