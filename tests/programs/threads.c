/* Makes segment 2 by a child that becomes a zombie, and segment 3 by itself; its first thread ends, another one
   stays. */

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/shm.h>
#include <sys/wait.h>
#include <unistd.h>
static void *stays(void *unused) {
    puts("ready");
    fflush(stdout);
    getchar();
    exit(0);
}
int main(void) {
    siginfo_t info;
    pthread_t thread;
    pid_t child = fork();
    if (child == 0) _exit(shmget(2, 1, IPC_CREAT | 0600) == -1);
    if (waitid(P_PID, child, &info, WEXITED | WNOWAIT) || shmget(3, 1, IPC_CREAT | 0600) == -1) return 1;
    if (pthread_create(&thread, NULL, stays, NULL)) return 1;
    pthread_exit(NULL);
}
