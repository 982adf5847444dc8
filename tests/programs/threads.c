/* A child that becomes a zombie creates segment 2, and this process segment 3. Its first thread ends, and another one
   continues to run. */

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
