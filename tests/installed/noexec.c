/* Tries every way to execute another program in a child; prints its name and the result. Linked statically, so that a
 * preloaded library cannot be what prevents it. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef PTRACE_SECCOMP_GET_FILTER
#define PTRACE_SECCOMP_GET_FILTER 0x420c
#endif

static char *const words[] = {"true", NULL};

static void tell(const char *how, int error)
{
    printf("%s: %s\n", how, error ? strerrorname_np(error) : "executed");
    fflush(stdout);
}

/* The child exits with 0 by executing `true`, else with its errno. */
static void attempt(const char *how, int (*exec)(void))
{
    int status;
    pid_t child = fork();
    if (child == 0) {
        int answer = exec();
        _exit(answer < -1 ? -answer : errno);
    }
    waitpid(child, &status, 0);
    tell(how, WIFEXITED(status) ? WEXITSTATUS(status) : -1);
}

static int by_execve(void) { return execve("/bin/true", words, NULL); }

static int by_execveat(void)
{
    return (int)syscall(SYS_execveat, open("/bin/true", O_PATH), "", words, NULL, AT_EMPTY_PATH);
}

static int by_script(void) { return execve("/usr/local/bin/noexec-script", words, NULL); }

static int by_guessing(void)
{
    uint64_t guess[] = {0, 1, -1, 0x8000000000000000, 0x0123456789abcdef};
    for (unsigned i = 0; i < sizeof guess / sizeof *guess; i++)
        syscall(SYS_execve, "/bin/true", words, NULL, guess[i], guess[i], guess[i]);
    return -1;
}

#ifdef __x86_64__
/* Uses the 32-bit system call entry, which a 64-bit program can use too; the addresses of a program that is not PIE fit. */
static int by_int80(void)
{
    int answer;
    __asm__ volatile("int $0x80" : "=a"(answer) : "0"(11), "b"("/bin/true"), "c"(0), "d"(0) : "memory");
    return answer;
}

static int by_x32(void) { return (int)syscall(0x40000000 + 520, "/bin/true", words, NULL); }
#endif

static void by_posix_spawn(void)
{
    pid_t child;
    int error = posix_spawn(&child, "/bin/true", NULL, NULL, words, NULL);
    if (!error)
        waitpid(child, NULL, 0);
    tell("posix_spawn", error);
}

static void by_vfork(void)
{
    volatile int error = 0;
    pid_t child = vfork();
    if (child == 0) {
        execve("/bin/true", words, NULL);
        error = errno;
        _exit(0);
    }
    waitpid(child, NULL, 0);
    tell("vfork", error);
}

/* A process with a seccomp filter cannot read it, not even that of a child. */
static void read_the_filter(void)
{
    pid_t child = fork();
    if (child == 0) {
        ptrace(PTRACE_TRACEME, 0, NULL, NULL);
        raise(SIGSTOP);
        _exit(0);
    }
    waitpid(child, NULL, 0);
    errno = 0;
    long answer = ptrace(PTRACE_SECCOMP_GET_FILTER, child, 0, NULL);
    printf("filter: %s\n", answer < 0 ? strerrorname_np(errno) : "read");
    ptrace(PTRACE_KILL, child, NULL, NULL);
    waitpid(child, NULL, 0);
}

int main(void)
{
    attempt("execve", by_execve);
    attempt("execveat", by_execveat);
    attempt("script", by_script);
    attempt("guess", by_guessing);
    by_posix_spawn();
    by_vfork();
#ifdef __x86_64__
    attempt("int80", by_int80);
    attempt("x32", by_x32);
#endif
    read_the_filter();
    tell("io_uring", syscall(425, 1, NULL) < 0 ? errno : 0);
    if (setresuid(65534, 65534, 65534) == 0)
        attempt("nobody", by_execve);
    return 0;
}
