"""A program that uses PAM, as a host of the module: pam_host.py STACK USER CALLS MODE…

Prints the answer of the last call and what changed in the process meanwhile, as one line of JSON. The modes make it a
difficult host: `children` reaps its children itself, `deaf` ignores SIGCHLD, `bare` has closed its
standard streams, `rude` answers no message, `setcred` sets credentials instead, `threads` has threads that hold locks.
"""
import ctypes, json, os, signal, sys, threading

stack, user, calls, modes = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4:]
pam, libc = ctypes.CDLL("libpam.so.0"), ctypes.CDLL(None)
libc.calloc.restype = ctypes.c_void_p
libc.calloc.argtypes = [ctypes.c_size_t, ctypes.c_size_t]


class Message(ctypes.Structure):
    _fields_ = [("style", ctypes.c_int), ("text", ctypes.c_char_p)]


CONV = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.c_int, ctypes.POINTER(ctypes.POINTER(Message)), ctypes.POINTER(ctypes.c_void_p), ctypes.c_void_p
)


class Conversation(ctypes.Structure):
    _fields_ = [("conv", CONV), ("data", ctypes.c_void_p)]


told = []


def converse(count, messages, responses, _):
    told.extend(messages[i].contents.text.decode() for i in range(count))
    if "rude" in modes:
        return 19  # PAM_CONV_ERR
    responses[0] = libc.calloc(count, 16)
    return 0


conversation = Conversation(CONV(converse), None)


def memory():
    return int(open("/proc/self/statm").read().split()[1]) * 4


def descriptors():
    return len(os.listdir("/proc/self/fd"))


def ask():
    handle = ctypes.c_void_p()
    assert pam.pam_start(stack.encode(), user.encode(), ctypes.byref(conversation), ctypes.byref(handle)) == 0
    answer = pam.pam_setcred(handle, 2) if "setcred" in modes else pam.pam_acct_mgmt(handle, 0)
    pam.pam_end(handle, answer)
    return answer


deaths = []
if "children" in modes:
    signal.signal(signal.SIGCHLD, lambda *_: deaths.append(1))
if "deaf" in modes:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
if "threads" in modes:
    for _ in range(8):
        threading.Thread(target=lambda: all(bytearray(999) for _ in iter(int, 1)), daemon=True).start()
out = os.dup(1)
if "bare" in modes:
    for fd in (0, 1, 2):
        os.close(fd)

for _ in range(min(calls, 100)):
    answer = ask()
before = memory(), descriptors(), len(told)
for _ in range(calls - 100):
    answer = ask()
after = memory(), descriptors(), len(told)
try:
    os.waitpid(-1, os.WNOHANG)
    children = True
except ChildProcessError:
    children = False
report = {
    "answer": answer,
    "grown_kib": after[0] - before[0],
    "grown_fds": after[1] - before[1],
    "deaths": len(deaths),
    "children": children,
    "handler": str(signal.getsignal(signal.SIGCHLD)) != "None",
    "mask": len(signal.pthread_sigmask(signal.SIG_BLOCK, [])),
    "told": told[:4],
}
os.write(out, json.dumps(report).encode())
os._exit(0)
