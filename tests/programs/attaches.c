/* Attaches the segment with key 7 as often as its argument says, and waits. */

#include <stdio.h>
#include <stdlib.h>
#include <sys/shm.h>
int main(int argc, char **argv) {
    int id = shmget(7, 4096, IPC_CREAT | IPC_EXCL | 0600);
    for (int i = 0; i < atoi(argv[1]); i++)
        if (shmat(id, NULL, i % 2 ? SHM_RDONLY : 0) == (void *)-1) return perror("shmat"), 1;
    puts("attached");
    fflush(stdout);
    getchar();
    return 0;
}
