# Raspberry Pi Pico: an RP2040 and 2 MB of flash; its only link is a UART.
set(PICO_BOARD "pico")
set(PICO_PLATFORM "rp2040")
