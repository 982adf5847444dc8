/* Attaches the segment of a key twice. Forks a child that inherits both, attaches once more and exits. Executes true
 * after vfork(2), which attaches nothing. When it reads a line, it unmaps one attachment without shmdt(2). Then waits
 * for a signal. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    int id = shmget(strtol(argv[1], NULL, 0), 0, 0);
    char *first = shmat(id, NULL, 0), *second = shmat(id, NULL, SHM_RDONLY);
    if (argc < 2 || id < 0 || first == (void *)-1 || second == (void *)-1) {
        perror("lives");
        return 1;
    }
    pid_t child = fork();
    if (child == 0) {
        shmat(id, NULL, 0);
        _exit(0);
    }
    waitpid(child, NULL, 0);
    pid_t other = vfork();
    if (other == 0) {
        execlp("true", "true", NULL);
        _exit(1);
    }
    waitpid(other, NULL, 0);
    printf("%d\n", child);
    fflush(stdout);
    getchar();
    munmap(second, 4096);
    puts("unmapped");
    fflush(stdout);
    pause();
    return 0;
}
