/* Creates a segment with the key of ftok(3) for ./file and the project id A. */

#include <sys/shm.h>
int main(void) { return shmget(ftok("file", 'A'), 100, IPC_CREAT | 0600) < 0; }
