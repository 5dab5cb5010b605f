# The unix port as one static file: what the agent needs is in it, and nothing that has to be found on the host.

PROG = streamline-edge-lite
FROZEN_MANIFEST ?= $(VARIANT_DIR)/manifest.py

MICROPY_PY_SOCKET = 1
MICROPY_PY_TERMIOS = 1
MICROPY_USE_READLINE = 1
MICROPY_PY_THREAD = 0
MICROPY_PY_FFI = 0
MICROPY_PY_JNI = 0
MICROPY_PY_BTREE = 0
MICROPY_PY_BLUETOOTH = 0
MICROPY_VFS_FAT = 0
MICROPY_VFS_LFS1 = 0
MICROPY_VFS_LFS2 = 0

# TLS only where something is reached through it.
MICROPY_PY_SSL ?= 1
MICROPY_SSL_MBEDTLS = $(MICROPY_PY_SSL)
MICROPY_SSL_AXTLS = 0

LDFLAGS_EXTRA += -static

# Its `main` is called by ours, in launcher.c, and asks that for its stack.
$(BUILD)/main.o: CFLAGS += -Dmain=micropython_main -Dmp_cstack_init_with_sp_here=launcher_stack_init
$(BUILD)/main.o: $(VARIANT_DIR)/mpconfigvariant.mk

# From here on the settings of the architecture (ARCH_CFLAGS comes from tools/board_image.py).
CFLAGS += $(ARCH_CFLAGS)
LDFLAGS += $(ARCH_CFLAGS)
