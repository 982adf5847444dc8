/* The model: the expected effect of shmadm's commands, done by system calls. Reads one command per line from standard
   input, and prints one word of result, or the state, on standard output. A segment is "k KEY" or "i ID". */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/shm.h>
#include <unistd.h>

#define SHM_STAT_ANY 15

/* The segment is missing: EINVAL and EIDRM for an identifier, ENOENT for a key. */
static const char *failure(void) {
    return errno == ENOENT || errno == EINVAL || errno == EIDRM ? "missing" : "failed";
}

static int find(char kind, long number) {
    return kind == 'k' ? shmget((key_t)number, 0, 0) : (int)number;
}

static size_t unhex(const char *hex, unsigned char *bytes) {
    size_t length = strlen(hex) / 2;
    for (size_t i = 0; i < length; i++) {
        unsigned byte;
        sscanf(hex + 2 * i, "%2x", &byte);
        bytes[i] = byte;
    }
    return length;
}

static const char *put(int id, size_t offset, int zero, int fill, const char *hex) {
    static unsigned char bytes[1 << 16];
    struct shmid_ds ds;
    size_t length = unhex(hex, bytes);
    if (id == -1 || shmctl(id, IPC_STAT, &ds) == -1) return failure();
    if (offset + length > ds.shm_segsz) return "failed";
    unsigned char *segment = shmat(id, NULL, 0);
    if (segment == (void *)-1) return "failed";
    if (zero) memset(segment, 0, ds.shm_segsz);
    memcpy(segment + offset, bytes, length);
    if (fill >= 0) memset(segment + offset + length, fill, ds.shm_segsz - offset - length);
    shmdt(segment);
    return "ok";
}

/* Creates the segment if it is missing, or uses one that is large enough. Returns its identifier, or -1. */
static int take(key_t key, size_t size, long mode, int *made) {
    struct shmid_ds ds;
    int id = shmget(key, size, IPC_CREAT | IPC_EXCL | mode);
    *made = id != -1;
    if (*made || errno != EEXIST) return id;
    id = shmget(key, 0, 0);
    return id == -1 || shmctl(id, IPC_STAT, &ds) == -1 || ds.shm_segsz < size ? -1 : id;
}

/* A failed write removes a segment that was just created. */
static const char *put_new(int id, int made, size_t offset, int zero, int fill, const char *hex) {
    if (id == -1) return "failed";
    const char *word = put(id, offset, zero, fill, hex);
    if (made && strcmp(word, "ok") != 0) shmctl(id, IPC_RMID, NULL);
    return word;
}

/* Prints a word and then the bytes in hexadecimal. Length -1 means to the end. */
static void get(int id, size_t offset, long length) {
    struct shmid_ds ds;
    if (id == -1 || shmctl(id, IPC_STAT, &ds) == -1) {
        printf("%s", failure());
        return;
    }
    size_t end = length < 0 ? ds.shm_segsz : offset + length;
    unsigned char *segment;
    if (offset > ds.shm_segsz || end > ds.shm_segsz || (segment = shmat(id, NULL, SHM_RDONLY)) == (void *)-1) {
        printf("failed");
        return;
    }
    printf("ok ");
    for (size_t i = offset; i < end; i++) printf("%02x", segment[i]);
    shmdt(segment);
}

static const char *set(int id, long uid, long gid, long mode, long lock) {
    struct shmid_ds ds;
    if (id == -1 || shmctl(id, IPC_STAT, &ds) == -1) return failure();
    if (lock >= 0 && shmctl(id, lock ? SHM_LOCK : SHM_UNLOCK, NULL) == -1) return "failed";
    if (uid < 0 && gid < 0 && mode < 0) return "ok";
    if (uid >= 0) ds.shm_perm.uid = uid;
    if (gid >= 0) ds.shm_perm.gid = gid;
    if (mode >= 0) ds.shm_perm.mode = mode;
    return shmctl(id, IPC_SET, &ds) == -1 ? "failed" : "ok";
}

