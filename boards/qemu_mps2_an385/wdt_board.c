// machine.WDT on the CMSDK watchdog: at its first end it raises an interrupt that nobody answers, at its second it resets the board.
// Included by extmod/machine_wdt.c.

#include "board.h"

typedef struct {
    volatile uint32_t LOAD;
    volatile uint32_t VALUE;
    volatile uint32_t CONTROL;
    volatile uint32_t INTCLEAR;
} watchdog_registers_t;

#define WATCHDOG ((watchdog_registers_t *)0x40008000)
#define WATCHDOG_LOCK (*(volatile uint32_t *)0x40008C00)
#define WATCHDOG_KEY (0x1ACCE551)
#define WATCHDOG_ENABLE ((1 << 0) | (1 << 1))
#define TIMEOUT_MS_MAX (0xFFFFFFFF / (SYSTEM_CLOCK_HZ / 1000))

typedef struct _machine_wdt_obj_t {
    mp_obj_base_t base;
} machine_wdt_obj_t;

static machine_wdt_obj_t watchdog = { { &machine_wdt_type } };

static void mp_machine_wdt_timeout_ms_set(machine_wdt_obj_t *self, mp_int_t timeout_ms) {
    if (timeout_ms < 2 || timeout_ms > TIMEOUT_MS_MAX) {
        mp_raise_ValueError(MP_ERROR_TEXT("timeout: 2 to 171798 ms"));
    }
    WATCHDOG_LOCK = WATCHDOG_KEY;
    WATCHDOG->LOAD = timeout_ms / 2 * (SYSTEM_CLOCK_HZ / 1000); // two of these are one timeout
    WATCHDOG->CONTROL = WATCHDOG_ENABLE;
}

static machine_wdt_obj_t *mp_machine_wdt_make_new_instance(mp_int_t id, mp_int_t timeout_ms) {
    if (id != 0) {
        mp_raise_ValueError(NULL);
    }
    mp_machine_wdt_timeout_ms_set(&watchdog, timeout_ms);
    return &watchdog;
}

static void mp_machine_wdt_feed(machine_wdt_obj_t *self) {
    WATCHDOG->INTCLEAR = 1;
}
