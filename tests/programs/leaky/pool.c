/* One of twenty test cases. Number 13 forgets its segment. */
#include <stdlib.h>
#include <sys/shm.h>

static __attribute__((noinline)) int create_pool(void) {
    volatile int size = 4096;
    return shmget(IPC_PRIVATE, size, IPC_CREAT | 0600) + 0 * size;
}

int main(int argc, char **argv) {
    int id = create_pool();
    if (argc < 2 || atoi(argv[1]) != 13) shmctl(id, IPC_RMID, NULL);
    return id == -1;
}
