// Randomness: the emulated board has no source of its own, so the emulator lends its host's, by semihosting (ARM DUI 0471, chapter 8).
//
// Rule: it is real or there is none: what cannot be read raises OSError. Must not know: what it is for.

#include <stddef.h>
#include <stdint.h>

#include "py/mperrno.h"
#include "py/runtime.h"

#define SYS_OPEN (0x01)
#define SYS_CLOSE (0x02)
#define SYS_READ (0x06)
#define MODE_READ_BINARY (1)

static int semihost(int operation, const void *arguments) {
    register int r0 __asm("r0") = operation;
    register const void *r1 __asm("r1") = arguments;
    __asm volatile ("bkpt 0xAB" : "+r" (r0) : "r" (r1) : "memory");
    return r0;
}

void entropy_fill(void *buf, size_t n) {
    static const char name[] = "/dev/urandom";
    const uintptr_t open[] = { (uintptr_t)name, MODE_READ_BINARY, sizeof(name) - 1 };
    int handle = semihost(SYS_OPEN, open);
    if (handle < 0) {
        mp_raise_OSError(MP_ENODEV);
    }
    const uintptr_t read[] = { handle, (uintptr_t)buf, n };
    int left = semihost(SYS_READ, read);
    const uintptr_t close[] = { handle };
    semihost(SYS_CLOSE, close);
    if (left != 0) {
        mp_raise_OSError(MP_EIO);
    }
}
