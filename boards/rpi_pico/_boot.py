"""First at every start: the flash of a Raspberry Pi Pico behind the image, cut in two and handed over.

Rule: it replaces MicroPython's own, which formats whatever it cannot mount. Must not know: what lies in the flash.
"""

import rp2

from streamline_board.boot import boot

FILES_BYTES = 128 * 1024  # the configuration, slots, keys

boot(files=rp2.Flash(start=0, len=FILES_BYTES), log=rp2.Flash(start=FILES_BYTES))
