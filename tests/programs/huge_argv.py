"""Run as an ordinary user: creates segment 0x66 and claims a command line of 200 GB (prctl(2), PR_SET_MM_MAP)."""
import ctypes, struct, time

libc = ctypes.CDLL(None)
libc.mmap.restype = libc.sbrk.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t] + [ctypes.c_int] * 3 + [ctypes.c_long]
size = 200 << 30
start = libc.mmap(None, size, 3, 0x4022, -1, 0)  # private, anonymous, no reserve
fields = open("/proc/self/stat").read().rsplit(")", 1)[1].split()
field = lambda number: int(fields[number - 3])
layout = struct.pack("12QII", field(26), field(27), field(45), field(46), field(47), libc.sbrk(0), field(28),
                     start, start + size, field(50), field(51), 0, 0, 2**32 - 1)
assert libc.prctl(35, 14, layout, len(layout), 0) == 0
libc.shmget(0x66, 4096, 0o1600)
print("ready", flush=True)
time.sleep(60)
