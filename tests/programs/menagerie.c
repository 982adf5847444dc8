/* Creates 600 segments with all modes and with small and large sizes. Some are attached once or more, some locked, some
   removed while attached. Indices are freed and reused, so that the kernel's order is not that of the identifiers. The
   arguments are the owners. Runs until its standard input ends. */

#include <stdio.h>
#include <stdlib.h>
#include <sys/shm.h>
static long checked(long result) {
    if (result == -1) { perror("menagerie"); exit(1); }
    return result;
}
static int make(unsigned i) {
    key_t key = i % 7 == 0 ? IPC_PRIVATE : (key_t)(i * 2654435761u);
    return checked(shmget(key, i % 2 ? 9 + i : 40960L * i + 1, IPC_CREAT | IPC_EXCL | 0600));
}
int main(int argc, char **argv) {
    int ids[600], id, n = 0;
    for (int i = 0; i < 600; i++) ids[i] = make(i);
    for (int i = 0; i < 600; i += 3) checked(shmctl(ids[i], IPC_RMID, NULL));
    for (int i = 600; i < 800; i++) make(i);
    for (int index = 0; n < 600; index++) {
        struct shmid_ds ds;
        if ((id = shmctl(index, 13 /* SHM_STAT */, &ds)) == -1) continue;
        int attachments = n % 10 == 1 ? 10 : n % 10 == 2 ? 2 : 0;
        for (int i = 0; i < attachments; i++) {
            char *bytes = (char *)checked((long)shmat(id, NULL, 0));
            for (size_t at = 0; at < ds.shm_segsz && at < 4096 * (n % 12); at += 4096) bytes[at] = 1;
        }
        if (n % 50 == 1) checked(shmctl(id, SHM_LOCK, NULL));
        ds.shm_perm.mode = n & 0777;
        if (argc > 1) ds.shm_perm.uid = strtoul(argv[1 + n % (argc - 1)], NULL, 10);
        if (argc > 1) ds.shm_perm.gid = strtoul(argv[1 + (n + 1) % (argc - 1)], NULL, 10);
        checked(shmctl(id, IPC_SET, &ds));
        if (n++ % 20 == 1) checked(shmctl(id, IPC_RMID, NULL));
    }
    puts("ready");
    fflush(stdout);
    getchar();
}
