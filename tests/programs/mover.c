/* Attaches segment 7, moves to a new IPC namespace, and attaches a segment with the same identifier there. */

#define _GNU_SOURCE
#include <sched.h>
#include <stdio.h>
#include <sys/shm.h>
#include <unistd.h>
int main(void) {
    shmat(shmget(7, 0, 0), 0, 0);
    if (unshare(CLONE_NEWIPC)) return 1;
    shmat(shmget(8, 4096, IPC_CREAT | 0600), 0, 0);
    puts("ready"); fflush(stdout); pause();
}
