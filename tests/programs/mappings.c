// mappings N K [WORD…]: attaches segment 0x2a, marks it, and splits the attachment into N mappings, in a process that
// shares its memory with K others. The words make its command line long.
#define _GNU_SOURCE
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <unistd.h>

static int nap(void *unused)
{
    sleep(60);
    return 0;
}

int main(int argc, char **argv)
{
    long mappings = atol(argv[1]), sharers = atol(argv[2]);
    int id = shmget(0x2a, mappings * 4096, IPC_CREAT | 0600);
    char *start = shmat(id, NULL, 0);
    for (long page = 1; page < mappings; page += 2)
        mprotect(start + page * 4096, 4096, PROT_READ);
    while (sharers--)
        clone(nap, (char *)malloc(16384) + 16000, CLONE_VM | SIGCHLD, 0);
    puts("ready");
    fflush(stdout);
    sleep(60);
    return 0;
}
