"""The program of a board without an operating system: started by power, it runs the agent.

Rule: the board always ends up as something that answers: the agent, or safe mode where there is a reason for it. A reason is said, never
mended by deleting something. A start is counted before anything is tried, so that whatever ends it, three in a row are a reason, too.
Must not know: any board; what the readings mean.

The application, where there is one, is the module `app` on the board's file system: `Source(topics)` with `produce(node, now_ms)`, which
returns when it wants to be called again (monotonic ms). What is wrong with it is shown and costs readings, not the agent (readings.py);
but it runs in the agent's program, and where it breaks that, or never returns, the board ends in safe mode.
"""

import errno
import gc
import os
import sys

gc.threshold(8192)  # collect early and often: a small heap stays in one piece

import machine
from streamline_core.errors import StreamlineError, UsageError

from . import boot, watchdog
from .main import let_go
from .readings import LASTED_MS, Readings

CONFIG = "/edge.json"
_NO_NETWORK = (StreamlineError, OSError, MemoryError)
STARTS = "/starts"  # how many starts in a row did not last
CRASH = "/crash.txt"  # what ended the last one
STARTS_MAX = 3
CRASH_CHARS = 600


def run(network=None, watchdog_ms=watchdog.TIMEOUT_MS):
    """Run the agent until somebody at the console interrupts it. network: a class with `turn(now_ms)`, made with the clock and the entropy
    of the board, where something has to be joined before a link can work. watchdog_ms: without a turn of the loop for so long the board
    is reset; 0 for never."""
    dog = watchdog.start(watchdog_ms)
    try:
        again = _live(network, dog)
    except KeyboardInterrupt:
        again = False
        print("streamline: stopped")
    if again:
        _note(STARTS_MAX - 1)  # one more try
        machine.reset()
    _note(0)  # who stops it by hand starts it by hand
    if not dog.keep():  # nothing turns any more: the console has the board
        print("streamline: the watchdog starts the board again soon; run(watchdog_ms=0) in its main.py leaves it out")


def _live(network, dog):
    """True: it is time to start anew; False: an orderly end."""
    config, reason = None, boot.fault
    if reason is None:
        if not _configured():
            print("streamline: %s is missing: streamline-cli board provision writes it" % CONFIG)
            return False
        starts = _starts()
        if starts < STARTS_MAX:
            _note(starts + 1)
        config, reason = _configuration()
        if reason is None and starts >= STARTS_MAX:
            reason = "the agent ended %d times in a row within %d s; the last time: %s" % (starts, LASTED_MS // 1000, _last_crash())
        if reason is None:
            reason = _agent(config, network, dog)
            if reason is None:
                return False
        if starts < STARTS_MAX:
            _note(0)  # it has found a reason, which is no crash
    from . import safe_mode

    joined = None
    if network is not None:
        from .ports import BoardClock, BoardEntropy

        try:
            joined = network(BoardClock(), BoardEntropy())
        except _NO_NETWORK as error:
            print("streamline: no network: %s" % (error or "no memory"))
    return safe_mode.run(config, reason, joined, dog.feed)


def _configured():
    """Whether there is a configuration; one that cannot be read is there."""
    try:
        os.stat(CONFIG)
    except OSError as error:
        return error.errno != errno.ENOENT
    return True


def _configuration():
    """(it, None), or (what of it a link needs, or None; why the agent cannot be had with it)."""
    config = reason = None
    try:
        config = _load("load")
    except UsageError as error:
        reason = "%s" % error
    except MemoryError:
        reason = "%s: the heap is too small to read it; configure fewer topics" % CONFIG
    except Exception as error:
        reason = "%s: %s: %s" % (CONFIG, type(error).__name__, error)
    gc.collect()
    if reason is not None:
        try:
            config = _load("load_for_link")
        except Exception:
            pass  # safe mode has no link then
    let_go("streamline_board.configuration")
    for name in ("config_check", "config_tables", "config_values"):
        let_go("streamline_core." + name)
    gc.collect()
    return config, reason


def _load(how):
    from . import configuration

    return getattr(configuration, how)(CONFIG)


def _agent(config, network, dog):
    """None after an orderly end; why the agent cannot be had with this configuration. A crash resets the board."""
    storage = loop = None
    try:
        from .loop import Loop
        from .storage import FileStorage

        storage = FileStorage(config.data_dir, dog.step)
        if boot.log is not None:  # else nobody has set a flash apart, and logs are files
            from .flash_storage import FlashStorage

            storage = FlashStorage(watchdog.SteppingDevice(boot.log, dog) if dog.running else boot.log, storage)
        loop = Loop(config, Readings(config.topics, lambda: _note(0)), storage=storage, network=network, watchdog=dog)
        print("streamline: node %s runs, %d topics" % (config.node_id, len(config.topics)))
        loop.run()
    except UsageError as error:
        return "%s" % error
    except KeyboardInterrupt:
        pass
    except (Exception, SystemExit) as error:
        storage = loop = None  # what there was no memory for can be said, then
        try:
            _crashed(error)
        finally:
            machine.reset()
    print("streamline: stopped")
    return None


def _starts():
    """How many starts in a row have not lasted. Power that goes is no fault of ours: it begins anew."""
    return 0 if machine.reset_cause() == getattr(machine, "PWRON_RESET", None) else _noted()


def _noted():
    try:
        with open(STARTS) as file:
            return int(file.read(8))
    except (OSError, ValueError):
        return 0


def _note(starts):
    try:
        if boot.fault is None and _noted() != starts:
            with open(STARTS, "w") as file:
                file.write("%d" % starts)
    except OSError as error:
        print("streamline: %s: %s" % (STARTS, error))  # without it a crash loop is not seen, and that is all


def _crashed(error):
    import io

    gc.collect()
    text = io.StringIO()
    sys.print_exception(error, text)
    print("streamline: the agent crashed:\n" + text.getvalue())
    try:
        with open(CRASH, "w") as file:
            file.write(text.getvalue()[-CRASH_CHARS:])
    except OSError:
        pass  # it was printed


def _last_crash():
    """Its last line: what was raised."""
    try:
        with open(CRASH) as file:
            return file.read(CRASH_CHARS).strip().split("\n")[-1]
    except OSError:
        return "no error was kept, so the watchdog or a reset"
