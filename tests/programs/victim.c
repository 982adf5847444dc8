// victim FILE: creates and attaches segment 0x5151, then blocks in mmap(2) of FILE with its memory map locked.
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/shm.h>

int main(int argc, char **argv)
{
    int id = shmget(0x5151, 4096, IPC_CREAT | 0666);
    int file;
    shmat(id, NULL, 0);
    puts("ready");
    fflush(stdout);
    file = open(argv[1], O_RDONLY);
    if (file < 0) {
        perror("open");
        return 1;
    }
    mmap(0, 4096, PROT_READ, MAP_PRIVATE, file, 0);
    fputs("free again\n", stderr);
    return 0;
}
