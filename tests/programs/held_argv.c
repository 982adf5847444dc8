/* held_argv NAME: creates and attaches segment 0x67, and puts its arguments into a page that userfaultfd(2) never fills:
   the kernel cannot read them. NAME becomes its name (comm). Prints `ready`, or `denied` if this is not permitted. */

#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/prctl.h>
#include <linux/userfaultfd.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Makes the kernel look for the arguments in this page. */
static int move_arguments(char *page) {
    char text[1024] = "";
    uint64_t fields[64] = {0};
    int number = 3;
    read(open("/proc/self/stat", O_RDONLY), text, sizeof text - 1);
    for (char *field = strtok(strrchr(text, ')') + 1, " "); field && number < 64; field = strtok(NULL, " "))
        fields[number++] = strtoull(field, NULL, 10);
    struct prctl_mm_map map = {
        .start_code = fields[26], .end_code = fields[27], .start_data = fields[45], .end_data = fields[46],
        .start_brk = fields[47], .brk = (uintptr_t)sbrk(0), .start_stack = fields[28],
        .arg_start = (uintptr_t)page, .arg_end = (uintptr_t)page + 4096,
        .env_start = fields[50], .env_end = fields[51], .exe_fd = -1,
    };
    return prctl(PR_SET_MM, PR_SET_MM_MAP, &map, sizeof map, 0);
}

int main(int argc, char **argv) {
    char *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int faults = syscall(SYS_userfaultfd, O_CLOEXEC);
    struct uffdio_api api = {.api = UFFD_API};
    struct uffdio_register range = {.range = {(uintptr_t)page, 4096}, .mode = UFFDIO_REGISTER_MODE_MISSING};
    int denied = faults < 0 || ioctl(faults, UFFDIO_API, &api) || ioctl(faults, UFFDIO_REGISTER, &range);
    prctl(PR_SET_NAME, argv[1]);
    denied = denied || move_arguments(page);
    shmat(shmget(0x67, 4096, IPC_CREAT | 0600), NULL, 0);
    puts(denied ? "denied" : "ready");
    fflush(stdout);
    pause();
}
