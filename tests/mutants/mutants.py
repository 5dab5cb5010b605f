"""Breaks the core on purpose, one promise at a time, and tells which of the tests notice: the simulator, the crash sweep, the unit tests.

Usage: python tests/mutants/mutants.py [--only WORDS]… [--detector sim|crash|unit] [--jobs N] [--seeds N]
       python tests/mutants/mutants.py --list

For each mutation of mutations.py, a copy of the core and of its tests is mutated and handed to every detector. First all of them must find
nothing in an unmutated copy. Exit code 1 if a mutant survives all detectors, 2 if a mutation does not fit the source any more or if the
detectors find something in the core as it is.

Rule: the tree is copied once, so nothing that changes meanwhile changes an answer; and a detector tells itself that it ran the copy
(detector.py). A detector that comes to no end has caught its mutant, too. Must not know: what a mutation means.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from mutation import Mutation
from mutations import MUTATIONS

ROOT = Path(__file__).resolve().parents[2]
DETECTOR = ROOT / "tests" / "mutants" / "detector.py"
DETECTORS = ("sim", "crash", "unit")
# What the detectors need of the tree.
COPIED = ("shared", "firmware", "docs", "tests/unit", "tests/sim", "tests/crash", "tests/vectors", "pyproject.toml")
COPIED_FILES = ("tests/*.py", "tools/free_ports.py")
SEEDS = 300  # of the small world; detector.py says how many of the others
# A detector without an end has caught its mutant: it gets so much longer than without a mutation.
TIME_FACTOR = 4
TIME_SECONDS_MIN = 60.0
SEED = "1"  # of what the unit tests draw: a catch is the same again
NAME_WIDTH = 50


class Verdict(NamedTuple):
    """caught: None where nothing was found, else where (a seed, a cut, a test, or "time"). wrong: why there is no answer."""

    detector: str
    caught: str | None
    what: str
    seconds: float
    wrong: str = ""


class Result(NamedTuple):
    mutation: Mutation
    verdicts: list[Verdict]

    @property
    def by(self) -> list[str]:
        return [verdict.detector for verdict in self.verdicts if verdict.caught is not None]


def copy_tree(into: Path) -> Path:
    """Copy what the detectors need to `into`."""
    for name in COPIED:
        source, target = ROOT / name, into / name
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target)
    for source in [path for pattern in COPIED_FILES for path in ROOT.glob(pattern)]:
        target = into / source.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)
    return into


def fault_of(mutation: Mutation, tree: Path) -> str:
    """Why a mutation does not fit the source; "" if it does."""
    path = tree / mutation.path
    if not path.exists():
        return "there is no %s" % mutation.path
    source = path.read_text(encoding="utf-8")
    found = source.count(mutation.old)
    if found != 1:
        return "its text is %d times in %s, not once: %r" % (found, mutation.path, mutation.old)
    try:
        compile(source.replace(mutation.old, mutation.new), mutation.path, "exec")
    except SyntaxError as error:
        return "what it makes of %s is no Python: %s" % (mutation.path, error)
    return ""


def mutate(mutation: Mutation, tree: Path) -> None:
    path = tree / mutation.path
    path.write_text(path.read_text(encoding="utf-8").replace(mutation.old, mutation.new), encoding="utf-8")


def detect(detector: str, tree: Path, module: str, seeds: int, seconds_max: float) -> Verdict:
    """Run one detector over a tree."""
    environment = {key: os.environ[key] for key in os.environ if key not in ("PYTHONPATH", "PYTEST_ADDOPTS")}
    environment.update(STREAMLINE_SEED=SEED, PYTHONHASHSEED="0")
    command = [sys.executable, str(DETECTOR), detector, module, str(seeds)]
    started = time.monotonic()
    try:
        done = subprocess.run(
            command, cwd=tree, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=seconds_max, check=False
        )
    except subprocess.TimeoutExpired:
        return Verdict(detector, "time", "no end within %.0f s" % seconds_max, time.monotonic() - started)
    seconds = time.monotonic() - started
    word, _, rest = done.stdout.strip().split("\n")[-1].partition(" ")
    if word == "green":
        return Verdict(detector, None, rest + " cases", seconds)
    if word == "caught":
        where, _, what = rest.partition("\t")
        return Verdict(detector, where, what, seconds)
    if word in ("foreign", "broken"):
        return Verdict(detector, None, "", seconds, "%s: %s" % (word, rest))
    return Verdict(detector, None, "", seconds, "no verdict (exit code %d): %s" % (done.returncode, (done.stdout + done.stderr)[-800:]))


class Run:
    """All that is asked for: the mutations, over a copy of the tree in `folder`."""

    def __init__(self, folder: Path, detectors: Sequence[str], seeds: int, jobs: int) -> None:
        self.folder = folder
        self.base = copy_tree(folder / "base")
        self.detectors = detectors
        self.seeds = seeds
        self.jobs = jobs
        self.limits = {detector: TIME_SECONDS_MIN for detector in detectors}
        self.done = 0

    def baseline(self) -> list[Verdict]:
        """Every detector over the unmutated copy; takes the time that it may have."""
        with ThreadPoolExecutor(self.jobs) as pool:
            verdicts = list(pool.map(lambda detector: detect(detector, self.base, "log", self.seeds, 1800), self.detectors))
        for verdict in verdicts:
            self.limits[verdict.detector] = max(TIME_SECONDS_MIN, TIME_FACTOR * verdict.seconds)
        return verdicts

    def one(self, mutation: Mutation, number: int, count: int, verbose: bool) -> Result:
        tree = self.folder / ("mutant-%d" % number)
        shutil.copytree(self.base, tree, ignore=shutil.ignore_patterns("__pycache__"))
        mutate(mutation, tree)
        module = Path(mutation.file).stem
        verdicts = [detect(detector, tree, module, self.seeds, self.limits[detector]) for detector in self.detectors]
        shutil.rmtree(tree, ignore_errors=True)
        result = Result(mutation, verdicts)
        self.done += 1
        print(line(result, self.done, count, verbose), flush=True)
        return result

    def all(self, mutations: Sequence[Mutation], verbose: bool) -> list[Result]:
        with ThreadPoolExecutor(self.jobs) as pool:
            tasks = [pool.submit(self.one, mutation, i, len(mutations), verbose) for i, mutation in enumerate(mutations)]
            try:
                return [task.result() for task in tasks]
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise


def line(result: Result, n: int, count: int, verbose: bool = False) -> str:
    """A row of the table."""
    seconds = sum(verdict.seconds for verdict in result.verdicts)
    cells = ["%s %s" % (verdict.detector, verdict.wrong or verdict.caught or "-") for verdict in result.verdicts]
    text = "[%2d/%d] %s  %s  (%.0f s)" % (n, count, result.mutation.name.ljust(NAME_WIDTH), "; ".join(cells), seconds)
    if verbose:
        text += "".join("\n          %s: %s" % (v.detector, v.what[:300]) for v in result.verdicts if v.caught)
    return text


def summary(results: Sequence[Result], detectors: Sequence[str], seconds: float) -> str:
    counts = ", ".join("%s %d" % (detector, sum(detector in result.by for result in results)) for detector in detectors)
    caught = sum(bool(result.by) for result in results)
    return "mutants: %d of %d caught (%s) in %.0f s" % (caught, len(results), counts, seconds)


def selected(only: Sequence[str]) -> list[Mutation]:
    return [
        mutation
        for mutation in MUTATIONS
        if not only or any(words in (mutation.name, mutation.file) or words in mutation.name for words in only)
    ]


def check(mutations: Sequence[Mutation]) -> list[str]:
    """Faults of the mutations, by name."""
    faults = ["%s: %s" % (mutation.name, fault_of(mutation, ROOT)) for mutation in mutations if fault_of(mutation, ROOT)]
    names = [mutation.name for mutation in MUTATIONS]
    return faults + ["%s: the name is there twice" % name for name in sorted(set(names)) if names.count(name) > 1]


def report(results: Sequence[Result], detectors: Sequence[str], seconds: float) -> int:
    """Say how it went; returns the exit code."""
    wrong = [(result, verdict) for result in results for verdict in result.verdicts if verdict.wrong]
    survivors = [result for result in results if not result.by and not any(verdict.wrong for verdict in result.verdicts)]
    unit_only = [result for result in results if result.by == ["unit"]]
    for result, verdict in wrong:
        print("faulty: %s: %s: %s" % (result.mutation.name, verdict.detector, verdict.wrong))
    if unit_only and len(detectors) > 1:
        print("by unit tests alone (a checker is missing in tests/sim or tests/crash):")
        for result in unit_only:
            print("  %s (%s): %s" % (result.mutation.name, result.mutation.file, result.mutation.promise))
    for result in survivors:
        print("SURVIVED: %s (%s): %s" % (result.mutation.name, result.mutation.file, result.mutation.promise))
    print(summary(results, detectors, seconds))
    return 2 if wrong else 1 if survivors else 0


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="mutants", description="Breaks the core on purpose; see the head of this file.")
    parser.add_argument(
        "--only", action="append", default=[], metavar="WORDS", help="mutations with these words in the name, or of this file"
    )
    parser.add_argument("--list", action="store_true", help="say what there is")
    parser.add_argument("--check", action="store_true", help="only say whether each still fits the source")
    parser.add_argument("--detector", action="append", choices=DETECTORS)
    parser.add_argument("--jobs", type=int, default=2, help="mutants at a time")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="histories of the small world for each mutant")
    parser.add_argument("--verbose", action="store_true", help="what each detector said")
    options = parser.parse_args(argv)
    mutations = selected(options.only)
    if options.list:
        for mutation in mutations:
            print("%s  %-18s %s" % (mutation.name.ljust(NAME_WIDTH), mutation.file, mutation.promise))
        print("mutants: %d mutations" % len(mutations))
        return 0
    if not mutations:
        print("mutants: no mutation has any of these words in its name", file=sys.stderr)
        return 2
    faults = check(mutations)
    if faults:
        print("\n".join("mutants: faulty mutation: " + fault for fault in faults), file=sys.stderr)
        return 2
    if options.check:
        return 0
    started = time.monotonic()
    detectors = options.detector or list(DETECTORS)
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        run = Run(Path(folder), detectors, options.seeds, max(1, options.jobs))
        verdicts = run.baseline()
        for verdict in verdicts:
            print(
                "as it is: %s: %s (%.0f s)" % (verdict.detector, verdict.wrong or verdict.caught or "nothing", verdict.seconds), flush=True
            )
        found = [verdict for verdict in verdicts if verdict.caught or verdict.wrong]
        if found:
            for verdict in found:
                print(
                    "mutants: %s finds something in the core as it is: %s %s"
                    % (verdict.detector, verdict.caught or "", verdict.what or verdict.wrong),
                    file=sys.stderr,
                )
            return 2
        results = run.all(mutations, options.verbose)
    return report(results, detectors, time.monotonic() - started)


if __name__ == "__main__":
    sys.exit(main())
