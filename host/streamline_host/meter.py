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

    def cpu_ms(self) -> int:
        """Of all its threads."""
        return time.process_time_ns() // 1_000_000

    def memory_bytes(self) -> int:
        """Resident."""
        return int(self._process.memory_info().rss)

    def open_files(self) -> int:
        """File descriptors: files, sockets, pipes."""
        return int(self._process.num_fds())

    def relieve(self) -> None:
        """Collect garbage, and have the C library give free pages back to the system (glibc; elsewhere it does that by itself)."""
        gc.collect()
        if _trim is not None:
            _trim(0)

    def buffers_bytes(self, buffer_bytes: int) -> int:
        return buffer_bytes  # queued for the disk in memory
