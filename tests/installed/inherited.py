"""Sets one attribute that exec keeps, then executes the command: inherited.py ATTRIBUTE COMMAND…
`inherited.py show` prints those that only the process itself can read."""
import ctypes, os, resource, signal, sys

libc = ctypes.CDLL(None, use_errno=True)


def call(*words):
    answer = libc.syscall(*[ctypes.c_long(word) if isinstance(word, int) else word for word in words])
    if answer < 0:
        sys.exit(f"cannot be set here: {os.strerror(ctypes.get_errno())}")


def prctl(option, *values):
    if libc.prctl(option, *[ctypes.c_ulong(value) for value in (*values, 0, 0, 0, 0)[:4]]) != 0:
        sys.exit(f"cannot be set here: {os.strerror(ctypes.get_errno())}")


def memory():
    nodes = ctypes.c_ulong(1)
    call(238, 2, ctypes.byref(nodes), 64)  # set_mempolicy(MPOL_BIND, node 0) on x86-64


def show():
    for name, option, *values in (("keepcaps", 7), ("mce", 34), ("merge", 68)):
        print(name, libc.prctl(option, *[ctypes.c_ulong(value) for value in (*values, 0, 0, 0, 0)[:4]]))
    cookie = ctypes.c_ulong(0)
    libc.prctl(62, 0, 0, 0, ctypes.byref(cookie))  # PR_SCHED_CORE, PR_SCHED_CORE_GET
    print("core", cookie.value)
    sys.exit()


def knows():
    name = sys.argv[2]
    get = {"mce": (34,), "merge": (68,), "core": (62, 0, 0, 0), "mdwe": (66,), "speculation": (52, 0)}.get(name)
    if name == "memory":
        answer = 0 if os.path.exists("/proc/self/numa_maps") else -1
    elif name == "io":
        answer = libc.syscall(252, 1, 0)  # ioprio_get
    elif name == "keyring":
        answer = libc.syscall(250, 0, -3, 0)  # keyctl(KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING)
    else:
        cookie = ctypes.c_ulong(0)
        last = ctypes.byref(cookie) if name == "core" else ctypes.c_ulong(0)
        answer = libc.prctl(get[0], *[ctypes.c_ulong(value) for value in (*get[1:], 0, 0, 0)[:3]], last)
    # PR_GET_SPECULATION_CTRL: whether it can be set, PR_SPEC_PRCTL; the others: an error or not.
    print("yes" if (answer > 0 and answer & 1 if name == "speculation" else answer >= 0) else "no")
    sys.exit()


SET = {
    "knows": knows,
    "filter": lambda: open("/proc/self/coredump_filter", "w").write("0x7f"),
    "show": show,
    "keepcaps": lambda: prctl(8, 1),
    "mce": lambda: prctl(33, 1, 1),  # PR_MCE_KILL_SET, PR_MCE_KILL_EARLY
    "merge": lambda: prctl(67, 1),
    "core": lambda: prctl(62, 1),  # PR_SCHED_CORE_CREATE
    "deathsig": lambda: prctl(1, signal.SIGKILL),
    "mdwe": lambda: prctl(65, 1),  # PR_MDWE_REFUSE_EXEC_GAIN
    "speculation": lambda: prctl(53, 0, 4),  # PR_SPEC_STORE_BYPASS, PR_SPEC_DISABLE
    "keyring": lambda: call(250, 1, 0),  # keyctl(KEYCTL_JOIN_SESSION_KEYRING) on x86-64
    "nothing": lambda: None,
    "slack": lambda: prctl(29, 1 << 62),
    "subreaper": lambda: prctl(36, 1),
    "thp": lambda: prctl(41, 1),
    "nice": lambda: os.nice(19),
    "idle": lambda: os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0)),
    "batch": lambda: os.sched_setscheduler(0, os.SCHED_BATCH | os.SCHED_RESET_ON_FORK, os.sched_param(0)),
    "cpu": lambda: os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}),
    "io": lambda: call(251, 1, 0, 3 << 13),  # ioprio_set(the idle class) on x86-64
    "memory": memory,
    "persona": lambda: libc.personality(0x0020000),  # UNAME26
    "umask": lambda: os.umask(0o777),
    "ignored": lambda: [signal.signal(number, signal.SIG_IGN) for number in (signal.SIGCHLD, signal.SIGTERM)],
    "blocked": lambda: signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD, signal.SIGUSR1, signal.SIGTSTP}),
    "score": lambda: open("/proc/self/oom_score_adj", "w").write("900"),
}
SET[sys.argv[1]]()
os.execvp(sys.argv[2], sys.argv[2:])
