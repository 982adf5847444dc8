/* Maps files with names like those of segments, one of them with a given inode number, and then unmounts the file
   system with MNT_DETACH: after that the names begin at its root. Arguments: a directory, the inode number, the 8
   digits of the key, and "deleted" to remove the files. */

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>
static int file_with_inode(const char *path, unsigned long inode) {
    char other[64];
    for (int i = 0; i < 100000; i++) {
        int file = open(path, O_CREAT | O_EXCL | O_RDWR, 0600);
        struct stat found;
        if (file < 0 || fstat(file, &found)) return -1;
        if (found.st_ino == inode) return file;
        if (found.st_ino > inode) return -1;
        sprintf(other, "other-%d", i);
        if (rename(path, other)) return -1;
        close(file);
    }
    return -1;
}
static int map(int file) {
    return ftruncate(file, 4096) || mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0) == MAP_FAILED;
}
int main(int argc, char **argv) {
    /* %s stands for the digits of the key as the kernel writes them, %S for the same in capitals. */
    const char *odd[] = { "SYSV", "SYSVx", "SYSV2a", "SYSV%s0", "SYSV%S", "SYSV%s\n", "SYSV\xff\xfe",
                          "\nSYSV%s (deleted)", "SYSV%s (deleted)", "SYSV%s (deleted) (deleted)" };
    char capitals[9] = "", name[64];
    for (int i = 0; i < 8; i++) capitals[i] = (char)toupper(argv[3][i]);
    if (mount("none", argv[1], "tmpfs", 0, 0) || chdir(argv[1])) return perror("mount"), 1;
    snprintf(name, sizeof name, "SYSV%s", argv[3]);
    int file = file_with_inode(name, strtoul(argv[2], NULL, 10));
    if (file < 0 || map(file)) return perror(name), 1;
    if (argv[4] && unlink(name)) return 1;
    for (unsigned i = 0; i < sizeof odd / sizeof *odd; i++) {
        const char *capital = strstr(odd[i], "%S");
        if (capital) snprintf(name, sizeof name, "%.*s%s", (int)(capital - odd[i]), odd[i], capitals);
        else snprintf(name, sizeof name, odd[i], argv[3]);
        file = open(name, O_CREAT | O_RDWR, 0600);
        if (file < 0 || map(file)) return perror(name), 1;
        if (i % 2) unlink(name);
    }
    if (umount2(argv[1], MNT_DETACH)) return perror("umount"), 1;
    puts("ready");
    fflush(stdout);
    pause();
}
