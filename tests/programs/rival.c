/* Makes the segment (of `o`), holds it attached until its input ends, removes it, or removes it and makes another (of
   `s`, with another mode) with its key and at its place in the table, which the kernel gives in turn; or even with
   its identifier, which the kernel does when identifiers have gone round, or when it is told to. */

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/shm.h>
#include <unistd.h>
static int place(int id) { return id & 0x7fff; }
static int make(key_t key, int letter, int mode, int low, int high) {
    for (int i = 0; i < 40000; i++) {
        int id = shmget(key, 64, IPC_CREAT | IPC_EXCL | mode);
        if (id == -1) return perror("shmget"), 1;
        if (place(id) >= low && place(id) <= high) {
            char *bytes = shmat(id, NULL, 0);
            if (bytes == (void *)-1) return perror("shmat"), 1;
            memset(bytes, letter, 64);
            return shmdt(bytes);
        }
        shmctl(id, IPC_RMID, NULL);
    }
    return fputs("no such place\n", stderr), 1;
}
int main(int argc, char **argv) {
    key_t key = atoi(argv[2]);
    int old = shmget(key, 0, 0);
    struct shmid_ds ds;
    /* Far from the first place, so that shmadm reads the table, and does not ask for each place. */
    if (strcmp(argv[1], "make") == 0) return make(key, 'o', 0600, 9, 0x7fff);
    if (strcmp(argv[1], "hold") == 0) {
        if (shmat(old, NULL, 0) == (void *)-1) return perror("shmat"), 1;
        puts("held");
        fflush(stdout);
        return getchar() == 'x';
    }
    if (old != -1) shmctl(old, IPC_RMID, NULL);
    if (strcmp(argv[1], "remove") == 0) return 0;
    if (strcmp(argv[1], "reuse") == 0) {
        int next = open("/proc/sys/kernel/shm_next_id", O_WRONLY);
        if (dprintf(next, "%d", old) < 0) return perror("shm_next_id"), 1;
        return make(key, 's', 0604, place(old), place(old));
    }
    /* What is attached keeps its place. */
    if (old != -1 && shmctl(old, IPC_STAT, &ds) == -1) return make(key, 's', 0604, place(old), place(old));
    return make(key, 's', 0604, 0, 0x7fff);
}
