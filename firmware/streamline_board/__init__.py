"""The shell around the core on MicroPython: the loop, the link, the storage, the clock.

Rule: every difference between platforms is in here and nowhere else; capability is tested, never a platform's name. No protocol, no format.
"""
