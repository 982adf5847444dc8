/* Creates random segments. Its argument is the seed. They have any key, size and mode; some are locked, some attached
   once or more, and some of these marked. As root with a second argument, every second one is created by one user and
   group and given to others. Then all four numbers differ, so that tests detect a confusion of two columns. (In a user
   namespace they are all 0.) Runs until its standard input ends. */

#include <stdio.h>
#include <stdlib.h>
#include <sys/shm.h>
#include <unistd.h>
int main(int argc, char **argv) {
    srand(atoi(argv[1]));
    for (int n = 5 + rand() % 60; n > 0; n--) {
        int others = argc > 2 && n % 2;
        key_t key = rand() % 4 ? (key_t)(rand() * 7) : IPC_PRIVATE;
        if (others && (setegid(100000 + rand() % 3) || seteuid(200000 + rand() % 3))) return perror("seteuid"), 1;
        int id = shmget(key, 1 + rand() % 20000, IPC_CREAT | IPC_EXCL | (rand() & 0777));
        if (others && (seteuid(0) || setegid(0))) return perror("seteuid"), 1;
        if (id == -1) continue;
        struct shmid_ds ds;
        if (others) {
            if (shmctl(id, IPC_STAT, &ds) == -1) return perror("IPC_STAT"), 1;
            ds.shm_perm.gid = 300000 + rand() % 3;
            ds.shm_perm.uid = 400000 + rand() % 3;
            if (shmctl(id, IPC_SET, &ds) == -1) return perror("IPC_SET"), 1;
        }
        int attachments = rand() % 3 ? 0 : 1 + rand() % 3, marked = rand() % 2, locked = rand() % 8 == 0;
        for (int i = 0; i < attachments; i++) shmat(id, NULL, rand() % 2 ? SHM_RDONLY : 0);
        if (locked && argc > 2) shmctl(id, SHM_LOCK, NULL);
        if (attachments && marked || rand() % 5 == 0) shmctl(id, IPC_RMID, NULL);
    }
    puts("ready");
    fflush(stdout);
    getchar();
    return 0;
}
