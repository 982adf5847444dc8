/* Creates segment 0x2a. A child attaches it and moves to another IPC namespace, where nobody finds it. Another child shares
   the memory of this process, creates the same segment in a namespace of its own, and attaches that. */

#define _GNU_SOURCE
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/shm.h>
#include <unistd.h>

static char stack[65536];

static int attaches(void *pipe) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    shmat(shmget(0x2a, 4096, IPC_CREAT | 0600), NULL, 0);
    write(((int *)pipe)[1], "", 1);
    pause();
    return 0;
}

int main(void) {
    int ready[2];
    char byte;
    int id = shmget(0x2a, 4096, IPC_CREAT | 0600);
    if (pipe(ready)) return 1;
    if (fork() == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        shmat(id, NULL, 0);
        if (unshare(CLONE_NEWIPC)) return 1;
        write(ready[1], "", 1);
        pause();
    }
    if (clone(attaches, stack + 65000, CLONE_VM | CLONE_NEWIPC | SIGCHLD, ready) < 0) return 1;
    if (read(ready[0], &byte, 1) != 1 || read(ready[0], &byte, 1) != 1) return 1;
    puts("ready");
    fflush(stdout);
    pause();
}
