/* Attaches segment 1. Its first thread ends, and another one continues to run. */

#include <pthread.h>
#include <stdio.h>
#include <sys/shm.h>
#include <unistd.h>
void *stay(void *none) { sleep(1); puts("ready"); fflush(stdout); pause(); return 0; }
int main(void) {
    pthread_t thread;
    shmat(shmget(1, 0, 0), 0, 0);
    pthread_create(&thread, 0, stay, 0);
    pthread_exit(0);
}
