// hoarder DIRECTORY NAMESPACES DESCRIPTORS PROCESSES MOUNTS MOUNT_NAMESPACES: hoards files of IPC namespaces without a
// process. PROCESSES processes of user 1234 have DESCRIPTORS open files of them each. MOUNT_NAMESPACES others see MOUNTS
// mounts of them each, on a path of more than 3000 bytes below DIRECTORY. They end with it.
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static void check(int failed, const char *what)
{
    if (failed) {
        perror(what);
        exit(1);
    }
}

static int ready[2];

static void child(void)
{
    // The kernel forgets the signal with a change of the user.
    check(setgid(1234) || setuid(1234), "setuid");
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    check(write(ready[1], "", 1) != 1, "write");
    sleep(1000);
    _exit(0);
}

int main(int argc, char **argv)
{
    long namespaces = atol(argv[2]), descriptors = atol(argv[3]), processes = atol(argv[4]);
    long mounts = atol(argv[5]), copies = atol(argv[6]);
    char path[4096], link[64];
    struct rlimit limit = { descriptors + 64, descriptors + 64 };
    check(setrlimit(RLIMIT_NOFILE, &limit), "setrlimit");
    check(pipe(ready), "pipe");
    int home = open("/proc/self/ns/ipc", O_RDONLY), first = -1;
    for (long n = 0; n < namespaces; n++) {
        check(unshare(CLONE_NEWIPC), "unshare");
        int file = open("/proc/self/ns/ipc", O_RDONLY);
        check(file < 0, "open");
        first = first < 0 ? file : first;
    }
    check(setns(home, CLONE_NEWIPC), "setns");
    check(unshare(CLONE_NEWNS) || mount("none", "/", 0, MS_REC | MS_PRIVATE, 0), "mount");
    if (mounts) {
        strcpy(path, argv[1]);
        while (strlen(path) < 3000) {
            strcat(path, "/");
            memset(path + strlen(path) + 1, 0, 251);
            memset(path + strlen(path), 'x', 250);
            check(mkdir(path, 0755), "mkdir");
        }
        strcat(path, "/file");
        check(close(open(path, O_CREAT | O_WRONLY, 0644)), "create");
    }
    for (long n = 0; n < mounts; n++) {
        sprintf(link, "/proc/self/fd/%ld", first + n % namespaces);
        check(mount(link, path, 0, MS_BIND, 0), "mount");
    }
    for (long n = 0; n < copies; n++)
        if (!fork()) {
            check(unshare(CLONE_NEWNS), "unshare");
            child();
        }
    for (long n = namespaces; n < descriptors; n++)
        check(dup(first + n % namespaces) < 0, "dup");
    for (long n = 0; n < processes; n++)
        if (!fork())
            child();
    for (long n = 0; n < processes + copies; n++)
        check(read(ready[0], link, 1) != 1, "read");
    puts("ready");
    fflush(stdout);
    sleep(1000);
    return 0;
}
