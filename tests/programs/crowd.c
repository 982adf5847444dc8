// crowd SEGMENTS MAPPINGS TWINS FORKS: creates SEGMENTS private segments and attaches them MAPPINGS times in turn. The
// process shares its memory with TWINS others, each in its own IPC namespace, and has FORKS forked copies. They end with
// it.
#define _GNU_SOURCE
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/shm.h>
#include <unistd.h>

static int other(void *is_twin)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (is_twin && unshare(CLONE_NEWIPC))
        perror("unshare");
    sleep(60);
    return 0;
}

int main(int argc, char **argv)
{
    long segments = atol(argv[1]), mappings = atol(argv[2]), twins = atol(argv[3]), forks = atol(argv[4]);
    for (long n = 0; n < mappings; n++) {
        static int id[4096];
        long place = n % segments;
        if (n < segments && (id[place] = shmget(IPC_PRIVATE, 4096, IPC_CREAT | 0600)) < 0)
            return perror("shmget"), 1;
        if (shmat(id[place], 0, 0) == (void *)-1)
            return perror("shmat"), 1;
    }
    while (twins--)
        clone(other, (char *)malloc(16384) + 16000, CLONE_VM | SIGCHLD, &twins);
    while (forks--)
        if (!fork())
            return other(0);
    sleep(1);
    puts("ready");
    fflush(stdout);
    sleep(60);
    return 0;
}
