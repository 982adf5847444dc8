/* Creates and removes a segment with key 42 repeatedly, and one with key 43 in between. They use few indices of the
   kernel's table, so identifiers differ only in their high bits; they are unique for fewer than 65,536 segments. Prints
   the segments that it created with their modes, and those that another process changed. */

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/shm.h>
#include <time.h>
#include <unistd.h>
static volatile sig_atomic_t over;
static void end(int signal) { over = 1; }
static void dwell(long most) {
    struct timespec time = {0, rand() % most};
    nanosleep(&time, NULL);
}
static void touched(int id, key_t key, const char *how) { printf("touched %d %d %s\n", id, key, how); }
static int make(key_t key, int mode) {
    int id = shmget(key, 64, IPC_CREAT | IPC_EXCL | mode);
    if (id != -1) printf("made %d %d %o\n", id, key, mode);
    return id;
}
static void finish(int id, key_t key, int mode, pid_t last) {
    struct shmid_ds ds;
    if (shmctl(id, IPC_STAT, &ds) == -1) return touched(id, key, "removed");
    if (ds.shm_perm.mode != mode) touched(id, key, "mode");
    if (ds.shm_lpid != last) touched(id, key, "attached");
    if (shmctl(id, IPC_RMID, NULL) == -1) touched(id, key, "removed");
}
int main(void) {
    prctl(PR_SET_TIMERSLACK, 1L);
    signal(SIGTERM, end);
    srand(getpid());
    for (unsigned i = 1; !over; i++) {
        if (i == 30000) return fputs("too many\n", stderr), 1;
        int mode = 0600 | (i & 077), id = make(42, mode);
        if (id == -1) {
            /* shmadm create was faster. */
            shmctl(shmget(42, 0, 0), IPC_RMID, NULL);
            continue;
        }
        char *bytes = shmat(id, NULL, 0);
        if (bytes != (void *)-1) {
            memset(bytes, 'a' + i % 26, 64);
            shmdt(bytes);
        }
        /* Some pauses are as short as shmadm's own steps, some as long as the delays that strace adds. */
        dwell(rand() % 4 ? 2000000 : 50000);
        finish(id, 42, mode, bytes == (void *)-1 ? 0 : getpid());
        id = make(43, mode);
        dwell(200000);
        finish(id, 43, mode, 0);
    }
    puts("over");
    return 0;
}
