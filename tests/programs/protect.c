/* Attaches segment 1 and changes the protection of a page in the middle, which splits the mapping into three. */

#include <stdio.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <unistd.h>
int main(void) {
    char *at = shmat(shmget(1, 0, 0), 0, 0);
    if (mprotect(at + 4096, 4096, PROT_NONE)) return 1;
    puts("ready"); fflush(stdout); pause();
}
