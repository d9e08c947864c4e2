#!/usr/bin/python3
"""A file system with one file: fuse.py DIRECTORY GOOD EVIL SWITCH UID

`DIRECTORY/program` reads as GOOD until it was read to its end SWITCH times, and then as EVIL, which is as long. It belongs to UID.
If SWITCH is negative, no read is ever answered. While DIRECTORY.held exists, no close is.
The protocol is that of fuse(4), version 7.31.
"""

import ctypes
import os
import struct
import sys

where, good, evil, switch, owner = sys.argv[1:]
good, evil, switch, owner = open(good, "rb").read(), open(evil, "rb").read(), int(switch), int(owner)
LOOKUP, FORGET, GETATTR, OPEN, READ, STATFS, RELEASE, FLUSH, INIT, OPENDIR, READDIR, INTERRUPT = 1, 2, 3, 14, 15, 17, 18, 25, 26, 27, 28, 36
RELEASEDIR, FORGET_ALL, ROOT, PROGRAM, DIRECT = 29, 42, 1, 2, 1


def attributes(node):
    mode, size, links = (0o40755, 4096, 2) if node == ROOT else (0o100755, len(good), 1)
    return struct.pack("<6Q10I", node, size, 8, 1, 1, 1, 0, 0, 0, mode, links, owner, owner, 0, 4096, 0)


def reply(request, data=b"", error=0):
    os.write(device, struct.pack("<IiQ", 16 + len(data), -error, request) + data)


device = os.open("/dev/fuse", os.O_RDWR)
options = f"fd={device},rootmode=40000,user_id={owner},group_id={owner},allow_other".encode()
if ctypes.CDLL(None).mount(b"served", where.encode(), b"fuse", 2 | 4, options):  # nosuid, nodev
    sys.exit("cannot mount")
ends = 0
while True:
    try:
        message = os.read(device, 1 << 20)
    except OSError:
        break
    _, kind, request, node, _, _, _, _ = struct.unpack("<IIQQIIII", message[:40])
    body = message[40:]
    if kind == INIT:
        reply(request, struct.pack("<4I2H2I2H8I", 7, 31, 131072, 0, 12, 10, 131072, 1, 32, 0, *[0] * 8))
    elif kind == LOOKUP and body.rstrip(b"\0") == b"program":
        reply(request, struct.pack("<4Q2I", PROGRAM, 0, 0, 0, 0, 0) + attributes(PROGRAM))
    elif kind == GETATTR:
        reply(request, struct.pack("<QII", 0, 0, 0) + attributes(node))
    elif kind in (OPEN, OPENDIR):
        reply(request, struct.pack("<QII", 0, DIRECT if node == PROGRAM else 0, 0))
    elif kind == READ and switch < 0:
        pass
    elif kind == READ:
        _, offset, size = struct.unpack("<QQI", body[:20])
        text = evil if ends >= switch else good
        ends += offset >= len(text)
        reply(request, text[offset:offset + size])
    elif kind == STATFS:
        reply(request, struct.pack("<5Q3I", 0, 0, 0, 0, 0, 4096, 255, 4096) + bytes(28))
    elif kind == FLUSH and os.path.exists(where + ".held"):
        pass
    elif kind in (RELEASE, FLUSH, RELEASEDIR, READDIR):
        reply(request)
    elif kind not in (FORGET, FORGET_ALL, INTERRUPT):
        reply(request, error=2 if kind == LOOKUP else 38)
