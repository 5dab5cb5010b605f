"""One target, fuzzed in a process of its own until its time is over: by atheris, or by mutation where that cannot be imported.

Rule: it says what it does in libFuzzer's own words on stderr, leaves the input of a failure in a folder, and ends with a code other than
0; the process is worth nothing afterwards, since libFuzzer never gives it back. Must not know: other targets, or how it is shown.
"""

import hashlib
import random
import resource
import signal
import sys
import time
import traceback
from pathlib import Path
from types import FrameType
from typing import NoReturn

from fuzz import mutation
from fuzz.target import Target

ATHERIS, MUTATION = "atheris", "mutation"
INSTRUMENTED = ("streamline_core", "streamline_host", "streamline_edge", "streamline_cloud")
RUN_SECS_MAX = 10  # of one input: then it stands still
RSS_MB_MAX = 1024
SAY_SECS = 1.0
FAILED = 77  # as libFuzzer has it


class StandsStill(BaseException):
    """One input took RUN_SECS_MAX. No Exception, so that no decoder catches it."""


def run(engine: str, name: str, until: float, corpus: Path, artifacts: Path) -> NoReturn:
    """until: a time.time(). corpus: a folder of inputs to begin with; new ones go there. artifacts: where a failing input goes."""
    if engine == ATHERIS:
        _run_atheris(name, until, corpus, artifacts)
    _run_mutation(name, until, corpus, artifacts)


def _run_atheris(name: str, until: float, corpus: Path, artifacts: Path) -> NoReturn:
    import atheris

    with atheris.instrument_imports(include=list(INSTRUMENTED)):  # what is imported before is not seen
        from fuzz.targets import TARGETS
    target = TARGETS[name]
    seconds = max(1, int(until - time.time()))  # it takes up to one more
    options = {
        "max_total_time": seconds, "max_len": target.bytes_max, "timeout": RUN_SECS_MAX, "rss_limit_mb": RSS_MB_MAX,
        "print_final_stats": 1, "artifact_prefix": "%s/" % artifacts,
    }  # fmt: skip
    atheris.Setup([sys.argv[0], *("-%s=%s" % option for option in options.items()), str(corpus)], target.run)
    atheris.Fuzz()
    raise AssertionError("libFuzzer gave the process back")


def _run_mutation(name: str, until: float, corpus: Path, artifacts: Path) -> NoReturn:
    from fuzz.targets import TARGETS

    target, rand = TARGETS[name], random.Random()
    seeds = [path.read_bytes() for path in sorted(corpus.iterdir())]
    resource.setrlimit(resource.RLIMIT_AS, (RSS_MB_MAX << 20, RSS_MB_MAX << 20))
    signal.signal(signal.SIGALRM, _stands_still)
    runs, say_at = 0, 0.0
    while runs < len(seeds) or time.time() < until:
        data = seeds[runs] if runs < len(seeds) else mutation.mutate(seeds, rand, target.bytes_max)
        runs += 1
        if not _one(target, data, artifacts):
            print("#%d\tDONE" % runs, file=sys.stderr)
            sys.exit(FAILED)
        if time.time() >= say_at:
            say_at = time.time() + SAY_SECS
            print("#%d\tpulse" % runs, file=sys.stderr, flush=True)
    print("#%d\tDONE" % runs, file=sys.stderr)
    sys.exit(0)


def _one(target: Target, data: bytes, artifacts: Path) -> bool:
    signal.alarm(RUN_SECS_MAX)
    try:
        target.run(data)
        return True
    except (Exception, StandsStill):
        signal.alarm(0)
        traceback.print_exc()
        (artifacts / ("crash-" + hashlib.sha1(data).hexdigest())).write_bytes(data)
        return False
    finally:
        signal.alarm(0)


def _stands_still(number: int, frame: FrameType | None) -> None:
    raise StandsStill("no end after %d s" % RUN_SECS_MAX)
