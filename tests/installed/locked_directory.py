#!/usr/bin/python3
"""Keeps the lock of a directory for ever: locked_directory.py DIRECTORY WHERE, in a new user and mount namespace.

Reads the entries of DIRECTORY into a page of a file in a file system, mounted at WHERE, that never delivers the page. The kernel holds
the lock of the directory meanwhile, shared. As soon as a process wants to create an entry, every look-up of a name that is not cached
waits for it. The protocol is that of fuse(4), version 7.31.
"""

import ctypes
import mmap
import os
import struct
import sys

directory, where = sys.argv[1:]
LOOKUP, FORGET, GETATTR, OPEN, READ, FLUSH, INIT, INTERRUPT, FORGET_ALL = 1, 2, 3, 14, 15, 25, 26, 36, 42
ROOT, FILE, GETDENTS = 1, 2, {"x86_64": 217}.get(os.uname().machine, 61)
libc = ctypes.CDLL(None)


def attributes(node):
    mode, links = (0o40755, 2) if node == ROOT else (0o100777, 1)
    return struct.pack("<6Q10I", node, 4096, 8, 1, 1, 1, 0, 0, 0, mode, links, 0, 0, 0, 4096, 0)


def reply(request, data=b"", error=0):
    os.write(device, struct.pack("<IiQ", 16 + len(data), -error, request) + data)


listed = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
device = os.open("/dev/fuse", os.O_RDWR)
options = f"fd={device},rootmode=40000,user_id=0,group_id=0".encode()
if libc.mount(b"never", where.encode(), b"fuse", 2 | 4, options):  # nosuid, nodev
    sys.exit("cannot mount")
if os.fork() == 0:
    os.close(device)
    page = mmap.mmap(os.open(where + "/file", os.O_RDONLY), 4096, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE)
    address = ctypes.addressof(ctypes.c_char.from_buffer(page))
    libc.syscall(GETDENTS, listed, ctypes.c_void_p(address), ctypes.c_ulong(4096))
    os._exit(0)
while True:
    try:
        message = os.read(device, 1 << 20)
    except OSError:
        break
    _, kind, request, node, _, _, _, _ = struct.unpack("<IIQQIIII", message[:40])
    if kind == INIT:
        reply(request, struct.pack("<4I2H2I2H8I", 7, 31, 131072, 0, 12, 10, 131072, 1, 32, 0, *[0] * 8))
    elif kind == LOOKUP and message[40:].rstrip(b"\0") == b"file":
        reply(request, struct.pack("<4Q2I", FILE, 0, 1000, 1000, 0, 0) + attributes(FILE))
    elif kind == GETATTR:
        reply(request, struct.pack("<QII", 1000, 0, 0) + attributes(node))
    elif kind == OPEN:
        reply(request, struct.pack("<QII", 0, 0, 0))
    elif kind == READ:
        print("held", flush=True)
    elif kind == FLUSH:
        reply(request)
    elif kind not in (FORGET, FORGET_ALL, INTERRUPT):
        reply(request, error=2 if kind == LOOKUP else 38)
