"""`make sim`: many histories, each from its seed; a failing one is told, made small, and can be replayed exactly.

Usage: python tests/sim/simulate.py [--seeds N] [--seed K] [--world small|large|restless|keyed|limited|all] [--first K] [--jobs N] [--trace]

Rule: exit code 0 if no promise was broken, 1 if one was, 2 for a call that makes no sense. A failure prints the seed, what was broken, the
smallest plan that still breaks something, and the end of its trace. Runs on CPython only; the histories themselves do not.
"""

import argparse
import multiprocessing
import os
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT / name) for name in ("shared", "tests/unit", "tests/sim")]

from history import run  # noqa: E402
from plan import FAULTS, WORLDS, draw  # noqa: E402
from shrink import shrink  # noqa: E402

EACH = {"small": 1, "large": 10, "restless": 5, "keyed": 2, "limited": 2}  # of all seeds, one of so many lives in that world, too
TRACE_LINES = 60
FAILURES_SHOWN = 3


def one(job):
    """(world, seed, events, frames, what was broken or None)"""
    world, seed = job
    fleet, what = run(draw(seed, world))
    return world, seed, fleet.events, fleet.frames, what


class Progress:
    """One line that is rewritten on a terminal; now and then a line of its own elsewhere."""

    def __init__(self):
        self._terminal = sys.stdout.isatty()
        self._next = 0.0

    def show(self, text):
        now = time.monotonic()
        if now >= self._next:
            self._next = now + (0.2 if self._terminal else 10.0)
            print("\r\x1b[K" + text if self._terminal else text, end="" if self._terminal else "\n", flush=True)

    def clear(self):
        if self._terminal:
            print("\r\x1b[K", end="")


def explain(seed, world, progress):
    """Print all that helps to understand a failing seed."""
    plan, what = shrink(draw(seed, world), lambda text: progress.show("seed %d: smaller: %s" % (seed, text)))
    progress.clear()
    fleet, _ = run(plan, True)
    print("\nseed %d, %s world: %s" % (seed, world, what.rstrip()))
    print("the smallest plan that breaks a promise:")
    print("\n".join("  " + line for line in plan.lines()))
    print("the end of its trace:")
    print("\n".join("  " + line for line in fleet.notes[-TRACE_LINES:]))
    print("replay: make sim SEED=%d WORLD=%s" % (seed, world), flush=True)


def jobs_of(arguments):
    for i in range(arguments.seeds):
        for world in EACH if arguments.world == "all" else (arguments.world,):
            if arguments.world != "all" or i % EACH[world] == 0:
                yield world, arguments.first + i


def many(arguments):
    """Run all; returns the failures as (world, seed, what)."""
    jobs = list(jobs_of(arguments))
    progress, failures, started = Progress(), [], time.monotonic()
    counts = dict.fromkeys(EACH, 0)
    events = frames = 0
    with multiprocessing.Pool(arguments.jobs) as pool:
        for world, seed, its_events, its_frames, what in pool.imap_unordered(one, jobs, chunksize=4):
            counts[world] = counts.get(world, 0) + 1
            events += its_events
            frames += its_frames
            done = sum(counts.values())
            if what is not None:
                failures.append((world, seed, what))
                progress.clear()
                print("seed %d, %s world: %s" % (seed, world, what.split("\n")[0]), flush=True)
            progress.show("%d of %d histories, %d failed, %.0f s" % (done, len(jobs), len(failures), time.monotonic() - started))
    progress.clear()
    took = time.monotonic() - started
    for world, seed, _ in failures[:FAILURES_SHOWN]:
        explain(seed, world, progress)
    what = ", ".join(["%d %s" % (counts[world], world) for world in counts if counts[world]])
    print(
        "sim: %s histories from seed %d, %d events, %d frames, %d violations in %.1f s (%.1f histories/s, %d processes)"
        % (what, arguments.first, events, frames, len(failures), took, len(jobs) / took, arguments.jobs)
    )
    return failures


def replay(seed, world, trace):
    """Run one seed. Returns 1 if it breaks a promise."""
    plan = draw(seed, world)
    fleet, what = run(plan, True)
    if trace:
        print("\n".join(plan.lines() + fleet.notes))
    if what is not None:
        explain(seed, world, Progress())
    print("sim: seed %d, %s world: %s; digest %08x" % (seed, world, what.split("\n")[0] if what else "no violation", fleet.digest))
    return 0 if what is None else 1


def is_world(name):
    base, *more = name.split("+")
    return base in WORLDS and (not more or base == "keyed") and set(more) <= {kind for kind, _ in FAULTS}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=500, help="how many (500)")
    parser.add_argument("--first", type=int, default=1, help="the first of them (1)")
    parser.add_argument("--seed", type=int, help="only this one, with its plan and trace if it fails")
    parser.add_argument("--world", default="all", help="%s, or all: small ones, and a few of the others" % ", ".join(WORLDS))
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument("--trace", action="store_true", help="with --seed: the whole trace, failed or not")
    arguments = parser.parse_args()
    if arguments.seeds < 1 or arguments.jobs < 1 or arguments.first < 0:
        parser.error("--seeds and --jobs must be at least 1, --first at least 0")
    if arguments.world != "all" and not is_world(arguments.world):
        parser.error("--world is %s or all; keyed+KIND is the keyed one with more of a fault" % ", ".join(WORLDS))
    if arguments.seed is not None:
        worlds = tuple(WORLDS) if arguments.world == "all" else (arguments.world,)
        return max([replay(arguments.seed, world, arguments.trace) for world in worlds])
    return 1 if many(arguments) else 0


if __name__ == "__main__":
    sys.exit(main())
