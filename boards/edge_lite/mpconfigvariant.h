// The settings of the interpreter inside streamline-edge-lite: the unix port's usual ones, less what an agent never uses.

#define MICROPY_CONFIG_ROM_LEVEL        (MICROPY_CONFIG_ROM_LEVEL_EXTRA_FEATURES)

// Nothing is compiled to machine code while it runs.
#define MICROPY_EMIT_X64                (0)
#define MICROPY_EMIT_X86                (0)
#define MICROPY_EMIT_THUMB              (0)
#define MICROPY_EMIT_INLINE_THUMB       (0)
#define MICROPY_EMIT_ARM                (0)

#include "ports/unix/variants/mpconfigvariant_common.h"

// Ctrl-C is taken up between two bytecodes, as SIGTERM is: raised in the middle of a collection it would find the heap locked.
#undef MICROPY_ASYNC_KBD_INTR
#define MICROPY_ASYNC_KBD_INTR          (0)

// Frames leave compressed.
#define MICROPY_PY_DEFLATE              (1)
#define MICROPY_PY_DEFLATE_COMPRESS     (1)

// Not for an agent.
#undef MICROPY_PY_WEBSOCKET
#define MICROPY_PY_WEBSOCKET            (0)
#undef MICROPY_VFS_ROM
#define MICROPY_VFS_ROM                 (0)
#define MICROPY_PY_FRAMEBUF             (0)
#define MICROPY_PY_ONEWIRE              (0)

// Modules are in the binary; launcher.c takes the current folder out of the path, too, where it starts the agent.
#define MICROPY_PY_SYS_PATH_DEFAULT     ".frozen"
