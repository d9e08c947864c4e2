/* An NSS module that does not answer the enforcer as long as /run/hang exists. */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <nss.h>
#include <pwd.h>
#include <string.h>
#include <unistd.h>

static enum nss_status hang(int *errnop)
{
    char name[32] = "";
    int file = open("/proc/self/comm", O_RDONLY);
    if (file >= 0 && read(file, name, sizeof name - 1) > 0 && strncmp(name, "jit-sudo-enforc", 15) == 0)
        while (access("/run/hang", F_OK) == 0) {
            close(open("/run/hangs", O_CREAT | O_WRONLY, 0600));
            usleep(50000);
        }
    if (file >= 0)
        close(file);
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
