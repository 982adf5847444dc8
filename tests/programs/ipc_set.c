/* Sets a segment's mode to 0640 by IPC_SET. */

#include <stdlib.h>
#include <sys/shm.h>
int main(int n, char **v) {
    struct shmid_ds ds;
    if (shmctl(atoi(v[1]), IPC_STAT, &ds) != 0) return 1;
    ds.shm_perm.mode = 0640;
    return shmctl(atoi(v[1]), IPC_SET, &ds) != 0;
}
