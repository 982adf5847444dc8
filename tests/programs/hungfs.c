// hungfs DIR SECONDS: a FUSE file system with one file, f, whose READ is never answered, as on a network file system
// whose server is down.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

static int fuse;

static void reply(uint64_t unique, int error, void *data, size_t size)
{
    struct fuse_out_header head = {sizeof head + size, error, unique};
    char out[8192];
    memcpy(out, &head, sizeof head);
    if (size)
        memcpy(out + sizeof head, data, size);
    if (write(fuse, out, sizeof head + size) < 0)
        perror("write");
}

static struct fuse_attr attributes(uint64_t inode)
{
    struct fuse_attr a = {.ino = inode, .nlink = 1, .blksize = 4096};
    a.mode = inode == 1 ? S_IFDIR | 0755 : S_IFREG | 0644;
    a.size = inode == 1 ? 0 : 4096;
    return a;
}

int main(int argc, char **argv)
{
    char options[99];
    static char in[1 << 17];
    int opened = 0;
    fuse = open("/dev/fuse", O_RDWR);
    sprintf(options, "fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other", fuse);
    if (mount("hung", argv[1], "fuse", 0, options)) {
        perror("mount");
        return 1;
    }
    alarm(atoi(argv[2]));
    puts("ready");
    fflush(stdout);
    for (;;) {
        struct fuse_in_header *head = (void *)in;
        if (read(fuse, in, sizeof in) < 0) {
            if (errno == EINTR || errno == ENOENT || errno == EAGAIN)
                continue;
            return 0;
        }
        switch (head->opcode) {
        case FUSE_INIT: {
            struct fuse_init_out init = {.major = 7, .minor = 31, .max_write = 4096, .max_background = 8, .congestion_threshold = 6};
            reply(head->unique, 0, &init, sizeof init);
            break;
        }
        case FUSE_LOOKUP: {
            struct fuse_entry_out entry = {.nodeid = 2, .attr_valid = 100, .entry_valid = 100, .attr = attributes(2)};
            reply(head->unique, 0, &entry, sizeof entry);
            break;
        }
        case FUSE_GETATTR: {
            struct fuse_attr_out out = {.attr = attributes(head->nodeid)};
            reply(head->unique, 0, &out, sizeof out);
            break;
        }
        case FUSE_OPEN:
        case FUSE_OPENDIR: {
            struct fuse_open_out out = {0};
            if (head->opcode == FUSE_OPEN && opened++)
                out.open_flags = FOPEN_DIRECT_IO | FOPEN_KEEP_CACHE;
            reply(head->unique, 0, &out, sizeof out);
            break;
        }
        case FUSE_READ:
        case FUSE_FORGET:
        case FUSE_BATCH_FORGET:
        case FUSE_INTERRUPT:
            break;
        case FUSE_FLUSH:
        case FUSE_RELEASE:
            reply(head->unique, 0, 0, 0);
            break;
        default:
            reply(head->unique, -ENOSYS, 0, 0);
        }
    }
}
