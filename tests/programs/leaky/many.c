/* Creates and removes the given number of segments. With a second argument it leaves them behind. */
#include <stdlib.h>
#include <sys/shm.h>

static int create(void) {
    volatile int id = shmget(IPC_PRIVATE, 4096, IPC_CREAT | 0600);
    return id;
}

int main(int argc, char **argv) {
    for (int n = atoi(argv[1]); n > 0; n--) {
        int id = create();
        if (id == -1) return 1;
        if (argc < 3) shmctl(id, IPC_RMID, NULL);
    }
    return 0;
}
