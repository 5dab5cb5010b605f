// The settings of the interpreter on an ESP32: an agent that reaches its broker over WiFi.

#define MICROPY_HW_BOARD_NAME                   "ESP32 with Streamline Edge"
#define MICROPY_HW_MCU_NAME                     "ESP32"
#define MICROPY_PY_NETWORK_HOSTNAME_DEFAULT     "streamline"

// Frames leave compressed.
#define MICROPY_PY_DEFLATE                      (1)
#define MICROPY_PY_DEFLATE_COMPRESS             (1)

// Not for an agent.
#define MICROPY_PY_ASYNCIO                      (0)
#define MICROPY_PY_BLUETOOTH                    (0)
#define MICROPY_PY_ESPNOW                       (0)
#define MICROPY_PY_FRAMEBUF                     (0)
