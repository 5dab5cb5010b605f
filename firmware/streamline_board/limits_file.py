"""The file with the limits that an operator has set on a running board: over restarts, they come before the configuration's.

Rule: the file in the data directory is whole or not there; one that cannot be read is refused. Must not know: what the limits do.
"""

import errno
import os

import ujson

from streamline_core.errors import UsageError
from streamline_core.operator_limits import FILE_BYTES_MAX, LIMITS_NAME, lay, limits_of, parse, refused
from streamline_core.resources import FILES, STORAGE

BOARD_SEGMENTS_MAX = 256  # as configuration.py has it


def read(folder):
    """{kind: limit, "eviction_policy": policy}; empty where nothing was set. Raises UsageError."""
    path = folder + "/" + LIMITS_NAME
    try:
        with open(path) as file:
            text = file.read(FILE_BYTES_MAX)
    except OSError as error:
        if error.errno == errno.ENOENT:
            return {}
        raise refused(path, "cannot be read (%s)" % error)
    try:
        return parse(text)
    except ValueError as error:
        raise refused(path, "this is no list of limits (%s)" % error)


def write(folder, limits):
    """Keep `limits`; none: those of the configuration hold again. Raises OSError."""
    path = folder + "/" + LIMITS_NAME
    if not limits:
        try:
            os.remove(path)
        except OSError as error:
            if error.errno != errno.ENOENT:
                raise
        return
    beside = path[: path.rfind(".")] + ".new"
    with open(beside, "w") as file:
        file.write(ujson.dumps(limits))
        file.flush()  # on MicroPython, to the disk
    os.rename(beside, path)


def check(config, limits):
    """Raises UsageError for limits that no board can keep."""
    if FILES in limits:
        raise UsageError("resources.max_file_descriptors: a board counts none")
    most = BOARD_SEGMENTS_MAX * config.log.segment_bytes
    if limits.get(STORAGE, 0) > most:
        text = "resources.max_storage: a board remembers %d segments of log.segment_bytes (%d); use at most %d"
        raise UsageError(text % (BOARD_SEGMENTS_MAX, config.log.segment_bytes, most))


def lay_over(config):
    """Put what an operator has set over a configuration. Returns the limits that the configuration says. Raises UsageError."""
    configured, limits = limits_of(config), read(config.data_dir)
    check(config, limits)
    lay(config, limits)
    return configured
