/* Raises SHMMNI and creates as many segments of one byte. Prints the identifiers of every second one, which stay. Then
   removes and creates the others at random until its standard input ends. */

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/shm.h>
#include <unistd.h>
static int ids[32768];
static int make(void) { return shmget(IPC_PRIVATE, 1, 0600); }
int main(void) {
    int limit = open("/proc/sys/kernel/shmmni", O_WRONLY);
    if (limit == -1 || write(limit, "32768", 5) != 5) return perror("shmmni"), 1;
    for (int i = 0; i < 32768; i++)
        if ((ids[i] = make()) == -1) return perror("shmget"), 1;
    for (int i = 0; i < 32768; i += 2) printf("%d ", ids[i]);
    puts("");
    fflush(stdout);
    struct pollfd input = {0, POLLIN, 0};
    while (poll(&input, 1, 1) == 0)
        for (int n = 0; n < 50; n++) {
            int i = rand() % 16384 * 2 + 1;
            if (shmctl(ids[i], IPC_RMID, NULL) == -1 || (ids[i] = make()) == -1) return perror("churn"), 1;
        }
    return 0;
}
