# The runs of another user during the attack, by jit-sudo and sudo in turns. Prints `program status microseconds` for each. Usage:
# siege_victim.py SECONDS
import os, sys, time

end = time.monotonic() + float(sys.argv[1])
null = os.open(os.devnull, os.O_RDWR)
while time.monotonic() < end:
    for program in ('jit-sudo', 'sudo'):
        begun = time.perf_counter()
        pid = os.fork()
        if pid == 0:
            for stream in range(3):
                os.dup2(null, stream)
            os.execv('/usr/bin/' + program, [program, '-n', '/usr/bin/true'])
        _, status = os.waitpid(pid, 0)
        print(program, os.waitstatus_to_exitcode(status), round((time.perf_counter() - begun) * 1e6))
        time.sleep(0.05)
