/* Creates segment 0x2a, which a child attaches. Another child creates and attaches the same segment in an IPC namespace of
   its own, and then returns to the first namespace. Prints the pids of both. */

#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/shm.h>
#include <unistd.h>

static pid_t child(int returns, int *ready) {
    pid_t pid = fork();
    if (pid)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    int first = open("/proc/self/ns/ipc", O_RDONLY);
    if (returns && unshare(CLONE_NEWIPC))
        _exit(1);
    shmat(shmget(0x2a, 4096, IPC_CREAT | 0600), NULL, 0);
    if (returns && setns(first, CLONE_NEWIPC))
        _exit(1);
    write(ready[1], "", 1);
    pause();
    _exit(0);
}

int main(void) {
    int ready[2];
    char byte;
    if (pipe(ready) || shmget(0x2a, 4096, IPC_CREAT | 0600) < 0)
        return 1;
    pid_t pids[2] = {child(0, ready), child(1, ready)};
    close(ready[1]);
    if (read(ready[0], &byte, 1) != 1 || read(ready[0], &byte, 1) != 1)
        return 1;
    fprintf(stderr, "%d %d\n", pids[0], pids[1]);
    puts("ready");
    fflush(stdout);
    pause();
}
