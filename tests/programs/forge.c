// forge ID KEY: makes this process of an ordinary user look as if it had the segment ID of its IPC namespace attached,
// under KEY. In fact a child that shares its memory has mapped a segment with that identifier in another IPC namespace
// (the child's user namespace lets it choose the identifier).
#define _GNU_SOURCE
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/shm.h>
#include <unistd.h>

static char stack[65536];
static int id, key;

static int elsewhere(void *unused)
{
    FILE *next = fopen("/proc/sys/kernel/shm_next_id", "w");
    fprintf(next, "%d", id);
    fclose(next);
    shmat(shmget(key, 4096, IPC_CREAT | 0600), NULL, 0);
    puts("ready");
    fflush(stdout);
    sleep(60);
    return 0;
}

int main(int argc, char **argv)
{
    id = atoi(argv[1]);
    key = strtol(argv[2], NULL, 0);
    clone(elsewhere, stack + 65000, CLONE_VM | CLONE_NEWUSER | CLONE_NEWIPC | SIGCHLD, 0);
    sleep(60);
    return 0;
}
