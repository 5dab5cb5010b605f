# Raspberry Pi Pico W: a Pico with a CYW43439 for WiFi. No Bluetooth: its driver would take what the logs have.
set(PICO_BOARD "pico_w")
set(PICO_PLATFORM "rp2040")

set(MICROPY_PY_LWIP ON)
set(MICROPY_PY_NETWORK_CYW43 ON)
