"""First at every start: the flash of a Raspberry Pi Pico behind the image, cut in two and handed over.

Rule: it replaces MicroPython's own, which formats whatever it cannot mount. Must not know: what lies in the flash.
"""

from _rp2 import Flash  # `rp2` is a wrapper in Python around it, for state machines; it is not frozen

from streamline_board.boot import boot

FILES_BYTES = 128 * 1024  # the configuration, slots, keys

boot(Flash(start=0, len=FILES_BYTES), Flash(start=FILES_BYTES))
