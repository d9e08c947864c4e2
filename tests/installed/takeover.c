/* Makes a running process make a system call, as an attacker would who controls it: takeover PID CALL. For root, on x86-64.
 * Prints the result of the call, or how the process ended. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>

static void fail(const char *what)
{
    perror(what);
    exit(2);
}

int main(int argc, char **argv)
{
    if (argc != 3)
        return 2;
    pid_t pid = atoi(argv[1]);
    int status;
    struct user_regs_struct before, regs;

    if (ptrace(PTRACE_SEIZE, pid, 0, 0) || ptrace(PTRACE_INTERRUPT, pid, 0, 0))
        fail("seize");
    if (waitpid(pid, &status, __WALL) < 0 || ptrace(PTRACE_GETREGS, pid, 0, &before))
        fail("stop");
    regs = before;
    /* A name, far below the stack of the process. */
    unsigned long place = (before.rsp - 65536) & ~15UL;
    char text[32] = "/etc/jit-sudo-was-taken-over";
    if (!strcmp(argv[2], "read"))
        strcpy(text, "/etc/shadow");
    if (!strcmp(argv[2], "execve"))
        strcpy(text, "/usr/bin/true");
    if (!strcmp(argv[2], "kill-all"))
        text[0] = 0;
    struct iovec ours = {text, sizeof text}, theirs = {(void *)place, sizeof text};
    if (process_vm_writev(pid, &ours, 1, &theirs, 1, 0) != sizeof text)
        fail("write");
    regs.orig_rax = -1;
    regs.rip -= 2; /* it waits in a system call, after the instruction that made it */
    regs.rdi = regs.rsi = regs.rdx = regs.r10 = regs.r8 = regs.r9 = 0;
    if (!strcmp(argv[2], "write") || !strcmp(argv[2], "read")) {
        regs.rax = SYS_openat;
        regs.rdi = AT_FDCWD;
        regs.rsi = place;
        regs.rdx = strcmp(argv[2], "read") ? O_CREAT | O_WRONLY : O_RDONLY;
        regs.r10 = 0600;
    } else if (!strcmp(argv[2], "socket")) {
        regs.rax = SYS_socket;
        regs.rdi = AF_INET;
        regs.rsi = SOCK_STREAM;
    } else if (!strcmp(argv[2], "local-socket")) {
        regs.rax = SYS_socket;
        regs.rdi = AF_UNIX;
        regs.rsi = SOCK_DGRAM;
    } else if (!strcmp(argv[2], "fork")) {
        regs.rax = SYS_fork;
    } else if (!strcmp(argv[2], "setuid")) {
        regs.rax = SYS_setuid;
        regs.rdi = 1;
    } else if (!strcmp(argv[2], "ptrace")) {
        regs.rax = SYS_ptrace;
        regs.rdi = PTRACE_TRACEME;
    } else if (!strcmp(argv[2], "mount")) {
        regs.rax = SYS_mount;
        regs.rdi = regs.rsi = place;
    } else if (!strcmp(argv[2], "execve")) {
        regs.rax = SYS_execve;
        regs.rdi = place;
    } else if (!strcmp(argv[2], "kill-all")) {
        regs.rax = SYS_kill;
        regs.rdi = -1; /* with signal 0, which only checks */
    } else {
        return 2;
    }
    if (ptrace(PTRACE_SETREGS, pid, 0, &regs) || ptrace(PTRACE_SINGLESTEP, pid, 0, 0))
        fail("step");
    for (;;) {
        if (waitpid(pid, &status, __WALL) < 0)
            fail("wait");
        if (WIFSIGNALED(status)) {
            printf("killed by %d\n", WTERMSIG(status));
            return 0;
        }
        if (WSTOPSIG(status) == SIGTRAP)
            break;
        if (WSTOPSIG(status) == SIGSYS) {
            ptrace(PTRACE_CONT, pid, 0, SIGSYS);
            continue;
        }
        if (ptrace(PTRACE_SINGLESTEP, pid, 0, 0))
            fail("step");
    }
    if (ptrace(PTRACE_GETREGS, pid, 0, &regs))
        fail("look");
    long gave = (long)regs.rax;
    if (gave < 0)
        printf("%s\n", strerrorname_np(-gave));
    else
        printf("done\n");
    if (strcmp(argv[2], "execve") || gave < 0)
        ptrace(PTRACE_SETREGS, pid, 0, &before);
    ptrace(PTRACE_DETACH, pid, 0, 0);
    return 0;
}
