/* A thread leaves a segment behind. */
#include <pthread.h>
#include <sys/shm.h>

static void *create_in_thread(void *unused) {
    shmget(IPC_PRIVATE, 4096, IPC_CREAT | 0600);
    return unused;
}

int main(void) {
    pthread_t thread;
    return pthread_create(&thread, NULL, create_in_thread, NULL) || pthread_join(thread, NULL);
}
