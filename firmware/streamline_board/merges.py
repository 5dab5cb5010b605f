"""The merge modules that a board's topics name, read from its files.

Rule: what cannot be run here is refused at the start, by the name of the topic and of the module. Must not know: what a merge does.
"""

import os
import sys

from streamline_core.errors import UsageError
from streamline_core.merge import load_merge


def load_merges(config):
    """{topic: (its merge module, the hash of that)} of those that name one. Raises UsageError, which names both."""
    merges = {}
    for name in sorted(config.topics):
        module = config.topics[name].merge
        if module is not None:
            try:
                merges[name] = load_merge(module, _read, sys.path)
            except UsageError as error:
                raise UsageError("topic %s: %s" % (name, error))
    return merges


def _read(path, bytes_max):
    with open(path, "rb") as file:
        return file.read() if os.stat(path)[6] <= bytes_max else file.read(bytes_max)
