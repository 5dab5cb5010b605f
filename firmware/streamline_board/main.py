"""`micropython -m streamline_board --config edge.json`: reads the configuration, then runs the loop.

Rule: what is wrong with a call or a configuration is said in one line each, with exit code 2, before anything is touched.
"""

import gc
import sys

gc.threshold(8192)  # collect early and often: a small heap stays in one piece. It must stand before what it keeps in order.

from streamline_core import VERSION
from streamline_core.errors import UsageError

_REFUSED = (UsageError, OSError)
TOO_SMALL = "; configure fewer topics or a smaller log.batch_bytes, or give it a larger heap\n"


def let_go(name):
    """Of a module that has done its work: nothing refers to it but its package."""
    package, _, module = name.rpartition(".")
    if name in sys.modules:
        del sys.modules[name]
    if hasattr(sys.modules[package], module):
        delattr(sys.modules[package], module)


def main(arguments, program="streamline_board"):
    """program: how it is called, for its messages. Returns the exit code: 0 after an orderly end (of the input, or an interrupt), 2 for a
    wrong call or configuration; what is raised beyond that is a fault of this program, and no end at all."""
    options = {"--config": None, "--lines": None}
    flags = {"--status": False, "--until-drained": False}
    at = 0
    while at < len(arguments):
        word = arguments[at]
        if word in ("--help", "-h"):
            from .configuration import HELP, HELP_OF_PROGRAM

            of_itself = program != "streamline_board"
            print(HELP % (program if of_itself else "micropython -m streamline_board", HELP_OF_PROGRAM if of_itself else ""))
            return 0
        if word == "--version":
            print("%s %s" % (program, VERSION))
            return 0
        if word in flags:
            flags[word] = True
        elif word in options and at + 1 < len(arguments):
            at += 1
            options[word] = arguments[at]
        elif word in options:
            print("%s: %s needs a value; see --help" % (program, word), file=sys.stderr)
            return 2
        else:
            print("%s: %s is not understood; see --help" % (program, word), file=sys.stderr)
            return 2
        at += 1
    if options["--config"] is None:
        print("%s: --config FILE is missing; see --help" % program, file=sys.stderr)
        return 2
    try:
        from .configuration import load

        config = load(options["--config"])
        lines = options["--lines"]
        if lines is not None and lines not in config.topics:
            raise UsageError("--lines %s: no such topic in %s" % (lines, options["--config"]))
        del load
        let_go("streamline_board.configuration")
        for name in ("config_check", "config_tables", "config_values"):
            let_go("streamline_core." + name)
        gc.collect()
        from .loop import Loop  # after the configuration is known to be good

        source = None
        if lines is None:
            from .sources import ProcSource

            source = ProcSource(config.topics)
        loop = Loop(config, source, lines, flags["--status"])
    except _REFUSED as error:
        for line in str(error).split("\n"):
            print("%s: %s" % (program, line), file=sys.stderr)
        return 2
    except MemoryError:
        config = source = None
        gc.collect()
        for text in (program, ": the heap is too small for ", options["--config"], TOO_SMALL):
            sys.stderr.write(text)  # in pieces that are there: no memory is needed to say so
        return 2
    except KeyboardInterrupt:
        return 0  # nothing has begun
    loop.run(flags["--until-drained"])
    return 0
