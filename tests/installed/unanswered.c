/* A process whose memory nobody can read: unanswered FILE, which is on a file system that never delivers a page. One thread waits
   for the page, and holds the lock of the memory for reading; another one waits to write. Prints its pid. */
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

static char *page;
static volatile int begun;

static void *hold(void *unused)
{
    char byte;
    int memory = open("/proc/self/mem", O_RDONLY);
    begun = 1;
    pread(memory, &byte, 1, (off_t)(long)page);
    return unused;
}

static void *want(void *unused)
{
    while (!begun)
        usleep(1000);
    usleep(400000);
    mmap(0, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return unused;
}

int main(int count, char **words)
{
    pthread_t first, second;
    int file = open(words[count - 1], O_RDONLY);
    page = mmap(0, 4096, PROT_READ, MAP_PRIVATE, file, 0);
    if (page == MAP_FAILED) {
        perror("mmap");
        return 1;
    }
    printf("%d\n", getpid());
    fflush(stdout);
    pthread_create(&first, 0, hold, 0);
    pthread_create(&second, 0, want, 0);
    for (;;)
        pause();
}
