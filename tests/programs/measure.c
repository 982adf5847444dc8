/* Runs a program and prints its peak resident memory, in KiB, on standard error. */

#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
int main(int argc, char **argv) {
    int status;
    struct rusage used;
    if (fork() == 0) {
        execv(argv[1], argv + 1);
        _exit(127);
    }
    wait4(-1, &status, 0, &used);
    fprintf(stderr, "%ld", used.ru_maxrss);
    return status != 0;
}
