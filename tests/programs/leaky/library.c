/* A function of a shared library leaves a segment behind. Optimized, its last call is a jump. */
#include <sys/shm.h>

int create_in_library(int size) { return shmget(IPC_PRIVATE, size, IPC_CREAT | 0600); }
