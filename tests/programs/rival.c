/* rival make|hold|remove|take|reuse KEY. "make" creates a segment filled with `o`. "hold" attaches it until standard
   input ends. "remove" removes it. "take" removes it and creates another one, filled with `s` and with another mode,
   with its key and its index in the kernel's table. "reuse" also gives this one the old identifier, as the kernel does
   after a wrap-around (here by kernel.shm_next_id). */

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
    /* A high index, so that shmadm reads the table instead of inspecting each index. */
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
    /* An attached segment keeps its index. */
    if (old != -1 && shmctl(old, IPC_STAT, &ds) == -1) return make(key, 's', 0604, place(old), place(old));
    return make(key, 's', 0604, 0, 0x7fff);
}
