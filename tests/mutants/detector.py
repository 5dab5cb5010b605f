"""One detector in a process of its own, run from the root of a tree that may hold a mutated core.

Usage: python tests/mutants/detector.py sim|crash|unit MODULE SEEDS

Prints one line: "caught WHERE<tab>WHAT" for the first thing that it found, "green N" after N cases without one, "foreign FILE" where the
core that was imported is not this tree's, "broken WHAT" where the mutated module cannot even be imported.

Rule: it believes no path: when all is done, every module of the core in this process must have come from this tree. Must not know: what was
mutated, but for the name of the module.
"""

import importlib
import os
import sys
from pathlib import Path
from typing import Any, NoReturn

CORE = "streamline_core"
FOLDERS = ("shared", "firmware", "tests", "tests/unit", "tests/sim", "tests/crash", "tools")
MEMORY_BYTES_MAX = 3 << 30  # a mutant may allocate without end; not at the cost of whoever else uses the machine
TEST_SECONDS_MAX = 60
# Holds the storage of a board, not the core; and takes more time than all others.
NOT_OF_THE_CORE = "tests/unit/test_flash_power_cuts.py"
CRASH_SEED = 1
# (workload, every so many first cuts, every so many second cuts): in memory, what a few seconds are enough for
CRASH_STEPS = (("slots", 1, 1), ("log", 1, 2), ("fork", 1, 4), ("node", 5, 7))
SHARES = {"small": 1, "keyed": 3, "restless": 5, "large": 30}  # of all seeds, one of so many lives in that world


def say(word: str, text: str) -> NoReturn:
    print(word, text.replace("\n", " "), flush=True)
    sys.stdout.flush()
    os._exit(0)  # a mutant may leave anything behind


def caught(where: str, what: str) -> NoReturn:
    check_origin()
    say("caught", "%s\t%s" % (where, what))


def check_origin() -> None:
    shared = Path.cwd() / "shared"
    for name in sorted(sys.modules):
        if name.split(".")[0] == CORE:
            origin = getattr(sys.modules[name], "__file__", None)
            if origin is None or shared not in Path(origin).parents:
                say("foreign", "%s is %s" % (name, origin))


def bound_memory() -> None:
    try:
        import resource
    except ImportError:
        return
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES_MAX, MEMORY_BYTES_MAX))


def last_line(text: str) -> str:
    lines = text.strip().split("\n")
    return lines[-1] if len(lines) == 1 else "%s (%s)" % (lines[-1], " ".join(lines[-3].split()) if len(lines) > 2 else "")


def sim(seeds: int) -> int:
    from history import run
    from plan import WORLDS, draw

    histories = 0
    for world in sorted(WORLDS, key=lambda name: SHARES.get(name, 1)):
        for seed in range(1, 1 + seeds // SHARES.get(world, 1)):
            _, what = run(draw(seed, world))
            if what is not None:
                caught("%s %d" % (world, seed), last_line(what))
            histories += 1
    return histories


def crash() -> int:
    import sweep
    from workloads import WORKLOADS

    sweep.VIOLATIONS_MAX = 1
    cuts = 0
    for workload, step, seconds_step in CRASH_STEPS:
        found = sweep.Sweep(sweep.media()["memory"], WORKLOADS[workload], CRASH_SEED)
        try:
            found.run(step, 0, 1, seconds_step)
        except Exception as error:  # the workload itself, before any cut
            caught(workload, "%s: %s" % (type(error).__name__, error))
        if found.violations:
            name, error = found.violations[0]
            caught(name, "%s: %s" % (type(error).__name__, error))
        cuts += found.cuts
    return cuts


class FirstFailure:
    """A pytest plugin: which test failed first, and how many ran."""

    def __init__(self) -> None:
        self.where = ""
        self.what = ""
        self.ran = 0

    def pytest_runtest_logreport(self, report: Any) -> None:
        self.ran += report.when == "call"
        if report.failed and not self.where:
            crashed = getattr(report.longrepr, "reprcrash", None)
            self.where = report.nodeid.replace("tests/unit/", "")
            self.what = crashed.message if crashed is not None else str(report.longrepr)

    def pytest_collectreport(self, report: Any) -> None:
        if report.failed and not self.where:
            self.where, self.what = report.nodeid, last_line(str(report.longrepr))


def unit() -> int:
    import pytest

    first = FirstFailure()
    quiet = os.open(os.devnull, os.O_WRONLY)
    told = os.dup(1)
    os.dup2(quiet, 1)
    arguments = ["-q", "-x", "-p", "no:cacheprovider", "--rootdir=.", "-c", "pyproject.toml", "--ignore", NOT_OF_THE_CORE]
    arguments += ["-o", "pythonpath=" + " ".join(FOLDERS), "-o", "timeout=%d" % TEST_SECONDS_MAX, "tests/unit"]
    code = pytest.main(arguments, plugins=[first])
    os.dup2(told, 1)
    if first.where:
        caught(first.where, first.what)
    if code != 0:
        caught("pytest", "it ended with %s" % code)
    return first.ran


def main() -> None:
    name, module, seeds = sys.argv[1], sys.argv[2], int(sys.argv[3])
    bound_memory()
    # Before all that a virtual environment adds, be it by a path or by a finder of its own.
    sys.path[:1] = [str(Path.cwd() / folder) for folder in FOLDERS]
    try:
        importlib.import_module("%s.%s" % (CORE, module))
    except Exception as error:
        say("broken", "%s: %s" % (type(error).__name__, error))
    check_origin()
    cases = sim(seeds) if name == "sim" else crash() if name == "crash" else unit()
    check_origin()
    say("green", str(cases))


if __name__ == "__main__":
    main()
