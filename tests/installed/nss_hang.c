/* An NSS module that does not answer the programs that /run/hang names, as long as it exists. */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <nss.h>
#include <pwd.h>
#include <string.h>
#include <unistd.h>

/* Whether /run/hang holds the name of this process, as in /proc/PID/comm. */
static int is_named(void)
{
    char own[32] = "", named[32] = "";
    int comm = open("/proc/self/comm", O_RDONLY), hang = open("/run/hang", O_RDONLY);
    int is_read = read(comm, own, sizeof own - 1) > 0 && read(hang, named, sizeof named - 1) > 0;
    close(comm);
    close(hang);
    return is_read && strcmp(own, named) == 0;
}

static enum nss_status hang(int *errnop)
{
    while (is_named()) {
        close(open("/run/hangs", O_CREAT | O_WRONLY, 0600));
        usleep(50000);
    }
    *errnop = ENOENT;
    return NSS_STATUS_NOTFOUND;
}

enum nss_status _nss_hang_getpwuid_r(uid_t uid, struct passwd *result, char *buffer, size_t size, int *errnop)
{
    return hang(errnop);
}

enum nss_status _nss_hang_getpwnam_r(const char *name, struct passwd *result, char *buffer, size_t size, int *errnop)
{
    return hang(errnop);
}

enum nss_status _nss_hang_getgrgid_r(gid_t gid, struct group *result, char *buffer, size_t size, int *errnop)
{
    return hang(errnop);
}

enum nss_status _nss_hang_getgrnam_r(const char *name, struct group *result, char *buffer, size_t size, int *errnop)
{
    return hang(errnop);
}