/* Prints every segment of the namespace in the kernel's order, with a checksum (FNV-1a) of its bytes. */
static void state(void) {
    struct shmid_ds ds;
    int id, highest = shmctl(0, SHM_INFO, &ds);
    for (int index = 0; index <= highest; index++) {
        if ((id = shmctl(index, SHM_STAT_ANY, &ds)) == -1) continue;
        unsigned char *segment = shmat(id, NULL, SHM_RDONLY);
        unsigned long sum = 14695981039346656037u;
        for (size_t i = 0; segment != (void *)-1 && i < ds.shm_segsz; i++) sum = (sum ^ segment[i]) * 1099511628211u;
        if (segment != (void *)-1) shmdt(segment);
        printf("%d %d %o %zu %lu %u %u %u %u %016lx;", id, ds.shm_perm.__key, ds.shm_perm.mode, ds.shm_segsz,
               (unsigned long)ds.shm_nattch, ds.shm_perm.uid, ds.shm_perm.gid, ds.shm_perm.cuid, ds.shm_perm.cgid, sum);
    }
}

int main(void) {
    static char line[1 << 17], hex[1 << 17];
    static void *held[4096];
    int holds = 0, wide = open("/proc/sys/kernel/shmmni", O_WRONLY);
    /* A low limit, which is reached soon. */
    if (wide == -1 || write(wide, "6", 1) != 1) return perror("shmmni"), 1;
    while (fgets(line, sizeof line, stdin)) {
        char kind;
        long number, a, b, c, d, e;
        hex[0] = 0;
        if (sscanf(line, "create %ld %ld %lo", &number, &a, &b) == 3) {
            printf("%s", shmget((key_t)number, a, IPC_CREAT | IPC_EXCL | b) == -1 ? "failed" : "ok");
        } else if (sscanf(line, "take %ld %ld %lo", &number, &a, &b) == 3) {
            int made, id = a < 0 ? shmget((key_t)number, 0, 0) : take((key_t)number, a, b, &made);
            printf("%s", id != -1 ? "ok" : a < 0 ? "missing" : "failed");
        } else if (sscanf(line, "from %ld %lo %s", &number, &a, hex) >= 2) {
            /* Created with a mode that permits filling it; the requested mode is set afterwards. */
            size_t length = strlen(hex) / 2;
            int id = shmget((key_t)number, length, IPC_CREAT | IPC_EXCL | 0600);
            printf("%s", id == -1 ? "failed" : put(id, 0, 0, -1, hex));
            if (id != -1) set(id, -1, -1, a, -1);
        } else if (sscanf(line, "make %ld %ld %lo %ld %ld %ld %s", &number, &d, &e, &a, &b, &c, hex) >= 6) {
            int made, id = take((key_t)number, d, e, &made);
            printf("%s", put_new(id, made, a, b, c, hex));
        } else if (sscanf(line, "read %c %ld %ld %ld", &kind, &number, &a, &b) == 4) {
            get(find(kind, number), a, b);
        } else if (sscanf(line, "write %c %ld %ld %ld %ld %s", &kind, &number, &a, &b, &c, hex) >= 5) {
            printf("%s", put(find(kind, number), a, b, c, hex));
        } else if (sscanf(line, "set %c %ld %ld %ld %ld %ld", &kind, &number, &a, &b, &c, &d) == 6) {
            printf("%s", set(find(kind, number), a, b, c, d));
        } else if (sscanf(line, "remove %c %ld", &kind, &number) == 2) {
            int id = find(kind, number);
            printf("%s", id == -1 || shmctl(id, IPC_RMID, NULL) == -1 ? failure() : "ok");
        } else if (sscanf(line, "hold %c %ld", &kind, &number) == 2) {
            int id = find(kind, number);
            held[holds] = id == -1 ? (void *)-1 : shmat(id, NULL, SHM_RDONLY);
            printf("%s", held[holds] == (void *)-1 ? failure() : (holds++, "ok"));
        } else if (sscanf(line, "release %ld", &number) == 1) {
            shmdt(held[number]);
            held[number] = held[--holds];
            printf("ok");
        } else if (strncmp(line, "state", 5) == 0) {
            state();
        } else {
            return fprintf(stderr, "model: %s", line), 1;
        }
        puts("");
        fflush(stdout);
    }
    return 0;
}
