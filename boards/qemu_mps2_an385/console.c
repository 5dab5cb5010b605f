// The console on the first UART, and sleep.
//
// Rule: what comes is taken from the line while Python runs, so that Ctrl-C is heard; what does not fit waits in the line. Sleep ends with
// anything that comes on a line, or with time. Must not know: what is typed.

#include "board.h"
#include "py/mphal.h"
#include "py/ringbuf.h"
#include "py/runtime.h"
#include "py/stream.h"
#include "shared/runtime/interrupt_char.h"

#define CONSOLE UART_REGISTERS(0)
#define INPUT_BYTES (512)

static uint8_t input_bytes[INPUT_BYTES];
static ringbuf_t input = { input_bytes, sizeof(input_bytes), 0, 0 };

void console_start(void) {
    for (int i = 0; i < UARTS; i++) {
        UART_REGISTERS(i)->BAUDDIV = 16;
        UART_REGISTERS(i)->CTRL = UART_ENABLE | UART_RX_INTERRUPT;
        NVIC_ENABLE = 1 << INTERRUPT_UART_RX(i);
    }
}

void console_take(void) {
    while (CONSOLE->STATE & UART_RX_FULL && ringbuf_free(&input)) {
        int c = CONSOLE->DATA & 0xFF;
        if (c == mp_interrupt_char) {
            mp_sched_keyboard_interrupt();
        } else {
            ringbuf_put(&input, c);
        }
    }
}

void board_events(void) {
    console_take();
}

// Until a byte comes on any line, or for timeout_ms (-1: a minute). It may return earlier.
void board_sleep(int timeout_ms) {
    if (timeout_ms == 0) {
        return;
    }
    uint32_t lines = 0;
    for (int i = 0; i < UARTS; i++) {
        UART_REGISTERS(i)->INTCLEAR = UART_RX_PENDING;
        lines |= 1 << INTERRUPT_UART_RX(i);
    }
    NVIC_CLEAR_PENDING = lines;
    wake_after_ms(timeout_ms);
    // A byte that came before the interrupt was cleared must not be slept over.
    for (int i = 0; i < UARTS; i++) {
        if (UART_REGISTERS(i)->STATE & UART_RX_FULL && !(i == 0 && ringbuf_free(&input) == 0)) {
            console_take();
            return;
        }
    }
    __asm volatile ("dsb\n wfi");
    console_take();
}

uintptr_t mp_hal_stdio_poll(uintptr_t poll_flags) {
    console_take();
    uintptr_t ready = poll_flags & MP_STREAM_POLL_WR;
    return ready | (ringbuf_avail(&input) ? poll_flags & MP_STREAM_POLL_RD : 0);
}

int mp_hal_stdin_rx_chr(void) {
    for (;;) {
        console_take();
        int c = ringbuf_get(&input);
        if (c >= 0) {
            return c;
        }
        mp_event_wait_ms(1000);
    }
}
