"""Streamline's core: pure Python, no I/O, the same on CPython and MicroPython.

Rule: nothing in this package opens a file or a socket, sleeps, or asks the operating system for
anything. The world comes in through the ports (`ports.py`): bytes, time, randomness, storage.
"""

VERSION = "0.1.0"
