"""A daemon that serves several users: pam_daemon.py STACK ORDER…

Opens a session for each USER:NAP in one process, and then forks a child for each of them that sleeps NAP seconds as that
user; for `!USER:NAP` only a child, without a session. `env` and `bare` select whether children get the variables that PAM
has set. Prints `ready`, and then closes the session of each user whose name it reads.
"""
import ctypes, os, pwd, sys

pam = ctypes.CDLL("libpam.so.0")
pam.pam_getenvlist.restype = ctypes.POINTER(ctypes.c_char_p)


class Conversation(ctypes.Structure):
    _fields_ = [("conv", ctypes.c_void_p), ("data", ctypes.c_void_p)]


nobody = Conversation(None, None)


def open_session(user):
    handle = ctypes.c_void_p()
    assert pam.pam_start(stack.encode(), user.encode(), ctypes.byref(nobody), ctypes.byref(handle)) == 0
    assert pam.pam_open_session(handle, 0) == 0, user
    told, place = {}, 0
    words = pam.pam_getenvlist(handle)
    while words[place]:
        name, value = words[place].decode().split("=", 1)
        told[name] = value
        place += 1
    return handle, told


def beget(user, nap, environment):
    person = pwd.getpwnam(user)
    if os.fork() == 0:
        os.setsid()
        os.setgid(person.pw_gid)
        os.setuid(person.pw_uid)
        os.execve("/bin/sh", ["sh", "-c", f"sleep {nap} & exec sleep {nap}"], environment)


stack, told, orders = sys.argv[1], sys.argv[2] == "env", sys.argv[3:]
os.close(0) if sys.stdin is None else None
sessions = {}
for order in orders:
    if not order.startswith("!"):
        user, nap = order.split(":")
        sessions[user] = open_session(user)
for order in orders:
    user, nap = order.lstrip("!").split(":")
    _, environment = sessions.get(user, (None, {})) if not order.startswith("!") else (None, {})
    beget(user, nap, environment if told else {"PATH": "/bin:/usr/bin"})
print("ready", flush=True)
for line in sys.stdin:
    handle, _ = sessions.pop(line.strip())
    print("closed", pam.pam_close_session(handle, 0), flush=True)
