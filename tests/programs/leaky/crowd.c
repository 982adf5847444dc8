/* A hundred processes create a segment, a semaphore set and a queue each, all at the same time. Odd and even processes
   do it in different functions. The even ones remove theirs. Prints the pids of the odd ones. */
#include <stdio.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile int ids[3];
static __attribute__((noinline)) void create_odd(void) {
    ids[0] = shmget(IPC_PRIVATE, 4096, IPC_CREAT | 0600);
    ids[1] = semget(IPC_PRIVATE, 2, IPC_CREAT | 0600);
    ids[2] = msgget(IPC_PRIVATE, IPC_CREAT | 0600);
}
static __attribute__((noinline)) void create_even(void) {
    ids[0] = shmget(IPC_PRIVATE, 4096, IPC_CREAT | 0600);
    ids[1] = semget(IPC_PRIVATE, 2, IPC_CREAT | 0600);
    ids[2] = msgget(IPC_PRIVATE, IPC_CREAT | 0600);
}

int main(void) {
    int start[2];
    char byte;
    if (pipe(start)) return 1;
    for (int n = 0; n < 100; n++)
        if (fork() == 0) {
            close(start[1]);
            read(start[0], &byte, 1);
            if (n % 2) {
                create_odd();
                dprintf(1, "%d\n", getpid());
            } else {
                create_even();
                shmctl(ids[0], IPC_RMID, NULL);
                semctl(ids[1], 0, IPC_RMID);
                msgctl(ids[2], IPC_RMID, NULL);
            }
            _exit(ids[0] == -1 || ids[1] == -1 || ids[2] == -1);
        }
    close(start[1]);
    int status, bad = 0;
    while (wait(&status) > 0) bad |= status;
    return bad != 0;
}
