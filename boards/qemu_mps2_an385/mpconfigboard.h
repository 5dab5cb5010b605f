// The qemu port's settings, and what a board needs beyond a prompt: time, a flash, a line, a watchdog, sleep.

#include "mpconfigport.h"

#undef MICROPY_PY_SELECT
#undef MICROPY_PY_TIME
#undef MICROPY_PY_ASYNCIO
#undef MICROPY_PY_SYS_STDIO_BUFFER
#undef MICROPY_VFS_ROM
#undef MICROPY_PY_MACHINE_INCLUDEFILE
#undef MICROPY_PY_SYS_PLATFORM

#define MICROPY_PY_SYS_PLATFORM                 "mps2"
#define MICROPY_VFS_ROM                         (0)

// Time, from the dual timer.
#define MICROPY_PY_TIME                         (1)
#define MICROPY_PY_TIME_GMTIME_LOCALTIME_MKTIME (1)
#define MICROPY_PY_TIME_TIME_TIME_NS            (1)
#define MICROPY_PY_TIME_INCLUDEFILE             "modtime_board.c"
#define MICROPY_EPOCH_IS_1970                   (1)
#define MICROPY_PY_SELECT                       (1)
#define MICROPY_PY_SELECT_SELECT                (0)
#define MICROPY_PY_ASYNCIO                      (1)

// What comes in while Python runs is looked at now and then; a wait is a sleep until something comes, or it is time.
void board_events(void);
void board_sleep(int timeout_ms);
#define MICROPY_INTERNAL_EVENT_HOOK             board_events()
#define MICROPY_INTERNAL_WFE(timeout_ms)        board_sleep(timeout_ms)
#define MICROPY_VM_HOOK_COUNT                   (256)
#define MICROPY_VM_HOOK_INIT                    static unsigned vm_hook_left = MICROPY_VM_HOOK_COUNT;
#define MICROPY_VM_HOOK_LOOP                    if (--vm_hook_left == 0) { vm_hook_left = MICROPY_VM_HOOK_COUNT; board_events(); }
#define MICROPY_VM_HOOK_RETURN                  MICROPY_VM_HOOK_LOOP
#define MICROPY_KBD_EXCEPTION                   (1)
#define MICROPY_ENABLE_SCHEDULER                (1)
#define MICROPY_PY_SYS_STDIO_BUFFER             (1)

// The file system for configuration and small state.
#define MICROPY_ENABLE_FINALISER                (1)
#define MICROPY_PY_OS                           (1)
#define MICROPY_PY_OS_INCLUDEFILE               "modos_board.c"
#define MICROPY_PY_OS_URANDOM                   (1)
#define MICROPY_PY_OS_DUPTERM                   (0)

// The machine.
#define MICROPY_PY_MACHINE_INCLUDEFILE          "modmachine_board.c"
#define MICROPY_PY_MACHINE_UART                 (1)
#define MICROPY_PY_MACHINE_UART_INCLUDEFILE     "uart_board.c"
#define MICROPY_PY_MACHINE_WDT                  (1)
#define MICROPY_PY_MACHINE_WDT_TIMEOUT_MS       (1)
#define MICROPY_PY_MACHINE_WDT_INCLUDEFILE      "wdt_board.c"

// Frames leave compressed.
#define MICROPY_PY_DEFLATE                      (1)
#define MICROPY_PY_DEFLATE_COMPRESS             (1)
#define MICROPY_PY_HASHLIB                      (1)
#define MICROPY_PY_BINASCII                     (1)
#define MICROPY_PY_BINASCII_CRC32               (1)

#define MICROPY_PY_FRAMEBUF                     (0)
#define MICROPY_EMIT_INLINE_THUMB_FLOAT         (0)
