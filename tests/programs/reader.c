/* An ordinary user of shared memory: attaches by key and prints the string. */

#include <stdio.h>
#include <sys/shm.h>
int main(void) {
    char *text = shmat(shmget(5678, 0, 0), NULL, SHM_RDONLY);
    return text == (void *) -1 || printf("%s", text) < 0;
}
