# ARM's MPS2 with a Cortex-M3 (image AN385), as QEMU has it, on MicroPython's qemu port.

QEMU_ARCH = arm
QEMU_MACHINE = mps2-an385

CFLAGS += -mthumb -mcpu=cortex-m3 -mfloat-abi=soft
CFLAGS += -DQEMU_SOC_MPS2
CFLAGS += -DMICROPY_HW_MCU_NAME='"Cortex-M3"'
CFLAGS += -I$(BOARD_DIR) '-DMP_CONFIGFILE="mpconfigboard.h"'
QSTR_GLOBAL_DEPENDENCIES += $(BOARD_DIR)/mpconfigboard.h

# An image that runs the unit tests: its heap takes most of the PSRAM, and the flash is what is left.
ifeq ($(BOARD_UNIT_TESTS),1)
CFLAGS += -DBOARD_UNIT_TESTS=1
endif

LDSCRIPT = $(BOARD_DIR)/board.ld
SRC_BOARD_O = shared/runtime/gchelper_native.o shared/runtime/gchelper_thumb2.o

MPY_CROSS_FLAGS += -march=armv7m

MICROPY_VFS_LFS2 = 1

SRC_C += $(addprefix $(BOARD_DIR)/, start.c ticks.c console.c flash.c entropy.c)
SRC_C += shared/timeutils/timeutils.c

# The port starts with a prompt, and waits for keys without sleeping: ours take the place of these.
$(BUILD)/main.o: CFLAGS += -Dmain=qemu_port_main
$(BUILD)/mphalport.o: CFLAGS += -Dmp_hal_stdio_poll=qemu_port_stdio_poll -Dmp_hal_stdin_rx_chr=qemu_port_stdin_rx_chr
