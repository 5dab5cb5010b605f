"""`python tests/fuzz/fuzz.py --seconds 60`: search every decoder for bytes that it does not bear.

Rule: the time is divided among the targets, and it is over when it is over. What was found is saved under tests/fuzz/regressions, shown
with its traceback, and can be replayed; the last line says what was done, by which engine. Exit code 1: something was found; 2: it was
called wrongly. Must not know: what a decoder is.
"""

import argparse
import hashlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from importlib.metadata import version
from pathlib import Path
from types import FrameType

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path[0:1] = [str(ROOT / folder) for folder in ("tests", "tests/unit", "shared", "host", "tools")]

from fuzz import engine  # noqa: E402

REGRESSIONS = HERE / "regressions"
SAY_SECS = (0.5, 10.0)  # between two lines of progress, on a terminal and elsewhere
END_SECS_MAX = 15.0  # that a child may take beyond its time
SHOWN_LINES_MAX = 60  # of what a failed child said
_PROGRESS = re.compile(r"(?:#|stat::number_of_executed_units: *)(\d+)(?:\s.*?cov: (\d+))?")
_FAILURE = re.compile(r"^(crash|timeout|oom|leak)-")


class Run:
    """A target in a child process, and what that has said so far."""

    def __init__(self, name: str, engine_name: str, secs: float, folder: Path) -> None:
        self.name = name
        self.runs = self.coverage = 0
        self.begun = time.time()
        self.until = self.begun + secs
        self._artifacts = folder / name / "artifacts"
        self._artifacts.mkdir(parents=True)
        self._lines: list[str] = []
        corpus = folder / name / "corpus"
        arguments = ["--child", engine_name, name, "%.3f" % self.until, str(corpus), str(self._artifacts)]
        # A session of its own: Ctrl-C comes to the parent alone, which ends it.
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "fuzz.py"), *arguments],
            cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
            text=True, errors="replace",
        )  # fmt: skip
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            found = _PROGRESS.match(line)
            if found is None:
                if not line.startswith("stat::"):
                    self._lines.append(line.rstrip())
                continue
            self.runs = max(self.runs, int(found[1]))
            self.coverage = max(self.coverage, int(found[2] or 0))

    @property
    def over(self) -> bool:
        if self._process.poll() is None and time.time() > self.until + END_SECS_MAX:
            self.end()
        return self._process.poll() is not None

    def end(self) -> None:
        self._process.kill()
        self._process.wait()

    def failure(self) -> str | None:
        """What went wrong, for people, with its input saved; None if nothing did."""
        self._reader.join(END_SECS_MAX)
        inputs = [path for path in sorted(self._artifacts.iterdir()) if _FAILURE.match(path.name)]
        code = self._process.returncode
        if not inputs:
            last = [*self._lines[-SHOWN_LINES_MAX:], "%s: the process ended with %d" % (self.name, code)]
            return "\n".join(last) if code else None
        begin = next((i for i, line in enumerate(self._lines) if "Traceback" in line or "ERROR: libFuzzer" in line), 0)
        shown = self._lines[begin : begin + SHOWN_LINES_MAX]
        for path in inputs:
            saved = save(self.name, path.read_bytes())
            what = (self.name, path.name.split("-")[0], path.stat().st_size, replay_command(saved))
            shown.append("%s: %s of %d bytes; again with: %s" % what)
        return "\n".join(shown)


def save(name: str, data: bytes) -> Path:
    REGRESSIONS.mkdir(exist_ok=True)
    path = REGRESSIONS / ("%s-%s.bin" % (name, hashlib.sha256(data).hexdigest()[:8]))
    path.write_bytes(data)
    return path


def replay_command(path: Path) -> str:
    return "python tests/fuzz/fuzz.py --replay %s" % path.relative_to(ROOT)


def engine_at_hand() -> tuple[str, str]:
    """(which one, how it is called). Says by name what is missing."""
    try:
        import atheris  # noqa: F401

        return engine.ATHERIS, "atheris " + version("atheris")
    except ImportError as error:
        print("fuzz: atheris cannot be imported (%s): pip install atheris; without it, seeds are changed at random" % error)
        return engine.MUTATION, "mutation of seeds, without coverage"


def write_corpus(name: str, folder: Path) -> None:
    """The seeds, and what was found before."""
    from fuzz.targets import TARGETS

    corpus = folder / name / "corpus"
    corpus.mkdir(parents=True)
    for i, data in enumerate(TARGETS[name].seeds()):
        (corpus / ("seed-%03d" % i)).write_bytes(data)
    for path in REGRESSIONS.glob(name + "-*.bin"):
        shutil.copy(path, corpus)


