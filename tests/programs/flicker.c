/* Forty segments stay attached, and children attach and detach forty others all the time, until stdin ends. */

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/shm.h>
#include <sys/wait.h>
#include <unistd.h>

static int loop(int id) {
    srand(id);
    for (;;) {
        struct pollfd stop = { .fd = 0, .events = POLLIN };
        void *at = shmat(id, NULL, 0);
        if (at == (void *)-1) return errno != EINVAL && errno != EIDRM;
        *(char *)at = 1;
        usleep(rand() % 500);
        if (shmdt(at) != 0) return 2;
        usleep(rand() % 500);
        if (poll(&stop, 1, 0) != 0) return 0;
    }
}

int main(void) {
    int bad = 0, status, held[40];
    for (int i = 0; i < 40; i++) {
        int loose = shmget(IPC_PRIVATE, 4096, 0600);
        held[i] = shmget(IPC_PRIVATE, 4096, 0600);
        if (fork() == 0) _exit(loop(loose));
        printf("%d %d\n", held[i], loose);
        fflush(stdout);
    }
    /* After the forks, so that no child inherits these attachments. */
    for (int i = 0; i < 40; i++) {
        if (shmat(held[i], NULL, 0) == (void *)-1) return 3;
    }
    puts("ready");
    fflush(stdout);
    while (wait(&status) > 0) bad |= status;
    return bad != 0;
}
