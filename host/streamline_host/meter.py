"""What this process uses of the machine.

Rule: every figure is what the system says of the whole process, threads and libraries included; nothing is estimated.
"""

import ctypes
import gc
import time

import psutil

_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)


class ProcessMeter:
    """The `Meter` port of a host."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._memory_bytes = self._open_files = 0

    def cpu_ms(self) -> int:
        """Of all its threads."""
        return time.process_time_ns() // 1_000_000

    def memory_bytes(self) -> int:
        """Resident."""
        try:
            self._memory_bytes = int(self._process.memory_info().rss)
        except OSError:  # no more files may be opened, and it is one: what it was is the best that is known
            pass
        return self._memory_bytes

    def open_files(self) -> int:
        """File descriptors: files, sockets, pipes."""
        try:
            self._open_files = int(self._process.num_fds())
        except OSError:  # as above
            pass
        return self._open_files

    def relieve(self) -> None:
        """Collect garbage, and have the C library give free pages back to the system (glibc; elsewhere it does that by itself)."""
        gc.collect()
        if _trim is not None:
            _trim(0)

    def buffers_bytes(self, buffer_bytes: int) -> int:
        return buffer_bytes  # queued for the disk in memory
