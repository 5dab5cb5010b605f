// The settings of the interpreter on a Raspberry Pi Pico W: an agent that reaches its broker over WiFi, and USB for who services it.

#define MICROPY_HW_BOARD_NAME                   "Raspberry Pi Pico W with Streamline Edge"

// The end of the flash: 128 KB of file system, then the raw log (_boot.py). The image has what is before it, 1088 KB.
#define MICROPY_HW_FLASH_STORAGE_BYTES          (960 * 1024)

#define MICROPY_PY_NETWORK                      (1)
#define MICROPY_PY_NETWORK_HOSTNAME_DEFAULT     "streamline"

// The CYW43439 hangs on the chip's SPI, driven by a state machine.
#define CYW43_USE_SPI                           (1)
#define CYW43_LWIP                              (1)
#define CYW43_GPIO                              (1)
#define CYW43_SPI_PIO                           (1)

#define MICROPY_HW_PIN_EXT_COUNT                CYW43_WL_GPIO_COUNT
int mp_hal_is_pin_reserved(int n);
#define MICROPY_HW_PIN_RESERVED(i)              mp_hal_is_pin_reserved(i)

// Frames leave compressed.
#define MICROPY_PY_DEFLATE                      (1)
#define MICROPY_PY_DEFLATE_COMPRESS             (1)

// Not for an agent; the second core stays asleep, and its stack is heap.
#define MICROPY_PY_THREAD                       (0)
#define MICROPY_PY_ASYNCIO                      (0)
#define MICROPY_PY_FRAMEBUF                     (0)
#define MICROPY_PY_WEBSOCKET                    (0)
#define MICROPY_PY_WEBREPL                      (0)
#define MICROPY_HW_ENABLE_USB_RUNTIME_DEVICE    (0)
