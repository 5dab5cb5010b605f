// Time, from the two counters of the dual timer (CMSDK): one runs freely, one wakes the sleeping core.
//
// Rule: the count never goes back; its 32 bits wrap after 45 minutes, and whoever reads it extends it. Must not know: who waits, and why.

#include "board.h"
#include "py/mphal.h"
#include "py/runtime.h"

typedef struct {
    volatile uint32_t LOAD;
    volatile uint32_t VALUE;
    volatile uint32_t CONTROL;
    volatile uint32_t INTCLEAR;
    volatile uint32_t RIS;
    volatile uint32_t MIS;
    volatile uint32_t BGLOAD;
    uint32_t reserved;
} dual_timer_t;

#define RUNNING ((dual_timer_t *)0x40002000)
#define WAKING ((dual_timer_t *)0x40002020)
#define ENABLE (1 << 7)
#define INTERRUPT (1 << 5)
#define DIVIDED_BY_16 (1 << 2)
#define BITS_32 (1 << 1)
#define ONCE (1 << 0)
#define DIVISOR (16)
#define COUNTS_PER_MS (SYSTEM_CLOCK_HZ / DIVISOR / 1000)
#define SLEEP_MS_MAX (60000)

static uint32_t last_count;
static uint64_t counts;

void ticks_start(void) {
    RUNNING->CONTROL = 0;
    RUNNING->LOAD = 0xFFFFFFFF;
    RUNNING->CONTROL = ENABLE | DIVIDED_BY_16 | BITS_32;
    last_count = 0xFFFFFFFF;
    counts = 0;
}

static uint64_t elapsed(void) {
    uint32_t count = RUNNING->VALUE;
    counts += last_count - count; // it counts down
    last_count = count;
    return counts;
}

uint64_t ticks_now_us(void) {
    return elapsed() * (DIVISOR * 8) / (SYSTEM_CLOCK_HZ / 1000000 * 8);
}

// The core wakes after so long at the latest; the interrupt stays pending until the next call.
void wake_after_ms(int ms) {
    WAKING->CONTROL = 0;
    WAKING->INTCLEAR = 1;
    NVIC_CLEAR_PENDING = 1 << INTERRUPT_DUAL_TIMER;
    if (ms < 0 || ms > SLEEP_MS_MAX) {
        ms = SLEEP_MS_MAX;
    }
    WAKING->LOAD = ms * COUNTS_PER_MS;
    WAKING->CONTROL = ENABLE | INTERRUPT | DIVIDED_BY_16 | BITS_32 | ONCE;
    NVIC_ENABLE = 1 << INTERRUPT_DUAL_TIMER;
}

mp_uint_t mp_hal_ticks_us(void) {
    return ticks_now_us();
}

mp_uint_t mp_hal_ticks_ms(void) {
    return ticks_now_us() / 1000;
}

mp_uint_t mp_hal_ticks_cpu(void) {
    return ~RUNNING->VALUE;
}

// Nobody tells this board the time: it counts from 1970.
uint64_t mp_hal_time_ns(void) {
    return ticks_now_us() * 1000;
}

void mp_hal_delay_us(mp_uint_t us) {
    uint64_t until = ticks_now_us() + us;
    while (ticks_now_us() < until) {
    }
}

void mp_hal_delay_ms(mp_uint_t ms) {
    uint64_t until = ticks_now_us() + (uint64_t)ms * 1000;
    for (;;) {
        mp_event_handle_nowait();
        uint64_t now = ticks_now_us();
        if (now >= until) {
            return;
        }
        uint64_t left_ms = (until - now) / 1000;
        if (left_ms == 0) {
            mp_hal_delay_us(until - now);
        } else {
            board_sleep(left_ms > SLEEP_MS_MAX ? SLEEP_MS_MAX : (int)left_ms);
        }
    }
}
