"""Runs the histories of some seeds and prints one line each: the way to compare two interpreters, and the worker of `simulate`.

Usage: python tests/sim/history.py WORLD FIRST NEXT  (MICROPYPATH=.frozen:shared:tests/unit:tests/sim micropython … the same)

Prints "seed digest events frames" or "seed VIOLATION text". Runs on both interpreters.
"""

import sys

from fleet import Fleet, Violation
from plan import draw


def run(plan, trace=False):
    """(fleet, None) or (fleet, what went wrong)."""
    fleet = Fleet(plan, trace)
    try:
        fleet.run()
    except Violation as error:
        return fleet, str(error)
    except Exception as error:
        return fleet, "%d ms: %s" % (fleet.now_ms, _traceback(error))
    return fleet, None


def _traceback(error):
    if hasattr(sys, "print_exception"):
        import io

        out = io.StringIO()
        sys.print_exception(error, out)
        return out.getvalue()
    import traceback

    return "".join(traceback.format_exception(error))


def main(arguments):
    world, first, next_ = arguments[0], int(arguments[1]), int(arguments[2])
    for seed in range(first, next_):
        fleet, what = run(draw(seed, world))
        if what is None:
            print(seed, "%08x" % fleet.digest, fleet.events, fleet.frames)
        else:
            print(seed, "VIOLATION", what.split("\n")[0])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
