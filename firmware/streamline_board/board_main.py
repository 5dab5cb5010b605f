"""The program of a board without an operating system: started by power, it runs the agent.

Rule: the board always ends up as something that answers: the agent, or safe mode where there is a reason for it. A reason is said, never
mended by deleting something. Must not know: any board; what the readings mean.

The application, where there is one, is the module `app` on the board's file system: `Source(topics)` with `produce(node, now_ms)`, which
returns when it wants to be called again (monotonic ms). What it raises is shown and costs readings, not the agent.
"""

import gc
import sys

gc.threshold(8192)  # collect early and often: a small heap stays in one piece

import machine
from streamline_core.errors import QueueFull, StorageFull, StreamlineError, UsageError

from . import boot, watchdog
from .main import let_go

CONFIG = "/edge.json"
STARTS = "/starts"  # how many starts in a row did not last
CRASH = "/crash.txt"  # what ended the last one
STARTS_MAX = 3
LASTED_MS = 60000
APP_PAUSE_MS = 10000  # after an application has failed
CRASH_CHARS = 600


class Readings:
    """The application's source, at arm's length. lasted: called once, when this start has lasted."""

    def __init__(self, topics, lasted):
        self._lasted = lasted
        self._until_ms = -1
        self._app_at_ms = 0
        self.failures = 0
        self._source = _application(topics)

    def produce(self, node, now_ms):
        """When to come again (monotonic ms). Raises QueueFull, StorageFull, MemoryError."""
        if self._lasted is not None:
            if self._until_ms < 0:
                self._until_ms = now_ms + LASTED_MS
            elif now_ms >= self._until_ms:
                self._lasted()
                self._lasted = None
        due_ms = now_ms + LASTED_MS
        if self._source is None:
            return due_ms
        if now_ms < self._app_at_ms:
            return self._app_at_ms
        try:
            return self._source.produce(node, now_ms)
        except (QueueFull, StorageFull, MemoryError):
            raise
        except (Exception, SystemExit) as error:
            self.failures += 1
            self._app_at_ms = now_ms + APP_PAUSE_MS
            print("streamline: the application failed:")
            sys.print_exception(error)
            return self._app_at_ms


def _application(topics):
    try:
        import app
    except ImportError:
        return None
    return app.Source(topics)


def run(network=None, watchdog_ms=watchdog.TIMEOUT_MS):
    """Run the agent until somebody at the console interrupts it. network: a class with `turn(now_ms)`, made with the clock and the entropy
    of the board, where something has to be joined before a link can work. watchdog_ms: without a turn of the loop for so long the board
    is reset; 0 for never."""
    dog = watchdog.start(watchdog_ms)
    config, reason = None, boot.fault
    if reason is None:
        try:
            config = _configuration()
        except OSError:
            print("streamline: %s is missing: streamline-cli board provision writes it" % CONFIG)
            _hand_over(dog)
            return
        except UsageError as error:
            reason = "%s" % error
    starts = _starts() if boot.fault is None else 0
    if reason is None and starts >= STARTS_MAX:
        reason = "the agent ended %d times in a row within %d s; the last time: %s" % (starts, LASTED_MS // 1000, _last_crash())
    if reason is None:
        _note(starts + 1)
        reason = _agent(config, network, dog)
        if reason is None:
            _hand_over(dog)
            return
    from . import safe_mode

    joined = None
    if network is not None:
        from .ports import BoardClock, BoardEntropy

        try:
            joined = network(BoardClock(), BoardEntropy())
        except StreamlineError as error:
            print("streamline: %s" % error)
    if safe_mode.run(config, reason, joined, dog.feed):
        _note(STARTS_MAX - 1)  # one more try
        machine.reset()
    _note(0)
    _hand_over(dog)


def _hand_over(dog):
    """Nothing turns any more: the console has the board."""
    if not dog.keep():
        print("streamline: the watchdog starts the board again soon; run(watchdog_ms=0) in its main.py leaves it out")


def _configuration():
    from .configuration import load

    config = load(CONFIG)
    del load
    let_go("streamline_board.configuration")
    for name in ("config_check", "config_tables", "config_values"):
        let_go("streamline_core." + name)
    gc.collect()
    return config


def _agent(config, network, dog):
    """None after an orderly end; why the agent cannot be had with this configuration. A crash resets the board."""
    try:
        from .flash_storage import FlashStorage
        from .loop import Loop
        from .storage import FileStorage

        device = watchdog.SteppingDevice(boot.log, dog) if dog.running else boot.log
        storage = FlashStorage(device, FileStorage(config.data_dir))
        loop = Loop(config, Readings(config.topics, lambda: _note(0)), storage=storage, network=network, watchdog=dog)
        print("streamline: node %s runs, %d topics" % (config.node_id, len(config.topics)))
        loop.run()
    except UsageError as error:
        return "%s" % error
    except KeyboardInterrupt:
        pass
    except (Exception, SystemExit) as error:
        _crashed(error)
        machine.reset()
    _note(0)  # who stops it by hand starts it by hand
    print("streamline: stopped")
    return None


def _starts():
    """How many starts in a row have not lasted. Power that goes is no fault of ours: it begins anew."""
    if machine.reset_cause() == getattr(machine, "PWRON_RESET", None):
        return 0
    try:
        with open(STARTS) as file:
            return int(file.read(8))
    except (OSError, ValueError):
        return 0


def _note(starts):
    try:
        if boot.fault is None:
            with open(STARTS, "w") as file:
                file.write("%d" % starts)
    except OSError as error:
        print("streamline: %s: %s" % (STARTS, error))  # without it a crash loop is not seen, and that is all


def _crashed(error):
    import io

    text = io.StringIO()
    sys.print_exception(error, text)
    print("streamline: the agent crashed:\n" + text.getvalue())
    try:
        with open(CRASH, "w") as file:
            file.write(text.getvalue()[-CRASH_CHARS:])
    except OSError:
        pass


def _last_crash():
    """Its last line: what was raised."""
    try:
        with open(CRASH) as file:
            return file.read(CRASH_CHARS).strip().split("\n")[-1]
    except OSError:
        return "no error was kept, so the watchdog or a reset"
