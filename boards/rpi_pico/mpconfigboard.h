// The settings of the interpreter on a Raspberry Pi Pico: an agent with a UART as its link, and USB for who services it.

#define MICROPY_HW_BOARD_NAME                   "Raspberry Pi Pico with Streamline Edge"

// The end of the flash: 128 KB of file system, then the raw log (_boot.py). The image has what is before it, 768 KB.
#define MICROPY_HW_FLASH_STORAGE_BYTES          (1280 * 1024)

// Frames leave compressed.
#define MICROPY_PY_DEFLATE                      (1)
#define MICROPY_PY_DEFLATE_COMPRESS             (1)

// Not for an agent; the second core stays asleep, and its stack is heap.
#define MICROPY_PY_THREAD                       (0)
#define MICROPY_PY_ASYNCIO                      (0)
#define MICROPY_PY_FRAMEBUF                     (0)
#define MICROPY_HW_ENABLE_USB_RUNTIME_DEVICE    (0)
