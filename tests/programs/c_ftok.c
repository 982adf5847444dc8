/* Prints the key of ftok(3) for a path and a project id. */

#include <stdio.h>
#include <stdlib.h>
#include <sys/ipc.h>

int main(int argc, char **argv)
{
    printf("0x%08x\n", (unsigned) ftok(argv[1], atoi(argv[2])));
    return 0;
}
