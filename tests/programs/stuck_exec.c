/* stuck_exec FILE: attaches a new segment. A child that shares the memory of this process sticks in mmap(2) of FILE, with
   the memory map locked. Then this process sticks in execve(2), which waits for that lock and holds another one. */

#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <unistd.h>

static char stack[65536];

static int sticks(void *name) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    mmap(0, 4096, PROT_READ, MAP_PRIVATE, open(name, O_RDONLY), 0);
    _exit(0);
}

int main(int argc, char **argv) {
    char path[32], line[256], wanted[16];
    shmat(shmget(IPC_PRIVATE, 4096, IPC_CREAT | 0600), NULL, 0);
    int child = clone(sticks, stack + 65000, CLONE_VM | SIGCHLD, argv[1]);
    if (child < 0)
        return 1;
    snprintf(path, sizeof path, "/proc/%d/syscall", child);
    int length = snprintf(wanted, sizeof wanted, "%d ", SYS_mmap);
    /* Only a process that waits in a system call shows its number. */
    do {
        usleep(10000);
        int file = open(path, O_RDONLY);
        if (read(file, line, sizeof line) <= 0)
            return 1;
        close(file);
    } while (strncmp(line, wanted, length));
    execl("/bin/true", "true", NULL);
    return 1;
}
