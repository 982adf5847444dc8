// A member function of a template leaves a segment behind.
#include <sys/shm.h>

namespace pool {
template <class T> struct Maker {
    static int create(T size) { return shmget(IPC_PRIVATE, size, IPC_CREAT | 0600); }
};
}

int main() { return pool::Maker<long>::create(4096) == -1; }
