"""The power goes at calls of every workload, in memory on CPython and on littlefs and flash under MicroPython: no promise is broken.

`make crash` sweeps all there is. Here every call of the small workloads is cut in memory, and those that come by a step where a sweep
takes longer, as most second cuts do; where a step begins depends on the seed, so that one run after another covers them all.
"""

import pytest

from crash import MICROPYTHON, NO_MICROPYTHON, Job, Progress, find_micropython, main, run
from sweep import Sweep, media
from workloads import WORKLOADS

EVERY = 1
# (workload, every so many first cuts, every so many second cuts)
IN_MEMORY = (("slots", EVERY, EVERY), ("log", EVERY, EVERY), ("fork", EVERY, 9), ("node", 5, 7), ("rewind", 3, 7), ("keyed", 29, 29))
ON_FLASH = (("log", 2, 2), ("fork", 4, 7), ("node", 23, 9), ("rewind", 9, 9), ("keyed", 61, 37))
UNDER_MICROPYTHON = (
    ("littlefs", "slots", 2, EVERY),
    ("littlefs", "log", 4, 5),
    ("littlefs", "fork", 9, 7),
    ("littlefs", "node", 37, 11),
    ("littlefs", "rewind", 37, 11),
    ("littlefs", "keyed", 131, 41),
    ("flash", "log", 4, 5),
    ("flash", "fork", 9, 7),
    ("flash", "node", 37, 11),
)


def swept(storage, workload, seed, step, seconds_step):
    sweep = Sweep(media()[storage], WORKLOADS[workload], seed)
    sweep.run(step, 0, 1, seconds_step)
    assert not sweep.violations, "\n".join(["%s: %s" % row for row in sweep.violations])
    assert sweep.cuts


@pytest.mark.parametrize(("workload", "step", "seconds_step"), IN_MEMORY)
def test_in_memory(workload, step, seconds_step, seed):
    swept("memory", workload, seed % 1000, step, seconds_step)


@pytest.mark.parametrize(("workload", "step", "seconds_step"), ON_FLASH)
def test_on_flash(workload, step, seconds_step, seed):
    swept("flash", workload, seed % 1000, step, seconds_step)


@pytest.mark.micropython
@pytest.mark.parametrize(("storage", "workload", "step", "seconds_step"), UNDER_MICROPYTHON)
def test_under_micropython(storage, workload, step, seconds_step, seed):
    if find_micropython() is None:
        pytest.skip(NO_MICROPYTHON)
    arguments = [storage, workload, str(seed % 1000), "--step", str(step), "--seconds-step", str(seconds_step)]
    result = run(Job(storage, MICROPYTHON, workload, 0, 1, arguments), Progress())
    assert not result.failure and not result.violations, result.failure + "\n".join(result.violations)
    assert result.cuts


def test_a_case_alone_is_the_same_on_every_replay(capfd):
    assert main(["--storage", "memory", "--replay", "log:40:torn:1:1"]) == 0
    assert capfd.readouterr().out == "kept\n"


def test_a_case_that_is_none_is_refused(capfd):
    for case in ("log:40:torn:1", "logs:1:torn:1:1", "log:x:torn:1:1"):
        assert main(["--replay", case]) == 2
    assert "WORKLOAD:K:FLAVOUR:SECOND:SEED" in capfd.readouterr().err
