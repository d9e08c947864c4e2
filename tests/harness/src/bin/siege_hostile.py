# The attacks of one hostile user, all at once: siege.rs runs it as a user who may only request a role. Each attack is a process
# of its own that continues until the time is over. Usage: siege_hostile.py SECONDS
import fcntl, os, pty, random, resource, signal, subprocess, sys, time

END = time.monotonic() + float(sys.argv[1])
JIT_SUDO, JITCTL, BROKER = '/usr/bin/jit-sudo', '/usr/bin/jitctl', '/usr/libexec/jit-sudo/jit-sudo-broker'
NULL = open(os.devnull, 'r+b')


def quiet(words, **more):
    return subprocess.run(words, stdin=NULL, stdout=NULL, stderr=NULL, **more)


def hog():
    os.sched_setaffinity(0, {0})
    while True:
        pass


def idle_writer():
    """Holds locks as the least of all processes, beside the hog."""
    os.sched_setaffinity(0, {0})
    os.nice(19)
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    while True:
        quiet([JIT_SUDO, '-n', '/usr/bin/id'])


def stopper():
    """Sends ^Z at any moment of a start."""
    while True:
        pid, terminal = pty.fork()
        if pid == 0:
            os.execv(JIT_SUDO, ['jit-sudo', '-n', '/usr/bin/id'])
        time.sleep(random.uniform(0, 0.006))
        try:
            os.write(terminal, b'\x1a')
        except OSError:
            pass
        time.sleep(0.02)
        os.close(terminal)
        os.waitpid(pid, 0)


def full_pipe():
    """Refusals and listings whose readers never read."""
    waiting = []
    while True:
        waiting = [child for child in waiting if child.poll() is None]
        for words in ([JIT_SUDO, '-n', '/usr/bin/id'], [JIT_SUDO, '-l'], [JITCTL, 'requests']):
            if len(waiting) < 30:
                reader, writer = os.pipe()
                fcntl.fcntl(writer, fcntl.F_SETFL, os.O_NONBLOCK)
                try:
                    while True:
                        os.write(writer, b'x' * 4096)
                except BlockingIOError:
                    fcntl.fcntl(writer, fcntl.F_SETFL, 0)
                waiting.append(subprocess.Popen(words, stdin=NULL, stdout=writer, stderr=writer))
                os.close(writer)  # the reading end stays open, unread
        time.sleep(0.2)


def mute_brokers():
    """As many brokers as there may be, without a question."""
    waiting = []
    while True:
        waiting = [child for child in waiting if child.poll() is None]
        if len(waiting) < 100:
            waiting.append(subprocess.Popen([BROKER], stdin=subprocess.PIPE, stdout=NULL, stderr=NULL))
        time.sleep(0.02)


def asker():
    """Requests that are large, cancelled and asked for anew."""
    large = ['x' * 15000] * 4
    while True:
        quiet([JITCTL, 'request', '--role', 'asked', '--reason', 'r' * 900, '--', '/usr/bin/echo', *large])
        quiet([JITCTL, 'request', '--role', 'asked', '--reason', 'r', '--', '/usr/bin/echo', *(['\x01' * 100000] * 15)])
        listed = subprocess.run([JITCTL, '--json', 'requests'], stdin=NULL, capture_output=True).stdout
        for part in listed.split(b'"id":"')[1:]:
            quiet([JITCTL, 'cancel', part[:10].decode('ascii', 'replace')])


def refused():
    """Refusals of two megabytes of control characters."""
    words = ['\x1b' * 100000] * 18
    while True:
        quiet([JIT_SUDO, '-n', '/usr/bin/id', *words])


def limited():
    """Limits that could silence or break a run, and timers that fire late."""
    limits = [(resource.RLIMIT_FSIZE, 0), (resource.RLIMIT_NOFILE, 12), (resource.RLIMIT_CPU, 1), (resource.RLIMIT_AS, 1 << 26)]

    def lower():
        limit, most = random.choice(limits)
        resource.setrlimit(limit, (most, most))

    while True:
        try:
            quiet([JIT_SUDO, '-n', '/usr/bin/id'], preexec_fn=lower)
        except (OSError, subprocess.SubprocessError):
            pass


def waiter():
    """Waits for requests of one's own, with as many processes as may."""
    waiting = []
    while True:
        waiting = [child for child in waiting if child.poll() is None]
        if len(waiting) < 50:
            words = [JIT_SUDO, '--role', 'asked', '--reason', 'w', '--wait=30s', '/usr/bin/id']
            waiting.append(subprocess.Popen(words, stdin=NULL, stdout=NULL, stderr=NULL))
        time.sleep(0.1)


attacks = [hog, idle_writer, stopper, full_pipe, mute_brokers, asker, refused, limited, waiter]
children = []
for attack in attacks:
    pid = os.fork()
    if pid == 0:
        os.setsid()
        try:
            attack()
        finally:
            os._exit(1)
    children.append(pid)
time.sleep(max(0.0, END - time.monotonic()))
alive = []
for attack, pid in zip(attacks, children):
    ended, _ = os.waitpid(pid, os.WNOHANG)
    if ended:
        alive.append(attack.__name__)
    else:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
print('ended early:', ' '.join(alive) or 'none')