class Progress:
    """What is going on, in one line that is written over on a terminal and repeated now and then elsewhere."""

    def __init__(self) -> None:
        self._terminal = sys.stdout.isatty()
        self._said = 0.0

    def say(self, line: str) -> None:
        now = time.time()
        if now - self._said >= SAY_SECS[not self._terminal]:
            self._said = now
            if self._terminal:
                line = "\r\033[K" + line[: shutil.get_terminal_size().columns - 1]
            print(line, end="" if self._terminal else "\n", flush=True)

    def tell(self, line: str) -> None:
        """A line that stays."""
        print(("\r\033[K" if self._terminal else "") + line, flush=True)


def fuzz(names: list[str], secs: float, jobs: int) -> int:
    """Returns the exit code."""
    which, called = engine_at_hand()
    progress, begun = Progress(), time.time()
    waiting, running, done = list(names), list[Run](), list[Run]()
    failures = 0
    with tempfile.TemporaryDirectory(prefix="streamline-fuzz-") as folder:
        for name in names:
            write_corpus(name, Path(folder))
        try:
            while waiting or running:
                left = begun + secs - time.time()
                while waiting and len(running) < jobs:
                    share = max(1.0, left * jobs / max(jobs, len(waiting) + len(running)))
                    running.append(Run(waiting.pop(0), which, share, Path(folder)))
                for run in [run for run in running if run.over]:
                    running.remove(run)
                    done.append(run)
                    failure = run.failure()
                    failures += failure is not None
                    coverage = "%6d covered" % run.coverage if run.coverage else ""
                    told = (run.name, run.runs, coverage, time.time() - run.begun, "FAILED" if failure else "ok")
                    progress.tell("%-12s %12s runs %s %5.0f s  %s" % (told[0], format(told[1], ","), *told[2:]))
                    if failure:
                        progress.tell(failure)
                shown = " | ".join("%s %s runs" % (run.name, format(run.runs, ",")) for run in running)
                progress.say("%3.0f s left, %d of %d targets done | %s" % (max(0, left), len(done), len(names), shown))
                time.sleep(0.1)
        except KeyboardInterrupt:
            for run in running:
                run.end()
            progress.tell("fuzz: stopped")
    runs = sum(run.runs for run in done + running)
    told = (len(names), format(runs, ","), failures, time.time() - begun, called)
    print("fuzz: %d targets, %s runs, %d failures in %.0f s (%s)" % told)
    return 1 if failures else 0


def replay(paths: list[str], name: str | None) -> int:
    """Run the target of each file on it, in this process. Returns the exit code."""
    from fuzz.targets import TARGETS

    failures = 0
    for path in map(Path, paths):
        target = TARGETS.get(name or path.stem.rpartition("-")[0])
        if target is None or not path.is_file():
            print("fuzz: %s: no such file, or of no target; see --list, and name one with --target" % path, file=sys.stderr)
            return 2
        begun = time.time()
        try:
            target.run(path.read_bytes())
            print("%s: a value or the documented error, in %.3f s" % (path.name, time.time() - begun))
        except Exception:
            traceback.print_exc()
            print("%s: FAILED" % path.name)
            failures += 1
    return 1 if failures else 0


def _stop(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def main(arguments: list[str]) -> int:
    if arguments[:1] == ["--child"]:
        which, name, until, corpus, artifacts = arguments[1:]
        engine.run(which, name, float(until), Path(corpus), Path(artifacts))
    for number in (signal.SIGINT, signal.SIGTERM):  # either of them ends the children as well
        signal.signal(number, _stop)
    parser = argparse.ArgumentParser(prog="fuzz.py", description="Search every decoder for bytes that it does not bear.")
    parser.add_argument("--seconds", type=float, default=60.0, help="in total (60)")
    parser.add_argument("--target", action="append", help="this one only; may be given again")
    parser.add_argument("--jobs", type=int, default=2, help="targets at a time (2)")
    parser.add_argument("--replay", nargs="+", metavar="FILE", help="run saved inputs")
    parser.add_argument("--list", action="store_true", help="the targets, and what they cover")
    options = parser.parse_args(arguments)
    from fuzz.targets import TARGETS

    unknown = [name for name in options.target or () if name not in TARGETS]
    if unknown:
        parser.error("no target %s; there are: %s" % (", ".join(unknown), ", ".join(TARGETS)))
    if options.seconds < 1 or options.jobs < 1:
        parser.error("--seconds and --jobs are at least 1")
    if options.list:
        for target in TARGETS.values():
            print("%-12s %s" % (target.name, target.says))
        return 0
    if options.replay:
        return replay(options.replay, options.target[0] if options.target else None)
    return fuzz(options.target or list(TARGETS), options.seconds, options.jobs)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
