"""Standard output of a command, where it is closed, full or read no more.

Rule: what cannot be printed is one line on standard error and an exit code, never a traceback, neither now nor when the interpreter flushes
at its end. Must not know: what is printed.
"""

import errno
import os
import sys

_OF_WRITES = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF)


def ensure() -> None:
    """Where standard output or standard error was closed before the start, what is printed goes nowhere."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # open until the process ends


def abandon() -> None:
    """Nobody takes any more: what is still buffered goes nowhere when the interpreter flushes it."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def refused(error: OSError) -> str | None:
    """What to say where it was standard output that failed with `error`, which is abandoned then; None where it was something else.

    Files and sockets of ours have their own errors; one of a write that names no file is that of what prints.
    """
    if error.filename is not None or error.errno not in _OF_WRITES:
        return None
    abandon()
    return f"standard output: {error.strerror}; what was to be printed is incomplete"
