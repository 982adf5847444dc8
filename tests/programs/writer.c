/* The classic example: creates or finds a segment, and writes a string to it. */

#include <stdio.h>
#include <sys/shm.h>
int main(void) {
    char *text = shmat(shmget(5678, 27, IPC_CREAT | 0666), NULL, 0);
    return text == (void *) -1 || sprintf(text, "written by %s", "C") < 0;
}
