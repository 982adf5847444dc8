/* Creates, attaches, detaches and removes segments as fast as it can, and prints its pid. Argument: how many. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/ipc.h>
#include <sys/shm.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    int count = argc > 1 ? atoi(argv[1]) : 300;
    for (int i = 0; i < count; i++) {
        int id = shmget(0x1000 + i, 4096, IPC_CREAT | IPC_EXCL | 0600);
        void *address = shmat(id, NULL, 0);
        if (id < 0 || address == (void *)-1 || shmdt(address) != 0 || shmctl(id, IPC_RMID, NULL) != 0) {
            perror("hundreds");
            return 1;
        }
    }
    printf("%d", getpid());
    return 0;
}
