// What the files of this board share: addresses of ARM's MPS2 with AN385 (DAI 0385, chapter 4), and who does what.
#ifndef STREAMLINE_BOARD_H
#define STREAMLINE_BOARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SYSTEM_CLOCK_HZ (25000000)

typedef struct {
    volatile uint32_t DATA;
    volatile uint32_t STATE;
    volatile uint32_t CTRL;
    volatile uint32_t INTCLEAR;
    volatile uint32_t BAUDDIV;
} uart_registers_t;

#define UARTS (3)
#define UART_REGISTERS(number) ((uart_registers_t *)(0x40004000 + 0x1000 * (number)))
#define UART_TX_FULL (1 << 0)
#define UART_RX_FULL (1 << 1)
#define UART_ENABLE ((1 << 0) | (1 << 1))
#define UART_RX_INTERRUPT (1 << 3)
#define UART_RX_PENDING (1 << 1)

// Interrupts wake the sleeping core and are never taken: PRIMASK stays set.
#define INTERRUPT_UART_RX(number) (2 * (number))
#define INTERRUPT_DUAL_TIMER (10)
#define NVIC_ENABLE (*(volatile uint32_t *)0xE000E100)
#define NVIC_CLEAR_PENDING (*(volatile uint32_t *)0xE000E280)
#define AIRCR (*(volatile uint32_t *)0xE000ED0C)
#define AIRCR_RESET (0x05FA0004)

// The 16 MB of PSRAM play the flash; where the unit tests run, most of them are heap.
#define PSRAM ((uint8_t *)0x21000000)
#define PSRAM_BYTES (16 * 1024 * 1024)
#if BOARD_UNIT_TESTS
#define UNIT_TESTS_HEAP_BYTES (12 * 1024 * 1024)
#define FLASH_BASE (PSRAM + UNIT_TESTS_HEAP_BYTES)
#define FLASH_BYTES (PSRAM_BYTES - UNIT_TESTS_HEAP_BYTES)
#else
#define FLASH_BASE PSRAM
#define FLASH_BYTES PSRAM_BYTES
#endif

void ticks_start(void);
uint64_t ticks_now_us(void);
void wake_after_ms(int ms);
void console_start(void);
void console_take(void);
void reset_cause_find(void);

#endif
