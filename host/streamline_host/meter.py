"""What this process uses of the machine.

Rule: every figure is what the system says of the whole process, threads and libraries included; nothing is estimated.
"""

import time

import psutil


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
