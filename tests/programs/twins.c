/* Attaches a segment and starts a child that shares its memory, so /proc shows the attachment for both. Argument: the
   key. */

#define _GNU_SOURCE
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/shm.h>
#include <unistd.h>

static char stack[65536];

/* The child ends with its parent, which the test ends. */
static int stays(void *parent) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() == *(pid_t *)parent)
        pause();
    return 0;
}

int main(int argc, char **argv) {
    static pid_t self;
    self = getpid();
    shmat(shmget(atoi(argv[1]), 0, 0), NULL, 0);
    clone(stays, stack + 65000, CLONE_VM | SIGCHLD, &self);
    puts("ready");
    fflush(stdout);
    pause();
}
