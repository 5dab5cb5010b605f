"""The application of a board, at arm's length: the module `app`, where there is one.

Rule: whatever is wrong with it, when it is loaded, made or asked, is shown and counted, and costs readings, not the agent; only that there
is none is silence. Must not know: what the readings mean.
"""

import gc
import sys

from streamline_core.errors import NOT_TAKEN

LASTED_MS = 60000
APP_PAUSE_MS = 10000  # after it has failed
ERROR_CHARS = 120
ABSENT = "no module named 'app'"  # MicroPython's words; a module that `app` misses has another name


class Readings:
    """lasted: called once, when this start has lasted.

    failures: how often the application has failed; error: with what, "" where the last time was well.
    """

    def __init__(self, topics, lasted):
        self._topics = topics
        self._lasted = lasted
        self._until_ms = -1
        self._app_at_ms = 0
        self._absent = False
        self._source = None
        self.failures = 0
        self.error = ""

    def produce(self, node, now_ms):
        """When to come again (monotonic ms). Raises QueueFull, StorageFull, MemoryError."""
        if self._lasted is not None:
            if self._until_ms < 0:
                self._until_ms = now_ms + LASTED_MS
            elif now_ms >= self._until_ms:
                self._lasted()
                self._lasted = None
        if self._absent:
            return now_ms + LASTED_MS
        if now_ms < self._app_at_ms:
            return self._app_at_ms
        try:
            if self._source is None and not self._make():
                return now_ms + LASTED_MS
            due_ms = self._source.produce(node, now_ms)
            if not isinstance(due_ms, int):
                raise TypeError("produce returned %r, and not when it wants to be called again (monotonic ms)" % (due_ms,))
        except NOT_TAKEN:
            if self._source is not None:
                raise
            self._failed("no memory for it", now_ms)
        except (Exception, SystemExit) as error:
            self._failed("%s: %s" % (type(error).__name__, error), now_ms)
            sys.print_exception(error)
        else:
            self.error = ""
            return due_ms
        return self._app_at_ms

    def _make(self):
        """Whether there is an application."""
        try:
            from app import Source
        except ImportError as error:
            if str(error) == ABSENT:
                self._absent = True
                return False
            raise
        self._source = Source(self._topics)
        return True

    def _failed(self, what, now_ms):
        self.failures += 1
        self.error = what[:ERROR_CHARS]
        self._app_at_ms = now_ms + APP_PAUSE_MS
        if self._source is None:
            sys.modules.pop("app", None)  # else what came of half of it would be taken for it the next time
            gc.collect()
        print("streamline: the application failed: " + self.error)
