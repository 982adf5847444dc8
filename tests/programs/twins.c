/* Attaches segment 1 and lets a child share its memory, which so shows the same attachment. Argument: the key. */

#define _GNU_SOURCE
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/shm.h>
#include <unistd.h>

static char stack[65536];

static int stays(void *unused) {
    pause();
    return 0;
}

int main(int argc, char **argv) {
    shmat(shmget(atoi(argv[1]), 0, 0), NULL, 0);
    clone(stays, stack + 65000, CLONE_VM | SIGCHLD, 0);
    puts("ready");
    fflush(stdout);
    pause();
}
