/* Leaves segments behind in a child of vfork(2), and in programs that posix_spawn(3) and execve(2) started. */
#include <spawn.h>
#include <stdlib.h>
#include <sys/shm.h>
#include <sys/wait.h>
#include <unistd.h>
extern char **environ;

int main(void) {
    char *words[] = {"./pool", "13", NULL};
    pid_t spawned;
    pid_t child = vfork();
    if (child == 0) {
        shmget(IPC_PRIVATE, 555, IPC_CREAT | 0600);
        _exit(0);
    }
    waitpid(child, NULL, 0);
    if (posix_spawn(&spawned, words[0], NULL, NULL, words, environ)) return 1;
    waitpid(spawned, NULL, 0);
    execve(words[0], words, environ);
    return 1;
}
