/* Makes the segment whose key ftok(3) derives from ./file and the project A. */

#include <sys/shm.h>
int main(void) { return shmget(ftok("file", 'A'), 100, IPC_CREAT | 0600) < 0; }
