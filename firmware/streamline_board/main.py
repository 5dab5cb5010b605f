"""`micropython -m streamline_board --config edge.json`: reads the configuration, then runs the loop.

Rule: what is wrong with a call or a configuration is said in one line each, with exit code 2, before anything is touched.
"""

import gc
import sys

gc.threshold(8192)  # collect early and often: a small heap stays in one piece. It must stand before what it keeps in order.

import ujson

from streamline_core import VERSION
from streamline_core.config import EdgeConfig
from streamline_core.errors import UsageError

HELP = """usage: micropython -m streamline_board --config FILE [--status] [--lines TOPIC] [--until-drained]

  --config FILE     JSON, in the shape of edge.yaml
  --status          print a line of JSON each second
  --lines TOPIC     store the lines of standard input as records of TOPIC
  --until-drained   after the end of the input, go on until everything is at the cloud
  --version, --help

Without --lines it streams what it reads from /proc into those of the topics `load` and `memory` that are configured."""


# What a heap of 256 KB can bear, where the configuration says nothing. buffer_bytes is no memory here: it is in the file, not synced yet.
BOARD_DEFAULTS = {"frame_bytes_max": 4096}
BOARD_LOG_DEFAULTS = {"segment_bytes": 65536, "commit_interval_ms": 50, "buffer_bytes": 1048576, "producers_max": 8}


def _shrink(given):
    """Fill in a board's defaults; what is not a mapping is left for the check to name."""
    if isinstance(given, dict):
        log = given.get("log")
        if log is None:
            log = given["log"] = {}
        for section, defaults in ((given, BOARD_DEFAULTS), (log, BOARD_LOG_DEFAULTS)):
            if isinstance(section, dict):
                for key in defaults:
                    section.setdefault(key, defaults[key])


def load(path):
    """An EdgeConfig from a JSON file. Raises UsageError (all problems at once), OSError."""
    try:
        with open(path) as file:
            given = ujson.load(file)
    except ValueError:
        raise UsageError("%s: not JSON" % path)
    given = given.get("edge", given) if isinstance(given, dict) else given
    _shrink(given)
    try:
        return _fitting(EdgeConfig.from_dict(given))
    except UsageError as error:
        problems = getattr(error, "problems", None)
        if problems is None:
            raise
        lines = ["%s: %s: %s" % (path, ".".join([str(part) for part in where]), what) for where, what in problems]
        raise UsageError("\n".join(lines))


def _fitting(config):
    """What a board cannot honour is refused by name."""
    if config.sync.condition is not None and config.sync.condition.startswith("command:"):
        raise UsageError("sync.condition: a board runs no commands; use file: or no file:")
    if config.resources.max_file_descriptors is not None:
        raise UsageError("resources.max_file_descriptors: a board has none; remove it")
    return config


def let_go(name):
    """Of a module that has done its work: nothing refers to it but its package."""
    package, _, module = name.rpartition(".")
    if name in sys.modules:
        del sys.modules[name]
    if hasattr(sys.modules[package], module):
        delattr(sys.modules[package], module)


def main(arguments):
    """Returns the exit code."""
    options = {"--config": None, "--lines": None}
    flags = {"--status": False, "--until-drained": False}
    at = 0
    while at < len(arguments):
        word = arguments[at]
        if word in ("--help", "-h"):
            print(HELP)
            return 0
        if word == "--version":
            print("streamline-board " + VERSION)
            return 0
        if word in flags:
            flags[word] = True
        elif word in options and at + 1 < len(arguments):
            at += 1
            options[word] = arguments[at]
        else:
            print("streamline_board: %s is not understood; see --help" % word, file=sys.stderr)
            return 2
        at += 1
    if options["--config"] is None:
        print("streamline_board: --config FILE is missing; see --help", file=sys.stderr)
        return 2
    try:
        config = load(options["--config"])
        lines = options["--lines"]
        if lines is not None and lines not in config.topics:
            raise UsageError("--lines %s: no such topic in %s" % (lines, options["--config"]))
        for name in ("config_check", "config_tables", "config_values"):
            let_go("streamline_core." + name)
        gc.collect()
        from .loop import Loop  # after the configuration is known to be good

        source = None
        if lines is None:
            from .sources import ProcSource

            source = ProcSource(config.topics)
        loop = Loop(config, source, lines, flags["--status"])
    except (UsageError, OSError) as error:
        print("streamline_board: %s" % error, file=sys.stderr)
        return 2
    loop.run(flags["--until-drained"])
    return 0
