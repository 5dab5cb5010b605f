// machine.reset, its cause, and machine.idle. Included by extmod/modmachine.c.
//
// Rule: memory that nothing clears tells a power-on from a reset, and an ordered reset from one that the watchdog (or a finger) did.

#include "board.h"

#define KEPT ((volatile uint32_t *)0x20000000) // the second bank of RAM, which the image does not use
#define RUNNING_MARK (0x52554E21)
#define ORDERED_MARK (0x4F524421)

enum { PWRON_RESET = 1, HARD_RESET = 2, WDT_RESET = 3, SOFT_RESET = 5 };

#define MICROPY_PY_MACHINE_EXTRA_GLOBALS \
    { MP_ROM_QSTR(MP_QSTR_PWRON_RESET), MP_ROM_INT(PWRON_RESET) }, \
    { MP_ROM_QSTR(MP_QSTR_WDT_RESET), MP_ROM_INT(WDT_RESET) }, \
    { MP_ROM_QSTR(MP_QSTR_SOFT_RESET), MP_ROM_INT(SOFT_RESET) }, \

static uint32_t cause;

void reset_cause_find(void) {
    cause = KEPT[0] == RUNNING_MARK ? WDT_RESET : KEPT[0] == ORDERED_MARK ? SOFT_RESET : PWRON_RESET;
    KEPT[0] = RUNNING_MARK;
}

static void mp_machine_idle(void) {
    mp_event_wait_ms(1);
}

NORETURN static void mp_machine_reset(void) {
    KEPT[0] = ORDERED_MARK;
    AIRCR = AIRCR_RESET;
    for (;;) {
    }
}

static mp_int_t mp_machine_reset_cause(void) {
    return cause;
}
