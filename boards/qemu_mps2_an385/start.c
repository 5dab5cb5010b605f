// Power-on: the heap, then _boot.py and main.py from the image, then a prompt for whoever asks for one.
//
// Rule: the agent starts by itself; Ctrl-C on the console ends it and gives the prompt, Ctrl-D there starts all over.
// Must not know: what the frozen modules do.

#include "board.h"
#include "py/gc.h"
#include "py/mphal.h"
#include "py/runtime.h"
#include "py/stackctrl.h"
#include "shared/runtime/pyexec.h"

#define STACK_BYTES (16 * 1024)

#if BOARD_UNIT_TESTS
#define HEAP PSRAM
#define HEAP_BYTES UNIT_TESTS_HEAP_BYTES
#else
static uint32_t heap[MICROPY_HEAP_SIZE / sizeof(uint32_t)];
#define HEAP ((uint8_t *)heap)
#define HEAP_BYTES sizeof(heap)
#endif

int main(int argc, char **argv) {
    __asm volatile ("cpsid i");
    reset_cause_find();
    ticks_start();
    console_start();
    mp_stack_ctrl_init();
    mp_stack_set_limit(STACK_BYTES - 1024);
    gc_init(HEAP, HEAP + HEAP_BYTES);
    for (;;) {
        mp_init();
        pyexec_frozen_module("_boot.py", false);
        if (pyexec_mode_kind == PYEXEC_MODE_FRIENDLY_REPL) {
            pyexec_frozen_module("main.py", true);
        }
        for (;;) {
            if (pyexec_mode_kind == PYEXEC_MODE_RAW_REPL) {
                if (pyexec_raw_repl() != 0) {
                    break;
                }
            } else if (pyexec_friendly_repl() != 0) {
                break;
            }
        }
        mp_printf(&mp_plat_print, "MPY: soft reboot\n");
        gc_sweep_all();
        mp_deinit();
    }
}
