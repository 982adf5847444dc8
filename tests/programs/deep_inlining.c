/* Creates a segment and leaves it. Its debug information claims that thousands of functions are inlined into each other. */
#include <sys/shm.h>

int main(void) { return shmget(0x77, 4096, IPC_CREAT | 0600) == -1; }

__asm__(
    ".section .debug_abbrev,\"\",@progbits\n"
    /* 1: DW_TAG_compile_unit, 2: DW_TAG_subprogram, both with low_pc, high_pc and name. */
    ".uleb128 1; .uleb128 0x11; .byte 1; .uleb128 0x11; .uleb128 1; .uleb128 0x12; .uleb128 7; .uleb128 3; .uleb128 8; .byte 0,0\n"
    ".uleb128 2; .uleb128 0x2e; .byte 1; .uleb128 0x11; .uleb128 1; .uleb128 0x12; .uleb128 7; .uleb128 3; .uleb128 8; .byte 0,0\n"
    /* 3: DW_TAG_inlined_subroutine with low_pc, high_pc and abstract_origin. */
    ".uleb128 3; .uleb128 0x1d; .byte 1; .uleb128 0x11; .uleb128 1; .uleb128 0x12; .uleb128 7; .uleb128 0x31; .uleb128 0x13; .byte 0,0\n"
    ".byte 0\n"
    ".section .debug_info,\"\",@progbits\n"
    ".Linfo: .long .Lend - .Lunit\n"
    ".Lunit: .short 5; .byte 1,8; .long 0\n"
    ".uleb128 1; .quad main; .quad 0x40; .asciz \"deep.c\"\n"
    ".Lfunction: .uleb128 2; .quad main; .quad 0x40; .asciz \"deep\"\n"
    ".rept 5000; .uleb128 3; .quad main; .quad 0x40; .long .Lfunction - .Linfo; .endr\n"
    ".rept 5000; .byte 0; .endr\n"
    ".byte 0,0\n"
    ".Lend:\n"
    ".text\n");
